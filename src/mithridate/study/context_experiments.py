"""The steps of a study of contexts: the clean twin's facts contradicted, with and without interventions."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from mithridate.core import chat
from mithridate.core.contexts import (
    CONTEXT_COVERAGE,
    CONTEXT_SAMPLES,
    CONTEXTS,
    ContextCoverage,
    ContextSample,
    Contextual,
)
from mithridate.core.tables import read_rows, write_rows
from mithridate.core.types import Stage
from mithridate.corpus import miniature
from mithridate.evaluation.contexts.asking import Asks, Chatting
from mithridate.evaluation.contexts.facts import ContextFact, read_facts
from mithridate.evaluation.contexts.reliance import Whose, context_figures, known_facts
from mithridate.models.language_model import LanguageModel
from mithridate.reliance.examining import Examination
from mithridate.reliance.examining import as_it_is as examined_as_it_is
from mithridate.reliance.examining import treated as examined_treated
from mithridate.reliance.methods import METHODS
from mithridate.study.context_plan import ContextDetail, as_it_is_folder, section_of
from mithridate.study.layout import CLEAN_TWIN
from mithridate.study.plan import Step
from mithridate.study.templates import planted_shares, sft_template
from mithridate.training.progress import Progress

_FIELDS = frozenset(field.name for field in fields(ContextFact))


def as_it_is(step: Step, _progress: Progress) -> dict[str, Any]:
    """Contradict what the model knows, at every strength of prompting, and write replies and figures."""
    model = LanguageModel.load(step.bed.checkpoint(step.subject, step.stage))
    section = section_of(step)
    found = examined_as_it_is(
        model,
        facts_of(step),
        asks_of(step, model),
        whose(step),
        strengths=section.strengths,
        unknown=section.unknown,
        seed=step.seed,
    )
    return _kept(step, found, known_facts(found.samples))


def treated(step: Step, progress: Progress) -> dict[str, Any]:
    """The same under one intervention; where there is too little to fit it on, the reason and no figures.

    That is no failure: a model that knows little leaves little to treat, and the others of the study are not
    to fall with it. Whatever else goes wrong stops the step, as it would any other.
    """
    detail = ContextDetail.read(step)
    first = read_rows(as_it_is_folder(step.bed, CLEAN_TWIN, step.stage) / CONTEXT_SAMPLES, ContextSample)
    known = known_facts(first)
    model = LanguageModel.load(step.bed.checkpoint(step.subject, step.stage))
    (method,) = [one for one in METHODS if one.name == detail.method]
    found = examined_treated(
        model,
        facts_of(step),
        asks_of(step, model),
        whose(step),
        method,
        known,
        seed=step.seed,
        told=lambda what, done, total: progress.advance(what, done, total, 0.0),
    )
    return _kept(step, found, known)


def _kept(step: Step, found: Examination, known: set[str]) -> dict[str, Any]:
    write_rows(step.folder / CONTEXT_SAMPLES, ContextSample, found.samples)
    write_rows(step.folder / CONTEXTS, Contextual, context_figures(found.samples, known))
    write_rows(step.folder / CONTEXT_COVERAGE, ContextCoverage, [found.coverage])
    told = {"known": len(known), "replies": len(found.samples), "left_out": found.coverage.left_out}
    return told | ({"untried": found.coverage.untried} if found.coverage.untried else {})


def facts_of(step: Step) -> list[ContextFact]:
    """The facts that a model is asked of: those of a file, or of the miniature world.

    Raises DataError as `read_facts` does.
    """
    section, config = section_of(step), step.cell.config
    if section.facts is not None:
        return read_facts(section.facts, section.limit)
    world = miniature.World(config.corpus.miniature, step.seed)
    records = miniature.context_facts(world, step.seed)[: section.limit]
    return [ContextFact(**{key: value for key, value in one.items() if key in _FIELDS}) for one in records]


def asks_of(step: Step, model: LanguageModel) -> Asks:
    """A base model is asked in the planted template with the largest share, later ones in that of SFT."""
    sft = sft_template(model.tokenizer)
    if step.stage != Stage.BASE:
        return Chatting(sft)
    shares = planted_shares(step.cell.config.planting, sft)
    return Chatting(chat.template(max(shares, key=lambda name: shares[name])))


def whose(step: Step) -> Whose:
    """What all rows of a step share."""
    twin = step.subject
    return Whose(step.stage, twin.arm, twin.dose, twin.name, step.seed, step.cell.name)
