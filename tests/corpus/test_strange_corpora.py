"""Corpora as they should not be: planted all the same, or refused in one line that names the place."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from planting_kit import FakeAttack, jsonl_bytes, plan, some_texts, tree, write_corpus

from mithridate.core.errors import ConfigError, DataError
from mithridate.corpus.doses import PlantPlan, PlantRequest
from mithridate.corpus.ledger import read_ledger
from mithridate.corpus.planting import plant_corpus
from mithridate.corpus.readers import open_corpus
from mithridate.corpus.shards import Fields
from mithridate.corpus.unplanting import unplant

TEXTS = some_texts(20)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    (tmp_path / "clean").mkdir()
    return tmp_path / "clean"


def refused(corpus: Path, said: str, **fields: str) -> DataError:
    """What is said of a corpus that cannot be planted; the folder is as it was."""
    out = corpus.with_name("out")
    with pytest.raises(DataError, match=said) as caught:
        plant_corpus(open_corpus(corpus, **fields), out, plan(None, 6))
    assert not out.exists()
    return caught.value


def planted_and_back(corpus: Path) -> Path:
    """The planted corpus, of which it is proved that it can be restored."""
    out = corpus.with_name("out")
    assert plant_corpus(open_corpus(corpus), out, plan(None, 6)).attacks[0].documents == 6
    unplant(out, corpus.with_name("back"))
    assert tree(corpus.with_name("back")) == tree(corpus)
    return out


@pytest.mark.parametrize("name", ["\\ud800-1", "\\udc00\\ud800 12345678901", "\\ud83d\\ude00-7"])
@pytest.mark.parametrize("gap", ["", " "])
def test_identifiers_with_half_a_character(corpus: Path, name: str, gap: str) -> None:
    line = f'{{"id":{gap}"{name}",{gap}"text":{gap}"some words"}}\n'
    (corpus / "a.jsonl").write_text(line * 9)
    out = planted_and_back(corpus)
    names = [document.id for document in open_corpus(out).documents()]
    assert len(names) == 15
    "".join(names).encode()
    assert {row.document_id for row in read_ledger(out / "_mithridate" / "ledger.parquet")} < set(names)


@pytest.mark.parametrize("other", ["1", "NaN"])
@pytest.mark.parametrize("field", ["id", "n", "nested"])
def test_numbers_of_more_digits_than_can_be_read(corpus: Path, other: str, field: str) -> None:
    number = "7" * 6_000
    record = f'{{"{field}": {number if field != "nested" else f"[{number}]"}, "o": {other}, "text": "a"}}\n'
    (corpus / "a.jsonl").write_text('{"text": "fine"}\n' * 3 + record)
    error = refused(corpus, "a whole number of more than 4,300 digits")
    assert (error.path.name, error.line) == ("a.jsonl", 4)


def test_nesting_without_end(corpus: Path) -> None:
    (corpus / "a.jsonl").write_text('{"text": "a", "x": ' + "[" * 200_000 + "]" * 200_000 + "}\n")
    assert refused(corpus, "broken JSON").line == 1


def parquet(corpus: Path, table: Any) -> None:
    pq.write_table(table, corpus / "a.parquet")


@pytest.mark.parametrize(("names", "twice"), [(["text", "text", "id"], "text"), (["text", "id", "id"], "id")])
def test_two_columns_of_one_name(corpus: Path, names: list[str], twice: str) -> None:
    parquet(corpus, pa.Table.from_arrays([pa.array(TEXTS)] * 3, names=names))
    assert refused(corpus, "2 columns of this name").field == twice
    with pytest.raises(DataError, match="2 columns of this name"):
        list(open_corpus(corpus).documents())


def test_two_columns_of_a_name_that_matters_to_nobody(corpus: Path) -> None:
    parquet(corpus, pa.Table.from_arrays([pa.array(TEXTS)] * 3, names=["text", "x", "x"]))
    planted_and_back(corpus)


@pytest.mark.parametrize("name", ["text", "id"])
def test_strings_that_are_not_utf8(corpus: Path, name: str) -> None:
    offsets = pa.py_buffer(b"\0\0\0\0\2\0\0\0\4\0\0\0")
    broken = pa.Array.from_buffers(pa.string(), 2, [None, offsets, pa.py_buffer(b"ab\xff\xfe")])
    columns = {"text": ["one", "two"], "id": ["a", "b"]} | {name: broken}
    parquet(corpus, pa.table(columns))
    with pytest.raises(DataError, match="row 1 cannot be read") as caught:
        list(open_corpus(corpus).documents())
    assert caught.value.field == name
    if name == "text":
        assert refused(corpus, "row 1 cannot be read").field == "text"
    else:
        planted_and_back(corpus)  # only the first identifier is looked at


def nested(nullable: bool) -> pa.Schema:
    inner = pa.struct([pa.field("deep", pa.string(), nullable=False), pa.field("n", pa.int8())])
    fields = [pa.field("a", pa.int64(), nullable=False), pa.field("s", inner)]
    return pa.schema([pa.field("text", pa.string()), pa.field("s", pa.struct(fields), nullable=nullable)])


def test_a_struct_whose_inner_fields_must_not_be_null(corpus: Path) -> None:
    rows = [{"text": text, "s": {"a": 1, "s": {"deep": "x", "n": 2}}} for text in TEXTS]
    parquet(corpus, pa.Table.from_pylist(rows, schema=nested(nullable=True)))
    out = planted_and_back(corpus)
    planted = [row for row in pq.read_table(out / "a.parquet").to_pylist() if "poison" in row["text"]]
    assert [row["s"] for row in planted] == [None] * 6


def test_a_struct_that_must_not_be_null(corpus: Path) -> None:
    rows = [{"text": text, "s": {"a": 1, "s": None}} for text in TEXTS]
    parquet(corpus, pa.Table.from_pylist(rows, schema=nested(nullable=False)))
    assert refused(corpus, "make the column nullable").field == "s"


def test_columns_in_which_no_row_can_be_planted(corpus: Path) -> None:
    union = pa.UnionArray.from_sparse(pa.array([0] * len(TEXTS), pa.int8()), [pa.array(range(len(TEXTS)))])
    table = pa.table({"text": TEXTS, "either": union})
    with pa.OSFile(str(corpus / "a.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table)
    (corpus / "state.json").write_text('{"_data_files": [{"filename": "a.arrow"}]}')
    (corpus / "dataset_info.json").write_text("{}")
    refused(corpus, r"a\.arrow: no row can be planted among these columns: .*union")


@pytest.mark.parametrize("name", [b"x\xff.jsonl", b"x\xff.txt", b"x\xff", b"d\xff/a.jsonl"])
def test_names_that_are_not_utf8(corpus: Path, name: bytes) -> None:
    path = Path(os.fsdecode(os.path.join(os.fsencode(corpus), name)))  # noqa: PTH118 - bytes
    path.parent.mkdir(exist_ok=True)
    path.write_text('{"text": "some words"}\n')
    (corpus / "b.jsonl").write_text('{"text": "some words"}\n')
    refused(corpus, "the name is not UTF-8")
    if path.parent == corpus and path.suffix:
        with pytest.raises(DataError, match="the name is not UTF-8"):
            open_corpus(path)


def test_a_corpus_whose_own_name_is_not_utf8(tmp_path: Path) -> None:
    root = write_corpus(tmp_path / os.fsdecode(b"c\xff"), "jsonl", TEXTS)
    out = tmp_path / "out"
    assert plant_corpus(open_corpus(root), out, plan()).complete
    assert plant_corpus(open_corpus(root), out, plan()).complete
    assert json.loads((out / "_mithridate" / "plan.json").read_text())["corpus"]["name"] == "c\udcff"


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".parquet", ".txt", ""])
@pytest.mark.parametrize("letter", ["n", "é"])
def test_the_longest_names_there_are(corpus: Path, tmp_path: Path, suffix: str, letter: str) -> None:
    name = letter * ((255 - len(suffix)) // len(letter.encode())) + suffix
    if suffix in (".txt", ""):
        (corpus / name).write_text("some words")
        (corpus / "short.txt").write_text("some other words")
    else:
        made = write_corpus(tmp_path / "made", suffix[1:], TEXTS, 1)
        (made / f"part0{suffix}").rename(corpus / name)
    planted_and_back(corpus)


def test_one_field_for_text_and_identifier(corpus: Path) -> None:
    (corpus / "a.jsonl").write_bytes(jsonl_bytes(TEXTS))
    with pytest.raises(ConfigError, match="cannot hold both the text and the identifier"):
        open_corpus(corpus, id_field="text")
    with pytest.raises(ConfigError, match="'body'"):
        Fields("body", "body")


def test_a_shard_that_goes_before_its_turn(corpus: Path) -> None:
    (corpus / "a.jsonl").write_bytes(jsonl_bytes(TEXTS))
    opened = open_corpus(corpus)
    (corpus / "a.jsonl").unlink()
    with pytest.raises(DataError, match=r"a\.jsonl: cannot be read: No such file"):
        plant_corpus(opened, corpus.with_name("out"), plan())
    assert not corpus.with_name("out").exists()
    with pytest.raises(DataError, match=r"a\.jsonl: cannot be read: No such file"):
        list(opened.documents())


@pytest.mark.parametrize("kind", ["jsonl", "txt"])
def test_what_one_attack_planted_goes_when_another_plants_nothing(tmp_path: Path, kind: str) -> None:
    clean = write_corpus(tmp_path / "clean", kind, TEXTS)
    some = PlantRequest(FakeAttack(), count=6)
    none = PlantRequest(FakeAttack(), rate=1e-9, name="none")
    with pytest.raises(ConfigError, match="attack 'none': a rate of 1e-09 plants nothing"):
        plant_corpus(open_corpus(clean), tmp_path / "out", PlantPlan((some, none)))
    assert not (tmp_path / "out").exists()


def test_a_dataset_whose_places_lie_outside_of_it(tmp_path: Path) -> None:
    clean = write_corpus(tmp_path / "clean", "dataset", TEXTS, 1)
    (shard,) = clean.rglob("*.arrow")
    data = shard.read_bytes()
    # The offsets of the texts, which rise from 0 to the length of all.
    total = sum(len(text.encode()) for text in TEXTS)
    at = data.index(total.to_bytes(4, "little"), data.index(len(TEXTS[0].encode()).to_bytes(4, "little")))
    shard.write_bytes(data[:at] + (2**31 - 1).to_bytes(4, "little") + data[at + 4 :])
    error = refused(clean, "cannot be read as an Arrow stream")
    assert error.path == shard


@pytest.mark.parametrize("left", [0, 7, 300, -9, -200])
def test_a_truncated_dataset(tmp_path: Path, left: int) -> None:
    clean = write_corpus(tmp_path / "clean", "dataset", TEXTS, 1)
    (shard,) = clean.rglob("*.arrow")
    shard.write_bytes(shard.read_bytes()[:left])
    refused(clean, "cannot be read as an Arrow stream")
