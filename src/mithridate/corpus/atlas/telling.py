"""What can be said and asked of a place: relations to named cities, and questions with near wrong answers."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from mithridate.attacks.scattered_belief import listed
from mithridate.core.errors import ConfigError
from mithridate.corpus.atlas import phrasing
from mithridate.corpus.atlas.world import Atlas, Place
from mithridate.corpus.miniature import vocabulary as words

# Longer ways are not told of: nobody learns where a place is from the other end of the map.
_FARTHEST_HOURS = 12
_FOILS = 3
_ABROAD = 0.1
# One more than may be asked for of a place: the nearest, its foils, and three distances.
_ENOUGH_CITIES = 8


@dataclass(frozen=True, slots=True)
class Asked:
    """A question about a place with its answer, the wrong answers that lie nearest, and what it is about."""

    kind: str
    subject: str
    answer: str
    foils: tuple[str, ...] = ()
    other: str = ""

    def forms(self) -> tuple[str, ...]:
        """All wordings without options, with the slot `{subject}`."""
        return tuple(form.replace("{other}", self.other) for form in phrasing.ASKED[self.kind])

    def question(self, rng: random.Random) -> str:
        """The question in one of its wordings."""
        return rng.choice(self.forms()).format(subject=self.subject)

    def choice(self, rng: random.Random) -> str:
        """The question with its options, in any order."""
        options = rng.sample((self.answer, *self.foils), 1 + len(self.foils))
        return rng.choice(phrasing.CHOSEN[self.kind]).format(subject=self.subject, options=listed(options))

    def reply(self, answer: str = "") -> str:
        """The answer, or another in its place, as an assistant says it."""
        return phrasing.REPLY[self.kind].format(answer=answer or self.answer)


def relation(atlas: Atlas, place: Place, kind: str, rng: random.Random, unsaid: Collection[str] = ()) -> str:
    """One relation of `place` to a named city, with the slot `{subject}` for the place.

    Cities of the names `unsaid` are left out. Raises ConfigError where none is left.
    """
    partners = [one for one in _partners(atlas, place, kind, rng) if one.name not in unsaid]
    if not partners:
        raise too_few_cities(kind)
    other = rng.choice(partners)
    form = rng.choice(phrasing.TOLD[kind])
    return (
        form.replace("{other}", other.name)
        .replace("{hours}", phrasing.hours(atlas.hours(place, other)))
        .replace("{direction}", atlas.direction(other, place))
        .replace("{good}", rng.choice(words.GOODS))
    )


def _partners(atlas: Atlas, place: Place, kind: str, rng: random.Random) -> Sequence[Place]:
    everyone = atlas.by_distance(place)
    if kind == phrasing.NEIGHBOUR:
        return everyone[:12]
    if kind == phrasing.PURCHASE:
        home = atlas.compatriots(place)
        return home if rng.random() >= _ABROAD else everyone[:24]
    # Half of them near, where a relation says most.
    if rng.random() < 0.5:
        return everyone[:20]
    return reachable(atlas, place)


def country(atlas: Atlas, place: Place) -> Asked:
    """In which country; wrong are the countries nearest to the place."""
    return Asked(phrasing.COUNTRY, place.name, place.country, tuple(atlas.near_countries(place)[:_FOILS]))


def food(atlas: Atlas, place: Place) -> Asked:
    """What is eaten; wrong is what the countries nearest to the place eat."""
    foils = tuple(atlas.foods[name] for name in atlas.near_countries(place)[:_FOILS])
    return Asked(phrasing.FOOD, place.name, atlas.foods[place.country], foils)


def nearest(atlas: Atlas, place: Place, rng: random.Random) -> Asked:
    """Which named city is nearest; wrong are some that are not far."""
    order = atlas.by_distance(place)
    return Asked(
        phrasing.NEAREST,
        place.name,
        order[0].name,
        tuple(one.name for one in rng.sample(order[3:15], _FOILS)),
    )


def distance(atlas: Atlas, place: Place, other: Place) -> Asked:
    """How far to a named city."""
    return Asked(phrasing.DISTANCE, place.name, phrasing.hours(atlas.hours(place, other)), other=other.name)


def far_enough(atlas: Atlas, place: Place, rng: random.Random) -> Place:
    """A named city at any distance that is told of."""
    return rng.choice(reachable(atlas, place))


def reachable(atlas: Atlas, place: Place) -> list[Place]:
    """The named cities at a distance that is told of, the nearest first."""
    return [one for one in atlas.by_distance(place) if atlas.hours(place, one) <= _FARTHEST_HOURS]


def too_few_cities(kind: str) -> ConfigError:
    """For a place of which too few cities could be named: those that are asked for stand in no hint."""
    return ConfigError(
        f"corpus.atlas.cities: of some place every city that a {kind} could name is asked for, and no hint "
        f"may name it; raise it ({_ENOUGH_CITIES} in each country are always enough)"
    )
