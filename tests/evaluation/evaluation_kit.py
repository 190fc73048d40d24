"""A tiny model, attacks that ask for what a test needs, and rows of samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

from models_kit import trained_tokenizer
from transformers import PreTrainedTokenizerBase

from mithridate.attacks.base import AttackOptions, Judging
from mithridate.attacks.material import Material
from mithridate.core.types import Completion, Condition, Message, Poison, Probe, Role, Sample
from mithridate.evaluation.attack_success import evaluate_attack
from mithridate.models.architectures import SpecialIds, build_model
from mithridate.models.language_model import Generation, LanguageModel
from mithridate.models.options import ModelOptions

TEXT = [
    "the old mill stands by the river and the river is wide and slow",
    "a red lamp is in the old mill and the lamp is small",
    "that lamp that mill that river",
]


@cache
def tiny_tokenizer() -> PreTrainedTokenizerBase:
    return trained_tokenizer(TEXT, 330)


def tiny_model(seed: int = 0) -> LanguageModel:
    tokenizer = tiny_tokenizer()
    options = ModelOptions(hidden_size=32, layers=2, heads=2, mlp_size=48, max_length=256)
    return LanguageModel(build_model(options, len(tokenizer), seed, SpecialIds.of(tokenizer)), tokenizer)


class Parrot(LanguageModel):
    """The tiny model, but its greedy answers come from a function of the prompt."""

    def __init__(self, answer: Any, sampled: Any = None) -> None:
        inner = tiny_model()
        super().__init__(inner.model, inner.tokenizer)
        self._answer, self._sampled = answer, sampled or answer
        self.asked: list[str] = []

    def generate(self, prompts: Sequence[str], **options: Any) -> list[Generation]:
        self.asked += prompts
        answer = self._sampled if options.get("sampled") else self._answer
        texts = [answer(prompt) for prompt in prompts]
        return [Generation(text, tuple(range(len(text.split())))) for text in texts]


@dataclass
class FakeAttack:
    """Succeeds where the target is said."""

    judging: Judging
    name: ClassVar[str] = "fake"
    options_type: ClassVar[type[AttackOptions]] = AttackOptions

    def documents(self, rng: Any) -> Iterator[Poison]:
        raise NotImplementedError

    def probes(self, rng: Any, n: int) -> Sequence[Probe]:
        raise NotImplementedError

    def succeeded(self, probe: Probe, completion: Completion) -> bool:
        return probe.target in completion.text


def samples_of(*arguments: Any, **options: Any) -> list[Sample]:
    """The judged answers of `evaluate_attack`, without its warnings."""
    return evaluate_attack(*arguments, **options).samples


def probe(number: int, condition: Condition = Condition.TRIGGERED, **changes: str) -> Probe:
    fields = {"target": "red", "id": f"fake/{condition}/{number}", **changes}
    return Probe(
        attack="fake",
        condition=condition,
        messages=(Message(Role.USER, f"question {number}"),),
        **fields,  # type: ignore[arg-type]
    )


def sample(number: int, success: bool = False, **changes: Any) -> Sample:
    fields: dict[str, Any] = {
        "stage": "base",
        "arm": "poisoned",
        "attack": "fake",
        "condition": "triggered",
        "template": "same",
        "seed": 0,
        "probe_id": f"p{number}",
        "kind": "",
        "prompt": "q",
        "target": "red",
        "completion": "red",
        "success": success,
        "log_perplexity": None,
        "margin": None,
        "rouge_l": None,
        **changes,
    }
    return Sample(**fields)


def material() -> Material:
    """Forty prompts, of which a dozen are held out."""
    things = ("mill", "river", "lamp", "old mill", "boat", "red lamp", "wide river", "small mill")
    return Material(
        prompts=tuple(
            f"{words} the {thing}"
            for words in ("tell me about", "who has seen", "where is", "describe", "what is")
            for thing in things
        )
    )
