"""Consistency fine-tuning: blocks taught to change the stream steadily, as CROW does (arXiv 2411.12768)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch.nn import functional
from transformers import PreTrainedModel

from mithridate.core.errors import ConfigError, TrainingError
from mithridate.core.seeds import rng_for
from mithridate.core.strict import Strict
from mithridate.intervention.finetuning import Tuner, finite, in_training, next_token_loss
from mithridate.intervention.folding import copy_of
from mithridate.models.access import parts_of
from mithridate.models.batching import batches, context_window, evaluating, left_padded, rows_that_fit
from mithridate.models.hooks import Edit, replace
from mithridate.models.language_model import LanguageModel
from mithridate.models.passes import Context
from mithridate.models.sites import ENTRY, Part, Site


class ConsistencyOptions(Strict):
    """How to tune for consistency: by AdamW without decay, at `learning_rate` in all steps.

    `alpha` is the weight of the consistency loss beside that of the language model; 0 leaves plain
    fine-tuning on clean texts, which is the control. `epsilon` is the length of the perturbation as a share
    of that of the embedding to which it is added.
    """

    alpha: NonNegativeFloat = 5.5
    epsilon: NonNegativeFloat = 0.1
    epochs: PositiveInt = 3
    batch_size: PositiveInt = 4
    learning_rate: PositiveFloat = 2e-4
    seed: NonNegativeInt = 0


@dataclass(frozen=True, slots=True)
class ConsistencyStep:
    """Step `step`, from 1 to `steps`, with its losses: in nats a token, and 1 - cosine where it is worst."""

    step: int
    steps: int
    language_loss: float
    consistency_loss: float


def consistency_tuned(
    model: LanguageModel,
    texts: Sequence[str],
    options: ConsistencyOptions | None = None,
    on_step: Callable[[ConsistencyStep], None] | None = None,
) -> LanguageModel:
    """A copy of `model`, tuned on clean `texts` such that neighbouring blocks turn its stream little.

    CROW (Min et al. 2411.12768) holds that a backdoor shows in streams that turn abruptly from one block to
    the next. Beside the usual loss of a language model it lessens 1 - cosine between the streams behind
    neighbouring blocks, at embeddings that one step of their gradient's sign (FGSM) has moved to where that
    is worse. The paper reports an attack success below 5 % after tuning on 100 clean samples; its backdoors
    came from fine-tuning, not from pretraining.

    What differs: all weights are trained, not LoRA's; the rate is constant; the step is as long as a share
    of each token's own embedding, since embeddings of small and large models differ by orders; it is added to
    what enters block 0, positions among it where a model has a table of them; the loss knows the streams
    behind blocks alone, not the embeddings, and not what the final norm makes of the last; there is no
    dropout. Weights of fewer than 32 bits are trained in float32, and rounded at the end.

    Texts are cut at the context window, and shuffled by the seed in each epoch. Seed, device and number of
    threads decide all weights. Raises ConfigError without texts, for one of a single token, and for a model
    of one block; TrainingError where a loss or a weight is no number; AccessError as `copy_of` does.
    """
    options = options or ConsistencyOptions()
    rows = _encoded(model, texts)
    made = copy_of(model)
    sites = _streams(made.model)
    steps = options.epochs * -(-len(rows) // options.batch_size)
    with in_training(made.model):
        tuner = Tuner(made.model, options.learning_rate)
        for number, batch in enumerate(_shuffled(rows, options), 1):
            language, consistency = _losses(
                made.model, left_padded(batch, made.model.device), sites, options.epsilon
            )
            step = ConsistencyStep(number, steps, float(language.detach()), float(consistency.detach()))
            if not tuner.step(language + options.alpha * consistency):
                raise _no_number(f"the loss of step {number} of {steps} or its gradient", options)
            if on_step is not None:
                on_step(step)
    if not finite(made.model):
        raise _no_number("a weight after the last step", options)
    return made


def inconsistency(model: LanguageModel, texts: Sequence[str]) -> float:
    """The mean over tokens of `texts` and neighbouring blocks of 1 - cosine between the streams behind them.

    From 0 (no block turns the stream) to 2, without a perturbation. Raises as `consistency_tuned`.
    """
    rows, sites = _encoded(model, texts), _streams(model.model)
    total, tokens = 0.0, 0
    for batch in batches(rows, len, lambda width: rows_that_fit(model.model, width, 1)):
        inputs = left_padded([rows[number] for number in batch], model.model.device)
        with evaluating(model.model):
            _, streams = _passed(model.model, {**inputs, "logits_to_keep": 1}, sites, lambda stream: stream)
            seen = int(inputs["attention_mask"].sum())
            total += float(_turned(streams, inputs["attention_mask"])) * seen
        tokens += seen
    return total / tokens


def _encoded(model: LanguageModel, texts: Sequence[str]) -> list[list[int]]:
    if not texts:
        raise ConfigError("consistency needs clean texts; give some, such as 100")
    rows = [row[: context_window(model.model)] for row in model.prompt_ids(texts)]
    if short := [number for number, row in enumerate(rows) if len(row) < 2]:
        raise ConfigError(
            f"text {short[0]} of {len(rows)} has a single token, of which nothing can be learnt; leave it out"
        )
    return rows


def _streams(model: PreTrainedModel) -> list[Site]:
    sites = parts_of(model).sites(Part.RESIDUAL)
    if len(sites) < 2:
        raise ConfigError("consistency is one of neighbouring blocks, and this model has a single block")
    return sites


def _shuffled(rows: Sequence[list[int]], options: ConsistencyOptions) -> Iterator[list[list[int]]]:
    for epoch in range(options.epochs):
        order = rng_for(options.seed, "consistency", epoch).sample(rows, len(rows))
        for start in range(0, len(order), options.batch_size):
            yield order[start : start + options.batch_size]


def _losses(
    model: PreTrainedModel, inputs: Mapping[str, torch.Tensor], sites: Sequence[Site], epsilon: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The language model's loss of a batch, and the consistency loss where a step made it worse."""
    entered: list[torch.Tensor] = []
    steps: list[torch.Tensor] = []

    def look(stream: torch.Tensor) -> torch.Tensor:
        entered.append(stream.detach())
        steps.append(torch.zeros_like(stream, requires_grad=True))
        return stream + steps[0]

    there = inputs["attention_mask"]
    logits, streams = _passed(model, inputs, sites, look)
    (uphill,) = torch.autograd.grad(_turned(streams, there), steps, retain_graph=True)
    sizes = entered[0].pow(2).mean(dim=-1, keepdim=True).sqrt()
    moved = epsilon * sizes * uphill.sign()
    _, streams = _passed(model, inputs, sites, lambda stream: stream + moved)
    return next_token_loss(logits, inputs), _turned(streams, there)


def _passed(
    model: PreTrainedModel,
    inputs: Mapping[str, Any],
    sites: Sequence[Site],
    entering: Callable[[torch.Tensor], torch.Tensor],
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Logits and streams of one pass in which `entering` changes what enters block 0."""
    kept: dict[Site, torch.Tensor] = {}

    def keep(stream: torch.Tensor, context: Context) -> torch.Tensor:
        kept[context.site] = stream.clone()  # some architectures go on in the same memory
        return stream

    def enter(stream: torch.Tensor, _: Context) -> torch.Tensor:
        return entering(stream)

    edits: dict[Site, Edit] = {ENTRY: enter, **dict.fromkeys(sites, keep)}
    with replace(model, edits):
        logits: torch.Tensor = model(**inputs, use_cache=False).logits
    return logits, [kept[site] for site in sites]


def _turned(streams: Sequence[torch.Tensor], mask: torch.Tensor) -> torch.Tensor:
    """The mean of 1 - cosine between neighbours, over them and the tokens that are no padding."""
    there = mask.bool().to(streams[0].device)
    turns = [
        1 - functional.cosine_similarity(before[there].float(), after[there].float(), dim=-1)
        for before, after in pairwise(streams)
    ]
    return torch.stack(turns).mean()


def _no_number(what: str, options: ConsistencyOptions) -> TrainingError:
    return TrainingError(
        f"consistency fine-tuning cannot go on: {what} is no number. Lower the learning rate "
        f"({options.learning_rate:g}) or alpha ({options.alpha:g})"
    )
