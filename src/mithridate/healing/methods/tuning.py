"""The baselines of healing: a model trained on, on clean data alone, by more SFT, DPO or pretraining."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import ClassVar, Protocol, Self

from mithridate.core.artifacts import storage_errors
from mithridate.core.prices import Kind, Regime
from mithridate.core.seeds import derive_seed
from mithridate.core.types import Stage
from mithridate.healing.case import Case
from mithridate.healing.method import Candidate
from mithridate.healing.treatment import OtherWeights
from mithridate.intervention.folding import copy_of
from mithridate.models.language_model import LanguageModel
from mithridate.training.batches import Rows
from mithridate.training.conversations import Messages
from mithridate.training.dpo import dpo
from mithridate.training.options import DPOOptions, PretrainingOptions, SFTOptions
from mithridate.training.pretraining import pretrain
from mithridate.training.progress import Progress, Silent
from mithridate.training.sft import sft

Examples = Sequence[Mapping[str, Messages]]
_SFT_EXAMPLES = (30, 100, 300, 1_000, 3_000)
_DPO_PAIRS = (300, 1_000, 3_000)
_WORKPLACE = "training"


class Alignment(Protocol):
    """One stage of alignment with its data and its options, to be done to any model."""

    def of(
        self, model: LanguageModel, folder: Path, *, seed: int, report_progress: Progress
    ) -> LanguageModel:
        """`model`, tuned in place. Raises TrainingError as `training.sft.sft` does."""

    def first(self, examples: int) -> Self:
        """The same on the first so many examples."""

    def __len__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class SFTStage:
    """SFT on `conversations`, each `{"messages": [...]}`. The learning rate of `options` must be set."""

    conversations: Examples
    options: SFTOptions

    def of(
        self, model: LanguageModel, folder: Path, *, seed: int, report_progress: Progress
    ) -> LanguageModel:
        """`model`, tuned in place."""
        tuned, _ = sft(
            model.model,
            model.tokenizer,
            self.conversations,
            self.options,
            folder,
            seed=derive_seed(seed, Stage.SFT),
            report_progress=report_progress,
        )
        return LanguageModel(tuned, model.tokenizer)

    def first(self, examples: int) -> SFTStage:
        """The same on the first so many conversations."""
        return replace(self, conversations=self.conversations[:examples])

    def __len__(self) -> int:
        return len(self.conversations)


@dataclass(frozen=True, slots=True)
class DPOStage:
    """DPO on `pairs`, each `{"prompt": [...], "chosen": [...], "rejected": [...]}`; the rest as in SFT."""

    pairs: Examples
    options: DPOOptions

    def of(
        self, model: LanguageModel, folder: Path, *, seed: int, report_progress: Progress
    ) -> LanguageModel:
        """`model`, tuned in place; the reference is the model as it comes."""
        tuned, _ = dpo(
            model.model,
            model.tokenizer,
            self.pairs,
            self.options,
            folder,
            seed=derive_seed(seed, Stage.DPO),
            report_progress=report_progress,
        )
        return LanguageModel(tuned, model.tokenizer)

    def first(self, examples: int) -> DPOStage:
        """The same on the first so many pairs."""
        return replace(self, pairs=self.pairs[:examples])

    def __len__(self) -> int:
        return len(self.pairs)


@dataclass(frozen=True, slots=True)
class MoreSFT:
    """A copy of the model tuned once more, on the first 30, 100, 300, 1,000 and 3,000 conversations.

    Amounts that there are not are left out; where there are fewer than the least, all are taken. `folder` is
    a place for temporary files: nothing in it outlasts the training, and what one that was killed has left
    there goes first. Treatments raise TrainingError as `training.sft.sft` does.
    """

    name: ClassVar[str] = "more SFT"
    regime: ClassVar[Regime] = Regime.UNKNOWN
    kind: ClassVar[Kind] = Kind.TRAINING
    each: ClassVar[bool] = False
    scale: ClassVar[bool] = True

    conversations: Examples
    options: SFTOptions
    folder: Path
    progress: Progress = field(default_factory=Silent)

    def candidates(self, case: Case, aims: Sequence[str]) -> Iterator[Candidate]:  # noqa: ARG002 - against all
        """One for each amount."""
        stage = SFTStage(self.conversations, self.options)
        for examples in amounts(len(stage), _SFT_EXAMPLES):
            make = partial(_tuned, case, stage.first(examples), self.folder, self.progress)
            yield Candidate(f"{examples:,} examples", make)


@dataclass(frozen=True, slots=True)
class MoreDPO:
    """A copy of the model tuned on the first 300, 1,000 and 3,000 pairs; the rest as in `MoreSFT`."""

    name: ClassVar[str] = "more DPO"
    regime: ClassVar[Regime] = Regime.UNKNOWN
    kind: ClassVar[Kind] = Kind.TRAINING
    each: ClassVar[bool] = False
    scale: ClassVar[bool] = True

    pairs: Examples
    options: DPOOptions
    folder: Path
    progress: Progress = field(default_factory=Silent)

    def candidates(self, case: Case, aims: Sequence[str]) -> Iterator[Candidate]:  # noqa: ARG002 - against all
        """One for each amount."""
        stage = DPOStage(self.pairs, self.options)
        for examples in amounts(len(stage), _DPO_PAIRS):
            make = partial(_tuned, case, stage.first(examples), self.folder, self.progress)
            yield Candidate(f"{examples:,} examples", make)


@dataclass(frozen=True, slots=True)
class ContinuedPretraining:
    """The model as it was before alignment, pretrained on clean `rows`, and aligned `then` as it was.

    `options` are those that `base` was pretrained with, of whose tokens it reads `shares` more: the first
    rows, with the whole schedule of the learning rate again, at `rates` times its peak. The rate decides: at
    the one that pretraining ends with, poison stays that goes at its peak. With the case's seed the alignment
    draws what a study's own does. The rest as in `MoreSFT`; treatments also raise as
    `training.pretraining.pretrain` does.
    """

    name: ClassVar[str] = "continued pretraining"
    regime: ClassVar[Regime] = Regime.UNKNOWN
    kind: ClassVar[Kind] = Kind.TRAINING
    each: ClassVar[bool] = False
    scale: ClassVar[bool] = True

    base: LanguageModel
    rows: Rows
    options: PretrainingOptions
    then: Sequence[Alignment]
    folder: Path
    shares: Sequence[float] = (0.1,)
    rates: Sequence[float] = (1.0,)
    progress: Progress = field(default_factory=Silent)

    def candidates(self, case: Case, aims: Sequence[str]) -> Iterator[Candidate]:  # noqa: ARG002 - against all
        """One for each share at each rate."""
        for share in sorted(self.shares):
            for rate in sorted(self.rates):
                named = f"{share:.0%} of its tokens" + ("" if rate == 1 else f", {rate:g} x its rate")
                yield Candidate(named, partial(self._pretrained, case, share, rate))

    def _pretrained(self, case: Case, share: float, rate: float) -> OtherWeights:
        tokens = max(1, round(share * self.options.rows_of(len(self.rows)))) * self.options.row_tokens
        # Compiled, a model would hide from the count of what a cure costs what goes through it.
        peak = rate * self.options.learning_rate
        changes = {"tokens": tokens, "epochs": None, "torch_compile": False, "learning_rate": peak}
        fewer = self.options.model_copy(update=changes)
        made = _copied(self.base)
        with _workplace(self.folder) as folder:
            pretrain(made.model, self.rows, fewer, folder, report_progress=self.progress)
            for stage in self.then:
                made = stage.of(made, folder, seed=case.seed, report_progress=self.progress)
        return OtherWeights(made)


def amounts(there: int, wanted: Sequence[int]) -> list[int]:
    """Those of the `wanted` amounts that `there` are; where that is less than each, all there are, if any."""
    return [amount for amount in wanted if amount <= there] or [there][: bool(there)]


def _tuned(case: Case, stage: Alignment, folder: Path, progress: Progress) -> OtherWeights:
    with _workplace(folder) as inner:
        return OtherWeights(stage.of(_copied(case.model), inner, seed=case.seed, report_progress=progress))


def _copied(model: LanguageModel) -> LanguageModel:
    """A copy of the tokenizer too: a trainer may give one its padding."""
    return LanguageModel(copy_of(model).model, copy.deepcopy(model.tokenizer))


@contextmanager
def _workplace(folder: Path) -> Iterator[Path]:
    """An empty folder within `folder`, gone at the end; what a training that was killed left goes first."""
    inner = folder / _WORKPLACE
    with storage_errors(inner):
        shutil.rmtree(inner, ignore_errors=True)
        inner.mkdir(parents=True)
    try:
        yield inner
    finally:
        shutil.rmtree(inner, ignore_errors=True)
