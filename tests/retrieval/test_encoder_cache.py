from __future__ import annotations

import multiprocessing
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from index_kit import CountingEncoder

from mithridate.core.errors import EncoderError, StorageError
from mithridate.retrieval.base import Encoder, TextRole
from mithridate.retrieval.encoders import CachedEncoder, HashingEncoder

TEXTS = [f"text number {i}" for i in range(7)]


def test_what_is_cached_is_not_encoded_again(tmp_path: Path) -> None:
    inner = CountingEncoder()
    first = CachedEncoder(inner, tmp_path).encode(TEXTS)
    assert inner.seen == TEXTS
    again = CachedEncoder(inner, tmp_path)
    assert isinstance(again, Encoder)
    assert np.array_equal(again.encode([*TEXTS, "new"])[:7], first)
    assert inner.seen == [*TEXTS, "new"]
    assert (again.encoded, again.found) == (1, 7)
    assert np.array_equal(first, CountingEncoder().encode(TEXTS))


def test_a_text_that_comes_twice_is_encoded_once(tmp_path: Path) -> None:
    inner = CountingEncoder()
    rows = CachedEncoder(inner, tmp_path).encode(["a", "b", "a"])
    assert inner.seen == ["a", "b"]
    assert np.array_equal(rows[0], rows[2])
    assert not np.array_equal(rows[0], rows[1])


def test_roles_are_kept_apart(tmp_path: Path) -> None:
    inner = CountingEncoder()
    cached = CachedEncoder(inner, tmp_path)
    cached.encode(["a"])
    cached.encode(["a"], role=TextRole.QUERY)
    assert inner.seen == ["a", "a"]


def test_encoders_do_not_share_vectors(tmp_path: Path) -> None:
    wide = CachedEncoder(HashingEncoder(64), tmp_path)
    narrow = CachedEncoder(HashingEncoder(32), tmp_path)
    wide.encode(["a"])
    assert narrow.encode(["a"]).shape == (1, 32)
    assert wide.path != narrow.path


def test_lone_surrogates_and_nul_are_texts_of_their_own(tmp_path: Path) -> None:
    inner = CountingEncoder()
    cached = CachedEncoder(inner, tmp_path)
    texts = ["a\ud800", "a\udfff", "a\0", "a"]
    cached.encode(texts)
    cached.encode(texts)
    assert inner.seen == texts


def test_a_damaged_row_is_encoded_anew(tmp_path: Path) -> None:
    inner = CountingEncoder()
    cached = CachedEncoder(inner, tmp_path)
    right = cached.encode(["a", "b", "c"])
    cached.close()
    with sqlite3.connect(cached.path) as connection:
        keys = [key for (key,) in connection.execute("SELECT key FROM vectors")]
        connection.execute("UPDATE vectors SET row = x'0102' WHERE key = ?", (keys[0],))
        connection.execute(
            "UPDATE vectors SET row = ? WHERE key = ?", (np.zeros(64, "<f4").tobytes(), keys[1])
        )
    connection.close()
    inner.seen.clear()
    assert np.array_equal(CachedEncoder(inner, tmp_path).encode(["a", "b", "c"]), right)
    assert len(inner.seen) == 2


def test_a_file_that_is_no_cache(tmp_path: Path) -> None:
    cached = CachedEncoder(HashingEncoder(8), tmp_path)
    cached.close()
    cached.path.write_bytes(b"this is no database at all" * 100)
    with pytest.raises(EncoderError, match="damaged"):
        CachedEncoder(HashingEncoder(8), tmp_path)


def test_a_cache_of_another_encoder_is_refused(tmp_path: Path) -> None:
    cached = CachedEncoder(HashingEncoder(8), tmp_path)
    cached.close()
    other = CachedEncoder(HashingEncoder(16), tmp_path)
    other.close()
    other.path.replace(cached.path)
    with pytest.raises(EncoderError, match="other encoders"):
        CachedEncoder(HashingEncoder(8), tmp_path)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="in the way"):
        CachedEncoder(HashingEncoder(8), tmp_path / "file" / "cache")


def _encode_all(folder: Path, together: Any) -> None:
    together.wait()
    CachedEncoder(HashingEncoder(16), folder).encode([f"text {i}" for i in range(200)])


def test_processes_share_a_cache(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    together = context.Barrier(6)
    workers = [context.Process(target=_encode_all, args=(tmp_path, together)) for _ in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    cached = CachedEncoder(HashingEncoder(16), tmp_path)
    texts = [f"text {i}" for i in range(200)]
    assert np.array_equal(cached.encode(texts), HashingEncoder(16).encode(texts))
    assert cached.found == 200


def test_a_forked_process_opens_the_file_itself(tmp_path: Path) -> None:
    cached = CachedEncoder(HashingEncoder(16), tmp_path)
    cached.encode(["before"])
    worker = multiprocessing.get_context("fork").Process(target=cached.encode, args=(["in the fork"],))
    worker.start()
    worker.join(60)
    assert worker.exitcode == 0
    cached.encode(["in the fork", "before"])
    assert cached.encoded == 1
