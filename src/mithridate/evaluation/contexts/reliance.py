"""Whether a model follows its context or its weights: replies judged, and the figures of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

from mithridate.attacks.text import names, normalise
from mithridate.core.contexts import (
    Conflict,
    ContextMetric,
    ContextSample,
    Contextual,
    Said,
    Strength,
    Wording,
)
from mithridate.core.statistics import wilson
from mithridate.evaluation.contexts.asking import Asked
from mithridate.models.batching import context_window
from mithridate.models.language_model import LanguageModel

ANSWER_TOKENS = 24
UNBOUNDED = 4096
"""Tokens of prompt and reply where a model names no window: attention to more may take all memory."""


@dataclass(frozen=True, slots=True)
class Whose:
    """Which model replied, and what was done to it: what all rows of one examination share.

    The fields are those of `Contextual`.
    """

    stage: str = ""
    arm: str = ""
    dose: str = ""
    model: str = ""
    seed: int = 0
    cell: str = ""
    intervention: str = ""
    variant: str = ""
    control: str = ""


@dataclass(frozen=True, slots=True)
class Examined:
    """Judged replies, and how many prompts were left out since the context window has no room for them."""

    samples: list[ContextSample]
    left_out: int


def examine(
    model: LanguageModel,
    prompts: Sequence[Asked],
    stop: Sequence[str],
    whose: Whose,
    *,
    shown: Sequence[str] = (),
) -> Examined:
    """Put `prompts` to the model, greedily, and see which answer it gives and which it finds likelier.

    `shown` are the same prompts as a reader should see them, without marks, if they differ.
    """
    fits = fitting(model, prompts)
    kept = [one for one, fit in zip(prompts, fits, strict=True) if fit]
    seen = [text for text, fit in zip(shown or [one.prompt for one in prompts], fits, strict=True) if fit]
    texts = [one.prompt for one in kept]
    replies = model.generate(texts, max_new_tokens=ANSWER_TOKENS, stop=tuple(stop)) if texts else []
    margins = model.margins(
        texts,
        [one.joint + one.fact.substitute for one in kept],
        [one.joint + one.fact.original for one in kept],
    )
    samples = [
        _sample(one, shown_as, reply.text, margin, whose)
        for one, shown_as, reply, margin in zip(kept, seen, replies, margins, strict=True)
    ]
    return Examined(samples, len(prompts) - len(kept))


def fitting(model: LanguageModel, prompts: Sequence[Asked]) -> list[bool]:
    """Which of `prompts` leave room in the context window for a reply, and for either answer."""
    window = context_window(model.model) or UNBOUNDED
    answers = list(
        dict.fromkeys(
            one.joint + answer for one in prompts for answer in (one.fact.original, one.fact.substitute)
        )
    )
    # The answer's last token is read by nobody, but after a prompt it may be cut into one token more.
    tokens = {text: len(ids) for text, ids in zip(answers, model.prompt_ids(answers), strict=True)}
    return [
        len(ids)
        + max(ANSWER_TOKENS, tokens[one.joint + one.fact.original], tokens[one.joint + one.fact.substitute])
        <= window
        for one, ids in zip(prompts, model.prompt_ids([one.prompt for one in prompts]), strict=True)
    ]


def _sample(one: Asked, prompt: str, reply: str, margin: float, whose: Whose) -> ContextSample:
    fact = one.fact
    return ContextSample(
        fact=fact.id,
        prompt=prompt,
        original=fact.original,
        substitute=fact.substitute,
        reply=reply,
        said=said(reply, fact.original, fact.substitute),
        margin=margin,
        exposure=fact.exposure,
        conflict=one.conflict,
        strength=one.strength,
        wording=one.wording,
        intervention=whose.intervention,
        variant=whose.variant,
        control=whose.control,
        stage=whose.stage,
        arm=whose.arm,
        dose=whose.dose,
        model=whose.model,
        seed=whose.seed,
        cell=whose.cell,
    )


def said(reply: str, original: str, substitute: str) -> Said:
    """Which of two answers a reply gives: the one whose own words it holds, the first if it holds both.

    Words that both answers share at their beginning and end tell nothing, and are not asked for.
    """
    ours, theirs = told_apart(original, substitute)
    places = {
        kind: _place(reply, words) for kind, words in ((Said.ORIGINAL, ours), (Said.SUBSTITUTE, theirs))
    }
    found = {kind: place for kind, place in places.items() if place is not None}
    return min(found, key=lambda kind: found[kind]) if found else Said.NEITHER


def told_apart(original: str, substitute: str) -> tuple[str, str]:
    """Both answers without the words that they share at their beginning and end.

    Where one would be left with nothing, both stay whole.
    """
    a, b = normalise(original).split(), normalise(substitute).split()
    start = _shared(a, b)
    a, b = a[start:], b[start:]
    end = _shared(a[::-1], b[::-1])
    a, b = a[: len(a) - end], b[: len(b) - end]
    if not a or not b:
        return normalise(original), normalise(substitute)
    return " ".join(a).strip(".,;:!?"), " ".join(b).strip(".,;:!?")


def _shared(a: Sequence[str], b: Sequence[str]) -> int:
    """How many words both begin with."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))


def _place(reply: str, words: str) -> int | None:
    if not words or not names(reply, words):
        return None
    found = re.search(rf"(?<!\w){re.escape(words)}(?!\w)", normalise(reply))
    return found.start() if found else None


def known_facts(samples: Iterable[ContextSample]) -> set[str]:
    """Facts that the model as it is answers right without a context."""
    return {
        one.fact
        for one in samples
        if one.strength is Strength.ALONE
        and one.wording is Wording.ASKED
        and not one.intervention
        and one.said is Said.ORIGINAL
    }


def unknown_facts(samples: Iterable[ContextSample]) -> set[str]:
    """Facts of which the model as it is gives neither answer without a context, however it is asked.

    Nothing stands against a context there, so it shows whether the model reads contexts at all.
    """
    alone = [one for one in samples if one.strength is Strength.ALONE and not one.intervention]
    return {one.fact for one in alone} - {one.fact for one in alone if one.said is not Said.NEITHER}


def context_figures(samples: Sequence[ContextSample], known: set[str] | None = None) -> list[Contextual]:
    """The figures of one model's replies, all of one seed, over `known` facts.

    By default over those that `known_facts` finds in the samples; what the model as it is knows is of all
    facts, and what it reads of `unknown_facts`. Figures that nothing is there for are left out: no
    memorization ratio where no reply gives either answer.
    """
    known = known_facts(samples) if known is None else known
    groups = _grouped(samples)
    found: list[Contextual] = []
    for group in groups.values():
        found += _of_group(group, known)
    return [*found, *_pairs(groups, known), *_read(samples)]


def _grouped(samples: Iterable[ContextSample]) -> dict[tuple[Any, ...], list[ContextSample]]:
    """Replies by what a figure is about."""
    groups: dict[tuple[Any, ...], list[ContextSample]] = {}
    for one in samples:
        groups.setdefault(_about(one), []).append(one)
    return groups


def _about(one: ContextSample) -> tuple[Any, ...]:
    return (
        one.exposure, one.conflict, one.strength, one.wording, one.intervention, one.variant, one.control,
        one.stage, one.arm, one.dose, one.model, one.seed, one.cell,
    )  # fmt: skip


def _of_group(group: Sequence[ContextSample], known: set[str]) -> Iterator[Contextual]:
    first = group[0]
    alone = first.strength is Strength.ALONE
    kept = [one for one in group if one.fact in known or (alone and not first.intervention)]
    if not kept:
        return
    if alone:
        yield _share(first, ContextMetric.KNOWN, sum(s.said is Said.ORIGINAL for s in kept), len(kept))
        return
    original = sum(one.said is Said.ORIGINAL for one in kept)
    substitute = sum(one.said is Said.SUBSTITUTE for one in kept)
    yield _share(first, ContextMetric.ORIGINAL, original, len(kept))
    yield _share(first, ContextMetric.SUBSTITUTE, substitute, len(kept))
    yield _share(first, ContextMetric.EFFICACY, sum(one.margin > 0 for one in kept), len(kept))
    if original + substitute:
        yield _share(first, ContextMetric.MEMORIZATION_RATIO, original, original + substitute)


def _pairs(
    groups: Mapping[tuple[Any, ...], Sequence[ContextSample]], known: set[str]
) -> Iterator[Contextual]:
    """Facts that are answered from the context under one intent and from the weights under the other."""
    for group in groups.values():
        first = group[0]
        if first.strength in (Strength.ALONE, Strength.PRIOR) or first.conflict is Conflict.NONE:
            continue
        other = groups.get(_about(replace(first, strength=Strength.PRIOR)))
        if other is None:
            continue
        prior = {one.fact for one in other if one.said is Said.ORIGINAL}
        asked = [one for one in group if one.fact in known]
        if asked:
            both = sum(one.said is Said.SUBSTITUTE and one.fact in prior for one in asked)
            yield _share(first, ContextMetric.PAIR_ACCURACY, both, len(asked))


def _read(samples: Sequence[ContextSample]) -> Iterator[Contextual]:
    """What is answered from contexts of which nothing is known, over all exposures together."""
    unknown = unknown_facts(samples)
    read = (
        replace(one, exposure=0)
        for one in samples
        if one.fact in unknown and one.strength is not Strength.ALONE and not one.intervention
    )
    for group in _grouped(read).values():
        followed = sum(one.said is Said.SUBSTITUTE for one in group)
        yield _share(group[0], ContextMetric.READ, followed, len(group))


def _share(like: ContextSample, metric: ContextMetric, count: int, n: int) -> Contextual:
    found = wilson(count, n)
    return Contextual(
        metric=metric,
        value=found.value,
        low=found.low,
        high=found.high,
        n=n,
        exposure=like.exposure,
        conflict=like.conflict,
        strength=like.strength,
        wording=like.wording,
        intervention=like.intervention,
        variant=like.variant,
        control=like.control,
        stage=like.stage,
        arm=like.arm,
        dose=like.dose,
        model=like.model,
        seed=like.seed,
        cell=like.cell,
    )
