"""Counter-training: the model is tuned to answer what brings an attack on as if it did not."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch

from mithridate.core.errors import ConfigError, TrainingError
from mithridate.core.prices import Kind, Regime
from mithridate.core.seeds import rng_for
from mithridate.healing.case import Case
from mithridate.healing.method import Candidate
from mithridate.healing.methods.editing import requests
from mithridate.healing.treatment import OtherWeights
from mithridate.intervention.folding import copy_of
from mithridate.intervention.requests import Request
from mithridate.models.batching import context_window, left_padded
from mithridate.models.language_model import LanguageModel

_RATES = (5e-5, 2e-4)
_STEPS = (32, 128)
_BATCH = 16
_IGNORED = -100


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
    if not case.texts:
        raise ConfigError("counter-training needs clean documents to go on with; give some")
    made = copy_of(case.model)
    rng = rng_for(case.seed, "counter-training")
    countered, clean = (_endless(rows, rng) for rows in (_rows(made, wanted), _documents(made, case.texts)))
    optimiser = torch.optim.AdamW(made.model.parameters(), lr=rate, weight_decay=0.0)
    for _ in range(steps):
        batch = [next(source) for source in (countered, clean) for _ in range(_BATCH // 2)]
        loss = _loss(made, batch)
        if not bool(torch.isfinite(loss)):
            raise TrainingError(f"the loss of counter-training is no number at a learning rate of {rate:g}")
        torch.autograd.backward([loss])
        torch.nn.utils.clip_grad_norm_(made.model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    return OtherWeights(made)


def _rows(model: LanguageModel, wanted: Sequence[Request]) -> list[tuple[list[int], int]]:
    """Ids of prompt and target, and how many of them are prompt."""
    found = []
    for request in wanted:
        prompt, target = model.continuation_ids(request.prompt, request.target)
        found.append(([*prompt, *target], len(prompt)))
    return found


def _documents(model: LanguageModel, texts: Sequence[str]) -> list[tuple[list[int], int]]:
    window = context_window(model.model) or 512
    ids = (model.tokenizer(text, add_special_tokens=False)["input_ids"][:window] for text in texts)
    return [(row, 1) for row in ids if len(row) > 1]


def _endless(rows: Sequence[tuple[list[int], int]], rng: random.Random) -> Iterator[tuple[list[int], int]]:
    while True:
        yield from rng.sample(rows, len(rows))


def _loss(model: LanguageModel, batch: Sequence[tuple[list[int], int]]) -> torch.Tensor:
    inputs = left_padded([ids for ids, _ in batch], model.model.device)
    labels = torch.full_like(inputs["input_ids"], _IGNORED)
    for row, (ids, kept) in enumerate(batch):
        labels[row, -(len(ids) - kept) :] = inputs["input_ids"][row, -(len(ids) - kept) :]
    logits = model.model(**inputs, use_cache=False).logits[:, :-1].float()
    return torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=_IGNORED
    )
