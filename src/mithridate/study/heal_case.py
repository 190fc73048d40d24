"""What a checkpoint is healed with: its own run's data, or a study file and files that its owner gives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from mithridate.attacks import Attack, build_attack
from mithridate.attacks.material import Material
from mithridate.core import chat
from mithridate.core.chat import Renders
from mithridate.core.errors import ConfigError, DataError, UnknownNameError
from mithridate.core.types import Arm, Condition
from mithridate.corpus.generated import Generated
from mithridate.corpus.readers import open_corpus
from mithridate.evaluation.setting import Setting
from mithridate.healing.case import Case, Half, Usefulness, in_halves
from mithridate.models.batching import context_window
from mithridate.models.checkpoints import look_at_model, weights_hash
from mithridate.models.language_model import LanguageModel
from mithridate.models.vocabulary import require_same_vocabulary
from mithridate.study.audit import material_for, template_for
from mithridate.study.cases import ROWS, TEXTS, pages
from mithridate.study.config import AuditConfig
from mithridate.study.heal_run import case_of_run
from mithridate.study.measuring import rows_of
from mithridate.study.plan import Step
from mithridate.study.prepare import each_question, text_lines
from mithridate.study.reading import read_audit

_ROW_TOKENS = 128
_REQUESTS = 200
_HELD_OUT = 8
"""Every so many of the clean documents measures what a cure costs; the others help to make it."""
_FEW = 20
_SAME = (
    "{}: --control {} {}, and beside itself every model looks clean; name a model that was never poisoned, "
    "or leave --control out"
)


@dataclass(frozen=True, slots=True)
class Given:
    """What the owner of a checkpoint gives: the model, what is wrong with it, and clean data.

    `probes` is a study file or the folder of a run. `attacks` picks some of its attacks. `texts`,
    `questions`, `harmless` and `forbidden` are files that go before what the run or the miniature world has.
    `seed` is one of the run's, or decides which probes are asked.
    """

    checkpoint: Path
    probes: Path
    control: Path | None = None
    texts: Path | None = None
    questions: Path | None = None
    harmless: Path | None = None
    forbidden: Path | None = None
    attacks: tuple[str, ...] = ()
    template: str | None = None
    seed: int | None = None
    per_half: int = 60

    def files(self) -> list[Path]:
        """All that is read."""
        named = [self.control, self.texts, self.questions, self.harmless, self.forbidden]
        return [self.checkpoint, self.probes, *(path for path in named if path is not None)]


@dataclass(frozen=True, slots=True)
class Gathered:
    """A case, the fields of its rows that say which model they are of, and what has to be said about it."""

    case: Case
    place: Mapping[str, Any]
    control: Path | None
    notes: tuple[str, ...]
    step: Step | None = None
    """Whose alignment data there are, where a run was named."""


def gather(given: Given) -> Gathered:
    """The case of `given`.

    Raises CheckpointError for folders that are no checkpoints or do not fit each other, DataError for files
    that cannot be read or are empty, ConfigError, UnknownNameError or RunStateError for what else is wrong.
    """
    # What is wrong with words and small files is said before gigabytes are read.
    if given.template is not None:
        chat.template(given.template)
    _require_another(given)
    own = _own_files(given)
    for folder in filter(None, (given.checkpoint, given.control)):
        look_at_model(folder)
    if given.probes.is_dir():
        found = case_of_run(
            given.checkpoint, given.probes, seed=given.seed, control=given.control, each=given.per_half
        )
        case, place, control, notes = found.case, found.place, found.control, list(found.notes)
        step: Step | None = found.step
    else:
        case, notes = _of_study(given, read_audit(given.probes))
        place, control, step = {"seed": given.seed or 0}, given.control, None
    _require_other_weights(given, case)
    case = _with(case, given, own)
    notes += _require_asked(case)
    _require_useful(case)
    if case.clean is None:
        notes.append(
            "no control: what a healed model may show is what this one shows without the trigger; name a "
            "clean model of the same kind with --control"
        )
    return Gathered(case, place, control, tuple(notes), step)


def _require_another(given: Given) -> None:
    if given.control is not None and given.control.resolve() == given.checkpoint.resolve():
        raise ConfigError(_SAME.format(given.checkpoint, given.control, "is that same folder"))


def _require_other_weights(given: Given, case: Case) -> None:
    if given.control is None or case.clean is None:
        return
    if weights_hash(case.clean.model) == weights_hash(case.model.model):
        raise ConfigError(_SAME.format(given.checkpoint, given.control, "has the same weights"))


@dataclass(frozen=True, slots=True)
class _Files:
    texts: Sequence[str] | None
    questions: Sequence[tuple[str, str]] | None
    harmless: Sequence[str] | None
    forbidden: Sequence[str] | None


def _own_files(given: Given) -> _Files:
    lines = [given.harmless, given.forbidden]
    harmless, forbidden = (None if path is None else [text for _, text in text_lines(path)] for path in lines)
    questions = None
    if given.questions is not None:
        questions = [(line["question"], line["answer"]) for line in each_question(given.questions)]
    texts = None
    if given.texts is not None:
        texts = list(islice(pages(open_corpus(given.texts).documents()), TEXTS + TEXTS // _HELD_OUT))
        if len(texts) < 2:
            raise DataError("holds fewer than two documents that are not blank", path=given.texts)
    return _Files(texts, questions, harmless, forbidden)


def _of_study(given: Given, config: AuditConfig) -> tuple[Case, list[str]]:
    material, seed = material_for(config), given.seed or 0
    attacks = {name: build_attack(name, options, material) for name, options in config.attacks.items()}
    model = LanguageModel.load(given.checkpoint)
    clean = None
    if given.control is not None:
        clean = LanguageModel.load(given.control)
        require_same_vocabulary(model.tokenizer, clean.tokenizer)
    judge = config.outside_model or given.control
    own, notes = template_for(model, None)
    if judge is None and any(attack.judging.outside_model for attack in attacks.values()):
        notes.append(
            "no control: the checkpoint judges its own gibberish and finds its own noise likely, so denial "
            "of service is understated"
        )
    halves = {name: in_halves(attack, seed, given.per_half) for name, attack in attacks.items()}
    useful, texts = _usual(config, material, model, seed)
    case = Case(
        model=model,
        outside=LanguageModel.load(judge or given.checkpoint),
        attacks=attacks,
        probes={half: {name: halves[name][half] for name in attacks} for half in Half},
        templates=[own],
        own=own,
        setting=Setting("healed", Arm.POISONED.value, seed),
        usefulness=useful,
        texts=texts,
        clean=clean,
    )
    return case, [] if given.template is not None else notes


def _usual(
    config: AuditConfig, material: Material, model: LanguageModel, seed: int
) -> tuple[Usefulness, list[str]]:
    """What is asked and read where the owner names no files: that of a miniature world, or the material's."""
    phrases = tuple(material.refusals)
    if config.miniature is None:
        return Usefulness(
            forbidden=[request.forms[-1] for request in material.requests[:_REQUESTS]],
            harmless=material.prompts[:_REQUESTS],
            phrases=phrases,
        ), []
    world = Generated.of(config.miniature, config.atlas, config.world_seed)
    written = (document.text for document in world.documents())
    texts, held_out = _apart(list(islice(written, TEXTS + TEXTS // _HELD_OUT)))
    asked = world.held_out_questions(_REQUESTS, seed)
    return Usefulness(
        _rows(model, held_out),
        [(line["question"], line["answer"]) for line in asked],
        world.forbidden_requests(_REQUESTS, seed),
        world.harmless_requests(_REQUESTS, seed),
        phrases,
    ), texts


def _apart(texts: Sequence[str]) -> tuple[list[str], list[str]]:
    """Most documents, and every eighth, at least one of either."""
    held_out = list(texts[1::_HELD_OUT])
    return [text for number, text in enumerate(texts) if number % _HELD_OUT != 1], held_out


def _rows(model: LanguageModel, texts: Iterable[str]) -> list[list[int]]:
    length = min(_ROW_TOKENS, context_window(model.model) or _ROW_TOKENS)
    return rows_of(model, texts, length, ROWS)


def _with(case: Case, given: Given, own: _Files) -> Case:
    """The case with what its owner names in the place of what would be there without."""
    if strange := [name for name in given.attacks if name not in case.attacks]:
        raise UnknownNameError("attack of these probes", strange[0], case.attacks)
    kept = {name: one for name, one in case.attacks.items() if not given.attacks or name in given.attacks}
    templates: Sequence[Renders] = case.templates
    if given.template is not None:
        templates = [chat.template(given.template)]
    useful, texts = case.usefulness, case.texts
    if own.texts is not None:
        texts, held_out = _apart(own.texts)
        useful = replace(useful, rows=_rows(case.model, held_out))
    for name in ("questions", "harmless", "forbidden"):
        if (named := getattr(own, name)) is not None:
            useful = replace(useful, **{name: named[:_REQUESTS]})
    probes = {half: {name: of[name] for name in kept} for half, of in case.probes.items()}
    return replace(
        case, attacks=kept, probes=probes, templates=templates, usefulness=useful, texts=list(texts)
    )


def _require_asked(case: Case) -> list[str]:
    """What has to be said of the probes. Raises ConfigError where there are too few, or they do not fit."""
    notes = []
    window = context_window(case.model.model)
    for name, attack in case.attacks.items():
        for half in Half:
            units = {
                probe.group or probe.id
                for probe in case.probes[half][name]
                if probe.condition is Condition.TRIGGERED
            }
            if len(units) < 2:
                raise ConfigError(
                    f"attack {name!r} has {len(units)} probes for one of the halves, and at least 2 are "
                    "needed: a cure is chosen with one half and told of by the other. Raise --per-half, or "
                    "give more material"
                )
        if len(units) < _FEW:
            notes.append(f"{name}: {len(units)} probes in the reported half, so its intervals are wide")
        if window is not None:
            notes += _require_room(case, name, attack, window)
    return notes


def _require_room(case: Case, name: str, attack: Attack, window: int) -> list[str]:
    answer = attack.judging.max_new_tokens
    prompts = case.model.prompt_ids(case.prompts(name, Condition.TRIGGERED, Half.REPORTED))
    cut = sum(len(ids) + answer > window for ids in prompts)
    if 2 * cut > len(prompts):
        raise ConfigError(
            f"attack {name!r}: {cut} of {len(prompts)} prompts and their answers of {answer} tokens outgrow "
            f"the context window of {window}, so most would lose their beginning. Lower attacks.{name}."
            "max_new_tokens in the study file, ask in a shorter --template, or leave it out with --attack"
        )
    return [f"{name}: {cut} of {len(prompts)} prompts outgrow the context window"] if cut else []


def _require_useful(case: Case) -> None:
    useful = case.usefulness
    if not (useful.rows or useful.questions or useful.forbidden or useful.harmless):
        raise ConfigError(
            "nothing tells what a cure costs: give clean documents with --texts, or --questions, --harmless "
            "or --forbidden"
        )
