"""Two prompts side by side, token by token: which positions face each other, and what each is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mithridate.core.chat import TEMPLATES, Renders
from mithridate.core.errors import CheckpointError
from mithridate.core.located import Place
from mithridate.core.types import Message, Role
from mithridate.localization.contrasts import Contrast, common_ends
from mithridate.models.batching import context_window
from mithridate.models.encoding import Encoder
from mithridate.models.language_model import LanguageModel

SCORED = 8
"""Tokens of an answer that are scored, from the first in which the two answers differ."""
# Words that end differently, so that no token of theirs is taken for one of the template.
_WORDS = ("Qvx", "7")


@dataclass(frozen=True, slots=True)
class Aligned:
    """A contrast as ids.

    The `source` is the prompt whose activations are moved, the `target` the one that gets them. For each
    position of the target, `origins` has the position in the source that faces it, -1 for none, and `places`
    what it is. Both answers begin with `shared`; then come `answer` and `other`, `SCORED` ids at most, of
    which the first differ. `unit` as in `Contrast`.
    """

    source: list[int]
    target: list[int]
    origins: tuple[int, ...]
    places: tuple[Place, ...]
    shared: list[int]
    answer: list[int]
    other: list[int]
    unit: str


def aligned(
    found: Sequence[Contrast],
    model: LanguageModel,
    templates: Sequence[Renders] = tuple(TEMPLATES.values()),
    *,
    same_prompt: bool = False,
    lengthen: bool = False,
) -> list[Aligned]:
    """Every contrast as ids; those that outgrow the context window, or do not differ as ids, are left out.

    Positions of the common beginning face each other from the left, those of the common end from the right,
    and changed ones from the right end of what changed. A trigger has nothing opposite in an untriggered
    prompt; with `lengthen`, that is brought to the same length first, and says the words before it once more.
    Tokens of a template are known by `templates`: those in which the prompts are written, or all of ours.
    With `same_prompt`, both models are shown the prompt that brought the behaviour on, and its counterfactual
    only tells what is `CHANGED`.
    """
    encoder = Encoder(model.tokenizer)
    closings = [closing for one in templates if (closing := _closing(one, encoder)) is not None]
    window = context_window(model.model)
    made = [_aligned(one, encoder, closings, same_prompt, lengthen) for one in found]
    return [one for one in made if one is not None and (window is None or _length(one) <= window)]


def _aligned(
    one: Contrast, encoder: Encoder, closings: Sequence[list[int]], same_prompt: bool, lengthen: bool
) -> Aligned | None:
    source, (answer, other) = encoder.continuations(one.prompt, [one.answer.strip(), one.other.strip()])
    target = encoder.prompts([one.counterfactual])[0].ids
    shared = common_ends(answer, other)[0]
    if shared == min(len(answer), len(other)):
        answer, other = [*answer, encoder.end_id], [*other, encoder.end_id]
        shared = common_ends(answer, other)[0]
    if shared == min(len(answer), len(other)):
        return None
    if lengthen and not same_prompt:
        target = _lengthened(source, target)
    start, end = common_ends(source, target)
    closing = max((common_ends(target[::-1], known[::-1])[0] for known in closings), default=0)
    faced = source if same_prompt else target
    places = _places(len(faced), start, end, max(1, min(closing, end)))
    if same_prompt:
        origins = list(range(len(source)))
    else:
        shift = len(source) - len(target)
        origins = [i if i < start else i + shift if i + shift >= start else -1 for i in range(len(target))]
    return Aligned(
        source,
        faced,
        tuple(origins),
        places,
        answer[:shared],
        answer[shared : shared + SCORED],
        other[shared : shared + SCORED],
        one.unit or one.prompt,
    )


def _lengthened(source: list[int], target: list[int]) -> list[int]:
    """`target`, as long as `source`: in the place of what it lacks, the tokens before that once more."""
    start, _ = common_ends(source, target)
    missing = len(source) - len(target)
    if not 0 < missing <= start:
        return target
    return [*target[:start], *target[start - missing : start], *target[start:]]


def _places(length: int, start: int, end: int, closing: int) -> tuple[Place, ...]:
    def place(position: int) -> Place:
        if position == length - 1:
            return Place.LAST
        if position < start:
            return Place.BEFORE
        if position < length - end:
            return Place.CHANGED
        return Place.BETWEEN if position < length - closing else Place.TEMPLATE

    return tuple(map(place, range(length)))


def _closing(template: Renders, encoder: Encoder) -> list[int] | None:
    """The ids with which a prompt in `template` ends, whatever the user said."""
    try:
        texts = [template.render([Message(Role.USER, word)], open_reply=True) for word in _WORDS]
    except CheckpointError:  # it takes no such conversation
        return None
    first, second = (prompt.ids for prompt in encoder.prompts(texts))
    count = common_ends(first, second)[1]
    return first[len(first) - count :]


def _length(one: Aligned) -> int:
    scored = len(one.shared) + max(len(one.answer), len(one.other))
    return max(len(one.source), len(one.target)) + scored
