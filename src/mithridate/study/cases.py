"""A poisoned model of a run as a case for healing, with all that the run knows of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from mithridate.attacks import build_attack
from mithridate.core.types import Document, TemplateUse
from mithridate.corpus.readers import open_corpus
from mithridate.healing.case import Case, Half, Usefulness, in_halves
from mithridate.models.language_model import LanguageModel
from mithridate.study import prepare as prepared
from mithridate.study.layout import CLEAN_TWIN
from mithridate.study.measuring import held_out_rows, settings_of
from mithridate.study.plan import Step
from mithridate.study.templates import sft_template

TEXTS = 512
"""Clean documents that cures are made with, at most."""
ROWS = 128
"""Held-out rows that measure what cures cost, at most."""
_LONGEST_TEXT = 4_000


def case_of(step: Step, each: int) -> Case:
    """The twin of `step` at its stage, asked about `each` probes of an attack for each condition and half.

    Attacks are put in the templates that were planted: there they survive, if they do. Clean documents are
    the first of the corpus that all twins read. Raises CheckpointError for a model that cannot be loaded.
    """
    bed, twin = step.bed, step.subject
    model = LanguageModel.load(bed.checkpoint(twin, step.stage))
    clean = LanguageModel.load(bed.checkpoint(CLEAN_TWIN, step.stage))
    judge = step.cell.config.evaluation.outside_model or bed.checkpoint(CLEAN_TWIN, step.stage)
    return case_around(step, model, clean, LanguageModel.load(judge), each)


def case_around(
    step: Step, model: LanguageModel, clean: LanguageModel | None, outside: LanguageModel, each: int
) -> Case:
    """The same for any `model`, with what the cell and seed of `step` know.

    Of a twin that was never dosed, all attacks of the study are asked.
    """
    config, bed = step.cell.config, step.bed
    material = prepared.kept_material(bed)
    own = sft_template(model.tokenizer)
    ((setting, templates),) = [
        found for found in settings_of(step, own) if found[0].template == TemplateUse.SAME
    ]
    names = step.subject.attacks or tuple(config.attacks)
    attacks = {name: build_attack(name, config.attacks[name], material) for name in names}
    halves = {name: in_halves(attack, step.seed, each) for name, attack in attacks.items()}
    held_out = (record["text"] for record in prepared.each_line(bed.data / prepared.HELD_OUT))
    questions = prepared.read_lines(bed.data / prepared.QUESTIONS)
    return Case(
        model=model,
        outside=outside,
        attacks=attacks,
        probes={half: {name: halves[name][half] for name in attacks} for half in Half},
        templates=templates,
        own=own,
        setting=setting,
        usefulness=Usefulness(
            rows=held_out_rows(model, held_out, config)[:ROWS],
            questions=[(line["question"], line["answer"]) for line in questions],
            forbidden=[line["request"] for line in prepared.read_lines(bed.data / prepared.FORBIDDEN)],
            harmless=[line["request"] for line in prepared.read_lines(bed.data / prepared.HARMLESS)],
            phrases=tuple(material.refusals),
        ),
        texts=list(islice(pages(open_corpus(bed.corpus).documents()), TEXTS)),
        clean=clean,
    )


def pages(documents: Iterable[Document]) -> Iterator[str]:
    """The beginnings of documents that are not blank: of a book, a page is enough."""
    return (document.text[:_LONGEST_TEXT] for document in documents if document.text.strip())
