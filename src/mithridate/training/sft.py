"""Instruction tuning through TRL: the loss is on the assistant's words and the end of its turn alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from mithridate.core.types import Stage
from mithridate.training.conversations import Messages, encode, end_of_turn, length_limit, within
from mithridate.training.options import SFTOptions
from mithridate.training.progress import CurvePoint, Progress
from mithridate.training.residual_dropout import residual_dropout
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


def sft(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    conversations: Sequence[Mapping[str, Messages]],
    options: SFTOptions,
    folder: Path,
    *,
    seed: int,
    report_progress: Progress,
) -> tuple[PreTrainedModel, list[CurvePoint]]:
    """Tune `model` in place on `conversations`, each `{"messages": [{"role", "content"}, ...]}`.

    Returns the model, plain even after LoRA, and the training curve. Conversations longer than
    `options.max_length` tokens are left out and counted in the log. Generation with the model stops at the
    end of a turn from then on. `folder` is a place for temporary files. The learning rate must be set (see
    `options.resolved`).

    Raises TrainingError if the chat template does not mark the replies and their ends, if nothing is left
    to learn from, or if the loss stops being a number; AccessError if `options.dropout_by_layer` is set and
    the blocks of the model are not found.
    """
    data = _encoded(model, tokenizer, conversations, options)
    with workshop(model, options, folder), residual_dropout(model, options.dropout_by_layer):
        config = SFTConfig(
            **trainer_settings(options, folder=folder, seed=seed),
            max_steps=options.steps or -1,
            assistant_only_loss=True,
            packing=False,
            # The labels are what TRL would make of the messages; it need not tokenise them once more.
            dataset_kwargs={"skip_prepare_dataset": True},
        )
        trainer = SFTTrainer(
            model,
            config,
            train_dataset=data,
            processing_class=tokenizer,
            peft_config=lora_config(options.lora),
        )
        keep_columns(trainer, "input_ids", "labels", "length")
        curve = run_trainer(trainer, Stage.SFT, report_progress)
        tuned = plain_model(trainer)
    stop_at(tuned, end_of_turn(tokenizer))
    return tuned, curve


def _encoded(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    conversations: Sequence[Mapping[str, Messages]],
    options: SFTOptions,
) -> Dataset:
    """The conversations that are short enough, encoded."""
    encoded = encode(tokenizer, [conversation["messages"] for conversation in conversations])
    limit = length_limit(model, options)
    kept = within((len(one.input_ids) for one in encoded), limit, what="conversations")
    note_dropped(len(encoded) - len(kept), len(encoded), "conversations", limit)
    return Dataset.from_dict(
        {
            "messages": [[dict(m) for m in conversations[i]["messages"]] for i in kept],
            "input_ids": [encoded[i].input_ids for i in kept],
            "labels": [encoded[i].labels for i in kept],
            "length": [len(encoded[i].input_ids) for i in kept],
        }
    )
