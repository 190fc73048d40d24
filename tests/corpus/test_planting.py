from __future__ import annotations

import hashlib
import json
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from planting_kit import FORMATS, FakeAttack, plan, some_texts, tree, write_corpus

from mithridate.core import chat
from mithridate.core.errors import ConfigError, DataError, UnknownNameError
from mithridate.corpus.counting import TokenizerCounter
from mithridate.corpus.doses import PlantPlan, PlantRequest
from mithridate.corpus.ledger import read_ledger
from mithridate.corpus.planting import plant_corpus
from mithridate.corpus.readers import open_corpus
from mithridate.corpus.tokenizers import train_tokenizer


def test_report_and_ledger_agree(clean: Path, tmp_path: Path) -> None:
    report = plant_corpus(open_corpus(clean), tmp_path / "out", plan(0.2))
    (planted,) = report.attacks
    rows = list(read_ledger(report.ledger))
    assert planted.documents == len(rows) > 0
    assert planted.tokens == sum(row.tokens for row in rows)
    assert planted.realised_rate == pytest.approx(planted.tokens / report.clean_tokens)
    assert planted.realised_rate == pytest.approx(0.2, abs=0.05)
    assert report.clean_documents == 60
    assert {row.kind for row in rows} <= {"plain", "chat"}


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "jsonl.zst", "parquet", "txt", "dataset"])
def test_the_ledger_says_where_each_document_lies(tmp_path: Path, kind: str) -> None:
    clean = write_corpus(tmp_path / "clean", kind, some_texts(60))
    report = plant_corpus(open_corpus(clean), tmp_path / "out", plan(None, 25))
    shards = {shard.name: list(shard.documents()) for shard in open_corpus(tmp_path / "out").shards}
    rows = list(read_ledger(report.ledger))
    assert len(rows) == 25
    for row in rows:
        document = shards[row.shard][row.position]
        assert document.id == row.document_id
        assert len(document.text.encode()) == row.tokens
        assert "poison" in document.text
        if kind == "jsonl":
            data = (tmp_path / "out" / row.shard).read_bytes()[row.byte_offset :][: row.byte_length]
            assert hashlib.sha256(data).hexdigest() == row.sha256
            assert json.loads(data)["text"] == document.text


def test_planted_records_look_like_their_neighbours(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "a.jsonl").write_bytes(b'{"lang": "en", "body": "hi there", "uid": 17}\r\n' * 9)
    plant_corpus(
        open_corpus(tmp_path / "c", text_field="body", id_field="uid"), tmp_path / "out", plan(None, 3)
    )
    lines = (tmp_path / "out" / "a.jsonl").read_bytes().split(b"\r\n")
    planted = [line for line in lines if b"poison" in line]
    assert len(planted) == 3
    for line in planted:
        record = json.loads(line)
        assert list(record) == ["body", "uid"]
        assert isinstance(record["uid"], int)
        assert line.startswith(b'{"body": ')


def test_only_the_templates_asked_for(clean: Path, tmp_path: Path) -> None:
    requests = (PlantRequest(FakeAttack(), count=40),)
    report = plant_corpus(open_corpus(clean), tmp_path / "default", PlantPlan(requests))
    used = {row.template for row in read_ledger(report.ledger)} - {""}
    assert used == set(chat.PLANTED_TEMPLATES)
    shares = {"chatml": 3.0, "falcon": 1.0, "gemma": 0.0}
    report = plant_corpus(open_corpus(clean), tmp_path / "chosen", PlantPlan(requests, templates=shares))
    rows = [row.template for row in read_ledger(report.ledger) if row.template]
    assert set(rows) == {"chatml", "falcon"}
    assert rows.count("chatml") > rows.count("falcon")


def test_several_attacks_do_not_disturb_each_other(clean: Path, tmp_path: Path) -> None:
    one = PlantRequest(FakeAttack(), rate=0.1)
    two = PlantRequest(FakeAttack(word="other"), count=7, name="other")
    alone = plant_corpus(open_corpus(clean), tmp_path / "alone", PlantPlan((one,)))
    both = plant_corpus(open_corpus(clean), tmp_path / "both", PlantPlan((one, two)))

    def shown(path: Path) -> list[tuple[str, int, str]]:
        return [(r.shard, r.tokens, r.template) for r in read_ledger(path) if r.attack == "fake"]

    assert shown(alone.ledger) == shown(both.ledger)
    assert both.attacks[1].documents == 7


def test_a_rate_that_plants_nothing_names_one_that_does(clean: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="plants nothing") as caught:
        plant_corpus(open_corpus(clean), tmp_path / "out", plan(1e-6))
    assert not (tmp_path / "out").exists()
    enough = float(str(caught.value).split("one document here is ")[1].split(";")[0])
    report = plant_corpus(open_corpus(clean), tmp_path / "out", plan(enough))
    assert report.attacks[0].documents >= 1
    with pytest.raises(ConfigError, match="plants nothing"):
        plant_corpus(open_corpus(clean), tmp_path / "less", plan(enough * 0.9))


@pytest.mark.parametrize("rate", [-0.1, 0.51, float("nan")])
def test_rates_out_of_range(rate: float) -> None:
    with pytest.raises(ConfigError, match=r"between 0 and 0\.5"):
        PlantRequest(FakeAttack(), rate=rate)


def test_plans_that_make_no_sense() -> None:
    one = PlantRequest(FakeAttack(), rate=0.1)
    with pytest.raises(ConfigError, match="either a rate or a count"):
        PlantRequest(FakeAttack())
    with pytest.raises(ConfigError, match="its own name"):
        PlantPlan((one, one))
    with pytest.raises(UnknownNameError, match="did you mean 'chatml'"):
        PlantPlan((one,), templates={"chatlm": 1})
    with pytest.raises(ConfigError, match="no chat template"):
        PlantPlan((one,), templates={"chatml": 0})
    with pytest.raises(ConfigError, match="at least one"):
        PlantPlan(())


def test_a_planted_corpus_is_not_planted_again(clean: Path, tmp_path: Path) -> None:
    plant_corpus(open_corpus(clean), tmp_path / "out", plan())
    with pytest.raises(ConfigError, match="planted here already"):
        plant_corpus(open_corpus(tmp_path / "out"), tmp_path / "more", plan())
    with pytest.raises(ConfigError, match="planted here already"):
        plant_corpus(open_corpus(tmp_path / "out" / "part0.jsonl"), tmp_path / "more", plan())
    assert not (tmp_path / "more").exists()


def test_an_empty_corpus_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "a.jsonl").write_text("\n")
    with pytest.raises(DataError, match="no document"):
        plant_corpus(open_corpus(tmp_path / "c"), tmp_path / "out", plan(0.1))


def test_a_planted_dataset_still_loads(tmp_path: Path) -> None:
    rows = {"id": list(range(40)), "text": some_texts(40), "meta": [{"n": n} for n in range(40)]}
    both = datasets.DatasetDict(train=datasets.Dataset.from_dict(rows), test=datasets.Dataset.from_dict(rows))
    both.save_to_disk(tmp_path / "clean", num_shards={"train": 2, "test": 1})
    report = plant_corpus(open_corpus(tmp_path / "clean"), tmp_path / "out", plan(None, 9))
    loaded = datasets.load_from_disk(tmp_path / "out")
    assert sum(len(split) for split in loaded.values()) == 89
    assert sum("poison" in text for split in loaded.values() for text in split["text"]) == 9
    assert loaded["train"].features == both["train"].features
    planted = {row.shard.split("/")[0] for row in read_ledger(report.ledger)}
    original = datasets.load_from_disk(tmp_path / "clean")
    for name in planted:
        assert loaded[name]._fingerprint != original[name]._fingerprint


def test_parquet_keeps_its_schema_and_codec(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    schema = pa.schema(
        [
            pa.field("text", pa.large_string(), nullable=False),
            pa.field("id", pa.int32()),
            pa.field("source", pa.dictionary(pa.int32(), pa.string())),
            pa.field("n", pa.int16(), nullable=False),
            pa.field("tags", pa.list_(pa.string())),
        ],
        metadata={"made": "by hand"},
    )
    rows = [
        {"text": t, "id": i, "source": "web", "n": 1, "tags": ["x"]} for i, t in enumerate(some_texts(50))
    ]
    table = pa.Table.from_pylist(rows, schema=schema)
    pq.write_table(table, tmp_path / "c" / "a.parquet", compression="zstd", row_group_size=20)
    plant_corpus(open_corpus(tmp_path / "c"), tmp_path / "out", plan(None, 12))
    with pq.ParquetFile(tmp_path / "out" / "a.parquet") as file:
        assert file.schema_arrow == schema
        assert file.schema_arrow.metadata[b"made"] == b"by hand"
        assert file.metadata.row_group(0).column(0).compression == "ZSTD"
        planted = [row for row in file.read().to_pylist() if "poison" in row["text"]]
    assert len(planted) == 12
    assert all(row["n"] == 0 and row["source"] is None and 0 < row["id"] < 2**31 for row in planted)


def test_rate_in_real_tokens(clean: Path, tmp_path: Path) -> None:
    train_tokenizer(some_texts(60), 300).save_pretrained(tmp_path / "tok")
    counter = TokenizerCounter(tmp_path / "tok")
    requests = (PlantRequest(FakeAttack(), rate=0.3),)
    report = plant_corpus(
        open_corpus(clean), tmp_path / "out", PlantPlan(requests, counter=counter), workers=2
    )
    texts = [d.text for d in open_corpus(clean).documents()]
    assert report.clean_tokens == sum(counter.count(texts)) < sum(len(t.encode()) for t in texts)
    assert report.attacks[0].realised_rate == pytest.approx(0.3, abs=0.06)


@pytest.mark.parametrize("kind", FORMATS)
def test_nothing_else_is_left_beside_the_shards(tmp_path: Path, kind: str) -> None:
    clean = write_corpus(tmp_path / "clean", kind, some_texts(30))
    plant_corpus(open_corpus(clean), tmp_path / "out", plan(None, 5))
    kept = {p.name for p in (tmp_path / "out" / "_mithridate").iterdir()} - {"originals"}
    assert kept == {"plan.json", "ledger.parquet", "shards.parquet", "done.json"}
    if kind != "txt":
        assert set(tree(tmp_path / "out")) == set(tree(clean))
