"""`mithridate guard scan`: which documents of a corpus look planted, for people and for CI."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from mithridate.cli.errors import errors_exit
from mithridate.cli.guard import common
from mithridate.cli.progress import stages_progress
from mithridate.core.errors import DataError
from mithridate.core.wording import counted

if TYPE_CHECKING:
    from mithridate.retrieval.scan_records import Finding, ScanReport

_FOUND = 1
_FAILED = 2
_MOST_SHOWN = 40
_STYLES = {"error": "red", "warning": "yellow", "note": "dim"}


class _Level(StrEnum):
    """The levels of findings; those of `scan_records.Level`, which is imported late."""

    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


_Queries = Annotated[
    Path | None,
    typer.Option(
        help="Questions that users ask: a BEIR folder, a .jsonl file of id and text, a .json file of "
        "questions, or a text file with one a line.",
        show_default=False,
    ),
]
_Json = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Also write all findings here, as SARIF 2.1.0.")
]
_LeastLevel = Annotated[_Level, typer.Option("--level", help="The least level that counts as found.")]


def command(  # noqa: PLR0913, PLR0917 - a parameter an option
    corpus: common.Corpus,
    queries: _Queries = None,
    level: _LeastLevel = _Level.WARNING,
    json: _Json = None,
    top_k: Annotated[int, typer.Option(min=1, help="Hits of each question that are looked at.")] = 5,
    encoder: common.EncoderName = "minilm",
    query_prompt: common.QueryPrompt = None,
    document_prompt: common.DocumentPrompt = None,
    precision: common.Precision = "fp32",
    cache: common.SharedCache = None,
) -> None:
    """Say which documents look planted, and why. Honest documents will be among them.

    With --queries the corpus is searched, and what the defences observe about the hits is told; without, only
    what documents show by themselves.

    Exit code 0: nothing at --level or above. 1: something was found. 2: an error stopped the scan, or the
    command line itself is wrong; standard error says which.

    Example: mithridate guard scan corpus.jsonl --queries questions.txt --json findings.sarif --level error
    """
    from mithridate.core.artifacts import write_atomic  # noqa: PLC0415 - keeps --help quick
    from mithridate.retrieval import open_documents  # noqa: PLC0415
    from mithridate.retrieval.scan import ScanOptions, scan  # noqa: PLC0415
    from mithridate.retrieval.scan_records import Level  # noqa: PLC0415

    common.say_warnings_once()
    with errors_exit(_FAILED):
        asked = None if queries is None else read_questions(queries)
        documents = open_documents(corpus)
        opened = common.encoder_of(encoder, query_prompt, document_prompt, precision, cache)
        with stages_progress() as on_stage:
            report = scan(documents, opened, asked, ScanOptions(top_k=top_k), on_stage)
        if json is not None:
            write_atomic(json, common.plain_json(report.sarif(str(corpus))) + "\n")
        found = report.at_least(Level(level.value))
        _show(report, found, level)
    if found:
        raise typer.Exit(_FOUND)


def read_questions(path: Path) -> dict[str, str]:
    """Questions by identifier, or by line. Raises DataError for a file that holds none or cannot be read."""
    from mithridate.retrieval.beir import QUERIES, read_queries  # noqa: PLC0415 - keeps --help quick
    from mithridate.retrieval.sources import open_task, read_lines  # noqa: PLC0415

    if (path / QUERIES).is_file():
        found = read_queries(path)
    elif path.suffix == ".jsonl" and path.is_file():
        found = _once(path, ((document.id, document.text) for document in read_lines(path)))
    elif path.suffix == ".json":
        found = dict(open_task(path).queries)
    else:
        found = _lines(path)
    found = {name: text for name, text in found.items() if text.strip()}
    if not found:
        raise DataError("holds no question", path=path)
    return found


def _once(path: Path, questions: Iterable[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, text in questions:
        if name in found:
            raise DataError(f"the question {name!r} comes twice", path=path, field="id")
        found[name] = text
    return found


def _lines(path: Path) -> dict[str, str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8 at byte {error.start}", path=path) from error
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", path=path) from error
    return {f"line {number}": line.strip() for number, line in enumerate(text.split("\n"), 1)}


def _show(report: ScanReport, found: list[Finding], level: _Level) -> None:
    console = Console()
    for finding in found[:_MOST_SHOWN]:
        _show_finding(console, finding)
    if len(found) > _MOST_SHOWN:
        console.print(f"… and {len(found) - _MOST_SHOWN:,} more; --json FILE writes all", highlight=False)
    for warning in report.warnings:
        common.warn(console, warning)
    counts = Counter(finding.level.value for finding in report.findings)
    told = ", ".join(counted(counts[one.value], one.value) for one in _Level)
    asked = f" for {counted(report.queries, 'question')}" if report.queries else ""
    documents = len({finding.row for finding in found})
    console.print(
        f"{counted(report.documents, 'document')}{asked}: {told}. {counted(documents, 'document')} with a "
        f"finding of level {level.value} or above.",
        highlight=False,
        soft_wrap=True,
    )


def _show_finding(console: Console, finding: Finding) -> None:
    from mithridate.report.text import one_line  # noqa: PLC0415 - keeps --help quick

    console.print(
        Text.assemble(
            (f"{finding.level.value}: ", _STYLES[finding.level.value]),
            (one_line(finding.document), "bold"),
            f" [{finding.rule}] ",
            one_line(finding.message, 600),
        ),
        soft_wrap=True,
    )
