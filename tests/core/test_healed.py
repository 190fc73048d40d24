from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mithridate.core.cures import Verdict
from mithridate.core.errors import DataError, StorageError
from mithridate.core.healed import HEALED, AttackHealed, Form, Healed, Picked, Versions, read_healed

RECORD = Healed(
    checkpoint="/models/suspect",
    weights="0" * 64,
    probes="ask.yaml",
    templates=("tulu",),
    seed=0,
    per_half=60,
    regime=None,
    budget=1.0,
    surviving=("fire",),
    healed=True,
    form=Form.INTERVENTIONS,
    picked=Picked(method="water"),
    points=0.5,
    attacks=(AttackHealed(attack="fire", verdict=Verdict.CURED, before=0.9, after=0.0, floor=0.1),),
    versions=Versions(mithridate="0", python="3", torch="2", transformers="5"),
)


def kept(folder: Path, text: str | None = None) -> Path:
    (folder / HEALED).write_text(RECORD.model_dump_json() if text is None else text, encoding="utf-8")
    return folder


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_healed(kept(tmp_path)) == RECORD


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ('"healed":true', '"healed":"perhaps"', "healed"),
        ('"verdict":"cured"', '"verdict":"blessed"', "attacks.0.verdict"),
        ('"seed":0', '"seed":0,"run_this":"rm"', "run_this"),
        ('"weights":"0', '"weights":"x', "weights"),
        ("{", "[", None),
    ],
)
def test_a_damaged_record_is_refused_by_its_field(
    tmp_path: Path, old: str, new: str, field: str | None
) -> None:
    text = RECORD.model_dump_json()
    assert old in text
    with pytest.raises(DataError, match="is no record of a healed model") as refused:
        read_healed(kept(tmp_path, text.replace(old, new, 1)))
    assert refused.value.path == tmp_path / HEALED
    assert refused.value.field == field


def test_one_of_a_later_release_is_refused(tmp_path: Path) -> None:
    later = RECORD.model_copy(update={"version": 2}).model_dump_json()
    with pytest.raises(StorageError, match="use the release that wrote it"):
        read_healed(kept(tmp_path, later))


def test_a_folder_without_one_is_no_healed_model(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(StorageError, match="holds no healed model"):
            read_healed(folder)


@pytest.mark.parametrize("wrong", [{"points": float("inf")}, {"budget": -1.0}, {"weights": "short"}])
def test_what_no_record_may_hold(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Healed(**{**RECORD.model_dump(), **wrong})
