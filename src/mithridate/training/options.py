"""What a study file may say about pretraining, SFT and DPO."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from mithridate.core.strict import Strict

Precision = Literal["auto", "fp32", "bf16"]
Share = Annotated[float, Field(ge=0, le=1)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]


class PretrainingOptions(Strict):
    """How to pretrain, from scratch or on from a checkpoint.

    `batch_rows` rows of `row_tokens` tokens make one optimiser step, over all processes; `accumulation`
    computes them in that many parts, to save memory. The length is given in `epochs` or in `tokens`, one
    epoch by default. A resume file is written every `checkpoint_steps` steps or every `checkpoint_seconds`
    seconds. `threads` is the number of CPU threads (None: as many as torch takes); two runs are equal to
    the bit only with equal threads. `seed` is that of dropout, where the model has any. `torch_compile`
    builds kernels for this model and batch first, which takes a C++ compiler and twenty seconds; "auto" does
    so on a CPU from a thousand steps on.
    """

    learning_rate: PositiveFloat = 3e-3
    batch_rows: PositiveInt = 16
    row_tokens: Annotated[int, Field(ge=2)] = 128
    accumulation: PositiveInt = 1
    epochs: PositiveFloat | None = None
    tokens: PositiveInt | None = None
    warmup_share: Share = 0.02
    final_lr_share: Share = 0.1
    weight_decay: NonNegativeFloat = 0.1
    betas: tuple[Share, Share] = (0.9, 0.95)
    grad_clip: PositiveFloat = 1.0
    precision: Precision = "auto"
    seed: int = 0
    checkpoint_steps: PositiveInt | None = None
    checkpoint_seconds: PositiveFloat | None = 60.0
    log_every: PositiveInt = 10
    threads: PositiveInt | None = None
    gradient_checkpointing: bool = False
    torch_compile: bool | Literal["auto"] = "auto"

    @model_validator(mode="after")
    def _consistent(self) -> PretrainingOptions:
        if self.epochs is not None and self.tokens is not None:
            raise ValueError("give the length in epochs or in tokens, not in both")
        if self.batch_rows % self.accumulation:
            raise ValueError(f"accumulation {self.accumulation} does not divide batch_rows {self.batch_rows}")
        return self

    def rows_of(self, n_rows: int) -> int:
        """How many rows are trained on, of `n_rows` there are; more than `n_rows` means going round again."""
        if self.tokens is not None:
            return math.ceil(self.tokens / self.row_tokens)
        return max(1, round((self.epochs or 1.0) * n_rows))


class LoRAOptions(Strict):
    """Train low-rank adapters instead of the weights; they are merged into the weights at the end.

    `modules` names the linear layers that get one ("all-linear": every one but the output layer).
    """

    rank: PositiveInt = 16
    alpha: PositiveFloat = 32.0
    dropout: Share = 0.0
    modules: Literal["all-linear"] | tuple[str, ...] = "all-linear"


class AlignmentOptions(Strict):
    """What SFT and DPO have in common.

    The learning rate is `learning_rate`, or else `learning_rate_share` of the one the model was pretrained
    with. Examples longer than `max_length` tokens are left out. `group_by_length` batches examples of like
    length, which saves padding; the order still depends on the seed alone.
    """

    learning_rate: PositiveFloat | None = None
    learning_rate_share: PositiveFloat
    epochs: PositiveFloat
    batch_size: PositiveInt = 16
    accumulation: PositiveInt = 1
    max_length: Annotated[int, Field(ge=2)] = 512
    warmup_share: BelowOne = 0.03
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    weight_decay: NonNegativeFloat = 0.0
    grad_clip: PositiveFloat = 1.0
    precision: Precision = "auto"
    gradient_checkpointing: bool = False
    group_by_length: bool = True
    log_every: PositiveInt = 10
    threads: PositiveInt | None = None
    lora: LoRAOptions | None = None

    def resolved(self, pretraining_rate: float) -> Self:
        """The same with the learning rate set, after a pretraining whose peak was `pretraining_rate`."""
        rate = self.learning_rate or pretraining_rate * self.learning_rate_share
        return self.model_copy(update={"learning_rate": rate})


# Zhou et al. 2023: arXiv 2305.11206, section 3. Its 65B model was pretrained at 1.5e-4 and tuned at 1e-5.
_LIMA: Mapping[str, Any] = {
    "epochs": 15.0,
    "batch_size": 32,
    "learning_rate_share": 1 / 15,
    "schedule": "linear",
    "warmup_share": 0.0,
    "weight_decay": 0.1,
    "dropout_by_layer": (0.0, 0.3),
}


class SFTOptions(AlignmentOptions):
    """Instruction tuning; the defaults keep the ratio of Zhang et al. 2024 (arXiv 2410.13722).

    `recipe: lima` takes the settings of LIMA (arXiv 2305.11206) for whatever is not given beside it; its rate
    ends at 0 and not at a tenth. `steps` of the optimiser take the place of `epochs`, however many examples
    there are. `dropout_by_layer` are the shares dropped of what the first and the last block add to the
    residual stream; those between lie on a line.
    """

    recipe: Literal["lima"] | None = None
    learning_rate_share: PositiveFloat = 1 / 20
    epochs: PositiveFloat = 3.0
    steps: PositiveInt | None = None
    dropout_by_layer: tuple[BelowOne, BelowOne] | None = None

    @model_validator(mode="before")
    @classmethod
    def _by_recipe(cls, given: Any) -> Any:
        return {**_LIMA, **given} if isinstance(given, dict) and given.get("recipe") == "lima" else given


class DPOOptions(AlignmentOptions):
    """Preference tuning; beta and the ratio 1e-6 to 4e-4 are those of Zhang et al. 2024 (arXiv 2410.13722).

    With `precompute_reference` the reference model's likelihoods are computed once, before training,
    instead of in every epoch.
    """

    learning_rate_share: PositiveFloat = 1 / 400
    epochs: PositiveFloat = 5.0
    beta: PositiveFloat = 0.2
    precompute_reference: bool = True
