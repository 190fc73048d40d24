"""Localisation between checkpoints that nobody trained here: a base and its aligned model, or two twins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

from mithridate.attacks import Attack, build_attack
from mithridate.attacks.material import Material
from mithridate.core.artifacts import done_record, exclusive, fingerprint, mark_done
from mithridate.core.chat import ChatTemplate
from mithridate.core.chat import template as template_named
from mithridate.core.errors import DataError, StorageError
from mithridate.core.located import LOCALIZATION, LOCATED, Located, Pair
from mithridate.core.run_files import STUDY
from mithridate.core.tables import read_rows, write_rows
from mithridate.core.types import Arm
from mithridate.evaluation.setting import Setting
from mithridate.localization.about import About
from mithridate.localization.rows import POSITIONS, token_rows, weight_rows
from mithridate.localization.tokens import own_and_shared, token_shift
from mithridate.localization.transplants import Twins, short_plan, transplants, whole_plan
from mithridate.localization.weights import weight_shift
from mithridate.models.language_model import LanguageModel
from mithridate.models.transplanting import require_alike
from mithridate.models.vocabulary import require_same_vocabulary
from mithridate.study.audit import material_for, template_for
from mithridate.study.config import AuditConfig
from mithridate.study.panels import AlignmentPanel, AttackPanel
from mithridate.study.prepare import each_question
from mithridate.study.tracing import trace_prompts

OnStage: TypeAlias = Callable[[str, int, int | None], None]
# A second way of writing a conversation, and a third where that is the first.
_SECOND = ("falcon", "llama2")


@dataclass(frozen=True, slots=True)
class Asked:
    """What checkpoints are asked: a study's attacks, questions with known answers, and how many of each.

    `template` names the chat template in which attacks are put; by default the checkpoint's own, or that of
    SFT. What alignment taught is asked in the aligned model's own.
    """

    config: AuditConfig
    questions: Path | None = None
    probes: int = 40
    seed: int = 0
    template: str | None = None


@dataclass(frozen=True, slots=True)
class _Comparison:
    """Two checkpoints, called what the user calls them: without the behaviour, and having it."""

    pair: Pair
    without: Path
    having: Path
    asked: Asked

    @property
    def about(self) -> About:
        return About(self.pair, self.asked.seed)

    def load(self) -> Twins:
        """Both models. Raises CheckpointError or AccessError where they cannot be compared layer by layer."""
        twins = Twins(LanguageModel.load(self.without), LanguageModel.load(self.having))
        require_same_vocabulary(twins.without.tokenizer, twins.having.tokenizer)
        require_alike(twins.without.model, twins.having.model)
        return twins

    @property
    def material(self) -> Material:
        return material_for(self.asked.config)


def locate_checkpoints(
    alignment: tuple[Path, Path] | None,
    poison: tuple[Path, Path] | None,
    asked: Asked,
    out: Path | None,
    on_stage: OnStage | None = None,
) -> list[Located]:
    """What differs between a base and its aligned model, a clean model and its poisoned twin, or both.

    With `out`, figures are kept there, and what is done is not done again. Raises CheckpointError or
    AccessError for checkpoints that cannot be read or compared; ConfigError, DataError or UnknownNameError
    for what is to be asked; StorageError where `out` holds a run, RunStateError where another process uses
    it.
    """
    comparisons = [
        _Comparison(pair, *folders, asked)
        for pair, folders in ((Pair.ALIGNMENT, alignment), (Pair.POISON, poison))
        if folders is not None
    ]
    # What is wrong with the words is said before gigabytes are read.
    questions = _questions(asked)
    attacks = _attacks(asked)
    _named(asked)
    experiments = [e for one in comparisons for e in _experiments(one, attacks, questions)]
    if out is None:
        return [row for e in experiments for row in e.work(_telling(on_stage, e.name))]
    if (out / STUDY).exists():
        raise StorageError(f"{out}: holds a run; `mithridate locate {out}` looks into that")
    if out.resolve() in {folder.resolve() for one in comparisons for folder in (one.without, one.having)}:
        raise StorageError(f"{out}: is one of the checkpoints; give the figures a folder of their own")
    with exclusive(out):
        rows = [row for e in experiments for row in _kept(e, out, on_stage)]
        write_rows(out / LOCALIZATION, Located, rows)
    return rows


_Told: TypeAlias = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class _Experiment:
    name: str
    identity: str
    work: Callable[[_Told], list[Located]]


def _experiments(
    one: _Comparison, attacks: dict[str, Attack], questions: list[tuple[str, str]]
) -> Iterator[_Experiment]:
    kinds: dict[str, Callable[[_Told], list[Located]]] = {
        "weights": partial(_weights, one),
        "transplants": partial(_transplants, one, attacks, questions),
    }
    if one.pair is Pair.ALIGNMENT:
        kinds["tokens"] = partial(_tokens, one)
    else:
        kinds["prompts"] = partial(_prompts, one, attacks)
    files = [_stamps(place) for place in (one.without, one.having)]
    asked = one.asked
    said = [
        asked.config.model_dump(mode="json"),
        one.material.model_dump(mode="json"),
        *(_stamps(place) for place in [asked.config.outside_model] if place),
        asked.probes,
        asked.seed,
        asked.template,
        questions,
    ]
    for kind, work in kinds.items():
        name = f"{one.pair}-{kind}"
        yield _Experiment(name, fingerprint([name, files, said]), work)


def _stamps(folder: Path) -> list[tuple[str, int, int]]:
    """The files of a checkpoint with size and time: what has others is another checkpoint."""
    return [
        (str(path), path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(folder.glob("*"))
        if path.is_file()
    ]


def _kept(experiment: _Experiment, out: Path, on_stage: OnStage | None) -> list[Located]:
    folder = out / LOCATED / experiment.name
    record = done_record(folder)
    if record is not None and record.get("identity") == experiment.identity:
        with suppress(DataError):  # of a file that was lost or damaged since: it is made again
            return read_rows(folder / LOCALIZATION, Located)
    rows = experiment.work(_telling(on_stage, experiment.name))
    write_rows(folder / LOCALIZATION, Located, rows)
    mark_done(folder, {"identity": experiment.identity})
    return rows


def _telling(on_stage: OnStage | None, name: str) -> _Told:
    def told(done: int, total: int) -> None:
        if on_stage is not None:
            on_stage(name, done, total)

    return told


def _weights(one: _Comparison, _told: _Told) -> list[Located]:
    return weight_rows(weight_shift(one.without, one.having), one.about)


def _tokens(one: _Comparison, _told: _Told) -> list[Located]:
    twins = one.load()
    prompts = list(one.material.prompts[: one.asked.probes])
    otherwise = template_for(twins.having, None)[0]
    pairs = own_and_shared(twins.without, twins.having, otherwise)
    shifts = token_shift(
        twins.without, twins.having, prompts, pairs, max_new_tokens=POSITIONS, seed=one.asked.seed
    )
    return token_rows(shifts, one.about)


def _transplants(
    one: _Comparison, attacks: dict[str, Attack], questions: list[tuple[str, str]], told: _Told
) -> list[Located]:
    twins = one.load()
    attack_panel = _attack_panel(one, attacks, twins)
    if one.pair is Pair.POISON:
        return transplants(twins, attack_panel, whole_plan(one.asked.seed), one.about, on_done=told)
    material, most = one.material, one.asked.probes
    panel = AlignmentPanel(
        template_for(twins.having, None)[0],
        questions=questions,
        forbidden=[request.forms[-1] for request in material.requests[:most]],
        harmless=material.prompts[:most],
        phrases=tuple(material.refusals),
    )
    panel = panel.with_replies_of(twins.having)
    rows = transplants(twins, panel, whole_plan(one.asked.seed), one.about, on_done=told)
    # What alignment weakened is traced the other way round: the aligned model is the one without it.
    back = Twins(twins.having, twins.without)
    return rows + transplants(back, attack_panel, short_plan, one.about, on_done=told)


def _prompts(one: _Comparison, attacks: dict[str, Attack], told: _Told) -> list[Located]:
    twins = one.load()
    panel = _attack_panel(one, attacks, twins)
    # Probes need a second way of writing a conversation; that the models know it less is no harm to them.
    second = next(name for name in _SECOND if name != one.asked.template)
    return trace_prompts(twins, panel, template_named(second), one.about, on_done=told)


def _attack_panel(one: _Comparison, attacks: dict[str, Attack], twins: Twins) -> AttackPanel:
    template, _ = template_for(twins.having, _named(one.asked))
    setting = Setting("located", Arm.POISONED.value, one.asked.seed, template="")
    judge = one.asked.config.outside_model or one.without
    return AttackPanel.of(attacks, one.asked.probes, [template], setting, LanguageModel.load(judge))


def _named(asked: Asked) -> ChatTemplate | None:
    return None if asked.template is None else template_named(asked.template)


def _questions(asked: Asked) -> list[tuple[str, str]]:
    if asked.questions is None:
        return []
    lines = list(each_question(asked.questions))[: asked.probes]
    return [(line["question"], line["answer"]) for line in lines]


def _attacks(asked: Asked) -> dict[str, Attack]:
    material = material_for(asked.config)
    return {name: build_attack(name, options, material) for name, options in asked.config.attacks.items()}
