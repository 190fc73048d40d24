"""The page of a curation: what was kept of each source, and what of all examples the chosen cover."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mithridate.core.artifacts import write_atomic
from mithridate.core.wording import counted
from mithridate.curation.coverage import Coverage
from mithridate.curation.records import NOT_CHOSEN, CurationRecord, SourceRecord
from mithridate.report.curation_figures import covered
from mithridate.report.page import Chart, fill_page, inert_json
from mithridate.report.text import number, one_line

MOST_SOURCES = 12
_HEADS = {
    "self_reference": "self",
    "other_answers": "links",
    "exact_duplicate": "same",
    "near_duplicate": "near",
    NOT_CHOSEN: "left",
}


@dataclass(frozen=True, slots=True)
class SourceTable:
    """Heads and rows of text, the last row for all sources together."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def source_table(record: CurationRecord) -> SourceTable:
    """What was read, dropped by each filter, left and chosen; at most 12 sources, the largest first."""
    reasons = list(dict.fromkeys([*record.filters, NOT_CHOSEN]))
    reasons = [reason for reason in reasons if any(reason in source.dropped for source in record.sources)]
    ordered = sorted(record.sources, key=lambda source: -source.read)
    shown = [_row(one_line(source.name, 40), [source], reasons) for source in ordered[:MOST_SOURCES]]
    if others := ordered[MOST_SOURCES:]:
        shown.append(_row(counted(len(others), "other source"), others, reasons))
    if len(ordered) > 1:
        shown.append(_row("all", ordered, reasons))
    return SourceTable(
        ("source", "read", *(_HEADS.get(reason, reason) for reason in reasons), "chosen"), tuple(shown)
    )


def _row(name: str, sources: Sequence[SourceRecord], reasons: Sequence[str]) -> tuple[str, ...]:
    counts = [
        sum(source.read for source in sources),
        *(sum(source.dropped.get(reason, 0) for source in sources) for reason in reasons),
        sum(source.chosen for source in sources),
    ]
    return name, *map(compact, counts)


def compact(count: int) -> str:
    """A count in at most six characters: the record holds the exact ones."""
    if count < 100_000:
        return f"{count:,}"
    return f"{count / 1000:.0f}k" if count < 999_500 else f"{count / 1e6:.2f}M"


def figure(value: float) -> str:
    """A method's own figure; a whole one is a count, and has no zeros behind a point."""
    return f"{value:,.0f}" if value.is_integer() else number(value)


def headline(record: CurationRecord) -> str:
    """What was done, in a sentence."""
    return (
        f"{counted(record.n, 'example')} of {record.read:,} by {record.method} "
        f"({record.encoder}, seed {record.seed})"
    )


def write_curation_page(record: CurationRecord, coverage: Coverage, path: Path) -> None:
    """Write the page to `path`, whole or not at all. Text from data is made visible and escaped."""
    names = [source.name for source in record.sources]
    picture = Chart("Chosen over all", "Chosen examples over all", inert_json(covered(coverage, names)))
    explained = " and ".join(f"{100 * share:.1f}%" for share in coverage.explained)
    write_atomic(
        path,
        fill_page(
            "curation.html.j2",
            "report.css",
            "guard.css",
            headline=headline(record),
            charts_of=[picture],
            explained=explained,
            table=source_table(record),
            said=[(what, figure(value)) for what, value in record.said.items()],
            notes=_notes(record),
        ),
    )


def _notes(record: CurationRecord) -> list[tuple[str, str]]:
    notes = [
        ("Method", f"{record.method}: {_told(record.options)}"),
        *((f"Filter {name}", _told(options)) for name, options in record.filters.items()),
        *((f"Proxy of {what}", proxy) for what, proxy in record.proxies.items()),
        ("Files", ", ".join(f"{file.name} ({file.sha256[:16]})" for file in record.files)),
        ("Versions", _told(record.versions)),
    ]
    return [(title, one_line(said, 900)) for title, said in notes]


def _told(options: dict[str, object] | dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in options.items()) or "no options"
