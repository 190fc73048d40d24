"""`mithridate guard index`: build a defended index of a corpus on disk."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from mithridate.cli.guard import common
from mithridate.cli.progress import stages_progress
from mithridate.core.errors import ConfigError
from mithridate.core.wording import counted
from mithridate.retrieval.base import Mode

if TYPE_CHECKING:
    from mithridate.retrieval.index import GuardedIndex

_Out = Annotated[Path, typer.Option("--out", help="Folder to write to; it must be new.", show_default=False)]
_Retriever = Annotated[
    str, typer.Option(help="What decides which documents come up: `ragpart(fragments=7,combination=4)`.")
]
_Rerankers = Annotated[
    str, typer.Option(help="What looks at these, in this order, parted by commas: `ragmask,consensus`.")
]
_Mode = Annotated[Mode, typer.Option(help="What is done about hits that look planted.")]
_Floor = Annotated[int, typer.Option(min=0, help="Hits that an answer has at least, in the mode `drop`.")]
_EagerMasks = Annotated[
    bool,
    typer.Option(
        "--eager-masks", help="Encode now what RAGMask needs of each document, not at its first question."
    ),
]


def command(  # noqa: PLR0913, PLR0917 - a parameter an option
    corpus: common.Corpus,
    out: _Out,
    retriever: _Retriever = "ragpart",
    rerankers: _Rerankers = "",
    mode: _Mode = Mode.DEMOTE,
    floor: _Floor = 1,
    eager_masks: _EagerMasks = False,
    encoder: common.EncoderName = "minilm",
    query_prompt: common.QueryPrompt = None,
    document_prompt: common.DocumentPrompt = None,
    precision: common.Precision = "fp32",
) -> None:
    """Encode a corpus and build an index that defends itself.

    Killed, it leaves nothing behind that could be taken for an index. A warning says where the encoder does
    not fit a defence.

    Example: mithridate guard index nfcorpus/ --out nfcorpus.index --rerankers ragmask,consensus
    """
    from mithridate.retrieval import GuardedIndex, open_documents  # noqa: PLC0415 - keeps --help quick

    common.say_warnings_once()
    chosen = _chain(retriever, rerankers)
    documents = open_documents(corpus)
    opened = common.encoder_of(encoder, query_prompt, document_prompt, precision)
    started = time.monotonic()
    with stages_progress() as on_stage:
        built = GuardedIndex.build(
            documents,
            opened,
            retriever=chosen.retriever,
            rerankers=chosen.rerankers,
            mode=mode,
            floor=floor,
            path=out,
            eager_masks=eager_masks,
            progress=None if on_stage is None else partial(on_stage, "encoding documents"),
        )
    _show(built, out, time.monotonic() - started)


def _chain(retriever: str, rerankers: str) -> Any:
    """The retriever and the rerankers, as they were written."""
    from mithridate.retrieval.measuring.written import parse_calls, parse_chains  # noqa: PLC0415

    if len(parse_calls(retriever, "retriever")) > 1:
        raise ConfigError(f"--retriever {retriever!r}: name one; others can only be rerankers")
    behind = [call.text for call in parse_calls(rerankers, "reranker")] if rerankers.strip() else []
    (chain,) = parse_chains(["+".join([retriever, *behind])])
    if len(chain.rerankers) != len(behind):
        raise ConfigError(
            f"--retriever {retriever!r}: is a reranker, which looks at what a retriever brings up. "
            f"Give --retriever plain --rerankers {','.join([retriever, *behind])}"
        )
    return chain


def _show(index: GuardedIndex, out: Path, seconds: float) -> None:
    from mithridate.report.text import one_line  # noqa: PLC0415 - keeps --help quick

    console = Console()

    def say(title: str, words: str) -> None:
        console.print(Text.assemble((f"{title:<11}", "dim"), one_line(words, 4096)), soft_wrap=True)

    say("documents", f"{len(index):,} in {seconds:,.1f} s, {index.nbytes / 1e6:,.1f} MB of vectors")
    say("encoder", f"{index.encoder.identity}, {index.encoder.dimension} dimensions")
    tolerates = getattr(index.retriever, "tolerates", None)
    outvoted = f"; it outvotes up to {tolerates()} poisoned fragments of a document" if tolerates else ""
    say("retriever", f"{index.retriever!r}{outvoted}")
    for reranker in index.guard.rerankers:
        say("reranker", repr(reranker))
    floor = index.guard.floor
    say("mode", f"{index.guard.mode.value}, at least {counted(floor, 'hit')} an answer")
    for warning in index.warnings:
        common.warn(console, warning)
    say("index", str(out))
