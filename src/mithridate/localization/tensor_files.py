"""The tensors of a checkpoint folder as they lie in its safetensors files: names, types, shapes and places.

The safetensors library maps files into memory. Of two large checkpoints that are read from end to end, all of
it would count as ours; by their places, tensors can be read a few megabytes at a time.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, TypeAdapter, ValidationError

from mithridate.core.errors import CheckpointError
from mithridate.core.strict import Strict
from mithridate.localization.parts import is_table
from mithridate.models.checkpoints import look_at_files

_SINGLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_COUNTS = frozenset({"BOOL", "U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64"})


class _Entry(Strict):
    """What the head of a safetensors file says of a tensor; offsets count from the end of the head."""

    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


class _Index(Strict):
    """`model.safetensors.index.json`: which file holds which tensor."""

    metadata: dict[str, Any] = Field(default_factory=dict)
    weight_map: dict[str, str]


_HEAD = TypeAdapter(dict[str, _Entry])


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor on disk: its numbers are the `count` of type `dtype` from byte `begin` of the file on."""

    path: Path
    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int

    @property
    def count(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """A checkpoint folder: its architecture, and its weights by name in the order in which they lie there."""

    folder: Path
    architecture: str
    tensors: Mapping[str, StoredTensor]


def open_checkpoint(folder: Path | str) -> StoredCheckpoint:
    """Find the weights of a local Hugging Face checkpoint, in one file or many, without reading them.

    Masks and tables that were saved along with the weights are left out. Raises CheckpointError naming what
    is missing, truncated, quantised, or an adapter that was not merged.
    """
    folder = Path(folder)
    config = look_at_files(folder)
    heads = {path: _head(path) for path in _files(folder)}
    if (folder / _SINGLE) not in heads:
        _require(
            _index(folder).weight_map, {name for entries, _ in heads.values() for name in entries}, folder
        )
    tensors: dict[str, StoredTensor] = {}
    for path, (entries, data) in heads.items():
        tensors |= _weights(path, entries, data, quantised="quantization_config" in config)
    if not tensors:
        raise CheckpointError(f"{folder}: its safetensors files hold no weights")
    return StoredCheckpoint(folder, str(config["model_type"]), tensors)


def _files(folder: Path) -> list[Path]:
    """The files that transformers would load: the single one, or else those that the index names."""
    if (folder / _SINGLE).exists():
        return [folder / _SINGLE]
    if (folder / _INDEX).exists():
        return [folder / name for name in sorted(set(_index(folder).weight_map.values()))]
    found = ", ".join(sorted(path.name for path in folder.glob("*.safetensors")))
    raise CheckpointError(
        f"{folder}: holds {found}, but neither {_SINGLE} nor {_INDEX}, which names the shards"
    )


def _index(folder: Path) -> _Index:
    try:
        return _Index.model_validate_json((folder / _INDEX).read_bytes())
    except (ValidationError, OSError) as error:
        raise CheckpointError(f"{folder / _INDEX}: not an index of weights: {error}") from error


def _require(named: Iterable[str], there: Set[str], folder: Path) -> None:
    missing = sorted(name for name in named if name not in there)
    if missing:
        raise CheckpointError(
            f"{folder}: the index names {len(missing)} tensors that its files lack "
            f"({', '.join(missing[:3])}); files of different checkpoints were mixed"
        )


def _weights(
    path: Path, entries: Mapping[str, _Entry], data: int, *, quantised: bool
) -> dict[str, StoredTensor]:
    found: dict[str, StoredTensor] = {}
    for name, entry in sorted(entries.items(), key=lambda item: item[1].data_offsets):
        if is_table(name) or (entry.dtype in _COUNTS and not quantised):
            continue
        if entry.dtype not in _FLOATS:
            raise CheckpointError(
                f"{path}: the tensor {name} holds {entry.dtype}, which is quantised; "
                "compare the checkpoints that these were made from"
            )
        found[name] = StoredTensor(path, _FLOATS[entry.dtype], entry.shape, data + entry.data_offsets[0])
    return found


def _head(path: Path) -> tuple[dict[str, _Entry], int]:
    """What the file says of its tensors, and where their bytes begin."""
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            raw = json.loads(file.read(size))
        raw.pop("__metadata__", None)
        return _HEAD.validate_python(raw), 8 + size
    except (OSError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path}: truncated or broken safetensors ({error}); copy it again") from error
