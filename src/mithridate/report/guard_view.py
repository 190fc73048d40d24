"""A benchmark of defences as it is shown: what is compared, in which order, and which figures come first."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from mithridate.core.wording import counted
from mithridate.report.look import Marked
from mithridate.report.text import one_line, percent, span
from mithridate.retrieval.measuring.records import (
    NDCG_DEPTH,
    PLAIN,
    AttackAt,
    AttackResult,
    BenchResult,
    CleanAt,
    CleanResult,
    Figure,
)

_LONGEST_NAME = 60
_QUOTED_K = 5


@dataclass(frozen=True, slots=True)
class Compared(Marked):
    """A defence or an attack as it is named and drawn; 0 is the plain search."""

    key: str
    index: int

    @property
    def label(self) -> str:
        """Its name, fit to be looked at."""
        return one_line(self.key, _LONGEST_NAME)


class Assault(NamedTuple):
    """An attack with so many planted documents a question."""

    attack: str
    copies: int

    @property
    def label(self) -> str:
        """As it is called in tables."""
        return f"{one_line(self.attack, _LONGEST_NAME)}, {counted(self.copies, 'copy', 'copies')}"


@dataclass(frozen=True)
class GuardView:
    """The result of a benchmark, looked up by what is compared."""

    result: BenchResult

    @cached_property
    def defenses(self) -> list[Compared]:
        """The plain search, then the defences in the order in which they were named."""
        others = [one.defense for one in self.result.clean if one.defense != PLAIN]
        return [Compared(key, index) for index, key in enumerate([PLAIN, *others])]

    @cached_property
    def attacks(self) -> list[Compared]:
        """The attacks that planted anything."""
        found = dict.fromkeys(one.attack for one in self.result.attacked)
        return [Compared(key, index) for index, key in enumerate(found, 1)]

    @cached_property
    def copies(self) -> list[int]:
        """The numbers of planted documents a question that were measured, ascending."""
        return sorted({one.copies for one in self.result.attacked})

    @cached_property
    def assaults(self) -> list[Assault]:
        """Attacks, with each number of copies that was measured."""
        return list(dict.fromkeys(Assault(one.attack, one.copies) for one in self.result.attacked))

    @property
    def quoted_k(self) -> int:
        """The number of hits that is quoted first."""
        ks = self.result.settings.top_ks
        return _QUOTED_K if _QUOTED_K in ks else self.result.settings.timed_k

    @property
    def has_quality(self) -> bool:
        """Whether any question was judged, so that there are nDCG, recall and SR."""
        return self.result.settings.judged > 0

    def clean(self, defense: Compared) -> CleanResult:
        """What a defence did on the clean corpus."""
        return self._clean[defense.key]

    def clean_at(self, defense: Compared, k: int) -> CleanAt:
        """The same for answers of `k` hits."""
        return next(one for one in self.clean(defense).at if one.k == k)

    def attacked(self, defense: Compared, assault: Assault) -> AttackResult | None:
        """What a defence did under an attack; None if it was not measured."""
        return self._attacked.get((*assault, defense.key))

    def attacked_at(self, defense: Compared, assault: Assault, k: int) -> AttackAt | None:
        """The same for answers of `k` hits."""
        found = self.attacked(defense, assault)
        return None if found is None else next(one for one in found.at if one.k == k)

    @cached_property
    def _clean(self) -> dict[str, CleanResult]:
        return {one.defense: one for one in self.result.clean}

    @cached_property
    def _attacked(self) -> dict[tuple[str, int, str], AttackResult]:
        return {(one.attack, one.copies, one.defense): one for one in self.result.attacked}

    @property
    def headlines(self) -> list[str]:
        """What the figures alone say: what poison does undefended, and what is least it does."""
        if not self.assaults:
            return ["No attack was measured: these are the figures of the clean corpus."]
        return [self._undefended(), *self._least()]

    def _undefended(self) -> str:
        plain = self._rates(self.defenses[0])
        (worst, most), (mildest, least) = max(plain, key=_rate), min(plain, key=_rate)
        found = f"a document planted for a question is among the first {self.quoted_k} hits"
        if len(plain) == 1:
            asked = counted(most.n, "question")
            return f"Without a defence, {found} of {percent(most.value)} of {asked} ({worst.label})."
        return (
            f"Without a defence, {found} of {percent(least.value)} ({mildest.label}) to "
            f"{percent(most.value)} ({worst.label}) of the questions."
        )

    def _least(self) -> list[str]:
        others = self.defenses[1:]
        if not others:
            return []
        best = min(others, key=lambda defense: max(map(_rate, self._rates(defense))))
        worst, most = max(self._rates(best), key=_rate)
        found = f"{percent(most.value)} {_brackets(span(most.low, most.high))}({worst.label})"
        if len(others) > 1:
            said = f"Of {len(others)} defences, {best.label} lets least through in its worst case: {found}"
        else:
            said = f"Behind {best.label} it is, in the worst case, {found}"
        loss = self.clean(best).ndcg_loss
        if loss is None:
            return [f"{said}."]
        cost = f"{points(loss.value)} points of nDCG@{NDCG_DEPTH} on the clean corpus"
        ends = f" ({points(loss.low)} to {points(loss.high)})" if loss.low is not None else ""
        return [f"{said}. It costs {cost}{ends}."]

    def _rates(self, defense: Compared) -> list[tuple[Assault, Figure]]:
        """How often each attack succeeds against a defence, at the number of hits that is quoted."""
        found = ((one, self.attacked_at(defense, one, self.quoted_k)) for one in self.assaults)
        return [(one, at.asr) for one, at in found if at is not None]


def _rate(one: tuple[Assault, Figure]) -> float:
    return one[1].value


def _brackets(interval: str) -> str:
    return f"[{interval}] " if interval else ""


def points(share: float | None) -> str:
    """A share in hundredths, with one decimal and a true minus sign."""
    if share is None:
        return "–"
    shown = round(100 * share, 1) + 0.0  # no negative nothing
    return f"−{-shown:.1f}" if shown < 0 else f"{shown:.1f}"


def score(value: float | None) -> str:
    """An nDCG as the field writes it: three decimals, without the nought in front."""
    return "–" if value is None else f"{value:.3f}".removeprefix("0")
