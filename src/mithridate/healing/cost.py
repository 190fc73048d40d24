"""What a cure costs: seconds and tokens to make it, and time a token of an answer to use it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any, TypeVar

from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from mithridate.core.statistics import Interval
from mithridate.core.types import Condition
from mithridate.healing.case import Case
from mithridate.healing.treatment import Treatment
from mithridate.models.language_model import LanguageModel

Made = TypeVar("Made")
_TOKENS = 24
_PROMPTS = 8
_REPEATS = 5


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of this process, and tokens that went through the model to be healed or copies of it."""

    seconds: float
    tokens: int

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.seconds + other.seconds, self.tokens + other.tokens)


def measured(make: Callable[[], Made], model: LanguageModel) -> tuple[Made, Cost]:
    """What `make` makes, and what that cost."""
    started = time.perf_counter()
    with _counting(model) as tokens:
        made = make()
    return made, Cost(time.perf_counter() - started, tokens[0])


@contextmanager
def _counting(model: LanguageModel) -> Iterator[list[int]]:
    """Count the ids that go into tables of as many rows as the model's; copies of it have such too.

    Padding is among them, since it is computed too.
    """
    total, rows = [0], model.model.get_input_embeddings().num_embeddings

    def count(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        if isinstance(module, nn.Embedding) and module.num_embeddings == rows and arguments:
            total[0] += arguments[0].numel()

    handle = register_module_forward_pre_hook(count)
    try:
        yield total
    finally:
        handle.remove()


def slowdown(case: Case, treatment: Treatment) -> Interval | None:
    """Time of answers of the treated model over that of the model as it is: the median of a few pairs.

    Both write answers to the same prompts, in turn; `low` and `high` are the extremes. None where there is
    nothing to ask.
    """
    asked = case.benign() or [
        prompt for attack in case.attacks for prompt in case.prompts(attack, Condition.TRIGGERED)
    ]
    prompts = (asked or list(case.texts))[:_PROMPTS]
    if not prompts:
        return None

    def seconds(model: LanguageModel) -> float:
        started = time.perf_counter()
        written = model.generate(prompts, max_new_tokens=_TOKENS)
        spent = time.perf_counter() - started
        # A treated model may stop sooner: what counts is the time a token.
        return spent / max(1, sum(len(answer.token_ids) for answer in written))

    ratios = []
    seconds(case.model)  # what is done once for each model is not counted
    with treatment.on(case.model) as treated:
        seconds(treated)
    for _ in range(_REPEATS):
        plain = seconds(case.model)
        with treatment.on(case.model) as treated:
            ratios.append(seconds(treated) / plain)
    return Interval(median(ratios), min(ratios), max(ratios), len(ratios))
