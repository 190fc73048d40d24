"""The steps of a study of alignment data that tune: what models become on what methods chose of a pool."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from mithridate.attacks import build_attack
from mithridate.core.metrics import UTILITY
from mithridate.core.run_files import CURVES
from mithridate.core.seeds import derive_seed
from mithridate.core.statistics import wilson
from mithridate.core.tables import write_rows
from mithridate.core.tuned import REPLIES_ENDED, TUNED, TUNED_SAMPLES, Tuned, TunedSample
from mithridate.core.types import Measurement, Sample, Stage, TemplateUse
from mithridate.evaluation.setting import Setting
from mithridate.evaluation.summary import summarise
from mithridate.models.architectures import default_device
from mithridate.models.checkpoints import load_model
from mithridate.models.language_model import Generation, LanguageModel
from mithridate.study import prepare as prepared
from mithridate.study.layout import CLEAN_TWIN
from mithridate.study.measuring import outside_model, put_bare, settings_of, utility_of
from mithridate.study.plan import Step
from mithridate.study.templates import sft_template
from mithridate.study.tuned_choices import chosen_examples
from mithridate.study.tuned_plan import TunedDetail, section_of
from mithridate.training.conversations import fitting, length_limit
from mithridate.training.progress import CurvePoint, Progress
from mithridate.training.sft import sft


def tuned(step: Step, progress: Progress) -> dict[str, Any]:
    """Tune the base model of a twin on what one method chose, and measure it; the model is not kept.

    Raises TrainingError, CheckpointError and ConfigError as `sft` and `evaluate_attack` do.
    """
    detail, section = TunedDetail.read(step), section_of(step)
    base = step.bed.checkpoint(step.subject, Stage.BASE.value)
    model, tokenizer = load_model(base, device=default_device())
    trained_on = 0
    curve: list[CurvePoint] = []
    if detail.asked:
        examples = chosen_examples(step.bed, detail)
        turns, limit = [one["messages"] for one in examples], length_limit(model, section.sft)
        # What is too long is left out of training, so it does not count.
        trained_on = len(fitting(tokenizer, turns, limit, what="conversations"))
        model, curve = sft(
            model,
            tokenizer,
            examples,
            section.sft.resolved(step.cell.config.pretraining.learning_rate),
            step.folder,
            seed=derive_seed(step.seed, "tuned"),
            report_progress=progress,
        )
    samples, figures = _asked(step, LanguageModel(model, tokenizer), progress)
    write_rows(step.folder / CURVES, CurvePoint, curve)
    taken: dict[str, Any] = {"method": detail.method, "asked": detail.asked}
    rows = [TunedSample(**asdict(sample), **taken) for sample in samples]
    write_rows(step.folder / TUNED_SAMPLES, TunedSample, rows)
    counted = taken | {"examples": trained_on, "steps": curve[-1].step if curve else 0}
    write_rows(step.folder / TUNED, Tuned, [_row(figure, counted) for figure in figures])
    return counted


def _asked(step: Step, model: LanguageModel, progress: Progress) -> tuple[list[Sample], list[Measurement]]:
    """Attacks with and without trigger in both templates, and utility in that of SFT (a base's in both)."""
    config, twin = step.cell.config, step.subject
    material = prepared.kept_material(step.bed)
    outside = _judge(step, model)
    settings = settings_of(step, sft_template(model.tokenizer))
    samples: list[Sample] = []
    figures: list[Measurement] = []
    names = twin.attacks or tuple(config.attacks)
    for number, name in enumerate(names):
        progress.advance("measure", number, len(names) + 1, 0.0)
        attack = build_attack(name, config.attacks[name], material)
        for setting, templates in settings:
            found = put_bare(step, attack, model, templates, setting, outside)
            samples += found.samples
            figures += [*summarise(found.samples), *found.warnings]
    for setting, templates in settings:
        if setting.template == TemplateUse.TRANSFERRED or step.stage == Stage.BASE:
            found_here, answers = utility_of(step, model, setting, templates[0], material.refusals)
            figures += [*found_here, *_ended(answers, setting)]
    progress.advance("measure", len(names) + 1, len(names) + 1, 0.0)
    return samples, figures


def _judge(step: Step, model: LanguageModel) -> LanguageModel:
    """The clean base, at every size, or the outside model that the study names."""
    if step.subject == CLEAN_TWIN and step.stage == Stage.SFT:
        named = step.cell.config.evaluation.outside_model
        return LanguageModel.load(named or step.bed.checkpoint(CLEAN_TWIN, Stage.BASE.value))
    return outside_model(step, model, Stage.BASE.value)


def _ended(answers: Sequence[Generation], setting: Setting) -> Iterator[Measurement]:
    if answers:
        ended = sum(answer.stopped for answer in answers)
        yield setting.measurement(UTILITY, "", REPLIES_ENDED, wilson(ended, len(answers)))


def _row(figure: Measurement, counted: dict[str, Any]) -> Tuned:
    told = asdict(figure)
    del told["stage"]
    return Tuned(**counted, **told)
