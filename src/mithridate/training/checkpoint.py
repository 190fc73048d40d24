"""The state of an interrupted pretraining: one safetensors file, replaced whole, so that no kill can tear it.

Weights and optimiser moments are tensors; the step, the curve and what the run was are JSON
in the file's own header. Nothing is pickled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from mithridate.core.artifacts import atomic_path, differences
from mithridate.core.errors import CheckpointError, RunStateError
from mithridate.training.progress import CurvePoint

RESUME_FILE = "resume.safetensors"
_HEADER = "mithridate"

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Position:
    """How far a pretraining has come: steps done, the curve so far, and the losses since its last point."""

    step: int
    curve: tuple[CurvePoint, ...] = ()
    window_loss: float = 0.0
    window_steps: int = 0


def save_resume(folder: Path, position: Position, identity: Mapping[str, Any], tensors: Tensors) -> None:
    """Replace the resume file in `folder`; StorageError if the disk is full, and the old file is kept."""
    header = {**asdict(position), "curve": [asdict(point) for point in position.curve], "run": dict(identity)}
    ready = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_path(folder / RESUME_FILE) as beside:
        try:
            save_file(ready, beside, metadata={_HEADER: json.dumps(header)})
        except SafetensorError as error:
            # The library wraps the system's refusal in an error of its own; give it back its number.
            raise _system_error(error) from error


def _system_error(error: SafetensorError) -> Exception:
    words = str(error)
    marker = "os error "
    if marker in words:
        number = words.split(marker, 1)[1].split(")", 1)[0]
        if number.isdigit():
            return OSError(int(number), words)
    return error


def load_resume(folder: Path, identity: Mapping[str, Any]) -> tuple[Position, Tensors] | None:
    """What `save_resume` left in `folder`, or None.

    Raises RunStateError, naming the difference, if it belongs to another run, and CheckpointError if it
    cannot be read.
    """
    path = folder / RESUME_FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as handle:
            header = json.loads((handle.metadata() or {})[_HEADER])
            _refuse_foreign(path, header["run"], identity)
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, KeyError, ValueError) as error:
        raise CheckpointError(
            f"{path}: not a resume file of a pretraining ({error}). Delete it to start the pretraining anew"
        ) from error
    curve = tuple(CurvePoint(**point) for point in header["curve"])
    return Position(header["step"], curve, header["window_loss"], header["window_steps"]), tensors


def _refuse_foreign(path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    if differing := differences(found, wanted):
        raise RunStateError(
            f"{path}: holds another pretraining, which differs in {'; '.join(differing)}. "
            "Run with the options it was begun with, choose another folder, or delete the file to start anew"
        )


def discard_resume(folder: Path) -> None:
    """Remove the resume file, once the finished model has been saved elsewhere."""
    (folder / RESUME_FILE).unlink(missing_ok=True)
