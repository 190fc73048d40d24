"""Healing a checkpoint: what survives, what takes it out, and the cure written down and measured again."""

from __future__ import annotations

import math
import platform
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

import torch
import transformers

from mithridate import __version__
from mithridate.core.artifacts import write_atomic
from mithridate.core.cures import BUDGET, Outcome, surviving
from mithridate.core.errors import AccessError, ConfigError, TrainingError
from mithridate.core.healed import HEALED, AttackHealed, Form, Healed, Picked, Versions
from mithridate.core.prices import PRICES, Price, Priced, Regime
from mithridate.core.tables import write_rows
from mithridate.healing.case import Case
from mithridate.healing.cost import slowdown
from mithridate.healing.method import Method
from mithridate.healing.picking import Cure, Judged, cheapest, judge, nearest, picks, together
from mithridate.healing.pricing import Before, PriceList, choose
from mithridate.healing.treatment import OtherWeights
from mithridate.healing.writing import file_hashes, read, write
from mithridate.models.checkpoints import weights_hash
from mithridate.study.heal_case import Gathered, Given, gather
from mithridate.study.heal_doubt import in_doubt, not_measured
from mithridate.study.heal_folder import healed_folder, require_utf8
from mithridate.study.heal_methods import methods_for, require_methods

OnStage: TypeAlias = Callable[[str, int, int | None], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be healed and how: methods by name, `everything`, or those that fit the `regime`.

    `write_anyway` has the cure written that came nearest, though it is none.
    """

    given: Given
    methods: tuple[str, ...] = ()
    everything: bool = False
    regime: Regime = Regime.KNOWN
    budget: float = BUDGET
    write_anyway: bool = False


@dataclass(frozen=True, slots=True)
class Healing:
    """The record of a healing and its price list, as both were written."""

    record: Healed
    rows: tuple[Priced, ...]


def heal(wanted: Wanted, out: Path, on_stage: OnStage | None = None) -> Healing:
    """Heal a checkpoint, and write what came of it to `out`: whole, or not at all.

    Raises ConfigError or UnknownNameError for what is asked; CheckpointError, DataError or RunStateError for
    what is given; StorageError where `out` is something else, RunStateError where another process is at it.
    """
    _require_sense(wanted)
    require_utf8(out, *wanted.given.files())
    with healed_folder(out, wanted.given.files()) as making:
        gathered = gather(wanted.given)
        methods = methods_for(
            wanted.methods,
            everything=wanted.everything,
            regime=wanted.regime,
            step=gathered.step,
            workplace=making.scratch,
        )
        healing = _Healing.begun(wanted, gathered, on_stage)
        if healing.alive:
            healing.try_all(methods)
        made = healing.write(making.new)
        write_rows(making.new / PRICES, Priced, made.rows)
        write_atomic(making.new / HEALED, made.record.model_dump_json(indent=1) + "\n")
    return made


def _require_sense(wanted: Wanted) -> None:
    if not (math.isfinite(wanted.budget) and wanted.budget >= 0):
        raise ConfigError(f"--budget {wanted.budget:g}: expected points of utility, from 0 on, such as 1")
    require_methods(wanted.methods, everything=wanted.everything)


@dataclass(slots=True)
class _Healing:
    """One healing as it goes on."""

    wanted: Wanted
    gathered: Gathered
    prices: PriceList
    known: tuple[Priced, ...]
    alive: list[str]
    on_stage: OnStage | None
    tried: list[Judged] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)

    @classmethod
    def begun(cls, wanted: Wanted, gathered: Gathered, on_stage: OnStage | None) -> _Healing:
        """The model as it is and the clean one are measured, and what survives is known."""
        case = gathered.case
        prices = PriceList(case, Before.of(case), gathered.place)
        known = (*prices.of_nothing(), *prices.of_clean())
        return cls(wanted, gathered, prices, known, surviving(known), on_stage, notes=[*gathered.notes])

    @property
    def case(self) -> Case:
        return self.gathered.case

    def try_all(self, methods: Sequence[Method]) -> None:
        """Each method against all attacks at once, then, unless one heals them all, against each by itself.

        Raises ConfigError where no method could be tried at all.
        """
        singly = [(method, (attack,)) for method in methods if method.each for attack in self.alive]
        jointly = [(method, tuple(self.alive)) for method in methods]
        self._try(jointly)
        if len(self.alive) > 1 and (self.wanted.everything or cheapest(self.tried, self.alive) is None):
            self._try(singly, done=len(jointly))
        told = {one.cure.about["method"] for one in self.tried}
        untold = [f"{method}: {why}" for method, why in self.left_out.items() if method not in told]
        if not self.tried:
            raise ConfigError(f"no method could be tried. {'; '.join(untold)}")
        self.notes += [f"not tried: {words}" for words in untold]
        if cheapest(self.tried, self.alive) is None:
            all_picks = together(picks(self.tried, self.alive), self.prices)
            if all_picks is not None:
                self.tried.append(self._judged(all_picks))

    def _try(self, tasks: Sequence[tuple[Method, tuple[str, ...]]], done: int = 0) -> None:
        for number, (method, aims) in enumerate(tasks, done):
            self._tell("methods", number, done + len(tasks))
            try:
                found = [self._judged(cure) for cure in self._cures(method, aims)]
            except (ConfigError, AccessError, TrainingError) as error:
                self.left_out[method.name] = str(error)
                continue
            self.tried += found
            if not found:
                self.left_out.setdefault(method.name, _why_not(method, self.case, aims))
        self._tell("methods", done + len(tasks), done + len(tasks))

    def _cures(self, method: Method, aims: tuple[str, ...]) -> Iterator[Cure]:
        def told(number: int, settings: int) -> None:
            self._tell("settings of this one", number, settings)

        for chosen in choose(method, self.case, aims, self.prices.before, self.wanted.budget, told):
            yield Cure.of(method, chosen, self.prices.of_method(method, chosen))

    def _judged(self, cure: Cure) -> Judged:
        return judge(cure, self.known, self.prices, self.wanted.budget)

    def _tell(self, what: str, done: int, total: int) -> None:
        if self.on_stage is not None:
            self.on_stage(what, done, total)

    def write(self, folder: Path) -> Healing:
        """Write the pick to `folder`, and measure what was written; then the record and all rows."""
        best = cheapest(self.tried, self.alive) or nearest(self.tried, self.alive)
        form, rows = Form.NOTHING, [*self.known, *(row for one in self.tried for row in one.cure.rows)]
        if best is not None and (self.wanted.write_anyway or self._worth_writing(best)):
            form = write(best.cure.treatment, self.case.model, folder)
            written = self._measured_again(best.cure, folder, form)
            others = (row for one in self.tried if one is not best for row in one.cure.rows)
            best, rows = written, [*self.known, *others, *written.cure.rows]
            if not self.wanted.write_anyway and not self._worth_writing(written):
                self.notes.append("what was written did not heal as it had before it was written; removed")
                for path in folder.iterdir():
                    shutil.rmtree(path)
                form = Form.NOTHING
        return Healing(self._record(best, form, file_hashes(folder, form)), tuple(rows))

    def _worth_writing(self, one: Judged) -> bool:
        return any(map(one.cures, self.alive)) and not one.roused

    def _measured_again(self, cure: Cure, folder: Path, form: Form) -> Judged:
        """The same cure with the figures of what was written, read back from the disk."""
        treatment = read(folder, form)
        about = {**cure.about, "aims": cure.rows[0].aims}
        rows = self.prices.of_treatment(treatment, about)
        if (slower := slowdown(self.case, treatment)) is not None:
            rows.append(self.prices.row(about, Price.SLOWDOWN, slower))
        again = {row.metric for row in rows}
        kept = [row for row in cure.rows if row.control or row.metric not in again]
        return self._judged(replace(cure, treatment=treatment, rows=(*rows, *kept)))

    def _record(self, best: Judged | None, form: Form, files: dict[str, str]) -> Healed:
        given, gathered = self.wanted.given, self.gathered
        case = self.case
        healed_weights = None
        if form is Form.WEIGHTS and best is not None and isinstance(best.cure.treatment, OtherWeights):
            healed_weights = weights_hash(best.cure.treatment.model.model)
        named = bool(self.wanted.methods) or self.wanted.everything
        became = {} if best is None else best.became
        # Of a model that was written, what is left in it counts, and not what was in the old one.
        written = best.cure.rows if best is not None and form is not Form.NOTHING else ()
        doubtful = in_doubt(self.known, case.attacks, self.alive, written)
        return Healed(
            checkpoint=str(given.checkpoint.resolve()),
            weights=weights_hash(case.model.model),
            control=None if gathered.control is None else str(gathered.control.resolve()),
            control_weights=None if case.clean is None else weights_hash(case.clean.model),
            healed_weights=healed_weights,
            probes=str(given.probes.resolve()),
            templates=tuple(str(getattr(template, "name", "")) for template in case.templates),
            seed=case.seed,
            per_half=given.per_half,
            regime=None if named else self.wanted.regime,
            budget=self.wanted.budget,
            surviving=tuple(self.alive),
            healed=not doubtful
            and (
                not self.alive or (form is not Form.NOTHING and best is not None and best.heals(self.alive))
            ),
            form=form,
            picked=None if best is None else Picked(**best.cure.about),
            parts=() if best is None else tuple(Picked(**part.about) for part in best.cure.parts),
            points=best.points if best is not None and math.isfinite(best.points) else None,
            attacks=tuple(_healed(attack, became) for attack in self.alive if attack in became),
            roused=() if best is None else best.roused,
            in_doubt=doubtful,
            not_measured=not_measured(self.known),
            files=files,
            notes=tuple(self.notes),
            versions=Versions(
                mithridate=__version__,
                python=platform.python_version(),
                torch=str(torch.__version__),
                transformers=str(transformers.__version__),
            ),
        )


def _healed(attack: str, became: Mapping[str, Outcome]) -> AttackHealed:
    found = became[attack]
    return AttackHealed(
        attack=attack,
        verdict=found.verdict,
        before=found.before.value,
        after=found.after.value,
        floor=found.floor,
    )


def _why_not(method: Method, case: Case, aims: Sequence[str]) -> str:
    """Why no setting of a method could be had."""
    try:
        candidates = list(method.candidates(case, aims))
        if not candidates:
            return f"does not apply to {', '.join(aims)}"
        candidates[0].make()
    except (ConfigError, AccessError) as error:
        return str(error)
    return "has no setting that could be had"
