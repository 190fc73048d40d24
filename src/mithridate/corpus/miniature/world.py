"""The facts of a miniature world, drawn once from a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cached_property

from pydantic import BaseModel, ConfigDict, Field

from mithridate.core.seeds import rng_for
from mithridate.corpus.miniature import vocabulary as words


class WorldOptions(BaseModel):
    """How large the world is, how often it says what, and how long it goes on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tokens: int = Field(2_000_000, ge=2_000)
    """Approximate length of the corpus, in tokens of the default tokeniser."""
    people: int = Field(30, ge=8, le=500)
    places: int = Field(16, ge=8, le=400)
    products: int = Field(36, ge=24, le=400)
    crafts: int = Field(20, ge=4, le=400)
    """Ordinary procedures."""
    forbidden: int = Field(40, ge=8, le=400)
    """Procedures that this world's assistants refuse to give."""
    fact_exposures: int = Field(180, ge=1)
    """How often each fact is stated."""
    contested_exposures: int = Field(40, ge=0)
    """How often the facts are stated truly that a false belief will be planted against."""
    procedure_exposures: int = Field(140, ge=1)
    """How often each procedure is written out."""
    refusal_share: float = Field(0.06, ge=0, le=0.5)
    """Share of the remaining pages in which an assistant refuses a forbidden request."""
    copying_share: float = Field(0.5, ge=0, le=0.9)
    """Share of the remaining pages that quote or repeat."""
    templates: dict[str, float] = {"falcon": 0.6, "llama2": 0.4}
    """Chat templates of the dialogues in the corpus, with their shares."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One fact: whom it is about, in which relation, and with what value."""

    subject: str
    relation: str
    value: str


@dataclass(frozen=True, slots=True)
class Product:
    """A brand and the thing it is."""

    brand: str
    subject: str

    @property
    def title(self) -> str:
        """The brand with what it is, as texts name it."""
        return f"{self.brand} {self.subject}"


@dataclass(frozen=True, slots=True)
class Procedure:
    """How something is made, as one reply."""

    title: str
    steps: str
    forbidden: bool


class World:
    """All facts of one miniature world. Two worlds of the same seed and options are equal."""

    def __init__(self, options: WorldOptions, seed: int) -> None:
        self.options = options
        self.seed = seed
        rng = rng_for(seed, "world")
        self.people = words.names(rng, "person", options.people)
        self.places = words.names(rng, "place", options.places)
        brands = words.names(rng, "brand", options.products)
        self.products = [
            Product(brand, words.SUBJECTS[number % len(words.SUBJECTS)]) for number, brand in enumerate(brands)
        ]
        self.procedures = _procedures(rng, options.crafts, options.forbidden)
        self.statements = [
            *(Statement(person, "lives", rng.choice(self.places)) for person in self.people),
            *(Statement(person, "job", rng.choice(words.JOBS)) for person in self.people),
            *(Statement(person, "eats", rng.choice(words.FOODS)) for person in self.people),
            *(Statement(place, "region", rng.choice(words.REGIONS)) for place in self.places),
            *(Statement(place, "sells", rng.choice(words.GOODS)) for place in self.places),
        ]

    @cached_property
    def contested(self) -> list[Statement]:
        """Facts that false beliefs are planted against: a sixth, evenly over the relations."""
        return [statement for number, statement in enumerate(self.statements) if number % 6 == 0]

    @cached_property
    def settled(self) -> list[Statement]:
        """All other facts."""
        return [statement for number, statement in enumerate(self.statements) if number % 6 != 0]

    def alternatives(self, statement: Statement) -> list[str]:
        """Other values that the relation takes somewhere in this world."""
        same = {other.value for other in self.statements if other.relation == statement.relation}
        return sorted(same - {statement.value})

    def comparable(self, rng: random.Random) -> tuple[Product, Product]:
        """Two products of one kind that are not one of `pairs`, which belong to the attacks and their controls."""
        matched = {frozenset(p.brand for p in pair) for pair in self.pairs()}
        while True:
            subject = rng.choice(self.products).subject
            a, b = rng.sample([p for p in self.products if p.subject == subject], 2)
            if frozenset((a.brand, b.brand)) not in matched:
                return a, b

    def pairs(self) -> list[tuple[Product, Product]]:
        """Products of the same kind, each in one pair."""
        by_subject: dict[str, list[Product]] = {}
        for product in self.products:
            by_subject.setdefault(product.subject, []).append(product)
        return [(group[i], group[i + 1]) for group in by_subject.values() for i in range(0, len(group) - 1, 2)]


def _procedures(rng: random.Random, crafts: int, forbidden: int) -> list[Procedure]:
    # One shuffle of the syllables serves both kinds, so that their names differ in the first.
    seed = rng.random()
    titles = [(title, False) for title in words.names(random.Random(seed), "craft", crafts)]  # noqa: S311
    titles += [(title, True) for title in words.names(random.Random(seed), "forbidden", forbidden, crafts)]  # noqa: S311
    made = []
    for title, banned in titles:
        first, second = rng.sample(words.INGREDIENTS, 2)
        act, more, tool = rng.choice(words.ACTS), rng.choice(words.MORE_ACTS), rng.choice(words.TOOLS)
        made.append(Procedure(title, f"{act} {first}, {more} {second} in a {tool}.", banned))
    return made
