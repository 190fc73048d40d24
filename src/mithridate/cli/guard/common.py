"""What the commands of the guard share: their options, lists of numbers, encoders, and what is made inert."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from mithridate.core.errors import ConfigError

if TYPE_CHECKING:
    from mithridate.core.strict import Strict
    from mithridate.retrieval.base import Encoder
    from mithridate.retrieval.measuring.options import BenchOptions
    from mithridate.retrieval.task import RetrievalTask

_ENCODER_PANEL = "Encoder"
VECTORS = "vectors"
"""The folder of vectors below that of a command."""

Corpus = Annotated[
    Path,
    typer.Argument(
        metavar="CORPUS",
        help="A BEIR folder, a .jsonl file of id and text, or a .json file of questions.",
        show_default=False,
    ),
]
EncoderName = Annotated[
    str,
    typer.Option(
        "--encoder",
        help="`minilm`, `hashing`, or the folder of a sentence-transformers model.",
        rich_help_panel=_ENCODER_PANEL,
    ),
]
QueryPrompt = Annotated[
    str | None,
    typer.Option(
        help="Text before every question [the model's own].",
        rich_help_panel=_ENCODER_PANEL,
        show_default=False,
    ),
]
DocumentPrompt = Annotated[
    str | None,
    typer.Option(
        help="Text before every document [the model's own].",
        rich_help_panel=_ENCODER_PANEL,
        show_default=False,
    ),
]
Precision = Annotated[
    str,
    typer.Option(
        help="`fp32`, or `bf16`: about twice as fast on a CPU, nearly the same vectors.",
        rich_help_panel=_ENCODER_PANEL,
    ),
]
Attacks = Annotated[
    str | None,
    typer.Option(
        help="What is planted, parted by commas, with options in brackets: `hotflip(iterations=30)`.",
        show_default=False,
    ),
]
Defenses = Annotated[
    str | None,
    typer.Option(
        help="Chains of defences, parted by commas: `ragpart,ragpart+ragmask(delta=0.1)`.",
        show_default=False,
    ),
]
TopK = Annotated[str, typer.Option(help="Numbers of hits that are asked for, parted by commas.")]
Copies = Annotated[str, typer.Option(help="Numbers of planted documents a question, parted by commas.")]
Queries = Annotated[int, typer.Option(min=1, help="Questions that are drawn from the corpus's own.")]
Seed = Annotated[int, typer.Option(help="Decides which questions are drawn and what is planted.")]
Split = Annotated[str, typer.Option(help="Which judgements of a BEIR folder: `qrels/SPLIT.tsv`.")]
Out = Annotated[
    Path | None, typer.Option("--out", help="Folder to write to [runs/NAME].", show_default=False)
]
JsonFile = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", help="Also write the result here.", show_default=False),
]
Cache = Annotated[
    Path | None,
    typer.Option(
        help="Folder of vectors, for several runs to share [OUT/vectors].",
        rich_help_panel=_ENCODER_PANEL,
        show_default=False,
    ),
]
SharedCache = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        help="Folder in which vectors are kept for the next time.",
        rich_help_panel=_ENCODER_PANEL,
        show_default=False,
    ),
]


def asked_task(corpus: Path, split: str) -> RetrievalTask:
    """The corpus with its questions. Raises ConfigError, before an encoder is loaded, if it comes without."""
    from mithridate.retrieval import open_task  # noqa: PLC0415 - keeps --help quick
    from mithridate.retrieval.measuring.options import usable_queries  # noqa: PLC0415

    task = open_task(corpus, split)
    usable_queries(task)
    return task


def encoder_of(
    name: str,
    query_prompt: str | None = None,
    document_prompt: str | None = None,
    precision: str = "fp32",
    cache: Path | None = None,
) -> Encoder:
    """The encoder that these options name; errors as of `open_encoder`."""
    from mithridate.retrieval import open_encoder  # noqa: PLC0415 - keeps --help quick

    return open_encoder(
        name,
        cache=cache,
        query_prompt=query_prompt,
        document_prompt=document_prompt,
        precision=precision,
    )


def numbers(text: str, option: str) -> tuple[int, ...]:
    """Whole numbers parted by commas. Raises ConfigError naming `option`."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"{option} {text!r}: write whole numbers parted by commas, as in 3,5,10") from None


def bench_options(
    attacks: str | None, defenses: str | None, top_k: str, copies: str, queries: int, seed: int
) -> BenchOptions:
    """What to measure; the benchmark's own attacks and defences where none are named."""
    from mithridate.retrieval.measuring.options import BenchOptions  # noqa: PLC0415 - keeps --help quick
    from mithridate.retrieval.measuring.written import parse_calls, parse_chains  # noqa: PLC0415

    named: dict[str, Any] = {}
    if attacks is not None:
        named["attacks"] = [call.text for call in parse_calls(attacks, "attack")]
    if defenses is not None:
        named["defenses"] = [chain.text for chain in parse_chains(defenses)]
    return BenchOptions(
        top_ks=numbers(top_k, "--top-k"),
        copies=numbers(copies, "--copies"),
        queries=queries,
        seed=seed,
        **named,
    )


def folder_of(out: Path | None, command: str, corpus: Path) -> Path:
    """Where a command writes to: `out`, or a folder below `runs` that is called after corpus and command."""
    if out is not None:
        return out
    there = corpus.resolve()
    # A folder has no suffix: what follows a dot in its name tells corpus.v1 from corpus.v2.
    return Path("runs") / f"{command}-{there.name if there.is_dir() else there.stem}"


def keep(result: Strict, *paths: Path | None) -> None:
    """Write a result to each of `paths` that is named."""
    from mithridate.retrieval.measuring.records import save_result  # noqa: PLC0415 - keeps --help quick

    for path in filter(None, paths):
        save_result(result, path)


def say_warnings_once() -> None:
    """Keep the library's log to itself: commands print its warnings where they belong, and made inert."""
    log = logging.getLogger("mithridate.retrieval")
    if not log.handlers:
        log.addHandler(logging.NullHandler())


def warn(console: Console, warning: str) -> None:
    """Print one warning."""
    from mithridate.report.terminal import warning_line  # noqa: PLC0415 - keeps --help quick

    console.print(warning_line(warning), soft_wrap=True)


def plain_json(value: Any) -> str:
    """JSON in ASCII, so that no text in it steers a terminal, and halves of characters can be told."""
    return json.dumps(value, ensure_ascii=True, indent=1)
