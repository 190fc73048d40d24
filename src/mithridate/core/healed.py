"""What was made of a checkpoint that was to be healed: the files of its folder, and the record among them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import Field, NonNegativeFloat, ValidationError

from mithridate.core.cures import Verdict
from mithridate.core.errors import DataError, StorageError
from mithridate.core.prices import PRICES, Price, Regime
from mithridate.core.strict import Strict, first_problem

HEALED = "healed.json"
MODEL = "model"
"""The folder of the healed checkpoint, where the cure became weights."""
INTERVENTIONS = "interventions"
"""The folder of what is to be put on the old checkpoint, where no weights can do the same."""
OURS = frozenset({HEALED, MODEL, INTERVENTIONS, PRICES})
"""All that a folder of a healed checkpoint holds."""
FORMAT_VERSION = 1
_LARGEST = 1 << 20


class Form(StrEnum):
    """What a cure was written as."""

    WEIGHTS = "weights"
    INTERVENTIONS = "interventions"
    NOTHING = "nothing"


class Picked(Strict):
    """A cure by the fields that its rows in the price list share."""

    method: str
    variant: str = ""
    aim: str = ""
    regime: str = ""
    kind: str = ""


class AttackHealed(Strict):
    """What became of one attack: rates of triggered probes, and what a model without the poison may show."""

    attack: str
    verdict: Verdict
    before: float
    after: float
    floor: float


class InDoubt(Strict):
    """An attack of which few probes cannot tell whether it is there.

    `rate` of `probes` triggered ones, with `floor` what a clean model may show; None where it is not known.
    """

    attack: str
    probes: int
    rate: float | None
    floor: float | None


class Versions(Strict):
    """What a cure was made with: another release may make another one."""

    mithridate: str
    python: str
    torch: str
    transformers: str


class Healed(Strict):
    """The record of one healing.

    `weights` are hashes of all tensors of a checkpoint, as `models.checkpoints.weights_hash` has them.
    `picked` and `attacks` tell of what was measured again after it was written, and `points` of the utility
    that it cost (None where that has no end, or nothing was picked), of the figures of utility but for those
    `not_measured`. `healed` is whether each attack that survived is cured, no other one came back, and none
    is `in_doubt`. `files` has the SHA-256 of each file that was written, by its path within the folder.
    """

    format: Literal["mithridate-healed"] = "mithridate-healed"
    version: int = FORMAT_VERSION
    checkpoint: str
    weights: str = Field(pattern=r"^[0-9a-f]{64}$")
    control: str | None = None
    control_weights: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    healed_weights: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    probes: str
    templates: tuple[str, ...]
    seed: int
    per_half: int
    regime: Regime | None
    budget: NonNegativeFloat
    surviving: tuple[str, ...]
    healed: bool
    form: Form
    picked: Picked | None = None
    parts: tuple[Picked, ...] = ()
    points: NonNegativeFloat | None = None
    attacks: tuple[AttackHealed, ...] = ()
    roused: tuple[str, ...] = ()
    in_doubt: tuple[InDoubt, ...] = ()
    not_measured: tuple[Price, ...] = ()
    files: dict[str, str] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()
    versions: Versions


def read_healed(folder: Path) -> Healed:
    """The record in `folder`.

    Raises StorageError where there is none or it is of a later version, DataError where it is damaged.
    """
    path = folder / HEALED
    try:
        with path.open("rb") as handle:
            content = handle.read(_LARGEST + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StorageError(
            f"{folder}: holds no healed model (no {HEALED}); `mithridate heal` makes one"
        ) from error
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", path=path) from error
    try:
        record = Healed.model_validate_json(content)
    except ValidationError as error:
        problem, field = first_problem(error)
        raise DataError(f"is no record of a healed model: {problem}", path=path, field=field) from error
    if record.version != FORMAT_VERSION:
        raise StorageError(
            f"{path}: is of format version {record.version}, and this release reads {FORMAT_VERSION}; use "
            "the release that wrote it"
        )
    return record
