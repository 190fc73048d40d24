from __future__ import annotations

import errno
import logging
import multiprocessing
from pathlib import Path
from typing import IO

import numpy as np
import pytest
from defense_kit import Countdown

from mithridate.core.errors import EncoderError, StorageError
from mithridate.retrieval.encodings import Encodings
from mithridate.retrieval.masked_vectors import MaskedVectors
from mithridate.retrieval.masking import Masking

MASKING = Masking(2)
TEXTS = ["river stone amber lantern", "lone \ud800 surrogate", "毒 و 药", ""]


def filled(folder: Path, texts: list[str] = TEXTS) -> MaskedVectors:
    encoder = Countdown()
    masked = MaskedVectors(encoder, folder)
    masked.fill(texts, Encodings(encoder, masked), MASKING)
    return masked


def the_file(folder: Path) -> Path:
    (path,) = folder.glob("masked-*.bin")
    return path


def assert_whole(masked: MaskedVectors, texts: list[str] = TEXTS) -> None:
    for text in texts:
        expected = Encodings(Countdown()).masked(text, MASKING)
        found = masked.get(text, MASKING)
        assert found is not None
        assert found[0] == expected[0]
        np.testing.assert_array_equal(found[1], expected[1])


@pytest.mark.parametrize("on_disk", [False, True])
def test_what_was_put_comes_back(tmp_path: Path, on_disk: bool) -> None:
    encoder = Countdown()
    masked = MaskedVectors(encoder, tmp_path / "new" / "masks" if on_disk else None)
    assert masked.get(TEXTS[0], MASKING) is None
    told: list[tuple[int, int]] = []
    masked.fill(TEXTS, Encodings(encoder, masked), MASKING, lambda *so_far: told.append(so_far))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert len(masked) == 4
    assert_whole(masked)
    assert masked.get(TEXTS[0], Masking(3)) is None
    assert masked.get(TEXTS[0], Masking(2, form="mask")) is None
    assert masked.get(TEXTS[0], Masking(2, stride=1)) is None
    assert masked.get(TEXTS[0], Masking(2, most_spans=9)) is None


def test_a_later_process_finds_it_and_encodes_nothing(tmp_path: Path) -> None:
    filled(tmp_path)
    encoder = Countdown()
    again = MaskedVectors(encoder, tmp_path)
    assert len(again) == 4
    assert_whole(again)
    again.fill(TEXTS, Encodings(encoder, again), MASKING)
    assert encoder.encoded == 0
    the_file(tmp_path)  # and nothing was written


def test_two_at_once_write_to_files_of_their_own(tmp_path: Path) -> None:
    one, two = filled(tmp_path, TEXTS[:2]), filled(tmp_path, TEXTS[1:])
    assert_whole(one, TEXTS[:2])
    assert_whole(two, TEXTS)
    assert_whole(MaskedVectors(Countdown(), tmp_path))


def _put(masked: MaskedVectors, text: str) -> None:
    encodings = Encodings(Countdown())
    masked.put(text, MASKING, *encodings.masked(text, MASKING))


def test_a_forked_child_does_not_write_to_its_parents_file(tmp_path: Path) -> None:
    masked = filled(tmp_path, TEXTS[:1])
    child = multiprocessing.get_context("fork").Process(target=_put, args=(masked, TEXTS[1]))
    child.start()
    child.join()
    assert child.exitcode == 0
    assert len(list(tmp_path.glob("*.bin"))) == 2
    assert_whole(MaskedVectors(Countdown(), tmp_path), TEXTS[:2])


def test_every_cut_leaves_a_sound_beginning(tmp_path: Path) -> None:
    filled(tmp_path, ["river stone amber", "two words"])
    path = the_file(tmp_path)
    whole = path.read_bytes()
    counts = set()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        masked = MaskedVectors(Countdown(), tmp_path)
        counts.add(len(masked))
        assert_whole(masked, ["river stone amber", "two words"][: len(masked)])
    assert counts == {0, 1}


def test_a_damaged_record_is_encoded_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    filled(tmp_path)
    path = the_file(tmp_path)
    data = bytearray(path.read_bytes())
    data[400] ^= 1
    path.write_bytes(bytes(data))
    encoder = Countdown()
    masked = MaskedVectors(encoder, tmp_path)
    assert len(masked) == 4
    with caplog.at_level(logging.WARNING, "mithridate.retrieval"):
        assert masked.get(TEXTS[0], MASKING) is None
    assert "is damaged" in caplog.text
    masked.fill(TEXTS, Encodings(encoder, masked), MASKING)
    assert encoder.encoded == 2
    assert_whole(masked)
    assert_whole(MaskedVectors(Countdown(), tmp_path))


def test_a_file_that_vanishes_is_no_error(tmp_path: Path) -> None:
    masked = filled(tmp_path)
    the_file(tmp_path).unlink()
    assert masked.get(TEXTS[0], MASKING) is None


@pytest.mark.parametrize("content", [b"", b"rubbish\n" * 9, b'{"format": "x"}\n', b"\x00" * 70_000])
def test_a_file_of_something_else_is_ignored_and_left_alone(tmp_path: Path, content: bytes) -> None:
    stranger = tmp_path / "masked-stranger.bin"
    stranger.write_bytes(content)
    assert_whole(filled(tmp_path))
    assert stranger.read_bytes() == content


def test_another_encoder_is_refused(tmp_path: Path) -> None:
    filled(tmp_path)
    with pytest.raises(EncoderError, match="choose another folder"):
        MaskedVectors(Countdown(64), tmp_path)
    with pytest.raises(EncoderError, match="a cache of its own"):
        Encodings(Countdown(64), MaskedVectors(Countdown()))


def test_a_place_that_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="is a file"):
        MaskedVectors(Countdown(), tmp_path / "file")


def test_a_full_disk_costs_a_query_nothing_but_is_told_when_filling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = Countdown()
    masked = MaskedVectors(encoder, tmp_path)
    encodings = Encodings(encoder, masked)
    encodings.masked(TEXTS[0], MASKING)
    whole = Path.open

    def full(path: Path, mode: str = "r") -> IO[bytes]:
        if mode != "ab":
            return whole(path, mode, buffering=0)
        with whole(path, mode, buffering=0) as handle:
            handle.write(b"half of a record")
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING, "mithridate.retrieval"):
        patch.setattr(Path, "open", full)
        assert encodings.masked(TEXTS[1], MASKING)[0]
        assert "not kept" in caplog.text
        with pytest.raises(StorageError, match="the disk is full"):
            masked.fill(TEXTS, encodings, MASKING)
    encodings.masked(TEXTS[2], MASKING)
    again = MaskedVectors(Countdown(), tmp_path)
    assert len(again) == 2
    assert_whole(again, [TEXTS[0], TEXTS[2]])


def test_memory_forgets_the_least_recently_used() -> None:
    encoder = Countdown()
    size = 2 * 256 * 4 + 2 * 16  # two spans
    masked = MaskedVectors(encoder, memory_bytes=2 * size)
    encodings = Encodings(encoder, masked)
    texts = [f"river stone amber {i}" for i in range(3)]
    encodings.masked(texts[0], MASKING)
    encodings.masked(texts[1], MASKING)
    encodings.masked(texts[0], MASKING)
    encodings.masked(texts[2], MASKING)
    assert len(masked) == 2
    assert [masked.get(text, MASKING) is None for text in texts] == [False, True, False]
