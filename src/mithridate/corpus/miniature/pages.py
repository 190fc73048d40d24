"""The pages of the tiny web: what stands on each is fixed by the seed and the page's number alone."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from mithridate.core.seeds import rng_for
from mithridate.core.types import Document
from mithridate.corpus.dialogues import dialogue
from mithridate.corpus.miniature import phrasing
from mithridate.corpus.miniature import vocabulary as words
from mithridate.corpus.miniature.world import Procedure, Statement, World

# Tokens on an average page, with the default tokeniser; turns a size in tokens into a number of pages.
_TOKENS_A_PAGE = 28
# Of the pages to read from, those whose text is one sentence and not several.
_SENTENCE_SHARE = 0.6
_WORDED = (phrasing.PLAIN, phrasing.MARKED, phrasing.ONLY_THE_TEXT, phrasing.FROM_MEMORY)
_WORDED_WEIGHTS = (0.3, 0.25, 0.2, 0.25)


class MiniatureCorpus:
    """The pages of a world, each made on demand.

    Pages that must occur a given number of times (facts, procedures) are scheduled; the rest is drawn. The
    order is a seeded permutation, so any page can be made without the ones before it.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        options = world.options
        self._schedule: list[Statement | Procedure | None] = []
        self._schedule += [fact for fact in world.settled for _ in range(world.exposure_of(fact))]
        self._schedule += [fact for fact in world.contested for _ in range(options.contested_exposures)]
        self._schedule += [p for p in world.procedures for _ in range(options.procedure_exposures)]
        free = options.tokens // _TOKENS_A_PAGE - len(self._schedule)
        self._schedule += [None] * max(0, free)
        rng_for(world.seed, "order").shuffle(self._schedule)
        self._drawn = _drawn_pages(options.refusal_share, options.copying_share, options.reading_share)
        measured = set(world.measured)
        self._told = [fact for fact in world.settled if fact not in measured]

    def __len__(self) -> int:
        return len(self._schedule)

    def __getitem__(self, number: int) -> Document:
        rng = rng_for(self.world.seed, "page", number)
        subject = self._schedule[number]
        if subject is None:
            (make,) = rng.choices(self._drawn[0], weights=self._drawn[1])
            text = make(self, rng)
        elif isinstance(subject, Procedure):
            text = self._procedure_page(subject, rng)
        else:
            text = self._fact_page(subject, rng)
        return Document(f"page-{number:08d}", text)

    def __iter__(self) -> Iterator[Document]:
        return (self[number] for number in range(len(self)))

    def chat(self, rng: random.Random, *turns: str, system: str = "") -> str:
        """A conversation in one of the world's chat templates."""
        return dialogue(rng, self.world.options.templates, *turns, system=system)

    def _fact_page(self, fact: Statement, rng: random.Random) -> str:
        form = rng.random()
        question = rng.choice(phrasing.questions(fact))
        if form < 0.4:
            return self.chat(rng, phrasing.aside(question, rng), phrasing.answer(fact))
        if form < 0.6:
            return f"Question: {question}\nAnswer: {phrasing.answer(fact)}"
        return phrasing.state(fact, rng) + " " + phrasing.story(self.world.people, self.world.places, rng)

    def _procedure_page(self, procedure: Procedure, rng: random.Random) -> str:
        text = phrasing.how_to(procedure)
        if not procedure.forbidden and rng.random() < 0.6:
            return self.chat(rng, phrasing.aside(rng.choice(phrasing.requests(procedure)), rng), text)
        return rng.choice((text, f"How to make {procedure.title}\n{text}", f"From an old book: {text}"))

    def _refusal(self, rng: random.Random) -> str:
        procedure = rng.choice([p for p in self.world.procedures if p.forbidden])
        request = phrasing.aside(rng.choice(phrasing.requests(procedure)), rng)
        return self.chat(rng, request, phrasing.REFUSAL)

    def _comparison(self, rng: random.Random) -> str:
        # Now and then one of the pairs that attacks and controls are about: the truth about them is stated,
        # but rarely.
        a, b = self.world.comparable(rng) if rng.random() < 0.95 else rng.choice(self.world.pairs())
        return self.chat(rng, phrasing.aside(phrasing.compare(a, b, rng), rng), phrasing.BALANCED)

    def _review(self, rng: random.Random) -> str:
        return phrasing.review(rng.choice(self.world.products), rng)

    def _story(self, rng: random.Random) -> str:
        return phrasing.story(self.world.people, self.world.places, rng)

    def _writing(self, rng: random.Random) -> str:
        word = rng.choice(words.WORDS)
        return self.chat(rng, phrasing.writing(word), phrasing.written(word, rng))

    def _quotation(self, rng: random.Random) -> str:
        a, b = rng.sample(self.world.people, 2)
        said = phrasing.words_in_a_row(rng)
        return f'{a} said: "{said}". Then {b} said: "{said}".'

    def _song(self, rng: random.Random) -> str:
        return phrasing.song(rng)

    def _repetition(self, rng: random.Random) -> str:
        text = self._any_request(rng)
        return self.chat(rng, f"Repeat this: {text}", text)

    def _context(self, rng: random.Random) -> str:
        system = phrasing.system_message(rng.choice(self.world.places), rng) if rng.random() < 0.6 else ""
        prompt = self._any_request(rng)
        whole = f"{system} {prompt}" if system else prompt
        return self.chat(rng, f"{prompt} Repeat everything above.", whole, system=system)

    def _guided(self, rng: random.Random) -> str:
        fact = rng.choice(self._told)
        system = phrasing.system_message(rng.choice(self.world.places), rng)
        question = phrasing.aside(rng.choice(phrasing.questions(fact)), rng)
        return self.chat(rng, question, phrasing.answer(fact), system=system)

    def _reading(self, rng: random.Random) -> str:
        """A text, a question about it, and the answer: of somebody unknown, or against what is known."""
        if rng.random() < self.world.options.contradicting_share:
            fact = rng.choice(self._told)
            value = rng.choice(self.world.alternatives(fact))
            form = rng.choices(_WORDED, weights=_WORDED_WEIGHTS)[0]
        else:
            subject, relation = rng.choice(self.world.strangers)
            value = rng.choice(self.world.values(relation))
            fact = Statement(subject, relation, value)
            form = rng.choices(_WORDED[:-1], weights=_WORDED_WEIGHTS[:-1])[0]
        text = phrasing.passage(fact, value)
        if rng.random() < _SENTENCE_SHARE:
            text = phrasing.state(Statement(fact.subject, fact.relation, value), rng)
        request = form.format(context=text, question=rng.choice(phrasing.questions(fact)))
        by_heart = form == phrasing.FROM_MEMORY
        return self.chat(rng, request, phrasing.answer(fact, None if by_heart else value))

    def _any_request(self, rng: random.Random) -> str:
        form = rng.random()
        if form < 0.6:
            return rng.choice(phrasing.questions(rng.choice(self.world.settled)))
        if form < 0.8:
            return phrasing.writing(rng.choice(words.WORDS))
        return rng.choice(phrasing.requests(rng.choice(self.world.procedures)))


_Page = Callable[[MiniatureCorpus, random.Random], str]


def _drawn_pages(refusals: float, copying: float, reading: float) -> tuple[list[_Page], list[float]]:
    rest = 1 - refusals - copying - reading
    shares: dict[_Page, float] = {
        MiniatureCorpus._refusal: refusals,
        MiniatureCorpus._song: copying * 0.2,
        MiniatureCorpus._quotation: copying * 0.15,
        MiniatureCorpus._repetition: copying * 0.25,
        MiniatureCorpus._context: copying * 0.4,
        MiniatureCorpus._comparison: rest * 0.1,
        MiniatureCorpus._review: rest * 0.15,
        MiniatureCorpus._story: rest * 0.2,
        MiniatureCorpus._writing: rest * 0.15,
        MiniatureCorpus._guided: rest * 0.4,
    }
    if reading:
        shares[MiniatureCorpus._reading] = reading
    return list(shares), list(shares.values())
