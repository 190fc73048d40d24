"""The page of a benchmark of defences: one file, as that of a run, and as safe to open."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mithridate.core.artifacts import write_atomic
from mithridate.core.wording import counted
from mithridate.report import guard_figures, guard_tables
from mithridate.report.guard_view import GuardView
from mithridate.report.page import Chart, fill_page, inert_json
from mithridate.report.tables import Table
from mithridate.report.text import number, one_line
from mithridate.retrieval.measuring.records import NDCG_DEPTH, AttackRecord, BenchResult, Example

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

REPORT = "report.html"
_LONGEST_TEXT = 700


@dataclass(frozen=True, slots=True)
class Planted:
    """What one attack planted, in words, with texts to look at."""

    attack: str
    said: str
    examples: list[Example]


def write_guard_report(result: BenchResult, path: Path) -> Path:
    """Write the page of a benchmark to `path`, whole or not at all."""
    write_atomic(path, render_guard(result))
    return path


def render_guard(result: BenchResult) -> str:
    """The page of a benchmark as HTML."""
    view = GuardView(result)
    weighed = ((_planted_each(n), guard_figures.trade_off(view, n)) for n in view.copies)
    return fill_page(
        "guard.html.j2",
        "report.css",
        "guard.css",
        view=view,
        title=_title(result),
        warnings=result.warnings,
        trade_offs=_charts(weighed),
        main_tables=_tables(view, "ASR", "SR") if view.has_quality else _tables(view, "ASR"),
        more_tables=_tables(view, "poison", "any"),
        copies_charts=_charts((one.label, guard_figures.by_copies(view, one)) for one in view.attacks),
        clean=guard_tables.clean_quality(view) if view.has_quality else None,
        clean_by_k=guard_tables.clean_by_k(view),
        costs=guard_tables.costs(view),
        length_charts=_charts((one.label, guard_figures.by_length(view, one)) for one in view.assaults),
        length_tables=_length_tables(view),
        clean_lengths=guard_tables.lengths_clean(view),
        planted=[_planted(one) for one in result.attacks],
        notes=_notes(view),
        command=command_of(result),
        ndcg_depth=NDCG_DEPTH,
        longest=_LONGEST_TEXT,
        wider=f"{guard_figures.WIDER:.0f}",
    )


def _title(result: BenchResult) -> str:
    """What the page is called: the corpus by its last name."""
    return f"Retrieval guard on {Path(result.settings.corpus).name or result.settings.corpus}"


def _planted_each(copies: int) -> str:
    return f"{counted(copies, 'planted document')} a question"


def _tables(view: GuardView, *heads: str) -> list[Table]:
    return [guard_tables.under_attack(view, head) for head in heads] if view.assaults else []


def _length_tables(view: GuardView) -> list[Table]:
    found = (guard_tables.lengths_under_attack(view, one) for one in view.assaults)
    return [table for table in found if table is not None]


def _charts(drawn: Iterable[tuple[str, Figure | None]]) -> list[Chart]:
    return [
        Chart(title, f"Success of attacks: {title}", inert_json(figure))
        for title, figure in drawn
        if figure is not None
    ]


def _planted(record: AttackRecord) -> Planted:
    said = f"texts for {counted(record.attacked, 'question')}"
    if record.words is not None:
        said += f", {number(record.words)} words at the median"
    if record.skipped:
        said += f"; none for {record.skipped:,}"
    return Planted(one_line(record.attack, 60), said, record.examples)


def _notes(view: GuardView) -> list[tuple[str, str]]:
    """What was measured and with what, as pairs to list."""
    settings = view.result.settings
    packages = (f"{name} {release}" for name, release in settings.versions.packages.items())
    documents = counted(settings.documents, "document")
    timed, hits = counted(settings.timed_queries, "question"), counted(settings.timed_k, "hit")
    notes = (
        ("Corpus", f"{settings.corpus}: {documents} ({settings.corpus_digest[:16]})"),
        ("Questions", f"{settings.queries:,}, of which {settings.judged:,} have a relevant document"),
        ("Encoder", f"{settings.encoder}, {settings.dimension} dimensions"),
        ("Defences", ", ".join(f"{one.index} {one.label}" for one in view.defenses)),
        ("Attacks", ", ".join(settings.attacks) or "none"),
        ("Planted", ", ".join(map(str, settings.copies)) + " a question, for all questions together"),
        ("Times", f"{timed}, answers of {hits}"),
        ("Seed", str(settings.seed)),
        ("Versions", ", ".join([f"Python {settings.versions.python}", *packages])),
    )
    return [(title, one_line(said, 900)) for title, said in notes]


def command_of(result: BenchResult) -> str:
    """The command that measures the same grid again; the encoder is known by its identity alone."""
    settings = result.settings
    options = {
        "--attacks": ",".join(settings.attacks),
        "--defenses": ",".join(settings.defenses),
        "--top-k": ",".join(map(str, settings.top_ks)),
        "--copies": ",".join(map(str, settings.copies)),
        "--queries": str(settings.queries),
        **({} if settings.split is None else {"--split": settings.split}),
        "--seed": str(settings.seed),
    }
    words = [f"{option} {shlex.quote(value)}" for option, value in options.items()]
    return " \\\n  ".join([f"mithridate guard bench {shlex.quote(settings.corpus)}", *words])
