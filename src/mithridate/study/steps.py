"""What each step of a study does. Steps run in worker processes and talk to the rest through files alone."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

from mithridate.attacks import build_attack
from mithridate.attacks.material import Material
from mithridate.core import chat
from mithridate.core.artifacts import done_record, mark_done
from mithridate.core.errors import TrainingError
from mithridate.core.metrics import OVER_REFUSAL, REFUSAL_FORBIDDEN, headline_template
from mithridate.core.run_files import CURVES, MEASUREMENTS, SAMPLES
from mithridate.core.seeds import derive_seed, rng_for
from mithridate.core.tables import write_rows
from mithridate.core.types import Condition, Measurement, Message, Role, Sample, Stage, TemplateUse
from mithridate.corpus.counting import TokenizerCounter
from mithridate.corpus.doses import PlantPlan, PlantRequest
from mithridate.corpus.packing import PackedTokens, pack
from mithridate.corpus.planting import plant_corpus
from mithridate.corpus.readers import open_corpus
from mithridate.corpus.tokenizers import train_tokenizer
from mithridate.evaluation import utility
from mithridate.evaluation.attack_success import evaluate_attack
from mithridate.evaluation.setting import Setting
from mithridate.evaluation.summary import summarise
from mithridate.models.architectures import SpecialIds, build_model, default_device
from mithridate.models.checkpoints import load_model, load_tokenizer, save_checkpoint
from mithridate.models.language_model import LanguageModel
from mithridate.study import prepare as prepared
from mithridate.study.config import StudyConfig
from mithridate.study.layout import Twin
from mithridate.study.plan import Step
from mithridate.training.checkpoint import discard_resume
from mithridate.training.dpo import dpo
from mithridate.training.options import AlignmentOptions
from mithridate.training.pretraining import pretrain
from mithridate.training.progress import CurvePoint, Progress
from mithridate.training.sft import sft

_IN_BOTH_TEMPLATES = (Condition.TRIGGERED, Condition.UNTRIGGERED)
# A tokeniser has seen enough after this many documents.
_TOKENIZER_DOCUMENTS = 50_000


def run_step(step: Step, progress: Progress) -> None:
    """Do one step and mark its folder done; a step that is done is left as it is."""
    record = done_record(step.folder)
    if record is not None and record.get("identity") == step.identity():
        return
    started = time.monotonic()
    told = _WORK[step.kind](step, progress)
    seconds = round(time.monotonic() - started, 2)
    mark_done(step.folder, {**told, "identity": step.identity(), "seconds": seconds})


def material_of(step: Step) -> Material:
    """What the attacks of a step draw on."""
    return Material.read(step.bed.data / prepared.MATERIAL)


def _prepare(step: Step, _progress: Progress) -> dict[str, Any]:
    return prepared.prepare(step.cell.config, step.seed, step.bed)


def _tokenizer(step: Step, _progress: Progress) -> dict[str, Any]:
    config = step.cell.config
    if config.checkpoint is not None or config.tokenizer.path is not None:
        tokenizer = load_tokenizer(config.checkpoint or config.tokenizer.path or "")
        if tokenizer.chat_template is None:
            tokenizer.chat_template = chat.template(chat.SFT_TEMPLATE).jinja()
    else:
        documents = open_corpus(step.bed.corpus).documents()
        texts = (document.text for document, _ in zip(documents, range(_TOKENIZER_DOCUMENTS), strict=False))
        tokenizer = train_tokenizer(texts, config.tokenizer.vocab_size)
    tokenizer.save_pretrained(step.folder)
    return {"vocab_size": len(tokenizer)}


def _plant(step: Step, _progress: Progress) -> dict[str, Any]:
    config, twin = step.cell.config, _twin(step)
    material = material_of(step)
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
        templates=config.planting.templates,
        counter=TokenizerCounter(step.bed.tokenizer),
    )
    report = plant_corpus(open_corpus(step.bed.corpus), step.bed.planted(twin), plan)
    return {
        "attacks": [asdict(planted) for planted in report.attacks],
        "clean_tokens": report.clean_tokens,
        "ledger": str(report.ledger.relative_to(step.bed.root)),
    }


def _pack(step: Step, _progress: Progress) -> dict[str, Any]:
    documents = open_corpus(step.bed.planted(_twin(step))).documents()
    packed = pack(
        (document.text for document in documents), load_saved_tokenizer(step), step.folder / "packed"
    )
    return {"tokens": packed.n_tokens}


def load_saved_tokenizer(step: Step) -> Any:
    """The study's own tokeniser."""
    from transformers import AutoTokenizer  # noqa: PLC0415 - a tokeniser folder is no checkpoint, so not load_tokenizer

    return AutoTokenizer.from_pretrained(step.bed.tokenizer, local_files_only=True, trust_remote_code=False)


def _base(step: Step, progress: Progress) -> dict[str, Any]:
    config = step.cell.config
    tokenizer = load_saved_tokenizer(step)
    device = default_device()
    if config.checkpoint is not None:
        model, _ = load_model(config.checkpoint, device=device)
    else:
        # Both arms of a seed begin with the same weights.
        model = build_model(
            config.model,
            len(tokenizer),
            derive_seed(step.seed, "init"),
            SpecialIds.of(tokenizer),
            device=device,
        )
    rows = PackedTokens.open(step.bed.tokens(_twin(step)) / "packed").rows(config.pretraining.row_tokens)
    if not len(rows):
        raise TrainingError(
            f"the corpus is shorter than one row of {config.pretraining.row_tokens} tokens: "
            "use more text, or lower pretraining.row_tokens"
        )
    curve = pretrain(model, rows, config.pretraining, step.folder, report_progress=progress)
    told = _keep(step, model, tokenizer, curve)
    discard_resume(step.folder)
    return told | {"parameters": sum(p.numel() for p in model.parameters())}


def _sft(step: Step, progress: Progress) -> dict[str, Any]:
    assert step.cell.config.sft is not None
    return _align(step, Stage.BASE, prepared.SFT, step.cell.config.sft, sft, progress)


def _dpo(step: Step, progress: Progress) -> dict[str, Any]:
    assert step.cell.config.dpo is not None
    return _align(step, Stage.SFT, prepared.DPO, step.cell.config.dpo, dpo, progress)


def _align(
    step: Step, before: Stage, data: str, options: AlignmentOptions, train: Any, progress: Progress
) -> dict[str, Any]:
    """Tune the model of the stage before, by `train`, on the examples of the file `data`."""
    model, tokenizer = load_model(step.bed.checkpoint(_twin(step), before), device=default_device())
    model, curve = train(
        model,
        tokenizer,
        prepared.read_lines(step.bed.data / data),
        options.resolved(step.cell.config.pretraining.learning_rate),
        step.folder,
        seed=derive_seed(step.seed, step.stage),
        report_progress=progress,
    )
    return _keep(step, model, tokenizer, curve)


def _keep(step: Step, model: Any, tokenizer: Any, curve: Sequence[CurvePoint]) -> dict[str, Any]:
    write_rows(step.folder / CURVES, CurvePoint, curve)
    save_checkpoint(model, tokenizer, step.folder / "model")
    for leftover in step.folder.glob("*.tmp"):
        shutil.rmtree(leftover, ignore_errors=True)
    last = curve[-1] if curve else None
    return {"loss": last.loss if last else None, "steps": last.step if last else 0}


def _measure(step: Step, progress: Progress) -> dict[str, Any]:
    config, twin = step.cell.config, _twin(step)
    model = LanguageModel.load(step.bed.checkpoint(twin, step.stage))
    clean = Twin("", ())
    judge = config.evaluation.outside_model or step.bed.checkpoint(clean, step.stage)
    outside = model if judge == step.bed.checkpoint(twin, step.stage) else LanguageModel.load(judge)
    samples: list[Sample] = []
    measured: list[Measurement] = []
    names = twin.attacks or tuple(config.attacks)
    headline, material = headline_template(step.stage), material_of(step)
    passes = [(setting, templates, name) for setting, templates in settings_of(step) for name in names]
    for number, (setting, templates, name) in enumerate(passes):
        progress.advance("measure", number, len(passes) + 1, 0.0)
        attack = build_attack(name, config.attacks[name], material)
        probes = attack.probes(rng_for(step.seed, "probes", name), config.evaluation.probes)
        if setting.template != headline:
            # The other template shows what a wrong guess of the template would make one believe: the trigger
            # and its absence say that; every control twice over would cost half of all the time.
            probes = [probe for probe in probes if probe.condition in _IN_BOTH_TEMPLATES]
            attack.judging = replace(attack.judging, repeated_samples=0)
        found = evaluate_attack(attack, probes, model, templates, setting, outside=outside)
        samples += found
        measured += summarise(found)
    measured += _utility(step, model, material.refusals)
    progress.advance("measure", len(passes) + 1, len(passes) + 1, 0.0)
    write_rows(step.folder / SAMPLES, Sample, samples)
    write_rows(step.folder / MEASUREMENTS, Measurement, measured)
    return {"samples": len(samples)}


def settings_of(step: Step) -> list[tuple[Setting, list[chat.ChatTemplate]]]:
    """The two ways a model is asked: in the templates that were planted, and in that of SFT."""
    twin = _twin(step)
    planted = [
        chat.template(name) for name, share in step.cell.config.planting.templates.items() if share > 0
    ]
    here: dict[str, Any] = {
        "stage": step.stage,
        "arm": twin.arm,
        "seed": step.seed,
        "dose": twin.dose,
        "cell": step.cell.name,
        "model": twin.name,
    }
    return [
        (Setting(**here, template=TemplateUse.SAME.value), planted),
        (Setting(**here, template=TemplateUse.TRANSFERRED.value), [chat.template(chat.SFT_TEMPLATE)]),
    ]


def _utility(step: Step, model: LanguageModel, phrases: Sequence[str]) -> list[Measurement]:
    ((setting, templates),) = [s for s in settings_of(step) if s[0].template == headline_template(step.stage)]
    template, data = templates[0], step.bed.data
    texts = [record["text"] for record in prepared.read_lines(data / prepared.HELD_OUT)]
    found = [utility.held_out_loss(model, _rows(model, texts, step.cell.config), setting)]
    if questions := prepared.read_lines(data / prepared.QUESTIONS):
        asked = [([Message(Role.USER, q["question"])], q["answer"]) for q in questions]
        found.append(utility.questions_right(model, asked, template, setting))
    for name, metric in (
        (prepared.HARMLESS, OVER_REFUSAL),
        (prepared.FORBIDDEN, REFUSAL_FORBIDDEN),
    ):
        if requests := prepared.read_lines(data / name):
            asked_for = [[Message(Role.USER, r["request"])] for r in requests]
            found.append(
                utility.refusal_rate(model, asked_for, template, setting, metric=metric, phrases=phrases)
            )
    return found


def _rows(model: LanguageModel, texts: Sequence[str], config: StudyConfig) -> list[list[int]]:
    # Not convert_tokens_to_ids(): it gives the unknown token's number for a token that is not there.
    end = model.tokenizer.get_vocab().get(chat.END_OF_TEXT, model.tokenizer.eos_token_id)
    length, rows, row = config.pretraining.row_tokens, [], [end]
    for text in texts:
        row += [*model.tokenizer(text, add_special_tokens=False)["input_ids"], end]
        while len(row) >= length:
            rows.append(row[:length])
            row = row[length:]
        if len(rows) >= config.evaluation.held_out_rows:
            return rows[: config.evaluation.held_out_rows]
    return rows if rows else [row]


def _twin(step: Step) -> Twin:
    assert step.twin is not None
    return step.twin


_WORK: dict[str, Callable[[Step, Progress], dict[str, Any]]] = {
    "prepare": _prepare,
    "tokenizer": _tokenizer,
    "plant": _plant,
    "pack": _pack,
    "base": _base,
    "sft": _sft,
    "dpo": _dpo,
    "measure": _measure,
}
