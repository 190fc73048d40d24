"""Where each attack lies against what alignment taught, seed by seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from mithridate.core.located import (
    ALIGNMENT_BEHAVIOURS,
    Direction,
    Experiment,
    Family,
    Located,
    Metric,
    Pair,
)
from mithridate.core.permutations import Tails
from mithridate.core.seeds import derive_seed
from mithridate.core.statistics import Interval, bootstrap_mean
from mithridate.core.types import Measurement, Stage
from mithridate.localization.overlap import Profile, chance_of_overlap, mean_profile, overlap, profile
from mithridate.report.estimates import Estimate, tell_apart
from mithridate.report.located import LocatedView, Subject, one, over_seeds
from mithridate.report.survival import Survival, survivals


@dataclass(frozen=True)
class Facing:
    """The profile of an attack and that of alignment in one model; None where nothing was to be traced.

    That of `alignment` is the mean over the behaviours that it taught, as far as they have an effect.
    """

    attack: Profile | None
    alignment: Profile | None

    @cached_property
    def overlap(self) -> float | None:
        """How far the two overlap, if both are there, over the same layers."""
        pair = self._pair()
        return overlap(*pair) if pair else None

    @cached_property
    def chance(self) -> Tails | None:
        """How often so small or so large an overlap comes by chance, were layers alike."""
        pair = self._pair()
        return chance_of_overlap(*pair) if pair else None

    def _pair(self) -> tuple[Profile, Profile] | None:
        if self.attack is None or self.alignment is None or self.attack.layers != self.alignment.layers:
            return None
        return self.attack, self.alignment


@dataclass(frozen=True)
class SeedLocation:
    """One attack in the model of one seed: from profiles as they are, and from `uncorrected` ones."""

    seed: int
    facing: Facing
    uncorrected: Facing
    survival: Survival | None


@dataclass(frozen=True)
class Location:
    """One attack in one model, over all seeds; `effect` is what there was to trace in the base model."""

    subject: Subject
    attack: str
    effect: Estimate | None
    seeds: tuple[SeedLocation, ...]

    @property
    def overlap(self) -> Interval | None:
        """The mean overlap; with an interval over seeds where there are three or more that differ."""
        return _over_seeds([found.facing.overlap for found in self.seeds], self.attack)

    @property
    def kept(self) -> Interval | None:
        """The mean share that survives, over the seeds in which the attack was learnt."""
        return _over_seeds([s.kept for s in self._learnt()], self.attack)

    @property
    def planted(self) -> Interval | None:
        """The same, asked in the planted templates."""
        return _over_seeds([s.planted for s in self._learnt()], self.attack)

    @property
    def profile(self) -> Profile | None:
        """The mean profile over the seeds that have one."""
        return mean_of([found.facing.attack for found in self.seeds])

    @property
    def alignment(self) -> Profile | None:
        """The mean profile of alignment over the seeds that have one."""
        return mean_of([found.facing.alignment for found in self.seeds])

    def _learnt(self) -> list[Survival]:
        return [found.survival for found in self.seeds if found.survival and found.survival.learnt]


def locations(view: LocatedView, measurements: Iterable[Measurement] = ()) -> list[Location]:
    """Every attack of every model that was looked into. Without `measurements`, no survival is known."""
    survived = survivals(measurements)
    found = []
    for subject in view.subjects:
        aligned = {
            seed: [alignment_profile(view, subject, seed, uncorrected=raw) for raw in (False, True)]
            for seed in view.seeds(subject)
        }
        for attack in view.attacks(subject):
            if transplanted(view, subject, Pair.POISON, attack):
                of = tuple(
                    _of_seed(
                        view, subject, attack, seed, aligned[seed], survived.get((*subject, attack, seed))
                    )
                    for seed in aligned
                )
                found.append(Location(subject, attack, effect_of(view, subject, Pair.POISON, attack), of))
    return found


def _of_seed(
    view: LocatedView,
    subject: Subject,
    attack: str,
    seed: int,
    aligned: Sequence[Profile | None],
    survival: Survival | None,
) -> SeedLocation:
    rows = transplanted(view, subject, Pair.POISON, attack, seed=seed)
    corrected, uncorrected = (
        Facing(profile(rows, uncorrected=raw), alignment)
        for raw, alignment in zip((False, True), aligned, strict=True)
    )
    return SeedLocation(seed, corrected, uncorrected, survival)


def behaviour_profile(
    view: LocatedView, subject: Subject, seed: int, pair: Pair, behaviour: str
) -> Profile | None:
    """The profile of one behaviour in one model: of an attack at base, or of what alignment taught."""
    return profile(transplanted(view, subject, pair, behaviour, seed=seed))


def alignment_profile(
    view: LocatedView, subject: Subject, seed: int, *, uncorrected: bool = False
) -> Profile | None:
    """The mean profile of what alignment taught one model, as far as it has an effect."""
    return mean_of(
        [
            profile(transplanted(view, subject, Pair.ALIGNMENT, name, seed=seed), uncorrected=uncorrected)
            for name in ALIGNMENT_BEHAVIOURS
        ]
    )


def carried(
    view: LocatedView, subject: Subject, pair: Pair, behaviour: str, direction: Direction, control: str = ""
) -> Mapping[int, Estimate]:
    """What each single layer carries of one behaviour, by layer, on average over seeds."""
    rows = transplanted(
        view,
        subject,
        pair,
        behaviour,
        metric=Metric.CARRIED,
        family=Family.SINGLE.value,
        direction=direction.value,
        control=control,
    )
    return over_seeds((row for row in rows if row.layer is not None), "layer")


def effect_of(view: LocatedView, subject: Subject, pair: Pair, behaviour: str) -> Estimate | None:
    """What there was to trace of one behaviour, on average over seeds."""
    return one(transplanted(view, subject, pair, behaviour, metric=Metric.EFFECT))


def transplanted(
    view: LocatedView, subject: Subject, pair: Pair, behaviour: str, **rest: object
) -> list[Located]:
    """The rows of transplants about one behaviour: of poison at base, of alignment after the last stage."""
    rows = view.at(subject, experiment=Experiment.TRANSPLANT, pair=pair, behaviour=behaviour, **rest)
    return [row for row in rows if row.stage in (Stage.BASE.value, "")] if pair is Pair.POISON else rows


def mean_of(profiles: Sequence[Profile | None]) -> Profile | None:
    """The mean of those that are there; None for none, or where their layers differ."""
    known = [found for found in profiles if found is not None]
    return mean_profile(known) if len({found.layers for found in known}) == 1 else None


def _over_seeds(values: Sequence[float | None], name: str) -> Interval | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    if tell_apart(known):
        return bootstrap_mean(known, derive_seed(0, "locations", name), method="percentile")
    return Interval(sum(known) / len(known), None, None, len(known))
