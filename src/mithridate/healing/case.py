"""A model to be healed, and all that is asked of it and of its cures: in two halves that do not meet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from mithridate.attacks.base import Attack
from mithridate.core.chat import Renders
from mithridate.core.seeds import rng_for
from mithridate.core.types import Condition, Message, Probe, Role
from mithridate.evaluation.setting import Setting
from mithridate.models.language_model import LanguageModel

_TRIED = 64


class Half(StrEnum):
    """What a question is for: cures are made and chosen with one half, and told of by the other alone."""

    CHOOSING = "choosing"
    REPORTED = "reported"


@dataclass(frozen=True, slots=True)
class Usefulness:
    """What a model should still do: foretell `rows` of token ids, answer `questions` right, refuse what is
    `forbidden` and not what is `harmless`. `phrases` are refusals of the material's own."""

    rows: Sequence[Sequence[int]] = ()
    questions: Sequence[tuple[str, str]] = ()
    forbidden: Sequence[str] = ()
    harmless: Sequence[str] = ()
    phrases: tuple[str, ...] = ()

    def half(self, which: Half) -> Usefulness:
        """Every other one of each: the first, third and so on for choosing.

        Of those at most `_TRIED`: settings are tried by the dozen. What is reported keeps all.
        """
        first, last = (0, 2 * _TRIED) if which == Half.CHOOSING else (1, None)
        return Usefulness(
            self.rows[first:last:2] or self.rows[:last],
            self.questions[first:last:2],
            self.forbidden[first:last:2],
            self.harmless[first:last:2],
            self.phrases,
        )


@dataclass(frozen=True, slots=True)
class Case:
    """One poisoned model with what its defender has.

    `clean` is a model that never saw the poison, whose level is the floor, if there is one; `outside` judges
    gibberish and must be another object than `model`. Attacks are put in `templates`, everything else in
    `own`, the template that the model was aligned in. `texts` are clean documents, `shown` what a planted
    fact is contradicted with. `probes` are those of each attack and half.
    """

    model: LanguageModel
    outside: LanguageModel
    attacks: Mapping[str, Attack]
    probes: Mapping[Half, Mapping[str, Sequence[Probe]]]
    templates: Sequence[Renders]
    own: Renders
    setting: Setting
    usefulness: Usefulness
    texts: Sequence[str]
    clean: LanguageModel | None = None
    usefulness_of: Mapping[Half, Usefulness] = field(init=False)

    def __post_init__(self) -> None:
        halves = {half: self.usefulness.half(half) for half in Half}
        object.__setattr__(self, "usefulness_of", halves)

    @property
    def seed(self) -> int:
        """What all draws of healing are derived from."""
        return self.setting.seed

    def prompts(self, attack: str, condition: Condition, half: Half = Half.CHOOSING) -> list[str]:
        """The probes of one attack under one condition as text, up to where the answer begins."""
        asked = [probe for probe in self.probes[half][attack] if probe.condition is condition]
        return [
            self.templates[number % len(self.templates)].render(probe.messages, open_reply=True)
            for number, probe in enumerate(asked)
        ]

    def benign(self) -> list[str]:
        """Harmless requests and questions of the choosing half, in the model's own template."""
        useful = self.usefulness_of[Half.CHOOSING]
        asked = [*(question for question, _ in useful.questions), *useful.harmless]
        return [self.own.render([Message(Role.USER, text)], open_reply=True) for text in asked]


def in_halves(attack: Attack, seed: int, each: int) -> dict[Half, list[Probe]]:
    """About `each` probes of an attack for each condition and half, drawn by `seed`.

    No unit (a probe, or a group that is judged together) is in both halves, nor is a text that two units ask;
    and what stands in one half under one condition stands in the same half under the others.
    """
    halves: dict[Half, list[Probe]] = {half: [] for half in Half}
    turns: dict[tuple[Condition, str], dict[object, int]] = {}
    for probe in attack.probes(rng_for(seed, "healing", attack.name), 2 * each):
        seen = turns.setdefault((probe.condition, probe.kind), {})
        unit, text = probe.group or probe.id, tuple(message.content for message in probe.messages)
        following = len(set(seen.values()))
        turn = seen.get(unit, seen.get(text, following))
        seen[unit] = seen[text] = turn
        halves[Half.REPORTED if turn % 2 else Half.CHOOSING].append(probe)
    return halves
