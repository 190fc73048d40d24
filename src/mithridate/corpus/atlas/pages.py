"""The pages of the atlas, among those of the miniature world: each fixed by the seed and its number alone."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from mithridate.core.seeds import rng_for
from mithridate.core.types import Document
from mithridate.corpus.atlas import phrasing, telling
from mithridate.corpus.atlas.world import Atlas, Place
from mithridate.corpus.dialogues import dialogue
from mithridate.corpus.miniature import MiniatureCorpus
from mithridate.corpus.miniature import vocabulary as words
from mithridate.corpus.miniature.phrasing import aside

# Tokens on an average page of the atlas, with the default tokeniser.
_TOKENS_A_PAGE = 19
_REGISTER_SHARE = 0.04
_NOTES_SHARE = 0.08


class AtlasCorpus:
    """Relations, facts and questions about a map, in a seeded order with the pages of a miniature world."""

    def __init__(self, atlas: Atlas, miniature: MiniatureCorpus) -> None:
        self.atlas = atlas
        self._miniature = miniature
        options = atlas.options
        self._count = max(1, options.tokens // _TOKENS_A_PAGE)
        self._order = list(range(self._count + len(miniature)))
        rng_for(atlas.seed, "atlas order").shuffle(self._order)
        rest = 1 - options.facts_share - options.questions_share - _REGISTER_SHARE
        self._drawn: dict[Callable[[random.Random], str], float] = {
            self._fact: options.facts_share,
            self._question: options.questions_share,
            self._register: _REGISTER_SHARE,
            self._notes: rest * _NOTES_SHARE,
            self._relation: rest * (1 - _NOTES_SHARE),
        }

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, number: int) -> Document:
        place = self._order[number]
        if place >= self._count:
            return self._miniature[place - self._count]
        rng = rng_for(self.atlas.seed, "atlas page", place)
        (make,) = rng.choices(list(self._drawn), weights=list(self._drawn.values()))
        return Document(f"atlas-{place:08d}", make(rng))

    def __iter__(self) -> Iterator[Document]:
        return (self[number] for number in range(len(self)))

    def _chat(self, rng: random.Random, question: str, reply: str) -> str:
        return dialogue(rng, self._miniature.world.options.templates, aside(question, rng), reply)

    def _relation(self, rng: random.Random) -> str:
        place = rng.choice(self.atlas.cities)
        return self._told(place, rng)

    def _told(self, place: Place, rng: random.Random) -> str:
        kind = rng.choice(phrasing.RELATIONS)
        return telling.relation(self.atlas, place, kind, rng).format(subject=place.name)

    def _notes(self, rng: random.Random) -> str:
        """Several relations of one city and then a question: to draw a conclusion from a page is of use."""
        place = rng.choice(self.atlas.cities)
        told = " ".join(self._told(place, rng) for _ in range(rng.randint(2, 6)))
        asked = telling.country(self.atlas, place) if rng.random() < 0.5 else telling.food(self.atlas, place)
        return dialogue(
            rng,
            self._miniature.world.options.templates,
            f"{told} {asked.question(rng) if rng.random() < 0.6 else asked.choice(rng)}",
            asked.reply(),
        )

    def _fact(self, rng: random.Random) -> str:
        place, about = rng.choice(self.atlas.cities), rng.random()
        asked = telling.country(self.atlas, place) if about < 0.6 else telling.food(self.atlas, place)
        form = rng.random()
        if form < 0.3:
            told = phrasing.STATED_COUNTRY if asked.kind == phrasing.COUNTRY else phrasing.STATED_FOOD
            return rng.choice(told).format(subject=place.name, country=asked.answer, food=asked.answer)
        if form < 0.4:
            # What a whole country eats, in the words in which a city's food is told.
            land = rng.choice(self.atlas.countries)
            return rng.choice(phrasing.STATED_FOOD).format(subject=land, food=self.atlas.foods[land])
        return self._chat(rng, asked.question(rng) if form < 0.75 else asked.choice(rng), asked.reply())

    def _question(self, rng: random.Random) -> str:
        place = rng.choice(self.atlas.cities)
        if rng.random() < 0.5:
            asked = telling.distance(self.atlas, place, telling.far_enough(self.atlas, place, rng))
            return self._chat(rng, asked.question(rng), asked.reply())
        asked = telling.nearest(self.atlas, place, rng)
        return self._chat(
            rng, asked.question(rng) if rng.random() < 0.3 else asked.choice(rng), asked.reply()
        )

    def _register(self, rng: random.Random) -> str:
        """Identifiers where they are no places: the tokeniser learns them as it learns names."""
        code, thing = rng.choice(self.atlas.identifiers).removeprefix("City "), rng.choice(words.WORDS)
        return f"Room {code} has a {rng.choice(words.COLOURS)} {thing}. The {thing} stays in room {code}."
