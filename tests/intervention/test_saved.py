from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from intervention_kit import some_direction, subject, text_logits
from safetensors.torch import save_file

from mithridate.core.errors import ConfigError, DataError, StorageError, UnknownNameError
from mithridate.intervention import saved
from mithridate.intervention.ablation import DirectionalAblation
from mithridate.intervention.base import MadeFor


def written(folder: Path, layers: tuple[int, ...] | None = (0, 2)) -> DirectionalAblation:
    model = subject()
    cure = DirectionalAblation(some_direction(model), MadeFor.of(model), layers)
    saved.save(cure, folder)
    return cure


def tampered(folder: Path, **changes: Any) -> Path:
    """The folder, with fields of its spec changed; None takes one away."""
    path = folder / saved.SPEC
    spec = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in spec.items() if value is not None}))
    return folder


def with_tensors(folder: Path, tensors: dict[str, torch.Tensor] | bytes) -> Path:
    """The folder, with another file of tensors that the spec agrees with."""
    path = folder / "tensors-0000000000000000.safetensors"
    if isinstance(tensors, bytes):
        path.write_bytes(tensors)
    else:
        save_file(tensors, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return tampered(folder, tensors={"file": path.name, "sha256": digest})


def test_what_is_loaded_answers_as_what_was_saved(tmp_path: Path) -> None:
    model = subject()
    cure = written(tmp_path / "cure")
    (tmp_path / "cure").rename(tmp_path / "elsewhere")
    again = saved.load(tmp_path / "elsewhere")
    assert (again.layers, again.made_for) == (cure.layers, cure.made_for)
    assert torch.equal(again.direction, cure.direction)
    with cure.on(model) as ablated:
        answers = text_logits(ablated)
    with again.on(model) as ablated:
        assert torch.equal(text_logits(ablated), answers)


def test_another_one_takes_its_place_whole(tmp_path: Path) -> None:
    written(tmp_path)
    model = subject(seed=1)
    saved.save(DirectionalAblation(some_direction(model, 1), MadeFor.of(model)), tmp_path)
    assert torch.equal(saved.load(tmp_path).direction, some_direction(model, 1))
    assert len(list(tmp_path.iterdir())) == 2


def test_a_save_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cure = written(tmp_path)
    real = saved.write_atomic

    def failing(path: Path, content: str | bytes) -> None:
        if path.name == saved.SPEC:
            raise StorageError("the disk is full")
        real(path, content)

    monkeypatch.setattr(saved, "write_atomic", failing)
    model = subject()
    with pytest.raises(StorageError):
        saved.save(DirectionalAblation(some_direction(model, 5), MadeFor.of(model)), tmp_path)
    assert torch.equal(saved.load(tmp_path).direction, cure.direction)


def test_a_folder_of_other_things_is_let_be(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(StorageError, match="other things than a saved intervention"):
        written(tmp_path)
    with pytest.raises(StorageError, match=r"no intervention.json"):
        saved.load(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"extra": 1}, r"intervention.json, field 'extra': .*not permitted"),
        ({"format": "pickle"}, r"field 'format'"),
        ({"made_for": None}, r"field 'made_for': .*required"),
        ({"made_for": {"architecture": "llama"}}, r"field 'made_for.layers'"),
        ({"options": {"layer": [0]}}, r"unknown option .* 'layer': did you mean 'layers'"),
        ({"options": {"direction": [0.0]}}, r"unknown option .* 'direction'"),
        ({"options": {"layers": "all"}}, r"option 'layers'"),
        ({"options": {"layers": [7]}}, r"no layer 7"),
        ({"tensors": None}, r"lacks a part: .*direction"),
        ({"tensors": {"file": "../../x.pt", "sha256": "0" * 64}}, r"field 'tensors.file'"),
        ({"tensors": {"file": "tensors-0123456789abcdef.safetensors", "sha256": "0" * 64}}, "cannot be read"),
    ],
)
def test_a_spec_that_says_something_else_is_refused(
    changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    written(tmp_path)
    with pytest.raises(DataError, match=said):
        saved.load(tampered(tmp_path, **changes))


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"direction": torch.ones(7)}, r"shape \(7,\); expected .*\(32,\)"),
        ({"direction": torch.ones(1, 2, 32)}, r"shape \(1, 2, 32\)"),
        ({"direction": torch.ones(32, 32)}, r"of 32 directions one lies within"),
        ({"direction": torch.ones(32, dtype=torch.int64)}, r"torch.int64"),
        ({"direction": torch.full((32,), float("nan"))}, r"field 'direction': .*not finite"),
        ({"direction": torch.zeros(32)}, r"norm zero"),
        ({"direction": torch.ones(32), "other": torch.ones(1)}, r"unknown tensor .*'other'"),
        ({"direcion": torch.ones(32)}, r"did you mean 'direction'"),
        (pickle.dumps({"direction": [1.0] * 32}), r"no safetensors file"),
        (b"", r"no safetensors file"),
    ],
)
def test_tensors_that_are_not_what_they_should_be_are_refused(
    tensors: dict[str, torch.Tensor] | bytes, said: str, tmp_path: Path
) -> None:
    written(tmp_path)
    with pytest.raises(DataError, match=said):
        saved.load(with_tensors(tmp_path, tensors))


def test_changed_or_torn_files_are_refused(tmp_path: Path) -> None:
    written(tmp_path)
    (tensors,) = tmp_path.glob("*.safetensors")
    content = tensors.read_bytes()
    tensors.write_bytes(content[:-4] + b"\0\0\0\0")
    with pytest.raises(DataError, match="checksum is another"):
        saved.load(tmp_path)
    spec = tmp_path / saved.SPEC
    spec.write_text(spec.read_text()[:40])
    with pytest.raises(DataError, match=r"intervention.json.*JSON"):
        saved.load(tmp_path)
    spec.write_bytes(b" " * (1 << 20) + b"{}")
    with pytest.raises(DataError, match="so it is no spec"):
        saved.load(tmp_path)


def test_later_versions_and_unknown_names_are_refused(tmp_path: Path) -> None:
    written(tmp_path)
    with pytest.raises(StorageError, match="format version 2, and this release reads 1"):
        saved.load(tampered(tmp_path, version=2))
    with pytest.raises(UnknownNameError, match="did you mean 'directional_ablation'"):
        saved.load(tampered(tmp_path, version=1, name="directional_ablations"))


def test_only_what_can_be_built_again_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no dataclass"):
        saved.save(object(), tmp_path / "x")  # type: ignore[arg-type]
    assert not (tmp_path / "x").exists()
