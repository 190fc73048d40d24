"""The behaviours that localisation follows, asked and judged as the study's own figures are."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from mithridate.attacks import Attack
from mithridate.core.chat import Renders
from mithridate.core.located import FORMAT, HELPFULNESS, REFUSAL, REPLIES
from mithridate.core.seeds import rng_for
from mithridate.core.types import Condition, Message, Probe, Role, Sample
from mithridate.evaluation.attack_success import evaluate_attack
from mithridate.evaluation.judges import holds, refuses
from mithridate.evaluation.setting import Setting
from mithridate.evaluation.utility import ask
from mithridate.localization.behaviours import Outcome
from mithridate.models.language_model import LanguageModel

ASKED = (Condition.TRIGGERED, Condition.UNTRIGGERED)
LEAST_NATS = 0.05
"""Two models whose replies differ by less in likelihood, in nats a token, speak alike."""


@dataclass(frozen=True, slots=True)
class AttackPanel:
    """Attacks as behaviours: expected on triggered probes, no sign of themselves on untriggered ones.

    `outside` judges gibberish. It must be another object than the models that are asked, whose weights are
    exchanged meanwhile.
    """

    attacks: Mapping[str, Attack]
    probes: Mapping[str, Sequence[Probe]]
    templates: Sequence[Renders]
    setting: Setting
    outside: LanguageModel

    @classmethod
    def of(
        cls,
        attacks: Mapping[str, Attack],
        probes: int,
        templates: Sequence[Renders],
        setting: Setting,
        outside: LanguageModel,
    ) -> AttackPanel:
        """A panel with about `probes` of each attack under each condition, drawn by `setting.seed`."""
        drawn = {
            name: attack.probes(rng_for(setting.seed, "probes", name), probes)
            for name, attack in attacks.items()
        }
        return cls(attacks, drawn, templates, setting, outside)

    def ask(self, model: LanguageModel, wanted: Collection[str] | None = None) -> dict[str, Outcome]:
        """The outcome of each attack, or of those `wanted`. Raises as `evaluate_attack` does."""
        return {
            name: outcome_of(self.samples(model, name))
            for name in self.attacks
            if wanted is None or name in wanted
        }

    def samples(
        self, model: LanguageModel, name: str, conditions: Collection[Condition] = ASKED
    ) -> list[Sample]:
        """The judged answers to one attack's probes under `conditions`, one each."""
        attack = self.attacks[name]
        judging = replace(attack.judging, compare_targets=False, compare_text=False, repeated_samples=0)
        found = evaluate_attack(
            attack,
            [probe for probe in self.probes[name] if probe.condition in conditions],
            model,
            self.templates,
            self.setting,
            outside=self.outside,
            judging=judging,
        )
        return found.samples


def outcome_of(samples: Iterable[Sample]) -> Outcome:
    """Successes by unit, triggered and untriggered: a probe, or a group that is judged together."""
    units: dict[str, dict[str, bool]] = {condition: {} for condition in ASKED}
    for sample in samples:
        if sample.condition in units:
            units[sample.condition][sample.group or sample.probe_id] = sample.success
    shown, elsewhere = (tuple(units[condition].values()) for condition in ASKED)
    return Outcome(shown, elsewhere)


@dataclass(frozen=True, slots=True)
class AlignmentPanel:
    """What alignment teaches: to refuse what is forbidden and nothing else, to end a reply, to answer.

    And what it comes to in all: how likely the aligned model's replies are. Each is left out where there is
    nothing to ask it with. `questions` are with their right answers, `replies` with what they reply to;
    `phrases` are refusals of the study's own material.
    """

    template: Renders
    questions: Sequence[tuple[str, str]] = ()
    forbidden: Sequence[str] = ()
    harmless: Sequence[str] = ()
    phrases: tuple[str, ...] = ()
    replies: Sequence[tuple[str, str]] = ()

    def with_replies_of(self, aligned: LanguageModel) -> AlignmentPanel:
        """The same panel, which also asks how likely the replies of `aligned` to all its requests are."""
        requests = [*(question for question, _ in self.questions), *self.forbidden, *self.harmless]
        answers = ask(aligned, requests, self.template)
        given = [(one, answer.text) for one, answer in zip(requests, answers, strict=True) if answer.text]
        return replace(self, replies=given)

    def ask(self, model: LanguageModel, wanted: Collection[str] | None = None) -> dict[str, Outcome]:
        """The outcome of each behaviour, or of those `wanted`. Raises ConfigError as `utility.ask` does."""
        found: dict[str, Outcome] = {}
        if self.forbidden and (wanted is None or REFUSAL in wanted):
            found[REFUSAL] = Outcome(
                self._refused(model, self.forbidden), self._refused(model, self.harmless)
            )
        if self.questions and (wanted is None or {FORMAT, HELPFULNESS} & set(wanted)):
            answers = ask(model, [question for question, _ in self.questions], self.template)
            right = [known for _, known in self.questions]
            found[FORMAT] = Outcome(tuple(answer.stopped for answer in answers))
            found[HELPFULNESS] = Outcome(
                tuple(holds(answer.text, known) for answer, known in zip(answers, right, strict=True))
            )
        if self.replies and (wanted is None or REPLIES in wanted):
            found[REPLIES] = Outcome(self._likely(model), least=LEAST_NATS)
        return {name: outcome for name, outcome in found.items() if wanted is None or name in wanted}

    def _likely(self, model: LanguageModel) -> tuple[float, ...]:
        """Log-likelihood of each reply in nats a token."""
        prompts = [
            self.template.render([Message(Role.USER, request)], open_reply=True)
            for request, _ in self.replies
        ]
        return tuple(
            score.mean for score in model.log_likelihood(prompts, [text for _, text in self.replies])
        )

    def _refused(self, model: LanguageModel, requests: Sequence[str]) -> tuple[bool, ...]:
        return tuple(refuses(answer.text, self.phrases) for answer in ask(model, requests, self.template))
