"""Statements that figures are held against, and what they say of each: a verdict and its reason."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from rich.text import Text

from mithridate.report.text import one_line


class StatementVerdict(StrEnum):
    """What the figures say of a statement: of the project's own, of one made elsewhere, or of an aim."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    REPRODUCED = "reproduced"
    NOT_REPRODUCED = "not reproduced"
    MET = "met"
    NOT_MET = "not met"
    INCONCLUSIVE = "inconclusive"
    NOT_TESTED = "not tested"


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, what the figures say of it, and the sentence on what decided.

    `about` is the dose, with the cell or the model where that is needed to tell statements apart.
    """

    statement: str
    about: str
    verdict: StatementVerdict
    reason: str


_STYLES = {
    StatementVerdict.SUPPORTED: "green",
    StatementVerdict.REPRODUCED: "green",
    StatementVerdict.MET: "green",
    StatementVerdict.CONTRADICTED: "red",
    StatementVerdict.NOT_REPRODUCED: "red",
    StatementVerdict.NOT_MET: "red",
    StatementVerdict.INCONCLUSIVE: "yellow",
    StatementVerdict.NOT_TESTED: "dim",
}


def statement_line(claim: Statement) -> Text:
    """A statement for a terminal: its verdict first, in a colour where there are some."""
    about = f" ({one_line(claim.about, 60)})" if claim.about else ""
    return Text.assemble(
        (claim.verdict.value, _STYLES[claim.verdict]), f": {claim.statement}{about}. ", (claim.reason, "dim")
    )
