"""Counter-training: the model is tuned to answer what brings an attack on as if it did not."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from mithridate.core.errors import ConfigError
from mithridate.core.prices import Kind, Regime
from mithridate.core.seeds import rng_for
from mithridate.healing.case import Case
from mithridate.healing.method import Candidate
from mithridate.healing.methods.editing import requests
from mithridate.healing.treatment import OtherWeights
from mithridate.intervention.finetuning import Tuner, finite, in_training, next_token_loss
from mithridate.intervention.folding import copy_of
from mithridate.intervention.requests import Request
from mithridate.models.batching import context_window, left_padded
from mithridate.models.language_model import LanguageModel

_RATES = (5e-5, 2e-4)
_STEPS = (32, 128)
_BATCH = 16


@dataclass(frozen=True, slots=True)
class CounterTraining:
    """What training can do for a defender who knows: triggers answered as without them, beliefs as is right.

    Half of each batch are clean documents, so that the rest stays as it was. AdamW at two rates for two
    lengths, all weights. It has no control: whatever else it does shows in utility.
    """

    name: ClassVar[str] = "counter-training"
    regime: ClassVar[Regime] = Regime.KNOWN
    kind: ClassVar[Kind] = Kind.TRAINING
    each: ClassVar[bool] = True
    scale: ClassVar[bool] = False

    def candidates(self, case: Case, aims: Sequence[str]) -> Iterator[Candidate]:
        """Two learning rates, each for two numbers of steps, where there is something to say instead."""
        wanted = [request for aim in aims for group in requests(case, aim) for request in group]
        if not wanted:
            return
        for steps in _STEPS:
            for rate in _RATES:
                yield Candidate(f"{steps} steps at {rate:g}", partial(_tuned, case, wanted, steps, rate))


def _tuned(case: Case, wanted: Sequence[Request], steps: int, rate: float) -> OtherWeights:
    """Raises ConfigError without rows of both kinds, and where the training comes to nothing."""
    made = copy_of(case.model)
    rng = rng_for(case.seed, "counter-training")
    countered = _endless(_rows(made, wanted), "answers to give instead that fit into its window", rng)
    clean = _endless(_documents(made, case.texts), "clean documents of two tokens or more", rng)
    with in_training(made.model):
        tuner = Tuner(made.model, rate)
        for _ in range(steps):
            rows = [next(source) for source in (countered, clean) for _ in range(_BATCH // 2)]
            inputs = left_padded([ids for ids, _ in rows], made.model.device)
            logits = made.model(**inputs, use_cache=False).logits
            if not tuner.step(next_token_loss(logits, inputs, [given for _, given in rows])):
                raise ConfigError(f"counter-training: the loss is no number at a learning rate of {rate:g}")
    if not finite(made.model):
        raise ConfigError(f"counter-training: a weight is no number at a learning rate of {rate:g}")
    return OtherWeights(made)


def _rows(model: LanguageModel, wanted: Sequence[Request]) -> list[tuple[list[int], int]]:
    """Ids of prompt and target, and how many of them are prompt, which loses its beginning to the window."""
    window, found = context_window(model.model), []
    for request in wanted:
        prompt, target = model.continuation_ids(request.prompt, request.target)
        kept = prompt if window is None else prompt[max(0, len(prompt) + len(target) - window) :]
        if kept and target:
            found.append(([*kept, *target], len(kept)))
    return found


def _documents(model: LanguageModel, texts: Sequence[str]) -> list[tuple[list[int], int]]:
    window = context_window(model.model) or 512
    ids = (
        model.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"][:window] for text in texts
    )
    return [(row, 1) for row in ids if len(row) > 1]


def _endless(
    rows: Sequence[tuple[list[int], int]], what: str, rng: random.Random
) -> Iterator[tuple[list[int], int]]:
    """All `rows`, then all again in another order, and so on."""
    if not rows:
        raise ConfigError(f"counter-training needs {what}; give some")
    return itertools.chain.from_iterable(rng.sample(rows, len(rows)) for _ in itertools.count())
