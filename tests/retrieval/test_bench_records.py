from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bench_kit import bench_task, benched

from mithridate.core.errors import DataError
from mithridate.core.types import Document
from mithridate.retrieval.measuring.records import BenchResult, load_result, save_result


@pytest.fixture(scope="module")
def result() -> BenchResult:
    return benched(attacks=("query_as_poison",))


def test_a_result_comes_back_from_disk(result: BenchResult, tmp_path: Path) -> None:
    save_result(result, tmp_path / "result.json")
    assert load_result(tmp_path / "result.json", BenchResult) == result


def test_half_characters_can_be_kept(tmp_path: Path) -> None:
    task = bench_task(4)
    strange = Document("half \ud800", "a lone \udfff surrogate in a text of several words")
    found = benched(task.with_documents([strange]), attacks=("query_as_poison",), queries=2)
    save_result(found, tmp_path / "result.json")
    assert load_result(tmp_path / "result.json", BenchResult) == found


def test_records_are_found_by_name(result: BenchResult) -> None:
    assert result.clean_of("ragpart").defense == "ragpart"
    assert result.attack_of("query_as_poison", 1, "plain").attack == "query_as_poison"
    with pytest.raises(KeyError):
        result.clean_of("ragmask")
    with pytest.raises(KeyError):
        result.attack_of("query_as_poison", 2, "plain")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"settings": {}}, "settings.corpus"),
        ({"version": 1}, "version"),
        ({"verdict": "good"}, "verdict"),
        ({"warnings": [3]}, "warnings.0"),
    ],
)
def test_what_is_no_result_is_told_by_field(
    result: BenchResult, tmp_path: Path, change: dict[str, Any], field: str
) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps({**result.model_dump(mode="json"), **change}))
    with pytest.raises(DataError, match="measure again") as caught:
        load_result(path, BenchResult)
    assert caught.value.path == path
    assert caught.value.field is not None
    assert caught.value.field.startswith(field)


def test_a_file_that_is_no_json(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text("{")
    with pytest.raises(DataError, match="broken JSON"):
        load_result(tmp_path / "result.json", BenchResult)
