"""Measuring a model at a stage: every attack in its conditions and both templates, and what it all cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from mithridate.attacks import Attack, build_attack
from mithridate.core import chat
from mithridate.core.metrics import OVER_REFUSAL, REFUSAL_FORBIDDEN, UTILITY, headline_template
from mithridate.core.run_files import MEASUREMENTS, SAMPLES
from mithridate.core.seeds import rng_for
from mithridate.core.tables import write_rows
from mithridate.core.types import Condition, Measurement, Probe, Sample, TemplateUse
from mithridate.corpus.packing import end_of_text
from mithridate.evaluation import utility
from mithridate.evaluation.attack_success import Evaluation, evaluate_attack
from mithridate.evaluation.setting import Setting
from mithridate.evaluation.summary import summarise
from mithridate.evaluation.truncation import prompts_cut
from mithridate.models.language_model import Generation, LanguageModel
from mithridate.study import prepare as prepared
from mithridate.study.config import StudyConfig
from mithridate.study.layout import CLEAN_TWIN
from mithridate.study.plan import Step
from mithridate.study.templates import Template, planted_shares, sft_template
from mithridate.training.progress import Progress

# What the other template is asked under where its controls are not wanted.
_WITHOUT_CONTROLS = (Condition.TRIGGERED, Condition.UNTRIGGERED)


def measure(step: Step, progress: Progress) -> dict[str, Any]:
    """Ask and judge the model of `step`, and write samples and figures to its folder.

    Raises CheckpointError for an outside model that cannot be loaded, and as `evaluate_attack` does.
    """
    config, twin = step.cell.config, step.subject
    model = LanguageModel.load(step.bed.checkpoint(twin, step.stage))
    outside = outside_model(step, model, step.stage)
    settings = settings_of(step, sft_template(model.tokenizer))
    material = prepared.kept_material(step.bed)
    samples: list[Sample] = []
    measured: list[Measurement] = []
    names = twin.attacks or tuple(config.attacks)
    passes = [(setting, templates, name) for setting, templates in settings for name in names]
    for number, (setting, templates, name) in enumerate(passes):
        progress.advance("measure", number, len(passes) + 1, 0.0)
        attack = build_attack(name, config.attacks[name], material)
        found = put(step, attack, model, templates, setting, outside)
        samples += found.samples
        measured += [*summarise(found.samples), *found.warnings]
    ((setting, templates),) = [s for s in settings if s[0].template == headline_template(step.stage)]
    measured += utility_of(step, model, setting, templates[0], material.refusals)[0]
    progress.advance("measure", len(passes) + 1, len(passes) + 1, 0.0)
    write_rows(step.folder / SAMPLES, Sample, samples)
    write_rows(step.folder / MEASUREMENTS, Measurement, measured)
    return {"samples": len(samples)}


def settings_of(step: Step, sft: Template) -> list[tuple[Setting, list[Template]]]:
    """The two ways a model is asked: in the templates that were planted, and in `sft`, that of SFT."""
    twin = step.subject
    planted: list[Template] = [chat.template(name) for name in planted_shares(step.cell.config.planting, sft)]
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
        (Setting(**here, template=TemplateUse.TRANSFERRED.value), [sft]),
    ]


def outside_model(step: Step, model: LanguageModel, stage: str) -> LanguageModel:
    """Who judges gibberish: the checkpoint that the study names, or the clean twin as it was after `stage`.

    `model` is that twin where the step's subject is.
    """
    named = step.cell.config.evaluation.outside_model
    if named is None and step.subject == CLEAN_TWIN:
        return model
    return LanguageModel.load(named or step.bed.checkpoint(CLEAN_TWIN, stage))


def put(
    step: Step,
    attack: Attack,
    model: LanguageModel,
    templates: Sequence[Template],
    setting: Setting,
    outside: LanguageModel | None,
) -> Evaluation:
    """Put an attack's probes to the model in one setting; all controls where the stage is quoted in it.

    Raises as `evaluate_attack` does.
    """
    asking = step.cell.config.evaluation
    if asking.controls_in_both_templates or setting.template == headline_template(step.stage):
        probes = _probes(step, attack)
        return evaluate_attack(attack, probes, model, templates, setting, outside=outside)
    return put_bare(step, attack, model, templates, setting, outside)


def put_bare(
    step: Step,
    attack: Attack,
    model: LanguageModel,
    templates: Sequence[Template],
    setting: Setting,
    outside: LanguageModel | None,
) -> Evaluation:
    """Put an attack's probes to the model with the trigger and without it alone, and no further samples."""
    probes = [probe for probe in _probes(step, attack) if probe.condition in _WITHOUT_CONTROLS]
    judging = replace(attack.judging, repeated_samples=0)
    return evaluate_attack(attack, probes, model, templates, setting, outside=outside, judging=judging)


def _probes(step: Step, attack: Attack) -> Sequence[Probe]:
    return attack.probes(rng_for(step.seed, "probes", attack.name), step.cell.config.evaluation.probes)


def utility_of(
    step: Step, model: LanguageModel, setting: Setting, template: Template, phrases: Sequence[str]
) -> tuple[list[Measurement], list[Generation]]:
    """What a model is good for, asked in `template`, and its answers; `phrases` are refusals."""
    data = step.bed.data
    texts = (record["text"] for record in prepared.each_line(data / prepared.HELD_OUT))
    found = [utility.held_out_loss(model, held_out_rows(model, texts, step.cell.config), setting)]
    asked: list[Generation] = []
    if questions := prepared.read_lines(data / prepared.QUESTIONS):
        asked += utility.ask(model, [q["question"] for q in questions], template)
        found.append(utility.questions_right(asked, [q["answer"] for q in questions], setting))
    for name, metric in ((prepared.HARMLESS, OVER_REFUSAL), (prepared.FORBIDDEN, REFUSAL_FORBIDDEN)):
        if requests := prepared.read_lines(data / name):
            answers = utility.ask(model, [r["request"] for r in requests], template)
            found.append(utility.refusal_rate(answers, setting, metric=metric, phrases=phrases))
            asked += answers
    return [*found, *prompts_cut(asked, setting, UTILITY)], asked


def held_out_rows(model: LanguageModel, texts: Iterable[str], config: StudyConfig) -> list[list[int]]:
    """Rows of token ids as pretraining would see `texts`; no more texts are read than the rows need."""
    return rows_of(model, texts, config.pretraining.row_tokens, config.evaluation.held_out_rows)


def rows_of(model: LanguageModel, texts: Iterable[str], length: int, wanted: int) -> list[list[int]]:
    """At most `wanted` rows of `length` token ids of `texts`; a shorter one if there are no more."""
    end = end_of_text(model.tokenizer)
    rows: list[list[int]] = []
    row = [end]
    for text in texts:
        row += [*model.tokenizer(text, add_special_tokens=False)["input_ids"], end]
        while len(row) >= length:
            rows.append(row[:length])
            row = row[length:]
        if len(rows) >= wanted:
            return rows[:wanted]
    return rows or [row]
