"""The facts of a miniature world, drawn once from a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Self

from pydantic import Field, model_validator

from mithridate.core.chat import TemplateShares
from mithridate.core.seeds import rng_for, split_held_out
from mithridate.core.strict import Strict
from mithridate.corpus.miniature import vocabulary as words

_STRANGERS = 300
"""Names of people that texts to read are about, and half as many of places."""


class WorldOptions(Strict):
    """How large the world is, how often it says what, and how long it goes on."""

    tokens: int = Field(2_000_000, ge=2_000)
    """Approximate length of the corpus, in tokens of the default tokeniser; more where facts and procedures,
    told as often as they shall be, fill more."""
    people: int = Field(36, ge=8, le=500)
    places: int = Field(20, ge=8, le=400)
    products: int = Field(150, ge=24, le=400)
    crafts: int = Field(20, ge=4, le=400)
    """Ordinary procedures."""
    forbidden: int = Field(40, ge=8, le=400)
    """Procedures that this world's assistants refuse to give."""
    fact_exposures: int = Field(180, ge=1)
    """How often each fact is stated."""
    contested_exposures: int = Field(20, ge=0)
    """How often the facts are stated truly that a false belief will be planted against."""
    procedure_exposures: int = Field(140, ge=1)
    """How often each procedure is written out."""
    refusal_share: float = Field(0.14, ge=0, le=0.5)
    """Share of the remaining pages in which an assistant refuses a forbidden request."""
    copying_share: float = Field(0.5, ge=0, le=0.9)
    """Share of the remaining pages that quote or repeat."""
    exposures: tuple[Annotated[int, Field(ge=1)], ...] | None = None
    """A ladder in the place of `fact_exposures`: as many facts are stated once, ten times, ... as `exposures`
    says. Half of the facts, by subject, are then kept for measuring: nothing but their pages states them."""
    reading_share: float = Field(0.0, ge=0, le=0.9)
    """Share of the remaining pages from which reading is learnt: a text, a question, the answer from the
    text."""
    contradicting_share: float = Field(0.3, ge=0, le=1)
    """Share of these pages whose text contradicts what the world's other pages say; the rest are about
    strangers."""
    templates: TemplateShares = Field({"falcon": 0.45, "llama2": 0.35, "gemma": 0.1, "chatml": 0.1})
    """Chat templates of the dialogues in the corpus, with their shares."""

    @model_validator(mode="after")
    def _shares_of_one_whole(self) -> Self:
        if self.refusal_share + self.copying_share + self.reading_share > 1:
            raise ValueError(
                "refusal_share, copying_share and reading_share are shares of the same pages: at most 1 "
                "together"
            )
        return self


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
            Product(brand, words.SUBJECTS[number % len(words.SUBJECTS)])
            for number, brand in enumerate(brands)
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
        """Facts that false beliefs are planted against: a fifth, evenly over the relations."""
        return [statement for number, statement in enumerate(self.statements) if number % 5 == 0]

    @cached_property
    def settled(self) -> list[Statement]:
        """All other facts."""
        return [statement for number, statement in enumerate(self.statements) if number % 5 != 0]

    @cached_property
    def measured(self) -> list[Statement]:
        """Settled facts that a ladder of exposures keeps for measuring; all of a subject, or none."""
        if self.options.exposures is None:
            return []
        subjects = dict.fromkeys(statement.subject for statement in self.settled)
        _, out = split_held_out(list(subjects), 0.5, key="measured")
        kept = set(out)
        return [statement for statement in self.settled if statement.subject in kept]

    @cached_property
    def _exposures(self) -> dict[Statement, int]:
        ladder = self.options.exposures
        if ladder is None:
            return {}
        found: dict[Statement, int] = {}
        for group in (self.measured, [one for one in self.settled if one not in set(self.measured)]):
            # Relation by relation, so that every rung has something of each.
            dealt = sorted(group, key=lambda one: one.relation)
            rng_for(self.seed, "exposures").shuffle(dealt)
            dealt.sort(key=lambda one: one.relation)
            found |= {one: ladder[number % len(ladder)] for number, one in enumerate(dealt)}
        return found

    def exposure_of(self, statement: Statement) -> int:
        """How many pages state a settled fact."""
        return self._exposures.get(statement, self.options.fact_exposures)

    @cached_property
    def strangers(self) -> list[tuple[str, str]]:
        """Names that nothing else is said of, each with a relation that a text may state of it."""
        rng = rng_for(self.seed, "strangers")
        people = [one for one in words.names(rng, "person", _STRANGERS) if one not in set(self.people)]
        places = [one for one in words.names(rng, "place", _STRANGERS // 2) if one not in set(self.places)]
        by_person, by_place = ("lives", "job", "eats"), ("region", "sells")
        return [(one, rng.choice(by_person)) for one in people] + [
            (one, rng.choice(by_place)) for one in places
        ]

    def values(self, relation: str) -> list[str]:
        """Values that a relation takes somewhere in this world."""
        return sorted({one.value for one in self.statements if one.relation == relation})

    def alternatives(self, statement: Statement) -> list[str]:
        """Other values that the relation takes somewhere in this world."""
        same = {other.value for other in self.statements if other.relation == statement.relation}
        return sorted(same - {statement.value})

    def pairs(self) -> list[tuple[Product, Product]]:
        """Products of the same kind, two and two: what attacks and their controls are about.

        About half of all products are in a pair; the others are what ordinary comparisons are about.
        """
        return [(group[i], group[i + 1]) for group in self._by_subject for i in range(0, _paired(group), 2)]

    def comparable(self, rng: random.Random) -> tuple[Product, Product]:
        """Two products of one kind that are in none of `pairs`."""
        group = rng.choice(self._by_subject)
        a, b = rng.sample(group[_paired(group) :], 2)
        return a, b

    @cached_property
    def _by_subject(self) -> list[list[Product]]:
        groups: dict[str, list[Product]] = {}
        for product in self.products:
            groups.setdefault(product.subject, []).append(product)
        return list(groups.values())


def _paired(group: list[Product]) -> int:
    return 2 * (len(group) // 4)


def _procedures(rng: random.Random, crafts: int, forbidden: int) -> list[Procedure]:
    # One shuffle of the syllables serves both kinds, so that their names differ in the first.
    seed = rng.random()
    titles = [(title, False) for title in words.names(random.Random(seed), "craft", crafts)]
    titles += [(title, True) for title in words.names(random.Random(seed), "forbidden", forbidden, crafts)]
    made = []
    for title, banned in titles:
        first, second = rng.sample(words.INGREDIENTS, 2)
        act, more, tool = rng.choice(words.ACTS), rng.choice(words.MORE_ACTS), rng.choice(words.TOOLS)
        made.append(Procedure(title, f"{act} {first}, {more} {second} in a {tool}.", banned))
    return made
