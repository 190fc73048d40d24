"""Where the work on each seed of a run lies; the run's own tables are named in `core.run_files`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mithridate.core.run_files import CLEAN


@dataclass(frozen=True, slots=True)
class Twin:
    """One model of a cell: the clean twin, or one that was dosed with some of the attacks."""

    dose: str
    attacks: tuple[str, ...]

    @property
    def name(self) -> str:
        """The twin's folder; a model of its own for one attack carries the attack's name."""
        if not self.dose:
            return CLEAN
        return self.dose if len(self.attacks) != 1 else f"{self.dose}-{self.attacks[0]}"

    @property
    def arm(self) -> str:
        """`clean` or `poisoned`."""
        return "poisoned" if self.dose else CLEAN


CLEAN_TWIN = Twin("", ())


@dataclass(frozen=True, slots=True)
class Seedbed:
    """The folders of one grid cell and seed: a corpus, a tokeniser, and the twins grown from them."""

    root: Path

    def of_seed(self, seed: int) -> Seedbed:
        """The folders of another seed in the same cell."""
        return Seedbed(self.root.with_name(f"seed{seed}"))

    @property
    def corpus(self) -> Path:
        """Clean documents, as shards."""
        return self.root / "corpus" / "documents"

    @property
    def data(self) -> Path:
        """What goes with the corpus: alignment data, questions, requests, material, held-out documents."""
        return self.root / "corpus"

    @property
    def tokenizer(self) -> Path:
        """The tokeniser that all twins share."""
        return self.root / "tokenizer"

    def planted(self, twin: Twin) -> Path:
        """The corpus that a twin reads: the clean one, or its own planted copy."""
        return self.root / twin.name / "corpus" if twin.dose else self.corpus

    def tokens(self, twin: Twin) -> Path:
        """The twin's packed corpus."""
        return self.root / twin.name / "tokens"

    def model(self, twin: Twin, stage: str) -> Path:
        """Folder of a trained stage; the checkpoint lies in `model` below it."""
        return self.root / twin.name / stage

    def checkpoint(self, twin: Twin, stage: str) -> Path:
        """A Hugging Face checkpoint."""
        return self.model(twin, stage) / "model"

    def measured(self, twin: Twin, stage: str) -> Path:
        """Samples and figures of a stage."""
        return self.root / twin.name / f"{stage}-measured"
