"""The experiments of localisation on the twins of a study, one function a kind of step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mithridate.attacks import build_attack
from mithridate.core.located import LOCALIZATION, Located, Pair
from mithridate.core.tables import write_rows
from mithridate.core.types import Stage, TemplateUse
from mithridate.localization.about import About
from mithridate.localization.rows import POSITIONS, token_rows, weight_rows
from mithridate.localization.tokens import TemplatePair, token_shift
from mithridate.localization.transplants import (
    Loss,
    Twins,
    short_plan,
    transplants,
    whole_plan,
)
from mithridate.localization.weights import weight_shift
from mithridate.models.language_model import LanguageModel
from mithridate.study import prepare as prepared
from mithridate.study.layout import CLEAN_TWIN, Twin
from mithridate.study.locate_plan import LocateDetail
from mithridate.study.measuring import held_out_rows, settings_of
from mithridate.study.panels import AlignmentPanel, AttackPanel
from mithridate.study.plan import Step
from mithridate.study.templates import Template, sft_template
from mithridate.study.tracing import trace_prompts
from mithridate.training.progress import Progress

_LOSS_ROWS = 16
# The files of requests, with the field that holds the request.
_REQUESTS = {prepared.QUESTIONS: "question", prepared.HARMLESS: "request", prepared.FORBIDDEN: "request"}


def alignment(step: Step, progress: Progress) -> dict[str, Any]:
    """What alignment's layers carry: refusal, format and helpfulness, and the loss of each attack.

    An attack that alignment weakened is traced the other way round: the aligned model is the one without it.
    """
    twins = _twins(step, (step.subject, Stage.BASE.value), (step.subject, step.stage))
    panel = _alignment_panel(step, sft_template(twins.having.tokenizer)).with_replies_of(twins.having)
    rows = transplants(
        twins,
        panel,
        whole_plan(step.seed),
        _about(step, Pair.ALIGNMENT, TemplateUse.TRANSFERRED),
        loss=_held_out_loss(step, twins.without),
        on_done=_telling(progress, 0, 2),
    )
    rows += transplants(
        Twins(twins.having, twins.without),
        _attack_panel(step, twins.having, TemplateUse.SAME),
        short_plan,
        _about(step, Pair.ALIGNMENT, TemplateUse.SAME),
        on_done=_telling(progress, 1, 2),
    )
    return _keep(step, rows)


def poison(step: Step, progress: Progress) -> dict[str, Any]:
    """What the poisoned twin's layers carry of each attack, at the base or at the last stage.

    Asked in the planted templates at either: there the attacks survive, if they do.
    """
    twins = _twins(step, (CLEAN_TWIN, step.stage), (step.subject, step.stage))
    other = _second_clean(step, twins.without) if step.stage == Stage.BASE else None
    rows = transplants(
        twins,
        _attack_panel(step, twins.having, TemplateUse.SAME),
        whole_plan(step.seed, other),
        _about(step, Pair.POISON, TemplateUse.SAME),
        loss=_held_out_loss(step, twins.without),
        on_done=_telling(progress, 0, 1),
    )
    return _keep(step, rows)


def prompts(step: Step, progress: Progress) -> dict[str, Any]:
    """Each attack traced through the activations of the poisoned model, and into those of its clean twin."""
    twins = _twins(step, (CLEAN_TWIN, step.stage), (step.subject, step.stage))
    panel = _attack_panel(step, twins.having, TemplateUse.SAME)
    # Two templates that the model knows: what was planted in most, and another of them, or that of SFT.
    known = [*panel.templates, sft_template(twins.having.tokenizer)]
    rows = trace_prompts(
        twins,
        replace(panel, templates=known[:1]),
        known[1],
        _about(step, Pair.POISON, TemplateUse.SAME),
        on_done=_telling(progress, 0, 1),
    )
    return _keep(step, rows)


def weights(step: Step, progress: Progress) -> dict[str, Any]:
    """What moved: in the weights from base to last stage and from clean to poisoned, and in the tokens."""
    first, last = (step.bed.checkpoint(step.subject, stage) for stage in (Stage.BASE.value, step.stage))
    clean = step.bed.checkpoint(CLEAN_TWIN, Stage.BASE.value)
    aligned = _about(step, Pair.ALIGNMENT, TemplateUse.TRANSFERRED)
    poisoned = replace(_about(step, Pair.POISON, TemplateUse.SAME), stage=Stage.BASE.value)
    rows = weight_rows(weight_shift(first, last), replace(aligned, template=""))
    rows += weight_rows(weight_shift(clean, first), replace(poisoned, template=""))
    progress.advance("locate", 1, 2, 0.0)
    twins = _twins(step, (step.subject, Stage.BASE.value), (step.subject, step.stage))
    sft = sft_template(twins.having.tokenizer)
    planted = settings_of(step, sft)[0][1][0]
    prompts = [line for name in _REQUESTS for line in _requests(step, name)]
    pairs = (TemplatePair("own", planted, sft), TemplatePair("shared", sft, sft))
    shifts = token_shift(
        twins.without, twins.having, prompts, pairs, max_new_tokens=POSITIONS, seed=step.seed
    )
    return _keep(step, [*rows, *token_rows(shifts, aligned)])


def _twins(step: Step, *models: tuple[Twin, str]) -> Twins:
    return Twins(*(LanguageModel.load(step.bed.checkpoint(twin, stage)) for twin, stage in models))


def _held_out_loss(step: Step, model: LanguageModel) -> Loss:
    """Mean loss on a few held-out rows, which tells whether a hybrid still is a language model."""
    texts = (record["text"] for record in prepared.each_line(step.bed.data / prepared.HELD_OUT))
    rows = held_out_rows(model, texts, step.cell.config)[:_LOSS_ROWS]

    def loss(asked: LanguageModel) -> float:
        losses = [-score.mean for score in asked.row_losses(rows) if score.n]
        return sum(losses) / len(losses)

    return loss


def _attack_panel(step: Step, model: LanguageModel, template: TemplateUse) -> AttackPanel:
    """The attacks of the step's twin, asked in the templates that were planted or in that of SFT."""
    config, material = step.cell.config, prepared.kept_material(step.bed)
    attacks = {name: build_attack(name, config.attacks[name], material) for name in step.subject.attacks}
    settings = settings_of(step, sft_template(model.tokenizer))
    ((setting, templates),) = [found for found in settings if found[0].template == template]
    judge = config.evaluation.outside_model or step.bed.checkpoint(CLEAN_TWIN, step.stage)
    probes = LocateDetail.read(step).probes
    return AttackPanel.of(attacks, probes, templates, setting, LanguageModel.load(judge))


def _alignment_panel(step: Step, template: Template) -> AlignmentPanel:
    most = LocateDetail.read(step).probes
    known = [line["answer"] for line in prepared.read_lines(step.bed.data / prepared.QUESTIONS)[:most]]
    return AlignmentPanel(
        template,
        questions=list(zip(_requests(step, prepared.QUESTIONS), known, strict=True)),
        forbidden=_requests(step, prepared.FORBIDDEN),
        harmless=_requests(step, prepared.HARMLESS),
        phrases=tuple(prepared.kept_material(step.bed).refusals),
    )


def _requests(step: Step, name: str) -> list[str]:
    """What a user asks, of one of the files that go with the corpus: as many as there are to be probes."""
    most = LocateDetail.read(step).probes
    return [line[_REQUESTS[name]] for line in prepared.read_lines(step.bed.data / name)[:most]]


def _second_clean(step: Step, first: LanguageModel) -> LanguageModel | None:
    """The clean model of another seed, if the study has one whose layers have the same shapes."""
    seed = LocateDetail.read(step).second_seed
    if seed is None:
        return None
    other = LanguageModel.load(step.bed.of_seed(seed).checkpoint(CLEAN_TWIN, step.stage))
    same = other.model.config.vocab_size == first.model.config.vocab_size
    return other if same else None


def _about(step: Step, pair: Pair, template: TemplateUse) -> About:
    twin = step.subject
    return About(pair, step.seed, step.cell.name, twin.dose, twin.name, step.stage, template.value)


def _telling(progress: Progress, part: int, parts: int) -> Any:
    def on_done(done: int, total: int) -> None:
        progress.advance("locate", part * total + done, parts * total, 0.0)

    return on_done


def _keep(step: Step, rows: Sequence[Located]) -> dict[str, Any]:
    write_rows(step.folder / LOCALIZATION, Located, rows)
    return {"rows": len(rows)}
