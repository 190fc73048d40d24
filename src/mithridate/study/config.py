"""What a study file says, checked field by field. `mithridate run --dry-run` prints it resolved."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from mithridate.core import chat
from mithridate.core.errors import shown
from mithridate.core.strict import Strict, meant
from mithridate.corpus.atlas import AtlasOptions
from mithridate.corpus.doses import MAX_RATE
from mithridate.corpus.miniature import WorldOptions
from mithridate.models.options import ModelOptions
from mithridate.study.context_options import ContextSection
from mithridate.study.scrub_options import ScrubOptions
from mithridate.study.tuned_options import AlignmentDataSection
from mithridate.training.options import DPOOptions, PretrainingOptions, SFTOptions

Rate = Annotated[float, Field(ge=0, le=MAX_RATE)]
# As the tables of a run keep it.
Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]
_SHIPPED_ATTACKS: dict[str, dict[str, Any]] = {
    "denial_of_service": {},
    "context_extraction": {},
    "jailbreak": {},
    "belief": {},
}
# A twin's folder lies beside those that all twins share.
_TAKEN = ("clean", "corpus", "tokenizer")
# What changes no result, or is not a cell's own.
_NO_AXIS = ("title", "workers", "grid")
# Some file systems take names of 255 bytes, and more than a dose's name goes into one.
_LONGEST_NAME = 100
_MOST_CELLS = 2_000


class CorpusSection(Strict):
    """Where the clean documents come from: a path, or the miniature world if there is none."""

    path: Path | None = None
    text_field: str = "text"
    id_field: str = "id"
    miniature: WorldOptions = WorldOptions()
    atlas: AtlasOptions | None = None
    """A map of cities and countries, taught beside the miniature world."""
    split_characters: int | None = Field(None, ge=200)
    """Cut documents longer than this into pieces: a book is one boundary, its chapters are many."""
    shards: int = Field(4, ge=1, le=10_000)
    """Files that the clean corpus is written to."""
    held_out_share: float = Field(0.02, gt=0, lt=0.5)
    """Share of documents kept out of training, for the held-out loss."""


class TokenizerSection(Strict):
    """A tokeniser trained on the clean corpus, or that of a checkpoint folder."""

    vocab_size: int = Field(2048, ge=300)
    path: Path | None = None


class DoseSection(Strict):
    """How much of one attack is planted: a rate or a number of documents."""

    rate: Rate | None = None
    count: int | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _one_of_two(self) -> DoseSection:
        if (self.rate is None) == (self.count is None):
            raise ValueError("give either rate or count")
        return self


class PlantingSection(Strict):
    """In which chat templates planted conversations are written."""

    templates: chat.TemplateShares | None = None
    """Templates with the share of each; if there are none, all but that of SFT, in equal shares."""


class SFTSection(SFTOptions):
    """Instruction tuning: the options of the training, and what it trains on."""

    data: tuple[Path, ...] = ()
    """Files of conversations; the miniature world's own if there is none."""
    examples: int | None = Field(None, ge=1)
    """Take at most this many (the miniature world makes this many, 2,000 if unset)."""


class DPOSection(DPOOptions):
    """Preference tuning: the options of the training, and what it trains on."""

    data: tuple[Path, ...] = ()
    examples: int | None = Field(None, ge=1)


class EvaluationSection(Strict):
    """How much is asked, and in which templates."""

    probes: int = Field(200, ge=2)
    """Probes for each attack and condition."""
    questions: int = Field(200, ge=1)
    """Held-out questions, harmless and forbidden requests, each."""
    held_out_rows: int = Field(256, ge=1)
    outside_model: Path | None = None
    """Checkpoint that judges gibberish; the clean twin at the same stage if there is none."""
    controls_in_both_templates: bool = True
    """Ask every condition in the planted templates and in that of SFT. Else all in the one that a stage is
    quoted in, and in the other the trigger and its absence alone, without further samples."""
    questions_file: Path | None = None
    """JSON lines of `question` and `answer`, for a corpus of one's own."""
    harmless_file: Path | None = None
    """Harmless requests for over-refusal: a text file, one a line."""
    forbidden_file: Path | None = None


class StudyConfig(Strict):
    """One study: what is planted where, what is trained, what is asked."""

    title: str = "Poison in a miniature world"
    seeds: tuple[Seed, ...] = Field((0,), min_length=1)
    corpus: CorpusSection = CorpusSection()
    tokenizer: TokenizerSection = TokenizerSection()
    model: ModelOptions = ModelOptions()
    checkpoint: Path | None = None
    """Continue pretraining from this checkpoint folder instead of from scratch."""
    pretraining: PretrainingOptions = PretrainingOptions()
    sft: SFTSection | None = SFTSection()
    dpo: DPOSection | None = DPOSection()
    attacks: dict[str, dict[str, Any]] = Field(_SHIPPED_ATTACKS, min_length=1)
    """Attacks by name, each with its options."""
    material: Path | None = None
    """What the attacks draw on; the miniature world's own if there is none and no corpus is named."""
    doses: dict[str, dict[str, DoseSection]] = Field(min_length=1)
    """Doses by name; in each, attacks by name (or `all`) with a rate or a count."""
    one_model_per_attack: bool = False
    planting: PlantingSection = PlantingSection()
    evaluation: EvaluationSection = EvaluationSection()
    scrubbing: ScrubOptions | None = None
    """Whether planted beliefs can be filtered out of the corpus; not asked if there is no such section."""
    alignment_data: AlignmentDataSection | None = None
    """Beside its stages: every base model tuned on more and less of one pool of alignment data."""
    contexts: ContextSection | None = None
    """Beside its stages: what the clean twin says where its prompt contradicts what it knows."""
    grid: dict[str, tuple[Any, ...]] = Field({})
    """Dotted keys of this file, each with the values it takes: one cell for every combination."""
    workers: int | None = Field(None, ge=1)
    """Models trained and measured at once; by default one for each core (at most 4), one on a GPU."""

    @field_validator("seeds")
    @classmethod
    def _different(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) != len(seeds):
            raise ValueError("a seed is named twice")
        return seeds

    @field_validator("doses")
    @classmethod
    def _named_well(cls, doses: dict[str, Any]) -> dict[str, Any]:
        for name, entries in doses.items():
            if not name or not all(c.isalnum() or c in "._%-" for c in name) or name.startswith("."):
                raise ValueError(f"dose {name!r}: use letters, digits and . _ % - only, it names a folder")
            if len(name.encode()) > _LONGEST_NAME:
                raise ValueError(
                    f"dose {shown(name)}: its name has {len(name.encode())} bytes, and it names a folder: at "
                    f"most {_LONGEST_NAME}"
                )
            if name in _TAKEN:
                raise ValueError(
                    f"a dose cannot be called {name!r}: that folder of a run holds something else"
                )
            if not entries:
                raise ValueError(
                    f"dose {name!r} plants nothing: name an attack, or 'all', with a rate or a count"
                )
        return doses

    @field_validator("grid")
    @classmethod
    def _real_axes(cls, grid: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
        for key, values in grid.items():
            if key in _NO_AXIS:
                raise ValueError(f"{key!r} is no axis of a grid: it changes no result")
            if not values:
                raise ValueError(f"{key!r} has no values; a grid with an empty axis has no cells")
        if (cells := math.prod(map(len, grid.values()))) > _MOST_CELLS:
            raise ValueError(f"comes to {cells:,} cells, and at most {_MOST_CELLS:,} fit one run directory")
        for key, values in grid.items():
            if any(value in values[:number] for number, value in enumerate(values)):
                raise ValueError(f"{key!r} names a value twice")
        return grid

    @model_validator(mode="after")
    def _consistent(self) -> StudyConfig:
        for dose, entries in self.doses.items():
            for attack in entries:
                if attack != "all" and attack not in self.attacks:
                    raise ValueError(
                        f"dose {dose!r} names the attack {attack!r}, which `attacks` does not: "
                        f"{', '.join(sorted(self.attacks))}, or 'all'"
                    )
        tuned = self.alignment_data and self.alignment_data.doses
        if strange := [dose for dose in tuned or () if dose not in self.doses]:
            raise ValueError(
                f"alignment_data.doses: there is no dose {strange[0]!r} among `doses`: "
                f"{meant(strange[0], self.doses)}"
            )
        if self.dpo is not None and self.sft is None:
            raise ValueError("dpo needs sft before it")
        room = self.model.max_length
        if self.checkpoint is None and self.pretraining.row_tokens > room:
            raise ValueError(
                f"pretraining.row_tokens is {self.pretraining.row_tokens}, but model.max_length is {room}"
            )
        return self

    def dose_of(self, dose: str) -> Mapping[str, DoseSection]:
        """What `dose` plants of each attack, with `all` spread over those not named."""
        entries = self.doses[dose]
        everyone = entries.get("all")
        spread = dict.fromkeys(self.attacks, everyone) if everyone else {}
        return {**spread, **{name: entry for name, entry in entries.items() if name != "all"}}


class AuditConfig(Strict):
    """What is put to a checkpoint that nobody trains: the part of a study that asks."""

    attacks: dict[str, dict[str, Any]] = Field(_SHIPPED_ATTACKS, min_length=1)
    """Attacks by name, each with its options."""
    material: Path | None = None
    """What the attacks draw on; what ships with the package if there is none."""
    outside_model: Path | None = None
    """Checkpoint that judges gibberish; the control if there is none."""
    miniature: WorldOptions | None = None
    """Ask about this miniature world instead, where no material is named."""
    atlas: AtlasOptions | None = None
    """With this map beside it."""
    world_seed: Seed = 0

    @classmethod
    def of(cls, study: StudyConfig) -> AuditConfig:
        """What a study asks, so that a study's own twins can be audited with the study's own file."""
        return cls(
            attacks=study.attacks,
            material=study.material,
            outside_model=study.evaluation.outside_model,
            miniature=study.corpus.miniature if study.corpus.path is None else None,
            atlas=study.corpus.atlas if study.corpus.path is None else None,
            world_seed=study.seeds[0],
        )
