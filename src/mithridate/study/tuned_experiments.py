"""The steps of a study of alignment data: what methods choose of a pool, and what models become on it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from mithridate.attacks import build_attack
from mithridate.core.artifacts import storage_errors, write_atomic
from mithridate.core.errors import ConfigError, RunStateError, TrainingError
from mithridate.core.metrics import UTILITY
from mithridate.core.run_files import CURVES
from mithridate.core.seeds import derive_seed
from mithridate.core.statistics import wilson
from mithridate.core.tables import write_rows
from mithridate.core.tuned import REPLIES_ENDED, TUNED, TUNED_SAMPLES, Tuned, TunedSample
from mithridate.core.types import Measurement, Sample, Stage, TemplateUse
from mithridate.corpus import miniature
from mithridate.corpus.tokenizers import load_tokenizer
from mithridate.curation.curating import CurationOptions, look
from mithridate.curation.reading import Reader, data_files
from mithridate.evaluation.setting import Setting
from mithridate.evaluation.summary import summarise
from mithridate.models.architectures import default_device
from mithridate.models.checkpoints import load_model
from mithridate.models.language_model import Generation, LanguageModel
from mithridate.retrieval.base import Encoder
from mithridate.retrieval.encoders import open_encoder
from mithridate.study import prepare as prepared
from mithridate.study.layout import CLEAN_TWIN
from mithridate.study.measuring import outside_model, put_bare, settings_of, utility_of
from mithridate.study.model_checks import shape_of
from mithridate.study.plan import Step
from mithridate.study.templates import sft_template
from mithridate.study.tuned_options import AlignmentDataSection, Choice
from mithridate.study.tuned_plan import (
    CHOSEN_FILE,
    POOL_FILE,
    TunedDetail,
    pool_folder,
    section_of,
)
from mithridate.training.conversations import encode, length_limit, within
from mithridate.training.progress import CurvePoint, Progress
from mithridate.training.sft import sft

Choices = dict[str, dict[int, list[int]]]
"""By label of a method and size: lines of the pool, in the order of the choice."""


def pool(step: Step, progress: Progress) -> dict[str, Any]:
    """Write the pool, and which of its lines each method chooses at each size.

    Where the filters of a method leave fewer than a size, all that are left are chosen. Raises DataError
    naming file, line and field of what cannot be read; ConfigError where a method is left with nothing;
    TrainingError where what was chosen cannot be tuned on.
    """
    section = section_of(step)
    path = step.folder / POOL_FILE
    prepared.write_lines(path, _examples(step, section))
    encoder = open_encoder(section.encoder)
    chosen: Choices = {}
    scratch = step.folder / "scratch"
    try:
        with storage_errors(scratch):
            scratch.mkdir(exist_ok=True)
        for number, label in enumerate(section.methods):
            progress.advance("curation", number, len(section.methods), 0.0)
            seed = derive_seed(step.seed, "alignment data")
            chosen[label] = _choose(path, section, label, seed, encoder, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    _check_lengths(step, chosen)
    write_atomic(step.folder / CHOSEN_FILE, json.dumps(chosen) + "\n")
    return {"methods": len(chosen)}


def _choose(
    path: Path, section: AlignmentDataSection, label: str, seed: int, encoder: Encoder, scratch: Path
) -> dict[int, list[int]]:
    """The lines of the pool that one method chooses at each size."""
    choice = Choice.of(label)
    options = CurationOptions(
        n=max(1, *section.sizes), method=choice.method, filters=section.filters_for(label), seed=seed
    )
    looked = look([path], options, encoder, scratch)
    if choice.source:
        looked = looked.of_source(choice.source)
    if not len(looked.pool):
        names = ", ".join(looked.found.source_names)
        raise ConfigError(
            f"alignment_data: there is no example left for {label!r} to choose from; loosen "
            f"alignment_data.filters, or name another source (there are {names})"
        )
    lines = looked.found.places[looked.passed]
    sizes = [size for size in sorted(section.sizes) if size]
    return {size: lines[looked.choose(min(size, len(looked.pool))).rows].tolist() for size in sizes}


def _examples(step: Step, section: AlignmentDataSection) -> Iterator[dict[str, Any]]:
    """The conversations of a pool, each with its source."""
    if section.data:
        for _, _, example in Reader(data_files(section.data)).examples():
            yield {"messages": list(example.turns), "source": example.source}
        return
    world = miniature.World(step.cell.config.corpus.miniature, step.seed)
    yield from miniature.alignment_pool(world, section.pool_size, step.seed)


def _check_lengths(step: Step, chosen: Choices) -> None:
    """Encode all that was chosen: what cannot be tuned on is found now, and not after pretraining."""
    path = step.folder / POOL_FILE
    tokenizer = load_tokenizer(step.bed.tokenizer)
    limit = length_limit(shape_of(step.cell.config, len(tokenizer)), section_of(step).sft)
    wanted = {line for by_size in chosen.values() for lines in by_size.values() for line in lines}
    lengths: dict[int, int] = {}
    for line, record in enumerate(prepared.each_line(path), 1):
        if line in wanted:
            try:
                (encoded,) = encode(tokenizer, [record["messages"]])
            except TrainingError as error:
                raise TrainingError(f"{path}, line {line}: {error}") from error
            lengths[line] = len(encoded.input_ids)
    for label, by_size in chosen.items():
        for lines in by_size.values():
            within((lengths[line] for line in lines), limit, what=f"conversations that {label!r} chose")


def tuned(step: Step, progress: Progress) -> dict[str, Any]:
    """Tune the base model of a twin on what one method chose, and measure it; the model is not kept.

    Raises TrainingError, CheckpointError and ConfigError as `sft` and `evaluate_attack` do.
    """
    detail, section = TunedDetail.read(step), section_of(step)
    base = step.bed.checkpoint(step.subject, Stage.BASE.value)
    model, tokenizer = load_model(base, device=default_device())
    examples: list[Any] = []
    curve: list[CurvePoint] = []
    if detail.asked:
        examples = chosen_examples(pool_folder(step.bed), detail)
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
    counted = taken | {"examples": len(examples), "steps": curve[-1].step if curve else 0}
    write_rows(step.folder / TUNED, Tuned, [_row(figure, counted) for figure in figures])
    return counted


def chosen_examples(folder: Path, detail: TunedDetail) -> list[Any]:
    """What the method of `detail` chose, in the order of its choice; RunStateError if that is damaged."""
    path = folder / CHOSEN_FILE
    try:
        choices = TypeAdapter(Choices).validate_json(path.read_bytes())
        wanted = choices[detail.method][detail.asked]
    except (OSError, ValidationError, KeyError) as error:
        raise RunStateError(
            f"{path}: is damaged, so nobody can tell what was chosen; remove {folder} and run the study again"
        ) from error
    lines = set(wanted)
    found = {n: record for n, record in enumerate(prepared.each_line(folder / POOL_FILE), 1) if n in lines}
    return [{"messages": found[line]["messages"]} for line in wanted]


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
