"""What a folder must survive: kills, damage, another encoder, another process."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from index_kit import CountingEncoder, Plainest, some_documents, told, tree

from mithridate.core.errors import (
    ConfigError,
    EncoderError,
    IndexDamagedError,
    MithridateError,
    RunStateError,
    StorageError,
)
from mithridate.core.types import Document
from mithridate.retrieval import folder_storage
from mithridate.retrieval.base import Mode, TextRole, Vectors
from mithridate.retrieval.consensus import Consensus
from mithridate.retrieval.controls import Concatenated, MeanOfFragments, Plain
from mithridate.retrieval.defenses import DEFENSES
from mithridate.retrieval.encoders import HashingEncoder
from mithridate.retrieval.index import GuardedIndex
from mithridate.retrieval.ragmask import RAGMask
from mithridate.retrieval.ragpart import RAGPart

ENCODER = HashingEncoder(32)
DOCUMENTS = some_documents(12)
QUERY = "river stone"
FORK = multiprocessing.get_context("fork")


def reopened(folder: Path, **changed: Any) -> GuardedIndex:
    return GuardedIndex.open(folder, ENCODER, **({"retriever": RAGPart()} | changed))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    index = GuardedIndex.build(DOCUMENTS, ENCODER, path=tmp_path / "index")
    index.add(some_documents(15, seed=1)[12:])
    index.delete(["d4"])
    return tmp_path / "index"


def test_vectors_are_mapped_and_not_read(folder: Path) -> None:
    index = reopened(folder)
    assert isinstance(index.vectors.fragments, np.memmap)
    assert not index.vectors.fragments.flags.writeable


def test_many_additions_do_not_mean_many_open_files(folder: Path) -> None:
    index = reopened(folder)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for i in range(20):
        index.add([Document(f"one{i}", f"text number {i}")])
    assert len(list(Path("/proc/self/fd").iterdir())) < before + 5
    index.save(folder, replace=True)
    assert len(list(folder.glob("rows-*/*.arrow"))) == 1
    assert [d.text for d in index.documents][-1] == "text number 19"


def test_the_defences_come_back_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Whatever is installed: an installation may be older than the entry points in pyproject.toml.
    kinds = {"ragpart": RAGPart, "consensus": Consensus, "ragmask": RAGMask}
    monkeypatch.setattr(DEFENSES, "get", kinds.__getitem__)
    defended = {"retriever": RAGPart(5, 2, "intersection"), "rerankers": [RAGMask(delta=0.2), Consensus(0.8)]}
    GuardedIndex.build(DOCUMENTS, ENCODER, path=tmp_path / "index", mode="drop", floor=3, **defended)
    index = GuardedIndex.open(tmp_path / "index", ENCODER)
    assert index.retriever == defended["retriever"]
    assert list(index.guard.rerankers) == defended["rerankers"]
    assert (index.guard.mode, index.guard.floor) == (Mode.DROP, 3)
    other = GuardedIndex.open(tmp_path / "index", ENCODER, rerankers=[], mode="observe", floor=0)
    assert (other.guard.rerankers, other.guard.mode, other.guard.floor) == ((), Mode.OBSERVE, 0)
    # What is searched with now is what is saved.
    other.save(tmp_path / "copy")
    again = GuardedIndex.open(tmp_path / "copy", ENCODER)
    assert (again.guard.rerankers, again.guard.mode) == ((), Mode.OBSERVE)


@pytest.mark.parametrize("cut", [1, 100, 10**6])
def test_a_truncated_file_is_named(folder: Path, cut: int) -> None:
    for name in tree(folder):
        broken = folder.parent / "broken"
        shutil.copytree(folder, broken)
        path = broken / name
        # The end of a line, and what only readers of the revision before may need.
        unneeded = (name == "manifest.json" and cut == 1) or name.endswith("000002.bits")
        if path.stat().st_size == 0 or unneeded:
            shutil.rmtree(broken)
            continue
        os.truncate(path, max(0, path.stat().st_size - cut))
        with pytest.raises(IndexDamagedError) as raised:
            reopened(broken)
        assert str(path) in str(raised.value), name
        assert raised.value.path == path
        shutil.rmtree(broken)


def test_a_missing_file_is_named(folder: Path) -> None:
    needed = [name for name, data in tree(folder).items() if data and name != "manifest.json"]
    for name in needed:
        kept = (folder / name).read_bytes()
        (folder / name).unlink()
        if name != "rows-000001/alive-000002.bits":
            with pytest.raises(IndexDamagedError, match=f"{name}: is missing"):
                reopened(folder)
        (folder / name).write_bytes(kept)
    reopened(folder)


def test_a_changed_byte_is_found(folder: Path) -> None:
    for name, data in tree(folder).items():
        if not data or name in ("manifest.json", "rows-000001/alive-000002.bits"):
            continue
        for place in (0, len(data) // 2, len(data) - 1):
            (folder / name).write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
            with pytest.raises(IndexDamagedError, match=f"{name}: was changed"):
                reopened(folder)
        (folder / name).write_bytes(data)
    assert len(reopened(folder, verify=False)) == 14


def test_a_broken_manifest_is_named(folder: Path) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    for broken in ("", "{", "[]", json.dumps(manifest | {"extra": 1}), json.dumps(manifest | {"blocks": 3})):
        path.write_text(broken)
        with pytest.raises(IndexDamagedError, match=r"manifest\.json"):
            reopened(folder)
    # No file outside the folder can be named.
    manifest["blocks"][0]["documents"]["name"] = "../../x.arrow"
    path.write_text(json.dumps(manifest))
    with pytest.raises(IndexDamagedError, match=r"documents\.name"):
        reopened(folder)


def test_a_later_format_is_refused(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 2}))
    with pytest.raises(StorageError, match="format version 2, and this release reads 1"):
        reopened(folder)


def test_where_there_is_no_index(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="holds no index"):
        reopened(tmp_path)
    with pytest.raises(StorageError, match="holds no index"):
        reopened(tmp_path / "nowhere")


def test_an_index_is_not_built_over_anything(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="holds an index already"):
        GuardedIndex.build(DOCUMENTS, ENCODER, path=folder)
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "thesis.tex").write_text("mine")
    with pytest.raises(StorageError, match="is not empty"):
        GuardedIndex.build(DOCUMENTS, ENCODER, path=tmp_path / "else")
    assert tree(tmp_path / "else") == {"thesis.tex": b"mine"}
    with pytest.raises(StorageError):
        GuardedIndex.build(DOCUMENTS, ENCODER, path=tmp_path / "else" / "thesis.tex")


def test_another_encoder_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"hashing:1:32.*not with 'hashing:1:64'"):
        GuardedIndex.open(folder, HashingEncoder(64), retriever=RAGPart())
    GuardedIndex.build(DOCUMENTS, Plainest(scale=1.0), path=tmp_path / "plainest")

    class Other(Plainest):
        def encode(self, texts: list[str]) -> list[list[float]]:
            return [row[::-1] for row in super().encode(texts)]

    Other.__module__, Other.__qualname__ = Plainest.__module__, Plainest.__qualname__
    GuardedIndex.open(tmp_path / "plainest", Plainest(scale=2.0), retriever=RAGPart())
    with pytest.raises(EncoderError, match="gives other vectors"):
        GuardedIndex.open(tmp_path / "plainest", Other(), retriever=RAGPart())


def test_a_retriever_must_find_what_it_needs(folder: Path) -> None:
    for retriever, lacks in [
        (Plain(), "vectors of whole documents"),
        (RAGPart(4, 3), r"4 fragments a document \(it has 5\)"),
        (Concatenated(5, 3), "vectors of 3 rejoined fragments"),
    ]:
        with pytest.raises(ConfigError, match=lacks):
            reopened(folder, retriever=retriever)
    with pytest.raises(ConfigError, match="whole documents"):
        reopened(folder, mode="observe")


def test_other_combinations_of_the_same_fragments_need_no_building(folder: Path) -> None:
    documents = reopened(folder).documents
    for retriever in (RAGPart(5, 2), MeanOfFragments(5)):
        index = reopened(folder, retriever=retriever)
        built = GuardedIndex.build(documents, ENCODER, retriever=retriever)
        assert told(index.search([QUERY, "amber"])) == told(built.search([QUERY, "amber"]))
        assert len(index.search(QUERY).hits) == 5


def test_another_process_changed_it(folder: Path) -> None:
    mine, theirs = reopened(folder), reopened(folder)
    theirs.add([Document("x", "their document")])
    for change in (lambda: mine.add([Document("y", "my document")]), lambda: mine.delete(["d1"])):
        with pytest.raises(RunStateError, match="another process changed this index"):
            change()
    assert len(reopened(folder)) == 15
    assert mine.search(QUERY)


def test_a_reader_that_comes_while_files_are_replaced(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = folder_storage.read_manifest(folder)
    reopened(folder).save(folder, replace=True)
    waiting = [old]
    real = folder_storage.read_manifest
    monkeypatch.setattr(
        folder_storage, "read_manifest", lambda path: waiting.pop() if waiting else real(path)
    )
    assert len(reopened(folder)) == 14
    assert not waiting
    # But what stays missing is told.
    next(folder.rglob("fragments.f32")).unlink()
    with pytest.raises(IndexDamagedError, match="is missing"):
        reopened(folder)


def test_what_a_killed_writer_left_is_no_part_of_it(folder: Path) -> None:
    found = told(reopened(folder).search(QUERY))
    rows = folder / "rows-000001"
    for name in ("fragments.f32", "norms.f32"):
        with (rows / name).open("ab") as file:
            file.write(b"torn" * 7)
    (rows / "documents-000002.arrow").write_bytes(b"half a file")
    (folder / "rows-000009").mkdir()
    index = reopened(folder)
    assert told(index.search(QUERY)) == found
    index.add([Document("after", "the torn tail")])
    assert len(reopened(folder)) == 15
    index.save(folder, replace=True)
    assert [p.name for p in folder.glob("rows-*")] == [reopened(folder)._storage.manifest.rows_folder]  # type: ignore[attr-defined]


def test_a_build_that_was_killed_can_be_done_again(tmp_path: Path) -> None:
    (tmp_path / "index" / "rows-000001").mkdir(parents=True)
    (tmp_path / "index" / "rows-000001" / "fragments.f32").write_bytes(b"half")
    GuardedIndex.build(DOCUMENTS, ENCODER, path=tmp_path / "index")
    assert len(reopened(tmp_path / "index")) == 12


class Killed(CountingEncoder):
    """Ends its process without a word when documents with a masked span are half done."""

    def encode(self, texts: Sequence[str], *, role: TextRole = TextRole.DOCUMENT) -> Vectors:
        if len(self.seen) > 60:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().encode(texts, role=role)


def _build_with_masks(folder: Path, encoder: HashingEncoder) -> GuardedIndex:
    return GuardedIndex.build(
        DOCUMENTS, encoder, retriever=Plain(), rerankers=[RAGMask(4)], path=folder, eager_masks=True
    )


def test_a_build_that_was_killed_while_masking_can_be_done_again(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    worker = FORK.Process(target=_build_with_masks, args=(folder, Killed()))
    worker.start()
    worker.join(60)
    assert worker.exitcode == -signal.SIGKILL
    assert list((folder / "masks").iterdir())
    with pytest.raises(StorageError, match="holds no index"):
        GuardedIndex.open(folder, CountingEncoder(), retriever=Plain(), rerankers=[])
    again, alone = CountingEncoder(), CountingEncoder()
    assert len(_build_with_masks(folder, again).guard.masked) == len(DOCUMENTS)
    _build_with_masks(tmp_path / "other", alone)
    # What had been masked before the kill is not encoded again.
    assert len(again.seen) < len(alone.seen) - 20


def _change(folder: Path, kill_at: int) -> None:
    """Change the index, and be killed at the `kill_at`th step that touches the disk for good."""
    steps = 0

    def counted(real: Any) -> Any:
        def step(*args: Any, **kwargs: Any) -> Any:
            nonlocal steps
            steps += 1
            if steps == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)

        return step

    os.fsync, Path.replace, Path.unlink = counted(os.fsync), counted(Path.replace), counted(Path.unlink)  # type: ignore[method-assign]
    shutil.rmtree = counted(shutil.rmtree)
    index = reopened(folder)
    index.add(some_documents(20, seed=3)[15:])
    index.delete(["d1", "d2"])
    index.save(folder, replace=True)


def test_a_kill_at_any_moment_leaves_one_state_or_the_next(folder: Path, tmp_path: Path) -> None:
    start = reopened(folder)
    whole = tmp_path / "whole"
    shutil.copytree(folder, whole)
    states = [(14, told(start.search([QUERY, "amber"])))]
    index = reopened(whole)
    index.add(some_documents(20, seed=3)[15:])
    states.append((19, told(index.search([QUERY, "amber"]))))
    index.delete(["d1", "d2"])
    states.append((17, told(index.search([QUERY, "amber"]))))
    seen = set()
    for kill_at in range(1, 60):
        broken = tmp_path / "broken"
        shutil.copytree(folder, broken)
        worker = FORK.Process(target=_change, args=(broken, kill_at))
        worker.start()
        worker.join(60)
        left = reopened(broken)
        state = (len(left), told(left.search([QUERY, "amber"])))
        assert state in states, kill_at
        seen.add(state[0])
        left.add([Document("on", "it goes on")])
        shutil.rmtree(broken)
        if worker.exitcode == 0:
            break
    assert worker.exitcode == 0
    assert seen == {14, 19, 17}


def test_random_damage_is_told_or_does_no_harm(folder: Path) -> None:
    found = told(reopened(folder).search(QUERY))
    rng = np.random.default_rng(0)
    for name, data in tree(folder).items():
        for _ in range(6 if data else 0):
            broken = bytearray(data)
            start = int(rng.integers(len(data)))
            broken[start : start + 8] = rng.bytes(int(rng.integers(0, 9)))
            (folder / name).write_bytes(broken)
            with suppress(MithridateError):
                assert told(reopened(folder).search(QUERY)) == found
        (folder / name).write_bytes(data)
