"""Interventions on disk: a spec that people can read, and the tensors beside it. Nothing in them is run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

import torch
from pydantic import Field, TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from mithridate.core.artifacts import storage_errors, write_atomic
from mithridate.core.errors import ConfigError, DataError, MithridateError, StorageError, UnknownNameError
from mithridate.core.strict import Strict, first_problem
from mithridate.intervention.base import INTERVENTIONS, Intervention, MadeFor

SPEC = "intervention.json"
FORMAT_VERSION = 1
_LARGEST_SPEC = 1 << 20
_TENSORS = "tensors-*.safetensors"


class StoredTensors(Strict):
    """The file of tensors that belongs to a spec, by its hash."""

    file: str = Field(pattern=r"^tensors-[0-9a-f]{16}\.safetensors$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Spec(Strict):
    """What an intervention is built from again, but for its tensors."""

    format: Literal["mithridate-intervention"] = "mithridate-intervention"
    version: int = FORMAT_VERSION
    name: str
    made_for: MadeFor
    options: dict[str, Any] = Field(default_factory=dict)
    tensors: StoredTensors | None = None


def save(intervention: Intervention, folder: Path | str) -> None:
    """Write `intervention` to `folder`, where another may stand already: it is replaced, whole or not at all.

    Raises ConfigError for one that is no dataclass of plain values, tensors and `made_for`, StorageError
    where the folder holds other things or cannot be written to.
    """
    folder = Path(folder)
    spec, tensors = _apart(intervention)
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / SPEC).exists() and any(not _ours(path) for path in folder.iterdir()):
            raise StorageError(
                f"{folder}: holds other things than a saved intervention; choose another --out"
            )
        if tensors:
            content = save_tensors({name: tensor.contiguous() for name, tensor in tensors.items()})
            digest = hashlib.sha256(content).hexdigest()
            stored = StoredTensors(file=f"tensors-{digest[:16]}.safetensors", sha256=digest)
            spec = spec.model_copy(update={"tensors": stored})
            write_atomic(folder / stored.file, content)
        # From here on the folder holds the new one; before, it held the old one, whose tensors were let be.
        write_atomic(folder / SPEC, spec.model_dump_json(indent=1) + "\n")
        for old in folder.glob(_TENSORS):
            if spec.tensors is None or old.name != spec.tensors.file:
                old.unlink()


def load(folder: Path | str) -> Any:
    """The intervention that `save` wrote to `folder`.

    Raises StorageError where there is none or it is of a later version, DataError, which names the file and
    field, for one that is broken, was changed, or asks for what its class does not take, and UnknownNameError
    for a name that no installed package knows.
    """
    path = Path(folder) / SPEC
    spec = _read_spec(path)
    kind = INTERVENTIONS.get(spec.name)
    tensors = _read_tensors(path, spec.tensors)
    try:
        return _together(kind, spec, tensors)
    except UnknownNameError as error:
        raise DataError(str(error), path=path, field="options") from error
    except MithridateError as error:
        raise DataError(str(error), path=path) from error


def _ours(path: Path) -> bool:
    """Whether a save that was killed may have left this file."""
    return path.match(_TENSORS) or (path.name.startswith(".") and path.name.endswith(".partial"))


def _apart(intervention: Intervention) -> tuple[Spec, dict[str, torch.Tensor]]:
    if not is_dataclass(intervention) or isinstance(intervention, type):
        raise ConfigError(f"intervention {intervention!r} cannot be written down: it is no dataclass")
    values = {field.name: getattr(intervention, field.name) for field in fields(intervention) if field.init}
    made_for = values.pop("made_for", None)
    if not isinstance(made_for, MadeFor):
        raise ConfigError(f"intervention {intervention.name!r} cannot be written down: it has no made_for")
    tensors = {
        name: value.detach().cpu() for name, value in values.items() if isinstance(value, torch.Tensor)
    }
    options = {name: value for name, value in values.items() if name not in tensors}
    try:
        plain = json.loads(json.dumps(options, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"intervention {intervention.name!r} cannot be written down: an option is no plain value: {error}"
        ) from error
    return Spec(name=intervention.name, made_for=made_for, options=plain), tensors


def _read_spec(path: Path) -> Spec:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_SPEC + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StorageError(f"{path.parent}: holds no saved intervention (no {SPEC})") from error
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", path=path) from error
    if len(content) > _LARGEST_SPEC:
        raise DataError(f"is longer than {_LARGEST_SPEC:,} bytes, so it is no spec", path=path)
    try:
        spec = Spec.model_validate_json(content)
    except ValidationError as error:
        problem, field = first_problem(error)
        raise DataError(f"is no spec of an intervention: {problem}", path=path, field=field) from error
    if spec.version != FORMAT_VERSION:
        raise StorageError(
            f"{path}: is of format version {spec.version}, and this release reads {FORMAT_VERSION}; use the "
            "release that wrote it"
        )
    return spec


def _read_tensors(spec: Path, stored: StoredTensors | None) -> dict[str, torch.Tensor]:
    if stored is None:
        return {}
    path = spec.parent / stored.file
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", path=path) from error
    if hashlib.sha256(content).hexdigest() != stored.sha256:
        raise DataError(
            f"is not what was written beside {SPEC} (its checksum is another); copy both again", path=path
        )
    try:
        tensors: dict[str, torch.Tensor] = load_tensors(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise DataError(f"is no safetensors file: {error}", path=path) from error
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise DataError("holds numbers that are not finite", path=path, field=name)
    return tensors


def _together(kind: Any, spec: Spec, tensors: Mapping[str, torch.Tensor]) -> Any:
    """The class of a spec, built; it checks shapes and values itself, as for any caller."""
    if not is_dataclass(kind) or not hasattr(kind, "on"):
        raise ConfigError(f"what is registered as {spec.name!r} is no class of interventions: {kind!r}")
    build: Any = kind
    hints = get_type_hints(kind)
    known = {field.name: hints[field.name] for field in fields(kind) if field.init}
    wanted = {name for name, hint in known.items() if hint is torch.Tensor or torch.Tensor in get_args(hint)}
    for name in spec.options:
        if name not in known.keys() - wanted - {"made_for"}:
            options = known.keys() - wanted - {"made_for"}
            raise UnknownNameError(f"option of intervention {spec.name!r}", name, options)
    for name in tensors:
        if name not in wanted:
            raise UnknownNameError(f"tensor of intervention {spec.name!r}", name, wanted)
    values: dict[str, Any] = {"made_for": spec.made_for, **tensors}
    for name, value in spec.options.items():
        try:
            values[name] = TypeAdapter(known[name]).validate_python(value)
        except ValidationError as error:
            raise ConfigError(f"option {name!r}: {first_problem(error)[0]}") from error
    try:
        return build(**values)
    except TypeError as error:
        raise ConfigError(f"intervention {spec.name!r} lacks a part: {error}") from error
