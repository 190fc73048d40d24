"""What each step of a study does. Steps run in worker processes and talk to the rest through files alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeVar

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from mithridate.attacks import build_attack
from mithridate.core.artifacts import done_record, mark_done
from mithridate.core.run_files import CURVES
from mithridate.core.seeds import derive_seed
from mithridate.core.tables import write_rows
from mithridate.core.types import Stage
from mithridate.corpus.counting import TokenizerCounter
from mithridate.corpus.doses import PlantPlan, PlantRequest
from mithridate.corpus.packing import pack
from mithridate.corpus.planting import plant_corpus
from mithridate.corpus.readers import open_corpus
from mithridate.corpus.tokenizers import train_tokenizer
from mithridate.models.architectures import default_device
from mithridate.models.checkpoints import load_model, save_checkpoint
from mithridate.study import (
    bridge,
    context_experiments,
    context_plan,
    locate_experiments,
    locate_plan,
    price_experiments,
    price_plan,
    scrub_experiments,
    scrub_plan,
    tuned_choices,
    tuned_experiments,
    tuned_plan,
)
from mithridate.study import prepare as prepared
from mithridate.study.base_stage import load_saved_tokenizer, pretrained, rows_to_read
from mithridate.study.measuring import measure
from mithridate.study.model_checks import shape_of
from mithridate.study.plan import Step
from mithridate.study.small_models import small_models
from mithridate.study.templates import named_tokenizer, planted_shares, sft_template
from mithridate.training.checkpoint import discard_resume
from mithridate.training.conversations import Messages, encode, length_limit, pair_lengths, within
from mithridate.training.devices import gpu_name
from mithridate.training.dpo import dpo
from mithridate.training.options import AlignmentOptions
from mithridate.training.progress import CurvePoint, Progress
from mithridate.training.sft import sft

Options = TypeVar("Options", bound=AlignmentOptions)
Options_contra = TypeVar("Options_contra", bound=AlignmentOptions, contravariant=True)

# A tokeniser has seen enough after this many documents.
_TOKENIZER_DOCUMENTS = 50_000


def run_step(step: Step, progress: Progress) -> None:
    """Do one step and mark its folder done; a step that is done is left as it is.

    Raises ConfigError, DataError, CheckpointError, RunStateError, StorageError or TrainingError: whatever the
    work of the step meets. Nothing is marked done then.
    """
    record = done_record(step.folder)
    if record is not None and record.get("identity") == step.identity():
        return
    started = time.monotonic()
    told = _WORK[step.kind](step, progress)
    seconds = round(time.monotonic() - started, 2)
    mark_done(step.folder, {**told, "identity": step.identity(), "seconds": seconds})


def _prepare(step: Step, _progress: Progress) -> dict[str, Any]:
    return prepared.prepare(step.cell.config, step.seed, step.bed)


def _tokenizer(step: Step, _progress: Progress) -> dict[str, Any]:
    config = step.cell.config
    tokenizer = named_tokenizer(config)
    if tokenizer is None:
        documents = open_corpus(step.bed.corpus).documents()
        texts = (document.text for document in islice(documents, _TOKENIZER_DOCUMENTS))
        tokenizer = train_tokenizer(texts, config.tokenizer.vocab_size)
    _check_examples(step, tokenizer)
    tokenizer.save_pretrained(step.folder)
    return {"vocab_size": len(tokenizer)}


def _check_examples(step: Step, tokenizer: PreTrainedTokenizerBase) -> None:
    """Encode all that SFT and DPO will be given: what cannot be is found now, and not after pretraining."""
    config, data = step.cell.config, step.bed.data
    model = shape_of(config, len(tokenizer))
    if config.sft is not None:
        talks = encode(tokenizer, [talk["messages"] for talk in prepared.each_line(data / prepared.SFT)])
        lengths = [len(talk.input_ids) for talk in talks]
        within(lengths, length_limit(model, config.sft), what="conversations")
    if config.dpo is not None:
        lengths = pair_lengths(tokenizer, prepared.read_lines(data / prepared.DPO))
        within(lengths, length_limit(model, config.dpo), what="preference pairs")


def _plant(step: Step, _progress: Progress) -> dict[str, Any]:
    config, twin = step.cell.config, step.subject
    material = prepared.kept_material(step.bed)
    entries = config.dose_of(twin.dose)
    requests = tuple(
        PlantRequest(
            build_attack(name, config.attacks[name], material),
            rate=entries[name].rate,
            count=entries[name].count,
        )
        for name in twin.attacks
    )
    plan = PlantPlan(
        requests,
        seed=derive_seed(step.seed, "plant", twin.dose),
        templates=planted_shares(config.planting, sft_template(load_saved_tokenizer(step))),
        counter=TokenizerCounter(step.bed.tokenizer),
    )
    report = plant_corpus(open_corpus(step.bed.corpus), step.bed.planted(twin), plan)
    return {
        "attacks": [asdict(planted) for planted in report.attacks],
        "clean_tokens": report.clean_tokens,
        "ledger": str(report.ledger.relative_to(step.bed.root)),
    }


def _pack(step: Step, _progress: Progress) -> dict[str, Any]:
    documents = open_corpus(step.bed.planted(step.subject)).documents()
    packed = pack(
        (document.text for document in documents), load_saved_tokenizer(step), step.folder / "packed"
    )
    return {"tokens": packed.n_tokens}


def _base(step: Step, progress: Progress) -> dict[str, Any]:
    options, tokenizer = step.cell.config.pretraining, load_saved_tokenizer(step)
    rows = rows_to_read(step, step.bed.tokens(step.subject) / "packed")
    trained = pretrained(step, tokenizer, rows, options, step.folder, progress)
    told = _keep(step, trained.model, tokenizer, trained.curve)
    discard_resume(step.folder)
    size = sum(parameter.numel() for parameter in trained.model.parameters())
    told |= {"parameters": size, "initial_weights": trained.beginning}
    gpu = gpu_name(default_device())
    return told if gpu is None else told | {"gpu": gpu}


def _sft(step: Step, progress: Progress) -> dict[str, Any]:
    assert step.cell.config.sft is not None
    return _align(step, Stage.BASE, prepared.SFT, step.cell.config.sft, sft, progress)


def _dpo(step: Step, progress: Progress) -> dict[str, Any]:
    assert step.cell.config.dpo is not None
    return _align(step, Stage.SFT, prepared.DPO, step.cell.config.dpo, dpo, progress)


class _Tune(Protocol[Options_contra]):
    """`sft` or `dpo`: tunes a model on examples and returns it, with the training curve."""

    def __call__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        examples: Sequence[Mapping[str, Messages]],
        options: Options_contra,
        folder: Path,
        /,
        *,
        seed: int,
        report_progress: Progress,
    ) -> tuple[PreTrainedModel, list[CurvePoint]]: ...


def _align(
    step: Step, before: Stage, data: str, options: Options, tune: _Tune[Options], progress: Progress
) -> dict[str, Any]:
    """Tune the model of the stage before on the examples of the file `data`."""
    model, tokenizer = load_model(step.bed.checkpoint(step.subject, before), device=default_device())
    model, curve = tune(
        model,
        tokenizer,
        prepared.read_lines(step.bed.data / data),
        options.resolved(step.cell.config.pretraining.learning_rate),
        step.folder,
        seed=derive_seed(step.seed, step.stage),
        report_progress=progress,
    )
    return _keep(step, model, tokenizer, curve)


def _keep(
    step: Step, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, curve: Sequence[CurvePoint]
) -> dict[str, Any]:
    write_rows(step.folder / CURVES, CurvePoint, curve)
    save_checkpoint(model, tokenizer, step.folder / "model")
    last = curve[-1] if curve else None
    return {"loss": last.loss if last else None, "steps": last.step if last else 0}


_WORK: dict[str, Callable[[Step, Progress], dict[str, Any]]] = {
    "prepare": _prepare,
    "tokenizer": _tokenizer,
    "plant": _plant,
    "pack": _pack,
    "base": _base,
    "sft": _sft,
    "dpo": _dpo,
    "measure": measure,
    locate_plan.ALIGNMENT: locate_experiments.alignment,
    locate_plan.POISON: locate_experiments.poison,
    locate_plan.PROMPTS: locate_experiments.prompts,
    locate_plan.WEIGHTS: locate_experiments.weights,
    price_plan.FLOOR: price_experiments.floor,
    price_plan.METHOD: price_experiments.method,
    price_plan.SMALL: small_models,
    context_plan.AS_IT_IS: context_experiments.as_it_is,
    context_plan.TREATED: context_experiments.treated,
    context_plan.MET: bridge.bridge,
    scrub_plan.RANK: scrub_experiments.rank,
    scrub_plan.RETRAIN: scrub_experiments.retrain,
    scrub_plan.AS_IT_IS: scrub_experiments.as_it_is,
    tuned_plan.POOL: tuned_choices.pool,
    tuned_plan.LOOK: tuned_choices.looked,
    tuned_plan.CHOICE: tuned_choices.choose,
    tuned_plan.TUNED_MODEL: tuned_experiments.tuned,
}
