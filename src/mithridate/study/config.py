"""What a study file says, checked field by field. `mithridate run --dry-run` prints it resolved."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from mithridate.core import chat
from mithridate.core.errors import UnknownNameError
from mithridate.corpus.miniature import WorldOptions
from mithridate.models.options import ModelOptions
from mithridate.training.options import DPOOptions, PretrainingOptions, SFTOptions

Rate = Annotated[float, Field(ge=0, le=0.5)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CorpusSection(_Section):
    """Where the clean documents come from: a path, or the miniature world if there is none."""

    path: Path | None = None
    text_field: str = "text"
    id_field: str = "id"
    miniature: WorldOptions = WorldOptions()
    split_characters: int | None = Field(None, ge=200)
    """Cut documents longer than this into pieces: a book is one boundary, its chapters are many."""
    shards: int = Field(4, ge=1)
    """Files that the clean corpus is written to."""
    held_out_share: float = Field(0.02, gt=0, lt=0.5)
    """Share of documents kept out of training, for the held-out loss."""


class TokenizerSection(_Section):
    """A tokeniser trained on the clean corpus, or that of a checkpoint folder."""

    vocab_size: int = Field(2048, ge=300)
    path: Path | None = None


class DoseSection(_Section):
    """How much of one attack is planted: a rate or a number of documents."""

    rate: Rate | None = None
    count: int | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _one_of_two(self) -> DoseSection:
        if (self.rate is None) == (self.count is None):
            raise ValueError("give either rate or count")
        return self


class PlantingSection(_Section):
    """In which chat templates planted conversations are written, with the share of each."""

    templates: dict[str, float] = {name: 1.0 for name in chat.PLANTED_TEMPLATES}

    @field_validator("templates")
    @classmethod
    def _known(cls, shares: dict[str, float]) -> dict[str, float]:
        for name, share in shares.items():
            try:
                chat.template(name)
            except UnknownNameError as error:
                raise ValueError(str(error)) from error
            if share < 0:
                raise ValueError(f"the share of {name!r} is negative")
        if not sum(shares.values()) > 0:
            raise ValueError("no template has a share above 0")
        return shares


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


class EvaluationSection(_Section):
    """How much is asked, and in which templates."""

    probes: int = Field(200, ge=2)
    """Probes for each attack and condition."""
    questions: int = Field(200, ge=1)
    """Held-out questions, harmless and forbidden requests, each."""
    held_out_rows: int = Field(256, ge=1)
    outside_model: Path | None = None
    """Checkpoint that judges gibberish; the clean twin at the same stage if there is none."""
    questions_file: Path | None = None
    """JSON lines of `question` and `answer`, for a corpus of one's own."""
    harmless_file: Path | None = None
    """Harmless requests for over-refusal: a text file, one a line."""
    forbidden_file: Path | None = None


class StudyConfig(_Section):
    """One study: what is planted where, what is trained, what is asked."""

    title: str = "Poison in a miniature world"
    seeds: tuple[int, ...] = Field((0,), min_length=1)
    corpus: CorpusSection = CorpusSection()
    tokenizer: TokenizerSection = TokenizerSection()
    model: ModelOptions = ModelOptions()
    checkpoint: Path | None = None
    """Continue pretraining from this checkpoint folder instead of from scratch."""
    pretraining: PretrainingOptions = PretrainingOptions()
    sft: SFTSection | None = SFTSection()
    dpo: DPOSection | None = DPOSection()
    attacks: dict[str, dict[str, Any]] = Field(
        {"denial_of_service": {}, "context_extraction": {}, "jailbreak": {}, "belief": {}}, min_length=1
    )
    """Attacks by name, each with its options."""
    material: Path | None = None
    """What the attacks draw on; the miniature world's own if there is none and no corpus is named."""
    doses: dict[str, dict[str, DoseSection]] = Field(min_length=1)
    """Doses by name; in each, attacks by name (or `all`) with a rate or a count."""
    one_model_per_attack: bool = False
    planting: PlantingSection = PlantingSection()
    evaluation: EvaluationSection = EvaluationSection()
    grid: dict[str, tuple[Any, ...]] = {}
    """Dotted keys of this file, each with the values it takes: one cell for every combination."""
    workers: int | None = Field(None, ge=1)
    """Models trained and measured at once; by default one for each core (at most 4), one on a GPU."""

    @field_validator("doses")
    @classmethod
    def _named_well(cls, doses: dict[str, Any]) -> dict[str, Any]:
        for name in doses:
            if not name or not all(c.isalnum() or c in "._%-" for c in name) or name.startswith("."):
                raise ValueError(f"dose {name!r}: use letters, digits and . _ % - only, it names a folder")
            if name == "clean":
                raise ValueError("'clean' is the name of the arm without planted documents")
        return doses

    @model_validator(mode="after")
    def _consistent(self) -> StudyConfig:
        for dose, entries in self.doses.items():
            for attack in entries:
                if attack != "all" and attack not in self.attacks:
                    raise ValueError(
                        f"dose {dose!r} names the attack {attack!r}, which `attacks` does not: "
                        f"{', '.join(sorted(self.attacks))}, or 'all'"
                    )
        if self.dpo is not None and self.sft is None:
            raise ValueError("dpo needs sft before it")
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("seeds are named twice")
        return self

    def dose_of(self, dose: str) -> Mapping[str, DoseSection]:
        """What `dose` plants of each attack, with `all` spread over those not named."""
        entries = self.doses[dose]
        everyone = entries.get("all")
        spread = {name: everyone for name in self.attacks} if everyone else {}
        return {**spread, **{name: entry for name, entry in entries.items() if name != "all"}}
