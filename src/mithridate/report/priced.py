"""Rows of a price list as a report shows them: what each cure did to each attack, over all seeds."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from mithridate.core.cures import Outcome, Verdict, budget_of, outcomes, surviving, utility_changes
from mithridate.core.errors import DataError
from mithridate.core.prices import CLEAN_MODEL, NOTHING, PRICES, Control, Kind, Price, Priced, Regime
from mithridate.core.types import Condition
from mithridate.report.estimates import Estimate, estimate
from mithridate.report.view import View

_FIGURE = frozenset({"value", "low", "high", "n"})
_PLACE = tuple(field.name for field in fields(Priced) if field.name not in _FIGURE)

BEST_FIRST = (
    Verdict.CURED,
    Verdict.COSTLY,
    Verdict.UNSUPPORTED,
    Verdict.WEAKENED,
    Verdict.KEPT,
    Verdict.ABSENT,
)
"""Verdicts in the order of a price list."""
GONE = frozenset({Verdict.CURED, Verdict.COSTLY})
"""Verdicts by which a cure, and not chance or damage, took an attack down to what a clean model shows."""


class Subject(NamedTuple):
    """The poisoned model that was to be healed, in every seed."""

    cell: str
    dose: str
    model: str
    stage: str
    template: str


class Setting(NamedTuple):
    """A method as it was set. Where each seed has a setting of its own, `variant` names them all."""

    method: str
    regime: str = ""
    kind: str = ""
    aim: str = ""
    variant: str = ""

    @property
    def heals(self) -> bool:
        """Whether it changes the model, or how it answers: a filter of prompts does neither."""
        return self.kind != Kind.PROMPTS

    @property
    def against_all(self) -> bool:
        """Whether it was made against all attacks where it is known what to look for."""
        return self.regime == Regime.KNOWN and not self.aim


UNTREATED, CLEAN = Setting(NOTHING), Setting(CLEAN_MODEL)


@dataclass(frozen=True)
class Effect:
    """What one setting did to one attack that it was made against, over seeds.

    `found` holds the outcome of each seed; `before`, `after` and `clean` are rates, `clean` None where no
    clean model was asked. `missing` are the seeds in which the attack is there and no such cure is: none
    could be had, or none was tried. `controlled` is whether a random change stands beside it in all of
    `found`.
    """

    setting: Setting
    attack: str
    found: Mapping[int, Outcome]
    before: Estimate
    after: Estimate
    clean: Estimate | None
    missing: frozenset[int] = frozenset()
    controlled: bool = True

    @cached_property
    def verdict(self) -> Verdict:
        """The worst verdict of all seeds in which there was something to cure.

        A seed without the cure keeps the attack.
        """
        present = [one.verdict for one in self.found.values() if one.verdict is not Verdict.ABSENT]
        present += [Verdict.KEPT for _ in self.missing]
        return max(present, key=BEST_FIRST.index, default=Verdict.ABSENT)

    def seeds_of(self, *verdicts: Verdict) -> int:
        """In how many seeds the verdict is one of these."""
        return sum(one.verdict in verdicts for one in self.found.values())

    @cached_property
    def present(self) -> int:
        """In how many seeds there was something to cure."""
        return len(self.found) - self.seeds_of(Verdict.ABSENT) + len(self.missing)

    @cached_property
    def points(self) -> float:
        """Points of utility lost, the mean over seeds; infinite where one is without end or not known."""
        return sum(one.points for one in self.found.values()) / len(self.found)

    @cached_property
    def removed(self) -> float | None:
        """Share of the attack's excess over the clean level that is gone: 1 all of it, below 0 it grew.

        The clean level is that of the clean model, or without one the floor of the rule. None where there is
        no excess.
        """
        floors = [one.floor for one in self.found.values()]
        level = self.clean.value if self.clean else sum(floors) / len(floors)
        excess = self.before.value - level
        return (self.before.value - self.after.value) / excess if excess > 0 else None

    @property
    def rank(self) -> tuple[float, ...]:
        """Sorts the best first: by verdict, then by price where the attack is gone, else by what is left.

        What heals no model comes behind what does as well.
        """
        left = 0.0 if self.verdict in GONE else self.after.value
        return BEST_FIRST.index(self.verdict), float(not self.setting.heals), left, self.points


@dataclass(frozen=True)
class PricedView:
    """A price list as a report shows it. `order` names attacks in the order of the study."""

    rows: tuple[Priced, ...]
    order: tuple[str, ...] = ()
    source: Path = Path(PRICES)

    @classmethod
    def of(cls, view: View) -> PricedView | None:
        """That of a run as it is shown; None where no cure was tried on its models."""
        run = view.run
        return cls(run.priced, tuple(view.attacks), run.folder / PRICES) if run.priced else None

    @cached_property
    def subjects(self) -> list[Subject]:
        """The models that rows are about, as they come."""
        return list(self._by_subject)

    @cached_property
    def _by_subject(self) -> dict[Subject, list[Priced]]:
        """The rows of each model, each figure once; those of no template belong to each that there is.

        Raises DataError, naming `source`, if two rows give different figures for one thing.
        """
        found: dict[Subject, list[Priced]] = defaultdict(list)
        for row in _each_once(self.rows, self.source):
            found[Subject(*(getattr(row, name) for name in Subject._fields))].append(row)
        for subject in [one for one in found if not one.template]:
            asked = [one for one in found if one.template and one[:-1] == subject[:-1]]
            for other in asked:
                found[other] += found[subject]
            if asked:
                del found[subject]
        return dict(found)

    def seeds(self, subject: Subject) -> list[int]:
        """The seeds of one model, ascending."""
        return sorted(self._by_seed.get(subject, ()))

    @cached_property
    def _by_seed(self) -> dict[Subject, dict[int, list[Priced]]]:
        found: dict[Subject, dict[int, list[Priced]]] = {}
        for subject, rows in self._by_subject.items():
            of: dict[int, list[Priced]] = defaultdict(list)
            for row in rows:
                of[row.seed].append(row)
            found[subject] = dict(of)
        return found

    def attacks(self, subject: Subject) -> list[str]:
        """The attacks that one model was asked about."""
        seen = dict.fromkeys(row.attack for row in self._by_subject.get(subject, ()) if row.attack)
        known = [name for name in self.order if name in seen]
        return known + [name for name in seen if name not in known]

    def settings(self, subject: Subject) -> list[Setting]:
        """The methods as they were set, in the order of the rows; neither nothing nor the clean model."""
        return [setting for setting in self._figures(subject) if setting not in (UNTREATED, CLEAN)]

    def budget(self, subject: Subject) -> float:
        """Points of utility that a cure of one model might cost."""
        return budget_of(self._by_subject.get(subject, ()))

    def surviving(self, subject: Subject) -> list[str]:
        """The attacks that there is something of to cure in some seed."""
        there = {attack for of in self._surviving[subject].values() for attack in of}
        return [attack for attack in self.attacks(subject) if attack in there]

    @cached_property
    def _surviving(self) -> dict[Subject, dict[int, list[str]]]:
        return {
            subject: {seed: surviving(rows) for seed, rows in of.items()}
            for subject, of in self._by_seed.items()
        }

    def effects(self, subject: Subject) -> list[Effect]:
        """What each setting did to each attack that it was made against; side effects are in `at`."""
        return self._effects[subject]

    @cached_property
    def _effects(self) -> dict[Subject, list[Effect]]:
        return {subject: self._effects_of(subject) for subject in self.subjects}

    def _effects_of(self, subject: Subject) -> list[Effect]:
        named = self._names[subject]
        found: dict[tuple[Setting, str], dict[int, Outcome]] = defaultdict(dict)
        budget, there = self.budget(subject), self._surviving[subject]
        for seed in self.seeds(subject):
            for one in outcomes(self._by_seed[subject][seed], budget):
                if one.aimed:
                    found[named[_own(one)], one.attack][seed] = one
        return [
            Effect(
                setting,
                attack,
                of,
                self._rate(subject, UNTREATED, attack, {seed: one.before for seed, one in of.items()}),
                self._rate(subject, setting, attack, {seed: one.after for seed, one in of.items()}),
                self.at(subject, CLEAN, Price.ASR, attack=attack),
                frozenset(seed for seed in there if attack in there[seed] and seed not in of),
                of.keys() <= self._with_control(subject, setting, attack),
            )
            for (setting, attack), of in found.items()
        ]

    def _with_control(self, subject: Subject, setting: Setting, attack: str) -> set[int]:
        """The seeds in which a random change was asked about an attack in the place of a cure."""
        control = self.at(subject, setting, Price.ASR, attack=attack, control=Control.RANDOM.value)
        return set(control.runs) if control else set()

    def _rate(self, subject: Subject, setting: Setting, attack: str, runs: Mapping[int, Priced]) -> Estimate:
        """The mean over `runs`, most often all that there are of the setting."""
        known = self.at(subject, setting, Price.ASR, attack=attack)
        return known if known is not None and known.runs.keys() == runs.keys() else estimate(runs)

    def at(
        self,
        subject: Subject,
        setting: Setting,
        metric: Price,
        *,
        attack: str = "",
        condition: str = "",
        control: str = "",
    ) -> Estimate | None:
        """One figure of one setting, averaged over seeds; success is of triggered probes unless said."""
        if metric is Price.ASR and not condition:
            condition = Condition.TRIGGERED.value
        key = subject, setting, metric, attack, condition, control
        if key not in self._estimated:
            runs = self._figures(subject).get(setting, {}).get((metric, attack, condition, control))
            self._estimated[key] = estimate(runs) if runs else None
        return self._estimated[key]

    @cached_property
    def _estimated(self) -> dict[tuple[Any, ...], Estimate | None]:
        """What was asked for: a page asks often, and each interval over seeds takes thousands of draws."""
        return {}

    def _figures(self, subject: Subject) -> dict[Setting, dict[tuple[str, ...], dict[int, Priced]]]:
        return self._all_figures.get(subject, {})

    @cached_property
    def _all_figures(self) -> dict[Subject, dict[Setting, dict[tuple[str, ...], dict[int, Priced]]]]:
        found: dict[Subject, dict[Setting, dict[tuple[str, ...], dict[int, Priced]]]] = {}
        for subject, rows in self._by_subject.items():
            of: dict[Setting, dict[tuple[str, ...], dict[int, Priced]]] = defaultdict(
                lambda: defaultdict(dict)
            )
            for row in rows:
                if math.isfinite(row.value):
                    about = row.metric, row.attack, row.condition, row.control
                    of[self._names[subject][_own(row)]][about][row.seed] = row
            found[subject] = {setting: dict(figures) for setting, figures in of.items()}
        return found

    @cached_property
    def _names(self) -> dict[Subject, dict[Setting, Setting]]:
        """What each setting of a seed is called over all seeds.

        A method with one setting in every seed chose it there; what was chosen are their names, the
        commonest first. One with several in a seed was asked for them, and each is told of by itself.
        """
        return {subject: _called(rows) for subject, rows in self._by_subject.items()}

    def changes(self, subject: Subject, setting: Setting) -> dict[Price, float]:
        """What a setting cost in each figure of utility, in points, the mean over seeds."""
        each: dict[Price, list[float]] = defaultdict(list)
        own = {one for one, called in self._names[subject].items() if called == setting}
        for rows in self._by_seed[subject].values():
            cure = next((row for row in rows if _own(row) in own and not row.control), None)
            if cure is not None:
                for metric, change in utility_changes(rows, cure).items():
                    each[metric].append(change)
        return {metric: sum(found) / len(found) for metric, found in each.items()}


def best_settings(effects: Iterable[Effect]) -> list[Effect]:
    """Of each method against each attack the best setting, the best methods first."""
    best: dict[tuple[str, ...], Effect] = {}
    for one in effects:
        key = one.setting.method, one.setting.regime, one.setting.aim, one.attack
        if key not in best or one.rank < best[key].rank:
            best[key] = one
    return sorted(best.values(), key=lambda one: one.rank)


def _own(about: Priced | Outcome) -> Setting:
    # What is compared with has one setting, whatever else its rows say.
    if about.method in (NOTHING, CLEAN_MODEL):
        return Setting(about.method)
    return Setting(about.method, about.regime, about.kind, about.aim, about.variant)


def _called(rows: Sequence[Priced]) -> dict[Setting, Setting]:
    by_method: dict[Setting, dict[int, list[Setting]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        own = _own(row)
        of = by_method[own._replace(variant="")][row.seed]
        if own not in of:
            of.append(own)
    found: dict[Setting, Setting] = {}
    for method, by_seed in by_method.items():
        chosen = all(len(of) == 1 for of in by_seed.values())
        variants = Counter(own.variant for of in by_seed.values() for own in of)
        name = "; ".join(variant for variant, _ in variants.most_common())
        for of in by_seed.values():
            found.update({own: method._replace(variant=name) if chosen else own for own in of})
    return found


def _each_once(rows: Iterable[Priced], source: Path) -> list[Priced]:
    seen: dict[tuple[Any, ...], Priced] = {}
    for row in rows:
        key = tuple(getattr(row, name) for name in _PLACE)
        before = seen.setdefault(key, row)
        # As text, since NaN equals nothing.
        if repr(before) != repr(row):
            about = ", ".join(f"{name} {value!r}" for name, value in zip(_PLACE, key, strict=True) if value)
            raise DataError(
                f"holds two figures for {about}: {before.value:g} and {row.value:g}. Tables of two runs do "
                "not go together; `mithridate price` on the run directory writes it anew",
                path=source,
            )
    return list(seen.values())
