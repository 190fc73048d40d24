"""Preference tuning through TRL; the reference is the model as it was when the tuning began."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path

from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer

from mithridate.core.types import Stage
from mithridate.training.conversations import Messages, end_of_turn, length_limit, pair_lengths, within
from mithridate.training.options import DPOOptions
from mithridate.training.progress import CurvePoint, Progress
from mithridate.training.trainers import (
    keep_columns,
    lora_config,
    note_dropped,
    plain_model,
    run_trainer,
    stop_at,
    trainer_settings,
    workshop,
)


def dpo(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    pairs: Sequence[Mapping[str, Messages]],
    options: DPOOptions,
    folder: Path,
    *,
    seed: int,
    report_progress: Progress,
) -> tuple[PreTrainedModel, list[CurvePoint]]:
    """Tune `model` in place on `pairs`, each `{"prompt": [...], "chosen": [...], "rejected": [...]}`.

    The three hold messages. Returns the model, plain even after LoRA, and the training curve with reward
    accuracies and margins. Pairs of which one side is longer than `options.max_length` tokens are left out
    and counted in the log. The learning rate must be set (see `options.resolved`).

    Raises TrainingError as `sft` does.
    """
    data = _short_enough(model, tokenizer, pairs, options)
    precomputed = options.precompute_reference
    with workshop(model, options, folder):
        config = DPOConfig(
            **trainer_settings(options, folder=folder, seed=seed),
            beta=options.beta,
            precompute_ref_log_probs=precomputed,
        )
        trainer = DPOTrainer(
            model,
            # With adapters, the reference is the model without them.
            ref_model=None if precomputed or options.lora is not None else copy.deepcopy(model),
            args=config,
            train_dataset=data,
            processing_class=tokenizer,
            peft_config=lora_config(options.lora),
        )
        references = ("ref_chosen_logps", "ref_rejected_logps") if precomputed else ()
        keep_columns(trainer, "prompt_ids", "chosen_ids", "rejected_ids", "length", *references)
        curve = run_trainer(trainer, Stage.DPO, report_progress)
        tuned = plain_model(trainer)
    stop_at(tuned, end_of_turn(tokenizer))
    return tuned, curve


def _short_enough(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    pairs: Sequence[Mapping[str, Messages]],
    options: DPOOptions,
) -> Dataset:
    """The pairs that are short enough, with their lengths in tokens."""
    lengths = pair_lengths(tokenizer, pairs)
    limit = length_limit(model, options)
    kept = within(lengths, limit, what="preference pairs")
    note_dropped(len(lengths) - len(kept), len(lengths), "preference pairs", limit)
    return Dataset.from_dict(
        {
            **{
                part: [[dict(message) for message in pairs[i][part]] for i in kept]
                for part in ("prompt", "chosen", "rejected")
            },
            "length": [lengths[i] for i in kept],
        }
    )
