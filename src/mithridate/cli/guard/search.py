"""`mithridate guard search`: ask a defended index, and be told why each hit is where it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from mithridate.cli.guard import common
from mithridate.retrieval.base import Mode

if TYPE_CHECKING:
    from mithridate.retrieval.base import Hit
    from mithridate.retrieval.guard import Answer

_SHOWN = 240
"""Characters of a document that are shown."""

_Index = Annotated[
    Path, typer.Argument(metavar="INDEX", help="Folder that `guard index` wrote.", show_default=False)
]
_Question = Annotated[str, typer.Argument(help="What is asked.", show_default=False)]
_EncoderName = Annotated[
    str | None,
    typer.Option(
        "--encoder",
        help="`minilm`, `hashing` or a model's folder [what the index was built with].",
        show_default=False,
    ),
]
_Mode = Annotated[
    Mode | None,
    typer.Option(
        help="What is done about hits that look planted [as the index was built].", show_default=False
    ),
]


def command(  # noqa: PLR0913, PLR0917 - a parameter an option
    index: _Index,
    question: _Question,
    top_k: Annotated[int, typer.Option(min=1, help="Hits that are asked for.")] = 5,
    mode: _Mode = None,
    json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON only.")] = False,
    encoder: _EncoderName = None,
    query_prompt: common.QueryPrompt = None,
    document_prompt: common.DocumentPrompt = None,
    precision: common.Precision = "fp32",
) -> None:
    """Search a defended index. Each hit comes with what every defence found about it.

    Hits that look planted are marked with a `!`; those that the mode `drop` left out are listed below.

    Example: mithridate guard search nfcorpus.index "do statins cause breast cancer?" --top-k 3
    """
    from mithridate.retrieval import GuardedIndex  # noqa: PLC0415 - keeps --help quick
    from mithridate.retrieval.manifest import read_manifest  # noqa: PLC0415

    common.say_warnings_once()
    name = encoder or _built_with(read_manifest(index).encoder)
    opened = common.encoder_of(name, query_prompt, document_prompt, precision)
    found = GuardedIndex.open(index, opened, mode=mode)
    answer = found.search(question, top_k)
    if json:
        typer.echo(common.plain_json(_told(question, found.guard.mode.value, answer)))
        return
    _show(answer)


def _built_with(identity: str) -> str:
    """The name of the encoder with that identity; where it has none, opening the index says what it needs."""
    return "hashing" if identity.startswith("hashing:") else "minilm"


def _show(answer: Answer) -> None:
    console = Console()
    for rank, hit in enumerate(answer.hits, 1):
        _show_hit(console, f"{rank}", hit)
    if answer.removed:
        console.print(Text(f"left out, because they look planted: {len(answer.removed)}", style="bold"))
        for hit in answer.removed:
            _show_hit(console, "–", hit)
    for warning in answer.warnings:
        common.warn(console, warning)


def _show_hit(console: Console, rank: str, hit: Hit) -> None:
    from mithridate.report.text import one_line  # noqa: PLC0415 - keeps --help quick

    mark = ("! ", "red") if hit.suspicious else "  "
    console.print(
        Text.assemble(
            mark, (f"{rank:>2}  ", "bold"), f"{hit.score:.3f}  ", (one_line(hit.document.id), "bold")
        ),
        soft_wrap=True,
    )
    said = [Text(one_line(hit.document.text, _SHOWN))]
    for reason in hit.reasons:
        style = "red" if reason.suspicious else "dim"
        said.append(Text(f"{one_line(reason.defense, 60)}: {one_line(reason.says, 400)}", style=style))
    console.print(Padding(Text("\n").join(said), (0, 0, 1, 6)))


def _told(question: str, mode: str, answer: Answer) -> dict[str, Any]:
    return {
        "question": question,
        "mode": mode,
        "hits": [_hit(hit) for hit in answer.hits],
        "removed": [_hit(hit) for hit in answer.removed],
        "warnings": list(answer.warnings),
        "encodings": answer.encodings,
    }


def _hit(hit: Hit) -> dict[str, Any]:
    return {
        "id": hit.document.id,
        "score": hit.score,
        "suspicious": hit.suspicious,
        "text": hit.document.text,
        "meta": dict(hit.document.meta),
        "reasons": [reason.plain() for reason in hit.reasons],
    }
