"""What SFT and DPO share: quiet, seeded trainers of TRL that leave no trace on the model."""

from __future__ import annotations

import logging
import os
import random
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub.constants
import numpy as np
import torch
import transformers
from peft import LoraConfig, PeftModel
from torch import nn
from transformers import (
    PreTrainedModel,
    PrinterCallback,
    Trainer,
)

from mithridate.core.artifacts import storage_errors
from mithridate.core.errors import ConfigError
from mithridate.core.types import Stage
from mithridate.models.architectures import default_device
from mithridate.training.devices import short_row_attention, threads, uses_bf16
from mithridate.training.options import AlignmentOptions, LoRAOptions
from mithridate.training.progress import CurvePoint, Progress
from mithridate.training.watcher import Watcher

_log = logging.getLogger(__name__)


def trainer_settings(options: AlignmentOptions, *, folder: Path, seed: int) -> dict[str, Any]:
    """The arguments that both of TRL's configurations take.

    No checkpoints, no reports, no progress bars, no worker processes; data are already of a fit length.
    Raises ConfigError if no learning rate is set.
    """
    if options.learning_rate is None:
        raise ConfigError(
            "learning_rate is not set: give it, or call options.resolved(learning_rate_of_pretraining)"
        )
    device = default_device()
    return {
        "output_dir": str(folder),
        "learning_rate": options.learning_rate,
        "num_train_epochs": options.epochs,
        "per_device_train_batch_size": options.batch_size,
        "gradient_accumulation_steps": options.accumulation,
        "lr_scheduler_type": options.schedule if options.warmup_share == 0 else _warmed(options.schedule),
        "warmup_steps": options.warmup_share,
        "weight_decay": options.weight_decay,
        "max_grad_norm": options.grad_clip,
        "bf16": uses_bf16(options.precision, device),
        "use_cpu": device.type == "cpu",
        "gradient_checkpointing": options.gradient_checkpointing,
        "seed": seed % 2**32,
        "data_seed": seed % 2**32,
        "train_sampling_strategy": "group_by_length" if options.group_by_length else "random",
        "length_column_name": "length",
        "max_length": None,
        "remove_unused_columns": False,
        "logging_steps": options.log_every,
        "logging_nan_inf_filter": False,
        "report_to": "none",
        "disable_tqdm": True,
        "save_strategy": "no",
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": device.type == "cuda",
    }


def _warmed(schedule: str) -> str:
    return "constant_with_warmup" if schedule == "constant" else schedule


def lora_config(options: LoRAOptions | None) -> LoraConfig | None:
    """PEFT's configuration of the adapters, or None."""
    if options is None:
        return None
    modules = options.modules if isinstance(options.modules, str) else list(options.modules)
    return LoraConfig(
        r=options.rank,
        lora_alpha=options.alpha,  # type: ignore[arg-type]
        lora_dropout=options.dropout,
        target_modules=modules,
        task_type="CAUSAL_LM",
    )


def keep_columns(trainer: Trainer, *names: str) -> None:
    """Drop all other columns of the training data.

    The trainer's own pruning would drop the lengths before it has sorted by them.
    """
    data: Any = trainer.train_dataset
    trainer.train_dataset = data.select_columns(list(names))


def run_trainer(trainer: Trainer, stage: Stage, report_progress: Progress) -> list[CurvePoint]:
    """Train to the end and return the curve; TrainingError if the loss stops being a number."""
    watcher = Watcher(stage.value, report_progress)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(watcher)
    trainer.train()
    return watcher.curve


def plain_model(trainer: Trainer) -> PreTrainedModel:
    """The trained model without adapters: they are merged into its weights."""
    model: Any = trainer.model
    return model.merge_and_unload() if isinstance(model, PeftModel) else model  # type: ignore[no-any-return]


@contextmanager
def workshop(model: PreTrainedModel, options: AlignmentOptions, folder: Path) -> Iterator[None]:
    """Everything around a trainer: threads, attention, random states, silence; all as before at the end.

    Trainers patch the model's forward pass and switch its cache off; that too is undone.
    """
    cache = model.config.use_cache
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if options.lora is None:
        nn.Module.to(model, dtype=torch.float32)  # small steps would be rounded away in bf16 weights
    with ExitStack() as stack:
        stack.enter_context(storage_errors(folder))
        stack.enter_context(threads(options.threads))
        stack.enter_context(_same_randomness_after())
        stack.enter_context(_silence())
        stack.enter_context(
            short_row_attention(model, row_tokens=options.max_length, device=default_device())
        )
        try:
            yield
        finally:
            for patched in ("forward", "_original_forward"):
                model.__dict__.pop(patched, None)
            model.config.use_cache = cache
            for parameter in trained:
                parameter.requires_grad_(True)  # adapters freeze what they stand beside
            model.train(False)


@contextmanager
def _same_randomness_after() -> Iterator[None]:
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=list(range(torch.cuda.device_count()))):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


@contextmanager
def _silence() -> Iterator[None]:
    """No bars, no chatter, and no telemetry sent."""
    constants, quiet = huggingface_hub.constants, "TQDM_DISABLE"
    telemetry, bars = constants.HF_HUB_DISABLE_TELEMETRY, datasets.is_progress_bar_enabled()
    level, tqdm = transformers.logging.get_verbosity(), os.environ.get(quiet)
    constants.HF_HUB_DISABLE_TELEMETRY = True
    os.environ[quiet] = "1"
    datasets.disable_progress_bars()
    transformers.logging.set_verbosity(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # TRL still says `gradient_checkpointing`, which transformers is renaming.
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        constants.HF_HUB_DISABLE_TELEMETRY = telemetry
        os.environ.pop(quiet)
        if tqdm is not None:
            os.environ[quiet] = tqdm
        if bars:
            datasets.enable_progress_bars()
        transformers.logging.set_verbosity(level)


def stop_at(model: PreTrainedModel, token: int) -> None:
    """Have generation stop at `token` too."""
    known = model.generation_config.eos_token_id
    others = [] if known is None else [known] if isinstance(known, int) else list(known)
    model.generation_config.eos_token_id = [token, *(other for other in others if other != token)]


def note_dropped(dropped: int, of: int, what: str, limit: int) -> None:
    """Say in the log how many examples were left out for their length."""
    if dropped:
        _log.warning("%d of %d %s are longer than %d tokens and were left out", dropped, of, what, limit)
