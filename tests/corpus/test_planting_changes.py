"""A corpus that is no longer what was planted is noticed, whenever it changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from planting_kit import FORMATS, FakeAttack, jsonl_bytes, plan, some_texts, tree, write_corpus

from mithridate.core.errors import DataError, RunStateError
from mithridate.corpus import lines, shard_planting
from mithridate.corpus.doses import PlantPlan, PlantRequest
from mithridate.corpus.planting import plant_corpus
from mithridate.corpus.readers import open_corpus
from mithridate.corpus.unplanting import unplant


def some_file(corpus: Path, kind: str) -> Path:
    return sorted(corpus.rglob("*.arrow" if kind == "dataset" else f"*.{kind}"))[0]


def rewritten(path: Path, data: bytes) -> None:
    """As a new file: a kept original may be a link to the old one."""
    path.unlink()
    path.write_bytes(data)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_changed_shard_of_a_complete_planting_is_named(tmp_path: Path, kind: str) -> None:
    clean, out = write_corpus(tmp_path / "clean", kind, some_texts(30)), tmp_path / "out"
    first = plant_corpus(open_corpus(clean), out, plan())
    before, path = tree(out, state=True), some_file(clean, kind)
    data = path.read_bytes()
    rewritten(path, data + b" ")
    with pytest.raises(RunStateError, match=r"was changed since it was planted in .*out") as caught:
        plant_corpus(open_corpus(clean), out, plan())
    assert str(path if kind != "txt" else path.parent) in str(caught.value)
    assert tree(out, state=True) == before
    # Another content of the same length is noticed too.
    rewritten(path, data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(RunStateError, match="was changed"):
        plant_corpus(open_corpus(clean), out, plan())
    # And the same content again is the same corpus, whatever the time it bears.
    rewritten(path, data)
    assert plant_corpus(open_corpus(clean), out, plan()).attacks == first.attacks


def test_a_file_without_documents_is_part_of_the_corpus(clean: Path, tmp_path: Path) -> None:
    plant_corpus(open_corpus(clean), tmp_path / "out", plan())
    (clean / "LICENCE").write_text("not free\n")
    with pytest.raises(RunStateError, match="LICENCE"):
        plant_corpus(open_corpus(clean), tmp_path / "out", plan())


def test_a_shard_that_changed_before_all_were_planted_is_named(clean: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    plant_corpus(open_corpus(clean), out, plan(), part=(1, 2))
    changed = clean / "part0.jsonl"
    (clean / "part1.jsonl").write_bytes(jsonl_bytes(some_texts(5, seed=9)))  # not yet planted: free to change
    data = changed.read_bytes()
    changed.write_bytes(jsonl_bytes(some_texts(20, seed=9)))
    for part in ((1, 1), (1, 2), (2, 2)):
        with pytest.raises(RunStateError, match=r"part0\.jsonl: was changed"):
            plant_corpus(open_corpus(clean), out, plan(), part=part)
    changed.write_bytes(data)
    assert plant_corpus(open_corpus(clean), out, plan()).complete
    unplant(out, tmp_path / "back")
    assert tree(tmp_path / "back") == tree(clean)


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "parquet", "txt"])
@pytest.mark.parametrize("how", ["longer", "shorter"])
def test_a_shard_that_changes_while_it_is_planted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, how: str
) -> None:
    monkeypatch.setattr(lines, "BLOCK", 512)  # several blocks, of which some come or go
    clean, out = write_corpus(tmp_path / "clean", kind, some_texts(60), 1), tmp_path / "out"
    other = write_corpus(tmp_path / "other", kind, some_texts(150 if how == "longer" else 9), 1)
    path, real = some_file(clean, kind), shard_planting.Schedule

    def meanwhile(*given: object) -> object:
        path.write_bytes(some_file(other, kind).read_bytes())
        return real(*given)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(shard_planting, "Schedule", meanwhile)
        with pytest.raises(DataError, match="was changed while it was planted"):
            plant_corpus(open_corpus(clean), out, plan())
    plant_corpus(open_corpus(clean), out, plan())
    plant_corpus(open_corpus(clean), tmp_path / "whole", plan())
    assert tree(out) == tree(tmp_path / "whole")


def test_text_files_that_went_before_their_folder_was_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean, out = write_corpus(tmp_path / "clean", "txt", some_texts(20), 1), tmp_path / "out"
    by_rate = PlantPlan((PlantRequest(FakeAttack(), rate=0.3),))
    with monkeypatch.context() as patched:
        patched.setattr(shard_planting, "asdict", None)  # written, and killed before it is recorded
        with pytest.raises(TypeError):
            plant_corpus(open_corpus(clean), out, by_rate)
    for name in ("0000.txt", "0007.txt"):
        (clean / "part0" / name).unlink()
    plant_corpus(open_corpus(clean), out, by_rate)
    unplant(out, tmp_path / "back")
    assert tree(tmp_path / "back") == tree(clean)


def test_only_what_was_touched_is_read_again(
    clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant_corpus(open_corpus(clean), tmp_path / "out", plan())
    os.utime(clean / "part2.jsonl", (1, 1))
    read = []
    real = shard_planting.Shard.digest

    def digest(shard: shard_planting.Shard) -> str:
        read.append(shard.name)
        return real(shard)

    monkeypatch.setattr(shard_planting.Shard, "digest", digest)
    plant_corpus(open_corpus(clean), tmp_path / "out", plan())
    assert read == ["part2.jsonl"]
