"""What a report opens with: what survives, or what the experiments say of a study that trains no further."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mithridate.core.types import Stage
from mithridate.report.estimates import ENOUGH_SEEDS
from mithridate.report.sections import Section, seeds_in_words
from mithridate.report.statements import Statement, StatementVerdict
from mithridate.report.text import one_line
from mithridate.report.view import View

_MOST_NAMED = 4
"""Subjects of one verdict that are named; of more, their number is told."""


def leads(view: View, sections: Sequence[Section]) -> list[str]:
    """One sentence a dose on survival; of a study without SFT or DPO, one for each statement it is about.

    Such a study cannot ask what survives, so that it could not be tested is no news of it.
    """
    if asks_of_survival(view, sections):
        return view.headlines
    found = [one_line(said, 2000) for section in sections for said in (*section.found, *_sentences(section))]
    seeds = sorted({row.seed for row in view.run.measurements})
    return found if len(seeds) >= ENOUGH_SEEDS else [*found, f"All of it rests on {seeds_in_words(seeds)}."]


def asks_of_survival(view: View, sections: Sequence[Section]) -> bool:
    """Whether a study trained on, so that there is something to survive; or is about nothing else."""
    trained_on = {Stage.SFT.value, Stage.DPO.value} <= set(view.stages)
    return trained_on or not any(section.claims for section in sections)


def _sentences(section: Section) -> Iterator[str]:
    """Each statement and its verdicts; what could not be tested only where nothing else was found."""
    claims: Sequence[Statement] = section.claims
    if section.found and all(claim.verdict is StatementVerdict.NOT_TESTED for claim in claims):
        return
    for statement in dict.fromkeys(claim.statement for claim in claims):
        these = [claim for claim in claims if claim.statement == statement]
        parts = []
        for verdict in StatementVerdict:
            about = [claim.about for claim in these if claim.verdict is verdict]
            if about:
                parts.append(f"{verdict.value} {_of(about, len(these))}".rstrip())
        yield f"{statement}: {'; '.join(parts)}."


def _of(about: Sequence[str], of: int) -> str:
    if of == 1:
        return f"({about[0]})" if about[0] else ""
    if len(about) <= _MOST_NAMED and len(about) < of:
        return f"in {len(about)} of {of} cases ({'; '.join(about)})"
    return f"in all {of} cases" if len(about) == of else f"in {len(about)} of {of} cases"
