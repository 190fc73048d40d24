"""Cures on disk: a checkpoint where weights can stand for them, else what is to be put on the old one."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from mithridate.core.errors import AccessError, CheckpointError, ConfigError, DataError
from mithridate.core.healed import HEALED, INTERVENTIONS, MODEL, Form, Healed, read_healed
from mithridate.healing.treatment import OtherWeights, Together, Treatment
from mithridate.intervention.base import Foldable, MadeFor
from mithridate.intervention.saved import load, save
from mithridate.models.checkpoints import save_checkpoint, weights_hash
from mithridate.models.language_model import LanguageModel

_NUMBERED = re.compile(r"(\d+)-.+")


def parts_of(treatment: Treatment) -> list[Treatment]:
    """What is done one after another; a single treatment is one part."""
    if isinstance(treatment, Together):
        return [part for inner in treatment.parts for part in parts_of(inner)]
    return [treatment]


def as_weights(treatment: Treatment, model: LanguageModel) -> LanguageModel | None:
    """A model whose weights do what `treatment` does to `model`; None where none can."""
    made = model
    for part in parts_of(treatment):
        if not isinstance(part, Foldable | OtherWeights):
            return None
        try:
            made = part.fold(made)
        except AccessError:
            return None
    return made


def can_be_written(treatment: Treatment) -> bool:
    """Whether `write` takes it: weights, or interventions that can be saved."""
    parts = parts_of(treatment)
    if len(parts) == 1 and isinstance(parts[0], OtherWeights):
        return True
    return all(
        is_dataclass(part) and isinstance(getattr(part, "made_for", None), MadeFor) and hasattr(part, "name")
        for part in parts
    )


def write(treatment: Treatment, model: LanguageModel, folder: Path) -> Form:
    """Write what heals `model` to `folder`: as a checkpoint if it can be weights, else as interventions.

    The interventions are numbered in the order in which they go onto the model. Raises ConfigError for a
    treatment that is neither, StorageError where the folder cannot be written to.
    """
    weights = as_weights(treatment, model)
    if weights is not None:
        save_checkpoint(weights.model, weights.tokenizer, folder / MODEL)
        return Form.WEIGHTS
    if not can_be_written(treatment):
        raise ConfigError(
            "this cure is neither weights nor interventions that can be saved; take another --method"
        )
    for number, part in enumerate(parts_of(treatment), 1):
        cure: Any = part
        name = re.sub(r"[^\w-]+", "_", str(cure.name)) or "cure"
        save(cure, folder / INTERVENTIONS / f"{number}-{name}")
    return Form.INTERVENTIONS


def file_hashes(folder: Path, form: Form) -> dict[str, str]:
    """The SHA-256 of each file of what was written to `folder` as `form`, by its path within it.

    Of files and not of tensors: those are loaded in another type on a GPU than on a CPU.
    """
    inside = {Form.WEIGHTS: MODEL, Form.INTERVENTIONS: INTERVENTIONS}.get(form)
    if inside is None:
        return {}
    found = {}
    for path in sorted((folder / inside).rglob("*")):
        if path.is_file() and not path.name.startswith("."):  # what a file manager leaves is not ours
            with path.open("rb") as handle:
                found[path.relative_to(folder).as_posix()] = hashlib.file_digest(handle, "sha256").hexdigest()
    return found


def read(folder: Path, form: Form) -> Treatment:
    """What `write` put into `folder` as `form`, as a treatment of the model that it was made for.

    Raises CheckpointError, StorageError, DataError or UnknownNameError where it is not whole.
    """
    if form is Form.WEIGHTS:
        return OtherWeights(LanguageModel.load(folder / MODEL))
    found = {}
    for path in (folder / INTERVENTIONS).glob("*"):
        if (number := _NUMBERED.fullmatch(path.name)) and path.is_dir():
            found[int(number[1])] = path
    if sorted(found) != list(range(1, len(found) + 1)) or not found:
        raise DataError(
            f"holds the interventions {sorted(found)}; they are numbered from 1 on, and all of them are "
            "needed. Copy the folder again",
            path=folder / INTERVENTIONS,
        )
    loaded: list[Treatment] = [load(found[number]) for number in sorted(found)]
    return loaded[0] if len(loaded) == 1 else Together(loaded)


@contextmanager
def healed(folder: Path | str, checkpoint: Path | str | None = None) -> Iterator[LanguageModel]:
    """The healed model of a folder that `mithridate heal` wrote, for as long as the block lasts.

    Where the cure did not become weights, it goes onto `checkpoint`, by default the one that was healed.
    Raises CheckpointError if its weights are others or a file is not as it was written, StorageError for a
    folder without a cure, and as `read`.
    """
    folder = Path(folder)
    record = read_healed(folder)
    if record.form is Form.NOTHING:
        raise CheckpointError(
            f"{folder}: no cure was written here, because none was found; its healed.json says why"
        )
    _require_as_written(folder, record)
    treatment = read(folder, record.form)
    if isinstance(treatment, OtherWeights):
        yield treatment.model
        return
    model = LanguageModel.load(checkpoint or record.checkpoint)
    if weights_hash(model.model) != record.weights:
        raise CheckpointError(
            f"{checkpoint or record.checkpoint}: is not the checkpoint that was healed, whose weights have "
            f"the hash {record.weights[:16]}…; name that one, or heal this one anew"
        )
    with treatment.on(model) as treated:
        yield treated


def _require_as_written(folder: Path, record: Healed) -> None:
    """Raise CheckpointError unless the files are those that were measured, all of them and no others."""
    try:
        found = file_hashes(folder, record.form)
    except OSError as error:
        raise CheckpointError(f"{error.filename or folder}: cannot be read: {error.strerror}") from error
    strange = sorted(found.items() ^ record.files.items())
    if strange or not found:
        name = strange[0][0] if strange else str(record.form)
        raise CheckpointError(
            f"{folder / name}: is not what was written here, so the figures of {HEALED} are not of it; copy "
            "the folder again, or heal anew"
        )
