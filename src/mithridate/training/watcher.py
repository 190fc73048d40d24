"""Looks on while a trainer trains: makes the curve, tells the progress, stops when the loss is lost."""

from __future__ import annotations

import math
import time
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from mithridate.core.errors import TrainingError
from mithridate.training.progress import CurvePoint, Progress


class Watcher(TrainerCallback):
    """Turns a trainer's log into a curve, tells how far it is, and stops it when the loss is lost."""

    def __init__(self, stage: str, report_progress: Progress) -> None:
        self.curve: list[CurvePoint] = []
        self._stage, self._progress = stage, report_progress
        self._loss = math.nan
        self._since, self._tokens = time.monotonic(), 0

    def on_train_begin(self, *_args: Any, **_kwargs: Any) -> None:
        """Start the clock."""
        self._since = time.monotonic()

    def on_step_end(
        self,
        args: TrainingArguments,  # noqa: ARG002 - the base class dictates it
        state: TrainerState,
        control: TrainerControl,
        **_kwargs: Any,
    ) -> None:
        """Tell where the training is, and have the last step logged whatever its number."""
        self._progress.advance(self._stage, state.global_step, state.max_steps, self._loss)
        if state.global_step == state.max_steps:
            control.should_log = True

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002 - the base class dictates it
        logs: dict[str, Any] | None = None,
        **_kwargs: Any,
    ) -> None:
        """Add a point to the curve."""
        logs = logs or {}
        if "loss" not in logs:
            return
        loss, norm = float(logs["loss"]), float(logs.get("grad_norm", 0.0))
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise TrainingError(
                f"{self._stage}: the loss or its gradient is no longer a finite number by step "
                f"{state.global_step} of {state.max_steps} (learning rate {args.learning_rate:.3g}). "
                f"Try a lower learning_rate (say {args.learning_rate / 3:.2g}), a longer warmup_share, "
                "or precision=fp32. "
                "The model it began with is untouched on disk"
            )
        self._loss = loss
        now, tokens = time.monotonic(), int(logs.get("num_tokens", 0))
        speed = (tokens - self._tokens) / max(now - self._since, 1e-9)
        self._since, self._tokens = now, tokens
        self.curve.append(
            CurvePoint(
                stage=self._stage,
                step=state.global_step,
                tokens=tokens,
                loss=loss,
                learning_rate=float(logs.get("learning_rate", 0.0)),
                tokens_per_second=speed,
                reward_accuracy=logs.get("rewards/accuracies"),
                reward_margin=logs.get("rewards/margins"),
            )
        )
