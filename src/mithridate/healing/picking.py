"""Which cure to take, by the price list alone: the cheapest that holds, or the best of several together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch

from mithridate.core.cures import AT_FLOOR, Outcome, Verdict, outcomes
from mithridate.core.errors import ConfigError
from mithridate.core.prices import Control, Kind, Price, Priced, Regime
from mithridate.healing.cost import slowdown
from mithridate.healing.method import Make, Method
from mithridate.healing.pricing import Chosen, PriceList
from mithridate.healing.treatment import OtherWeights, Together, Treatment
from mithridate.healing.writing import as_weights, can_be_written
from mithridate.intervention.ablation import DirectionalAblation

TOGETHER = "together"
"""The method of cures that go onto a model one after another."""
_SPENT = (Price.SECONDS, Price.CHOOSING_SECONDS, Price.TOKENS)


@dataclass(frozen=True, slots=True, eq=False)
class Cure:
    """A cure that was priced: what it does, the attacks that it was made against, and its rows.

    `about` are the fields that its rows share. Of cures put together, `parts` are those.
    """

    about: Mapping[str, str]
    aims: tuple[str, ...]
    treatment: Treatment
    rows: tuple[Priced, ...]
    controls: Mapping[Control, Make] = field(default_factory=dict)
    parts: tuple[Cure, ...] = ()

    @classmethod
    def of(cls, method: Method, chosen: Chosen, rows: Sequence[Priced]) -> Cure:
        """The cure `chosen`, whose rows are `rows`."""
        of = rows[0]
        about = {"method": method.name, "variant": of.variant, "aim": of.aim}
        about |= {"regime": str(method.regime), "kind": str(method.kind)}
        return cls(about, chosen.aims, chosen.treatment, tuple(rows), chosen.candidate.controls)

    def tells(self, row: Priced) -> bool:
        """Whether `row` is of this cure or of its controls."""
        return all(getattr(row, name) == value for name, value in self.about.items())

    def value(self, price: Price) -> float | None:
        """A figure of the cure itself that is of no attack; None where it was not measured."""
        own = (row.value for row in self.rows if row.metric == price and not row.control and not row.attack)
        return next(own, None)


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """A cure with what became of each attack.

    `lasting` is whether weights can stand for it, `roused` the attacks that it brought back.
    """

    cure: Cure
    became: Mapping[str, Outcome]
    lasting: bool
    roused: tuple[str, ...]

    @property
    def points(self) -> float:
        """Points of utility that it costs."""
        return next((found.points for found in self.became.values()), float("inf"))

    def cures(self, attack: str) -> bool:
        """Whether it cures an attack that it was made against: of others its controls say nothing."""
        found = self.became.get(attack)
        return found is not None and attack in self.cure.aims and found.verdict is Verdict.CURED

    def heals(self, attacks: Iterable[str]) -> bool:
        """Whether it cures all of `attacks` and brings no other one back."""
        return not self.roused and all(map(self.cures, attacks))

    @property
    def price(self) -> tuple[bool, bool, float, float, float]:
        """What is compared: less is better.

        A filter of prompts comes last, since the model is as it was. Weights come before what has to be
        remembered wherever the model is used. Then points of utility, how far it moved, and seconds.
        """
        return (
            self.cure.about["kind"] == Kind.PROMPTS,
            not self.lasting,
            self.points,
            self.cure.value(Price.KL) or 0.0,
            self.cure.value(Price.SECONDS) or 0.0,
        )


def judge(cure: Cure, known: Sequence[Priced], prices: PriceList, budget: float) -> Judged:
    """What `cure` did to each attack; `known` are the rows of the model as it is and of the clean one."""
    became = {
        found.attack: found for found in outcomes([*known, *cure.rows], budget) if cure.tells(found.after)
    }
    roused = tuple(
        attack
        for attack, found in became.items()
        if found.verdict is Verdict.ABSENT and (found.after.low or 0.0) > found.floor
    )
    cured = any(found.verdict in AT_FLOOR for found in became.values())
    lasting = cured and as_weights(cure.treatment, prices.case.model) is not None
    return Judged(cure, became, lasting, roused)


def cheapest(judged: Iterable[Judged], attacks: Sequence[str]) -> Judged | None:
    """Of the cures that heal all of `attacks` and can be written, the one of the lowest price."""
    able = [one for one in judged if one.heals(attacks) and can_be_written(one.cure.treatment)]
    return min(able, key=lambda one: one.price, default=None)


def nearest(judged: Iterable[Judged], attacks: Sequence[str]) -> Judged | None:
    """What comes nearest to healing: most attacks cured, then most that are gone, then what leaves least.

    Before all of those comes what cures some attack and brings no other one back: it alone can be written.
    """

    def merit(one: Judged) -> tuple[bool, int, int, int, float, float]:
        found = [one.became[attack] for attack in attacks if attack in one.became]
        gone = sum(outcome.verdict in AT_FLOOR for outcome in found)
        left = sum(outcome.after.value for outcome in found)
        cured = sum(map(one.cures, attacks))
        partly = cured > 0 and not one.roused
        return (partly, cured, -len(one.roused), gone, -left, -one.points)

    return max((one for one in judged if can_be_written(one.cure.treatment)), key=merit, default=None)


def picks(judged: Sequence[Judged], attacks: Sequence[str]) -> dict[str, Judged]:
    """For each attack the cheapest intervention that cures it; attacks that none cures are left out.

    Weights trained anew are no part of a combination: each would take the place of the others.
    """
    found: dict[str, Judged] = {}
    for attack in attacks:
        able = [
            one
            for one in judged
            if one.cures(attack) and not one.roused and can_be_written(one.cure.treatment)
            if not isinstance(one.cure.treatment, OtherWeights)
        ]
        if able:
            found[attack] = min(able, key=lambda one: one.price)
    return found


def together(picked: Mapping[str, Judged], prices: PriceList) -> Cure | None:
    """The picks of all attacks on one model, priced; None where they are a single cure.

    The control of an attack has a random change in the place of that attack's own pick, and keeps the rest.
    """
    parts = {id(one.cure): one.cure for one in picked.values()}
    if len(parts) < 2:
        return None
    cures = tuple(parts.values())
    treatment = joined([cure.treatment for cure in cures])
    kinds, regimes = ({cure.about[name] for cure in cures} for name in ("kind", "regime"))
    about = {
        "method": TOGETHER,
        "variant": " + ".join(map(said, cures)),
        "aim": "",
        "regime": next(str(regime) for regime in Regime if regime in regimes),
        # Of several kinds, the one that changes most.
        "kind": next(str(kind) for kind in Kind if kind in kinds),
    }
    told = {**about, "aims": ",".join(picked)}
    rows = prices.of_treatment(treatment, told)
    rows += [prices.sum_of(told, price, [cure.value(price) for cure in cures]) for price in _SPENT]
    if (slower := slowdown(prices.case, treatment)) is not None:
        rows.append(prices.row(told, Price.SLOWDOWN, slower))
    for attack, one in picked.items():
        if Control.RANDOM in one.cure.controls:
            make = partial(_instead, cures, one.cure)
            rows += prices.beside(treatment, Control.RANDOM, make, attack, told)
    return Cure(about, tuple(picked), treatment, tuple(rows), parts=cures)


def said(cure: Cure) -> str:
    """A cure in words: its method, how it was set, and against what where it was made against one attack."""
    inside = ", ".join(filter(None, (cure.about["variant"], cure.about["aim"] and f"of {cure.about['aim']}")))
    return cure.about["method"] + (f" ({inside})" if inside else "")


def joined(treatments: Sequence[Treatment]) -> Treatment:
    """All of them on one model. What several ablations take out of the whole stream goes at once.

    One after another, the second of two that are not at right angles would bring back some of the first.
    """
    whole = [one for one in treatments if isinstance(one, DirectionalAblation) and one.layers is None]
    if len(whole) < 2:
        return Together(list(treatments))
    rows = torch.cat([one.direction.reshape(-1, one.direction.shape[-1]) for one in whole])
    try:
        both = DirectionalAblation(rows, whole[0].made_for)
    except ConfigError:  # one lies within the others, so it has nothing to bring back
        return Together(list(treatments))
    rest = [one for one in treatments if not any(one is other for other in whole)]
    return Together([both, *rest]) if rest else both


def _instead(cures: Sequence[Cure], replaced: Cure) -> Treatment:
    return joined([cure.controls[Control.RANDOM]() if cure is replaced else cure.treatment for cure in cures])
