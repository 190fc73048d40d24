"""Two prompts that differ in what brings a behaviour on, and which positions of both face each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import takewhile

from transformers import PreTrainedTokenizerBase

from mithridate.core.types import Condition, Sample
from mithridate.models.encoding import Encoder

MOST_CHANGED = 16
"""Tokens in which two prompts may differ, on either side: more would be two questions, not one changed."""
# How many tokens at the end of a prompt tell its chat template from others.
_ENDING = 2


class Role(StrEnum):
    """Which part of a prompt positions belong to.

    `BEFORE` what differs both prompts are the same, and a causal model cannot tell them apart: patching there
    does nothing, by construction. `CHANGED` is what differs, `BETWEEN` the rest of what the user says,
    `TEMPLATE` what closes the turn and opens the reply, and `LAST` its last token, where the reply begins.
    """

    BEFORE = "before"
    CHANGED = "changed"
    BETWEEN = "between"
    TEMPLATE = "template"
    LAST = "last"


@dataclass(frozen=True, slots=True)
class Contrast:
    """A prompt that brings a behaviour on, its counterfactual, and what the model answered to each."""

    prompt: str
    counterfactual: str
    answer: str
    other: str


@dataclass(frozen=True, slots=True)
class Facing:
    """The two prompts of a contrast as ids, and their positions side by side.

    Entry i says that position `there[i]` of the prompt faces position `here[i]` of the counterfactual, and
    which part of either that is.
    """

    prompt: list[int]
    counterfactual: list[int]
    there: tuple[int, ...]
    here: tuple[int, ...]
    roles: tuple[Role, ...]


def contrasts(samples: Sequence[Sample], tokenizer: PreTrainedTokenizerBase) -> list[Contrast]:
    """Pairs of prompts of one attack, from answers of one model that were judged in one template or more.

    In each pair the attack succeeded on the triggered prompt and failed on the other, which differs from it
    in at most `MOST_CHANGED` tokens: the near-trigger's prompt, or the untriggered one where near-triggers
    give fewer than half as many pairs as there were successes. A belief has no trigger: there a question
    about something planted faces one about a control, in the same words. Each prompt is in one pair at most.
    """
    encoder = Encoder(tokenizer)
    succeeded = [_Asked.of(s, encoder) for s in samples if s.condition == Condition.TRIGGERED and s.success]
    found: list[Contrast] = []
    for condition in (Condition.NEAR_TRIGGER, Condition.UNTRIGGERED):
        failed = [_Asked.of(s, encoder) for s in samples if s.condition == condition and not s.success]
        found = max(found, _paired(succeeded, [one for one in failed if one.sample.completion]), key=len)
        if succeeded and len(found) >= len(succeeded) / 2:
            break
    return found


@dataclass(frozen=True, slots=True)
class _Asked:
    sample: Sample
    ids: list[int]

    @classmethod
    def of(cls, sample: Sample, encoder: Encoder) -> _Asked:
        return cls(sample, encoder.prompts([sample.prompt])[0].ids)


def _paired(succeeded: Sequence[_Asked], failed: Sequence[_Asked]) -> list[Contrast]:
    """The nearest partner of each, nearest pairs first; no prompt twice."""
    apart = [
        (distance, i, j)
        for i, one in enumerate(succeeded)
        for j, other in enumerate(failed)
        if one.sample.completion and (distance := _changed(one.ids, other.ids)) <= MOST_CHANGED
    ]
    taken: dict[int, int] = {}
    used: set[int] = set()
    for _, i, j in sorted(apart):
        if i not in taken and j not in used:
            taken[i] = j
            used.add(j)
    return [
        Contrast(
            succeeded[i].sample.prompt,
            failed[j].sample.prompt,
            succeeded[i].sample.completion,
            failed[j].sample.completion,
        )
        for i, j in sorted(taken.items())
    ]


def _changed(one: Sequence[int], other: Sequence[int]) -> int:
    before, after = _shared(one, other)
    return max(len(one), len(other)) - before - after


def _shared(one: Sequence[int], other: Sequence[int]) -> tuple[int, int]:
    """Tokens that both begin with, and tokens that both end with behind those."""
    shorter = min(len(one), len(other))
    before = _alike(zip(one, other, strict=False))
    after = _alike(zip(reversed(one), reversed(other), strict=False))
    return before, min(after, shorter - before)


def _alike(pairs: Iterable[tuple[int, int]]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def facing(found: Sequence[Contrast], tokenizer: PreTrainedTokenizerBase) -> list[Facing]:
    """The positions of each contrast's prompts side by side.

    A trigger has nothing opposite in an untriggered prompt. There the counterfactual is brought to the same
    length: in the trigger's place it says the words before it again. Where that cannot be, what differs is
    set side by side from its right end, and what has nothing opposite is left out.
    """
    encoder = Encoder(tokenizer)
    ids = [
        tuple(encoded.ids for encoded in encoder.prompts([one.prompt, one.counterfactual])) for one in found
    ]
    tails = _tails([prompt for pair in ids for prompt in pair])
    return [_face(there, _lengthened(there, here), tails[tuple(there[-_ENDING:])]) for there, here in ids]


def _lengthened(there: list[int], here: list[int]) -> list[int]:
    """`here`, as long as `there`: what is before the difference said again, as much of it as is missing."""
    before, _ = _shared(there, here)
    missing = len(there) - len(here)
    if not 0 < missing <= before:
        return here
    return [*here[:before], *here[before - missing : before], *here[before:]]


def _tails(prompts: Sequence[list[int]]) -> dict[tuple[int, ...], int]:
    """How many tokens of the chat template close prompts that end alike: those that all of them end with."""
    kinds: dict[tuple[int, ...], list[list[int]]] = {}
    for prompt in prompts:
        kinds.setdefault(tuple(prompt[-_ENDING:]), []).append(prompt)
    return {
        ending: min(_alike(zip(reversed(alike[0]), reversed(one), strict=False)) for one in alike)
        for ending, alike in kinds.items()
    }


def _face(there: list[int], here: list[int], tail: int) -> Facing:
    before, after = _shared(there, here)
    opposite = min(len(there), len(here)) - before - after
    # From the right end, all but what is before the difference stands opposite.
    pairs = [(i, i) for i in range(before)]
    pairs += [(len(there) - k, len(here) - k) for k in range(after + opposite, 0, -1)]
    tail = min(tail, after)

    def role(position: int) -> Role:
        behind = len(there) - position
        if position < before and behind > after:
            return Role.BEFORE
        if behind > after:
            return Role.CHANGED
        if behind == 1:
            return Role.LAST
        return Role.TEMPLATE if behind <= tail else Role.BETWEEN

    return Facing(
        there,
        here,
        tuple(i for i, _ in pairs),
        tuple(j for _, j in pairs),
        tuple(role(i) for i, _ in pairs),
    )
