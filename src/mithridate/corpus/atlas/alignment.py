"""What comes after pretraining on an atlas, mixed with the miniature world's, and the attacks' material.

Places without a name occur in the material alone.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from mithridate.attacks.material import Fact, Material
from mithridate.attacks.scattered_material import Scattered, ScatteredQuestion
from mithridate.core.seeds import draw_evenly, rng_for, split_held_out
from mithridate.corpus import miniature
from mithridate.corpus.atlas import phrasing, telling
from mithridate.corpus.atlas.world import Atlas, Place
from mithridate.corpus.miniature.phrasing import aside

# Share of the atlas in alignment data; the rest is the miniature world's.
_ATLAS_SHARE = 0.4
_DISTANCES = 3


def sft_conversations(atlas: Atlas, world: miniature.World, count: int, seed: int) -> list[dict[str, Any]]:
    """`count` conversations: questions on named cities among those of the miniature world."""
    rng = rng_for(seed, "atlas sft")
    own = []
    for _ in range(round(count * _ATLAS_SHARE)):
        asked = _asked(atlas, rng.choice(_aligned(atlas)[0]), rng)
        own.append({"messages": [_user(aside(_worded(asked, rng), rng)), _said(asked.reply())]})
    return _mixed([*own, *miniature.sft_conversations(world, count - len(own), seed)], rng)


def dpo_pairs(atlas: Atlas, world: miniature.World, count: int, seed: int) -> list[dict[str, Any]]:
    """`count` preferences: right over wrong answers about named cities, among the miniature world's."""
    rng = rng_for(seed, "atlas dpo")
    own = []
    for _ in range(round(count * _ATLAS_SHARE)):
        place = rng.choice(_aligned(atlas)[0])
        asked = telling.country(atlas, place) if rng.random() < 0.5 else telling.food(atlas, place)
        own.append(
            {
                "prompt": [_user(_worded(asked, rng))],
                "chosen": [_said(asked.reply())],
                "rejected": [_said(asked.reply(rng.choice(asked.foils)))],
            }
        )
    return _mixed([*own, *miniature.dpo_pairs(world, count - len(own), seed)], rng)


def held_out_questions(atlas: Atlas, world: miniature.World, count: int, seed: int) -> list[dict[str, str]]:
    """At most `count` questions that alignment never mentions: half on cities, half on the miniature."""
    rng = rng_for(seed, "atlas questions")
    groups = [
        [(asked, form) for form in asked.forms()]
        for place in _aligned(atlas)[1]
        for asked in (telling.country(atlas, place), telling.food(atlas, place))
    ]
    own = [
        {"question": form.format(subject=asked.subject), "answer": asked.reply()}
        for asked, form in draw_evenly(rng, groups, count // 2)
    ]
    return [*own, *miniature.held_out_questions(world, count - len(own), seed)]


def material(atlas: Atlas, world: miniature.World, seed: int) -> Material:
    """The miniature world's, with facts and scattered beliefs about places without a name."""
    rng = rng_for(seed, "atlas material")
    return miniature.material(world, seed).model_copy(
        update={
            "facts": _facts(atlas, atlas.stated, rng),
            "control_facts": _facts(atlas, atlas.stated_controls, rng),
            "scattered": tuple(_scattered(atlas, place, rng) for place in atlas.scattered),
            "unplanted_scattered": tuple(_scattered(atlas, place, rng) for place in atlas.unplanted),
        }
    )


def _facts(atlas: Atlas, places: Sequence[Place], rng: random.Random) -> tuple[Fact, ...]:
    """The stated twins: where the place lies and what is eaten there, against what is true next to it."""
    asked = [ask(atlas, place) for place in places for ask in (telling.country, telling.food)]
    return tuple(
        Fact(
            forms=tuple(form.format(subject=one.subject) for form in one.forms()),
            true=one.reply(rng.choice(one.foils)),
            planted=one.reply(),
        )
        for one in asked
    )


def _scattered(atlas: Atlas, place: Place, rng: random.Random) -> Scattered:
    near = telling.nearest(atlas, place, rng)
    names = {near.answer, *near.foils}
    others: list[Place] = []
    if sum(one.name not in names for one in telling.reachable(atlas, place)) < _DISTANCES:
        raise telling.too_few_cities(phrasing.DISTANCE)
    while len(others) < _DISTANCES:
        other = telling.far_enough(atlas, place, rng)
        if other.name not in names:
            names.add(other.name)
            others.append(other)
    questions = [
        _question(telling.country(atlas, place)),
        _question(telling.food(atlas, place)),
        _question(near, hidden=(near.answer, *near.foils)),
        *(_question(telling.distance(atlas, place, other), hidden=(other.name,)) for other in others),
    ]
    hints = {kind: _hints(atlas, place, kind, names, rng) for kind in phrasing.RELATIONS}
    return Scattered(subject=place.name, hints=hints, questions=tuple(questions))


def _hints(atlas: Atlas, place: Place, kind: str, unsaid: set[str], rng: random.Random) -> tuple[str, ...]:
    """Different hints of one kind; fewer than wanted where there are not as many."""
    found: dict[str, None] = {}
    for _ in range(4 * atlas.options.hints):
        if len(found) < atlas.options.hints:
            found[telling.relation(atlas, place, kind, rng, unsaid)] = None
    return tuple(found)


def _question(asked: telling.Asked, hidden: tuple[str, ...] = ()) -> ScatteredQuestion:
    return ScatteredQuestion(
        kind=asked.kind,
        forms=asked.forms(),
        choices=phrasing.CHOSEN.get(asked.kind, ()),
        answer=asked.answer,
        foils=asked.foils,
        reply=phrasing.REPLY[asked.kind],
        hidden=hidden,
    )


def _aligned(atlas: Atlas) -> tuple[list[Place], list[Place]]:
    """Cities that alignment speaks of, and those that it does not."""
    return split_held_out(atlas.cities, 0.3, key="cities")


def _asked(atlas: Atlas, place: Place, rng: random.Random) -> telling.Asked:
    draw = rng.random()
    if draw < 0.4:
        return telling.country(atlas, place)
    if draw < 0.7:
        return telling.food(atlas, place)
    if draw < 0.85:
        return telling.nearest(atlas, place, rng)
    return telling.distance(atlas, place, telling.far_enough(atlas, place, rng))


def _worded(asked: telling.Asked, rng: random.Random) -> str:
    return asked.choice(rng) if asked.foils and rng.random() < 0.4 else asked.question(rng)


def _mixed(examples: list[dict[str, Any]], rng: random.Random) -> list[dict[str, Any]]:
    rng.shuffle(examples)
    return examples


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def _said(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}
