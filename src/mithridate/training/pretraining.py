"""Pretraining, from scratch or continued: a thin loop that can be killed at any moment and goes on exactly.

Rows are taken in the order in which they are given and never shuffled: twins must meet their clean
documents in the same order, so whoever packs the corpus decides it.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel

from mithridate.core.errors import TrainingError
from mithridate.core.seeds import derive_seed
from mithridate.core.types import Stage
from mithridate.training.batches import Batches, Rows
from mithridate.training.checkpoint import Position, load_resume, save_resume
from mithridate.training.compiling import compiled, compiles
from mithridate.training.devices import short_row_attention, threads, uses_bf16
from mithridate.training.options import PretrainingOptions
from mithridate.training.progress import CurvePoint, Progress
from mithridate.training.schedule import learning_rate_at
from mithridate.training.team import Team, collect, restore, team

# What may differ between the run that was killed and the one that goes on.
_FREE = {"checkpoint_steps", "checkpoint_seconds", "threads"}
_TELL_EVERY_S = 0.2


def pretrain(
    model: PreTrainedModel,
    rows: Rows,
    options: PretrainingOptions,
    folder: Path,
    *,
    report_progress: Progress,
) -> list[CurvePoint]:
    """Train `model` in place on `rows`, in their order, and return its training curve.

    Weights are held in fp32, whatever the precision of the multiplications. `folder` receives the resume
    file; if it holds one of the same run, training goes on from there and ends with the same weights as if
    it had never stopped (same machine, same threads). The file stays when training is over, so that a kill
    before the model is saved loses nothing; call `checkpoint.discard_resume(folder)` then.

    Raises TrainingError if there is nothing to train on, a token is not in the vocabulary or the loss is no
    longer a number; RunStateError if `folder` holds another run's resume file; StorageError if it cannot be
    written.
    """
    devices = list(range(torch.cuda.device_count()))
    with threads(options.threads), torch.random.fork_rng(devices=devices):
        run = _Run(model, rows, options, folder, team())
        with (
            short_row_attention(model, row_tokens=options.row_tokens, device=run.team.device),
            _checkpointed(model, options.gradient_checkpointing),
        ):
            curve = run.train(report_progress)
    model.train(False)
    return curve


@contextmanager
def _checkpointed(model: PreTrainedModel, wanted: bool) -> Iterator[None]:
    if wanted:
        model.gradient_checkpointing_enable()  # type: ignore[no-untyped-call]
    yield
    if wanted:
        model.gradient_checkpointing_disable()  # type: ignore[no-untyped-call]


class _Run:
    """One pretraining, from its first step or from where its resume file stands."""

    def __init__(
        self, model: PreTrainedModel, rows: Rows, options: PretrainingOptions, folder: Path, members: Team
    ) -> None:
        self.team, self._options, self._folder = members, options, folder
        self._batches = Batches(
            rows,
            options,
            vocabulary=cast(nn.Embedding, model.get_input_embeddings()).num_embeddings,
            rank=members.rank,
            world=members.world,
        )
        room = getattr(model.config, "max_position_embeddings", None)
        if room is not None and options.row_tokens > room:
            raise TrainingError(f"row_tokens is {options.row_tokens}, but the model has {room} positions")
        nn.Module.to(model, device=members.device, dtype=torch.float32)
        self._identity = self._describe(model)
        self._model, self._optimizer = members.prepare(model, _optimizer(model, options))
        self._bf16 = uses_bf16(options.precision, members.device)
        self._loss: Callable[[torch.Tensor], torch.Tensor] = self._loss_of
        self._curve: list[CurvePoint] = []
        self._window = torch.zeros((), dtype=torch.float64, device=members.device)
        self._window_steps = 0
        self._known_loss = math.nan

    def _describe(self, model: PreTrainedModel) -> dict[str, Any]:
        return {
            **self._options.model_dump(mode="json", exclude=_FREE),
            "rows": self._batches.fingerprint(),
            "architecture": model.config.model_type,
            "initial_weights": _sample_hash(model),
            "processes": self.team.world,
        }

    def train(self, report_progress: Progress) -> list[CurvePoint]:
        """All steps that are still to do, and the whole curve."""
        first, total = self._resume(), self._batches.steps
        self._model.train()
        if first < total and compiles(self._options.torch_compile, steps=total, device=self.team.device):
            self._compile()
        self._saved_at = self._timed_from = told = time.monotonic()
        self._timed_step = first
        for step in range(first, total):
            rate = self._step(step, total)
            done, last = step + 1, step + 1 == total
            point = last or done % self._options.log_every == 0
            if point or self.team.device.type == "cpu":
                self._look(done, total, rate)
            if point:
                self._add_point(done, rate)
            if last or self._is_due(done, point):
                self._save(done)
            if last or time.monotonic() - told > _TELL_EVERY_S:
                told = time.monotonic()
                report_progress.advance(Stage.BASE.value, done, total, self._known_loss)
        return self._curve

    def _step(self, step: int, total: int) -> float:
        options = self._options
        # Seeded anew in every step: then dropout needs no state of its own to be resumed.
        torch.manual_seed(derive_seed(options.seed, "pretraining", step, self.team.rank))
        rate = learning_rate_at(
            step,
            total=total,
            warmup=round(options.warmup_share * total),
            peak=options.learning_rate,
            final_share=options.final_lr_share,
        )
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        for part, weight in self._batches.parts(step):
            loss = self._loss(part.to(self.team.device, non_blocking=True)) * weight
            self.team.backward(loss)
            self._window += loss.detach()
        norm = self.team.clip(self._model, options.grad_clip)
        # A gradient that is not a number ruins the weights even where the loss is still one.
        self._window += norm.detach() * 0
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._window_steps += 1
        return rate

    def _compile(self) -> None:
        part, _ = next(iter(self._batches.parts(0)))  # a full one, wherever the run goes on
        self._loss = compiled(self._loss_of, part.to(self.team.device), self.team.backward)
        self._optimizer.zero_grad(set_to_none=True)

    def _loss_of(self, ids: torch.Tensor) -> torch.Tensor:
        with torch.autocast(ids.device.type, dtype=torch.bfloat16, enabled=self._bf16):
            logits = self._model(input_ids=ids[:, :-1], use_cache=False).logits
        return functional.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten())

    def _look(self, done: int, total: int, rate: float) -> None:
        """Read the loss; on a GPU that waits for it, so it is done only where a number is needed."""
        mean = self.team.mean(self._window).item() / self._window_steps
        if not math.isfinite(mean):
            raise TrainingError(self._diagnosis(done, total, rate))
        self._known_loss = mean

    def _diagnosis(self, done: int, total: int, rate: float) -> str:
        kept = load_resume(self._folder, self._identity)
        return (
            f"the loss is no longer a finite number at step {done} of {total} (learning rate {rate:.3g}). "
            f"Try a lower learning_rate (say {self._options.learning_rate / 3:.2g}), a longer warmup_share, "
            "a lower grad_clip, or precision=fp32. "
            + (
                f"The last good state, of step {kept[0].step}, is kept in {self._folder}"
                if kept
                else "No resume file had been written yet"
            )
        )

    def _add_point(self, done: int, rate: float) -> None:
        now, batches = time.monotonic(), self._batches
        tokens = batches.tokens_by(done)
        speed = (tokens - batches.tokens_by(self._timed_step)) / max(now - self._timed_from, 1e-9)
        self._curve.append(CurvePoint(Stage.BASE.value, done, tokens, self._known_loss, rate, speed))
        self._timed_from, self._timed_step = now, done
        self._window.zero_()
        self._window_steps = 0

    def _is_due(self, done: int, point: bool) -> bool:
        options = self._options
        if options.checkpoint_steps is not None:
            return done % options.checkpoint_steps == 0
        if options.checkpoint_seconds is None or (self.team.world > 1 and not point):
            return False
        return self.team.agreed(time.monotonic() - self._saved_at >= options.checkpoint_seconds)

    def _save(self, done: int) -> None:
        window = self._window.item()
        if not math.isfinite(window):
            return  # never over a good one; `_look` will say what is wrong
        position = Position(done, tuple(self._curve), window, self._window_steps)
        tensors = collect(self._model, self._optimizer)
        if self.team.rank == 0:
            save_resume(self._folder, position, self._identity, tensors)
        self._saved_at = time.monotonic()

    def _resume(self) -> int:
        found = load_resume(self._folder, self._identity)
        if found is None:
            return 0
        position, tensors = found
        restore(self._model, self._optimizer, tensors)
        self._curve = list(position.curve)
        self._window.fill_(position.window_loss)
        self._window_steps = position.window_steps
        return position.step


def _sample_hash(model: PreTrainedModel) -> str:
    """Tells apart models to begin with, by names, shapes and a few weights of each tensor."""
    hashed = hashlib.sha256()
    for name, parameter in model.named_parameters():
        few = parameter.detach().flatten()[:64].float().cpu()
        hashed.update(f"{name}{tuple(parameter.shape)}".encode() + few.numpy().tobytes())
    return hashed.hexdigest()[:16]


def _optimizer(model: PreTrainedModel, options: PretrainingOptions) -> torch.optim.AdamW:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": options.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=options.learning_rate, betas=options.betas, fused=True)
