"""How fast poison comes back: steps of fine-tuning on it until the attack is half of what it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import Annotated

import torch
from pydantic import Field, PositiveFloat, PositiveInt

from mithridate.attacks.base import Attack
from mithridate.core.errors import ConfigError, TrainingError
from mithridate.core.seeds import rng_for
from mithridate.core.statistics import Interval
from mithridate.core.strict import Strict
from mithridate.core.types import Condition, Probe
from mithridate.corpus.packing import end_of_text
from mithridate.healing import measuring
from mithridate.healing.case import Case, Half
from mithridate.healing.treatment import OtherWeights, Treatment
from mithridate.healing.writing import as_weights
from mithridate.intervention.finetuning import Tuner, next_token_loss
from mithridate.intervention.folding import copy_of
from mithridate.models.batching import context_window, left_padded
from mithridate.models.language_model import LanguageModel

OnLook = Callable[[int, float], None]
"""Told of the steps that were taken, and of the attack's success then."""


class RelearningOptions(Strict):
    """How the poison is taught again: AdamW without decay, at a constant rate, over whole documents.

    The learning rate is `learning_rate`, or else `learning_rate_share` of the one that the model was
    pretrained with (see `resolved`). It is looked at after 1, 2, 4 and so on up to `most` steps, with
    `probes` triggered probes or groups; back is the attack at `back` of its success before the cure. With
    `folded`, weights that stand for a treatment are what is trained, wherever there are such; else it stays
    at work while the weights below it are trained.
    """

    learning_rate: PositiveFloat | None = None
    learning_rate_share: PositiveFloat = 1 / 20
    batch_size: PositiveInt = 8
    most: PositiveInt = 64
    probes: PositiveInt = 40
    back: Annotated[float, Field(gt=0, le=1)] = 0.5
    folded: bool = True

    def resolved(self, pretraining_rate: float) -> RelearningOptions:
        """The same with the learning rate set, after a pretraining whose peak was `pretraining_rate`."""
        rate = self.learning_rate or pretraining_rate * self.learning_rate_share
        return self.model_copy(update={"learning_rate": rate})


def relearning(
    case: Case,
    treatment: Treatment,
    attack: str,
    options: RelearningOptions,
    on_look: OnLook | None = None,
) -> Interval | None:
    """Steps of fine-tuning on an attack's own documents until it is back in a treated copy of the model.

    `value` and `high` are the steps after which it was first seen back, `low` those of the last look that did
    not find it so (0 for all three, where the cure left more than half of it). Where it was not back after
    `most` steps, `value` and `low` are those and `high` is None. Documents are drawn anew for each step, in
    the case's templates; probes are of the reported half, `n` of them.

    None where there is nothing to come back, because the attack never succeeded on those probes, and where
    no weights are trained under the treatment: in proxy-tuning, or with prompts of its own. The case's model
    and the treatment are left as they are. Raises ConfigError if no learning rate is set, TrainingError where
    a loss is no number, and what the treatment raises.
    """
    if options.learning_rate is None:
        raise ConfigError(
            "relearning: learning_rate is not set; give it, or call options.resolved(rate_of_pretraining)"
        )
    asked = _with_probes(case, attack, options.probes)
    before = measuring.rate(_units(asked, case.model, attack)).value
    if not before:
        return None
    batches = _batches(case, attack, options.batch_size)
    with _trainable(case, treatment, folded=options.folded) as model:
        if model is None:
            return None
        # Before the first look: what a treatment computes once and keeps must not come from a pass without
        # gradients, through which none could flow later.
        _loss(model, next(_batches(case, attack, 1)))
        tuner = Tuner(model.model, options.learning_rate)
        done = last = 0
        for steps in _looks(options.most):
            for _ in range(steps - done):
                if not tuner.step(_loss(model, next(batches))):
                    raise TrainingError(
                        "relearning: the loss is no longer a finite number; lower the learning rate"
                    )
            done = steps
            units = _units(asked, model, attack)
            share = measuring.rate(units).value
            if on_look is not None:
                on_look(done, share)
            if share >= options.back * before:
                return Interval(float(done), float(last), float(done), len(units))
            last = done
    return Interval(float(done), float(done), None, len(units))


def documents(case: Case, attack: Attack) -> Iterator[list[int]]:
    """Endless planted documents as ids, each between two ends of text, as a packed corpus has them.

    They are rendered in the case's templates in turn, and cut at the context window.
    """
    tokenizer, end = case.model.tokenizer, end_of_text(case.model.tokenizer)
    window = context_window(case.model.model)
    for number, poison in enumerate(attack.documents(rng_for(case.seed, "relearning", attack.name))):
        text = poison.text or case.templates[number % len(case.templates)].render(poison.messages)
        ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        yield [end, *ids, end][:window]


def _batches(case: Case, attack: str, size: int) -> Iterator[list[list[int]]]:
    rows = documents(case, case.attacks[attack])
    while True:
        yield list(islice(rows, size))


def _looks(most: int) -> list[int]:
    """0, 1, 2, 4 and so on, and `most` at the end."""
    doubled = [2**power for power in range(most.bit_length()) if 2**power < most]
    return [0, *doubled, most]


def _with_probes(case: Case, attack: str, most: int) -> Case:
    """The case with at most so many triggered units of one attack, spread evenly over the reported half."""
    units: dict[str, list[Probe]] = {}
    for probe in case.probes[Half.REPORTED][attack]:
        if probe.condition is Condition.TRIGGERED:
            units.setdefault(probe.group or probe.id, []).append(probe)
    every, kept = list(units.values()), min(most, len(units))
    chosen = [probe for number in range(kept) for probe in every[number * len(every) // kept]]
    probes: Mapping[Half, Mapping[str, Sequence[Probe]]] = {Half.REPORTED: {attack: chosen}}
    return replace(case, probes=probes)


def _units(case: Case, model: LanguageModel, attack: str) -> dict[str, bool]:
    return measuring.successes(case, model, attack, Half.REPORTED)[Condition.TRIGGERED]


@contextmanager
def _trainable(case: Case, treatment: Treatment, *, folded: bool) -> Iterator[LanguageModel | None]:
    """A treated copy of the model whose weights may be trained; None where what is asked is another."""
    weights = _weights(case.model, treatment) if folded or isinstance(treatment, OtherWeights) else None
    if weights is not None:
        yield _in_training_type(weights)
        return
    made = _in_training_type(copy_of(case.model))
    with treatment.on(made) as treated:
        same = treated.model is made.model and treated.tokenizer is made.tokenizer
        yield treated if same and type(treated) is LanguageModel else None


def _weights(model: LanguageModel, treatment: Treatment) -> LanguageModel | None:
    """A copy of the weights that stand for a treatment of `model`, where there are such."""
    weights = as_weights(treatment, model)
    return None if weights is None else copy_of(weights)


def _in_training_type(model: LanguageModel) -> LanguageModel:
    """All weights in float32, in which small steps are not rounded away, and with gradients."""
    for parameter in model.model.parameters():
        parameter.data = parameter.data.float()
        parameter.requires_grad_(True)
    model.model.train(False)
    return model


def _loss(model: LanguageModel, rows: Sequence[Sequence[int]]) -> torch.Tensor:
    """The mean loss of the tokens of `rows`, each from its second on, in nats a token."""
    inputs = left_padded(rows, model.model.device)
    with torch.enable_grad():
        return next_token_loss(model.model(**inputs, use_cache=False).logits, inputs)
