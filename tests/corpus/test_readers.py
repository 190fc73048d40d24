from __future__ import annotations

import errno
import gzip
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from planting_kit import FORMATS, jsonl_bytes, some_texts, write_corpus

from mithridate.core.errors import DataError
from mithridate.corpus.readers import open_corpus

TEXTS = some_texts(23)


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_all_documents(tmp_path: Path, kind: str) -> None:
    corpus = open_corpus(write_corpus(tmp_path / "c", kind, TEXTS))
    documents = list(corpus.documents())
    assert sorted(d.text for d in documents) == sorted(TEXTS)
    assert len({(d.id, d.text) for d in documents}) == len(TEXTS)


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "jsonl.zst", "parquet"])
def test_one_file_is_a_corpus(tmp_path: Path, kind: str) -> None:
    root = write_corpus(tmp_path / "c", kind, TEXTS, 1)
    corpus = open_corpus(root / f"part0.{kind}")
    assert [d.text for d in corpus.documents()] == TEXTS
    assert [s.name for s in corpus.shards] == [f"part0.{kind}"]


def test_one_text_file_is_a_corpus(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "b.txt").write_text("two")
    assert [d.text for d in open_corpus(tmp_path / "a.txt").documents()] == ["one"]


def test_text_beside_other_shards_is_no_document(tmp_path: Path) -> None:
    root = write_corpus(tmp_path / "c", "jsonl", TEXTS)
    (root / "README.txt").write_text("about")
    corpus = open_corpus(root)
    assert len(list(corpus.documents())) == len(TEXTS)
    assert [o.name for o in corpus.others] == ["LICENCE", "README.txt"]


def test_field_names_are_configurable(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"key": 7, "content": "hello"}\n')
    (document,) = open_corpus(tmp_path, text_field="content", id_field="key").documents()
    assert (document.id, document.text) == ("7", "hello")


def test_halves_of_surrogate_pairs_do_not_break_what_follows(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a\\ud800b"}\n{"text": "\\ud83d\\ude00", "x": NaN}\n')
    assert [d.text for d in open_corpus(tmp_path).documents()] == ["a\ufffdb", "😀"]


def broken(path: Path, data: bytes) -> DataError:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    with pytest.raises(DataError) as caught:
        list(open_corpus(path).documents())
    assert path.name in str(caught.value)
    return caught.value


def test_broken_json_names_file_and_line(tmp_path: Path) -> None:
    error = broken(tmp_path / "a.jsonl", b'{"text": "x"}\n\n{"text": "y"\n')
    assert error.line == 3
    assert "broken JSON" in str(error)


def test_a_line_that_is_no_object(tmp_path: Path) -> None:
    assert "object" in str(broken(tmp_path / "a.jsonl", b'["text"]\n'))


def test_missing_field_suggests_the_nearest(tmp_path: Path) -> None:
    error = broken(tmp_path / "a.jsonl", b'{"text": "x"}\n{"id": 1, "texts": "y"}\n')
    assert (error.line, error.field) == (2, "text")
    assert "did you mean 'texts'?" in str(error)


def test_text_that_is_no_string(tmp_path: Path) -> None:
    assert "string, not list" in str(broken(tmp_path / "a.jsonl", b'{"text": ["x"]}\n'))


@pytest.mark.parametrize("cut", [1, 8, 200])
def test_truncated_gzip(tmp_path: Path, cut: int) -> None:
    data = gzip.compress(jsonl_bytes(some_texts(50)))
    assert "truncated" in str(broken(tmp_path / "a.jsonl.gz", data[:-cut]))


@pytest.mark.parametrize("cut", [1, 8, 200])
def test_truncated_zstd(tmp_path: Path, cut: int) -> None:
    data = zstandard.ZstdCompressor(write_checksum=True).compress(jsonl_bytes(some_texts(50)))
    assert "truncated" in str(broken(tmp_path / "a.jsonl.zst", data[:-cut]))


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_not_compressed_at_all(tmp_path: Path, suffix: str) -> None:
    assert "not a valid" in str(broken(tmp_path / f"a.jsonl.{suffix}", b'{"text": "x"}\n'))


def test_broken_parquet(tmp_path: Path) -> None:
    assert "Parquet" in str(broken(tmp_path / "a.parquet", b"PAR1 but not really"))


def test_parquet_without_the_column_or_with_nulls(tmp_path: Path) -> None:
    pq.write_table(pa.table({"txt": ["a"]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="did you mean 'txt'"):
        list(open_corpus(tmp_path / "a.parquet").documents())
    pq.write_table(pa.table({"text": ["a", None]}), tmp_path / "b.parquet")
    with pytest.raises(DataError, match="row 1 has no text"):
        list(open_corpus(tmp_path / "b.parquet").documents())
    pq.write_table(pa.table({"text": [1, 2]}), tmp_path / "c.parquet")
    with pytest.raises(DataError, match="not int64"):
        list(open_corpus(tmp_path / "c.parquet").documents())


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    assert "not UTF-8 at byte 1" in str(broken(tmp_path / "a.txt", b"a\xff"))


@pytest.mark.parametrize("what", ["nowhere", "empty", "file.doc"])
def test_nothing_to_read(tmp_path: Path, what: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.doc").write_text("x")
    with pytest.raises(DataError, match=r"no such file|no documents here|not a corpus"):
        open_corpus(tmp_path / what)


def test_a_corpus_of_empty_files_is_empty(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("\n\n")
    with pytest.raises(DataError, match="holds no document"):
        list(open_corpus(tmp_path).documents())


def test_dataset_with_a_missing_file(tmp_path: Path) -> None:
    root = write_corpus(tmp_path / "c", "dataset", TEXTS)
    next(root.rglob("*.arrow")).unlink()
    with pytest.raises(DataError, match="missing"):
        open_corpus(root)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "broken JSON"),
        ("[]", "must hold a JSON object"),
        ("{}", "which files the dataset is in"),
        ('{"_data_files": 3}', "which files the dataset is in"),
        ('{"_data_files": [{}]}', "which files the dataset is in"),
        ('{"_data_files": ["a.arrow"]}', "which files the dataset is in"),
        ('{"n": ' + "7" * 6_000 + "}", "broken JSON"),
        ("[" * 200_000, "broken JSON"),
    ],
)
def test_dataset_of_a_broken_state(tmp_path: Path, content: str, said: str) -> None:
    root = write_corpus(tmp_path / "c", "dataset", TEXTS)
    (root / "train" / "state.json").write_text(content)
    with pytest.raises(DataError, match=said):
        open_corpus(root)


def test_dataset_of_broken_information(tmp_path: Path) -> None:
    root = write_corpus(tmp_path / "c", "dataset", TEXTS)
    (root / "train" / "dataset_info.json").write_text("[3]")
    with pytest.raises(DataError, match=r"dataset_info\.json: must hold a JSON object"):
        open_corpus(root)


def test_a_folder_linked_twice_is_read_twice(tmp_path: Path) -> None:
    root = tmp_path / "c"
    for name in ("b", "a/inner"):
        (root / name).mkdir(parents=True)
    (root / "b" / "x.jsonl").write_bytes(jsonl_bytes(TEXTS[:3]))
    (root / "a" / "inner" / "link").symlink_to(root / "b")
    (root / "z").symlink_to("b")
    corpus = open_corpus(root)
    assert [shard.name for shard in corpus.shards] == ["a/inner/link/x.jsonl", "b/x.jsonl", "z/x.jsonl"]
    assert len(list(corpus.documents())) == 9


def test_a_link_back_to_where_one_is_ends(tmp_path: Path) -> None:
    root = tmp_path / "c"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "x.jsonl").write_bytes(jsonl_bytes(TEXTS[:3]))
    (root / "a" / "b" / "up").symlink_to("..")
    (root / "round").symlink_to(root)
    assert [shard.name for shard in open_corpus(root).shards] == ["a/x.jsonl"]


def test_a_folder_that_cannot_be_searched_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, real = write_corpus(tmp_path / "c", "txt", TEXTS), os.scandir

    def refuse(path: object) -> object:
        if str(path).endswith("part1"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match="part1: cannot be read: Permission denied"):
        open_corpus(root)
