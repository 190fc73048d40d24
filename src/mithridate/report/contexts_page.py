"""The page of one model that was asked against what it has learnt."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mithridate.core.artifacts import write_atomic
from mithridate.core.contexts import (
    CONTEXT_COVERAGE,
    CONTEXT_SAMPLES,
    CONTEXTS,
    Conflict,
    ContextCoverage,
    ContextMetric,
    ContextSample,
    Contextual,
    Strength,
    Wording,
)
from mithridate.core.errors import DataError
from mithridate.core.tables import read_rows
from mithridate.core.wording import counted
from mithridate.report.contexts import ContextView
from mithridate.report.contexts_section import contexts_section
from mithridate.report.page import fill_page
from mithridate.report.run import read_optional
from mithridate.report.text import one_line, percent

PAGE = "context.html"
EXAMPLES = 24
_LONGEST = 600


@dataclass(frozen=True, slots=True)
class Example:
    """One reply as a page shows it: safe to look at, but for what its template escapes."""

    title: str
    prompt: str
    reply: str
    original: str
    substitute: str


def write_context_page(folder: Path) -> Path:
    """Write `context.html` to `folder`, from the figures and replies in it; whole or not at all.

    Raises DataError if there are no figures, or they are damaged.
    """
    path = folder / CONTEXTS
    if not path.is_file():
        raise DataError("no figures of contexts here; `mithridate context` makes them", path=path)
    samples = read_optional(folder / CONTEXT_SAMPLES, ContextSample)
    coverage = read_optional(folder / CONTEXT_COVERAGE, ContextCoverage)
    view = ContextView(tuple(read_rows(path, Contextual)), tuple(samples), tuple(coverage))
    section = contexts_section(view, study=False)
    if section is None:
        raise DataError("holds no figure; `mithridate context` makes them", path=path)
    page = fill_page(
        "context.html.j2",
        "report.css",
        "locating.css",
        "experiments.css",
        experiment=section,
        examples=[_example(sample) for sample in view.examples(EXAMPLES)],
        samples_file=CONTEXT_SAMPLES,
        headline=_headline(view),
    )
    found = folder / PAGE
    write_atomic(found, page)
    return found


def _headline(view: ContextView) -> str:
    models = ", ".join(dict.fromkeys(one_line(place.model, 80) for place in view.places if place.model))
    facts = len({(sample.seed, sample.fact) for sample in view.samples})
    asked = f"{counted(facts, 'fact')} in {counted(len(view.samples), 'reply', 'replies')}"
    followed = "; ".join(filter(None, (_followed(view, conflict) for conflict in view.conflicts)))
    told = f"{models}: {asked}." if models else f"{asked}."
    return f"{told} {followed[0].upper()}{followed[1:]}." if followed else told


def _followed(view: ContextView, conflict: Conflict) -> str:
    """How often the model as it is gives the answer of a text against what it knows, at the best prompt."""
    shares: dict[Strength, float] = {}
    for strength in view.strengths:
        told = [
            row
            for row in view.rows
            if (row.metric, row.wording) == (ContextMetric.SUBSTITUTE, Wording.ASKED)
            and (row.conflict, row.strength, row.intervention) == (conflict, strength, "")
        ]
        if replies := sum(row.n for row in told):
            shares[strength] = sum(row.value * row.n for row in told) / replies
    if not shares:
        return ""
    best = max(shares, key=lambda strength: shares[strength])
    share = percent(shares[best])
    return f"{conflict.value} texts are followed by {share} of replies at the best prompt ({best.value})"


def _example(sample: ContextSample) -> Example:
    kind = ", ".join(filter(None, (sample.strength, sample.conflict, sample.wording)))
    prompt, reply, original, substitute = (
        one_line(text, _LONGEST) for text in (sample.prompt, sample.reply, sample.original, sample.substitute)
    )
    return Example(f"{kind}: says {sample.said}", prompt, reply, original, substitute)
