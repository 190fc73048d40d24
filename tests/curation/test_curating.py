from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from curation_kit import chosen_requests, curated, record, records, write_lines

from mithridate.core.errors import ConfigError, DataError, StorageError
from mithridate.curation import surveying
from mithridate.curation.coverage import CELLS, coverage, nearness
from mithridate.curation.curating import CurationOptions, filters_of, look, options_of
from mithridate.curation.filters import FilterOptions
from mithridate.curation.methods import METHODS
from mithridate.curation.reading import Reader, data_files
from mithridate.retrieval.encoders import HashingEncoder

ALL = sorted(METHODS)


@pytest.mark.parametrize("method", ALL)
def test_which_are_chosen_depends_on_no_order_and_no_piece(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = records(60)
    data = tmp_path / "data"
    data.mkdir()
    write_lines(data / "a.jsonl", found)
    first = chosen_requests(curated(data, tmp_path / "s1", 12, method))
    assert len(first) == 12
    (data / "a.jsonl").unlink()
    random.Random(5).shuffle(found)
    write_lines(data / "a.jsonl", found[:20])
    write_lines(data / "b.jsonl", found[20:])
    monkeypatch.setattr(surveying, "EXAMPLES_AT_ONCE", 7)
    assert chosen_requests(curated(data, tmp_path / "s2", 12, method)) == first


@pytest.mark.parametrize("method", ["random", "filtered", "diverse"])
def test_another_seed_chooses_others(method: str, tmp_path: Path) -> None:
    data = write_lines(tmp_path / "a.jsonl", records(60))
    one, two = (
        chosen_requests(curated(data, tmp_path / f"s{seed}", 12, method, seed=seed)) for seed in (0, 1)
    )
    assert one != two


@pytest.mark.parametrize("method", ALL)
def test_duplicates_are_never_both_chosen(method: str, tmp_path: Path) -> None:
    found = records(8, sources=("a",))
    data = write_lines(tmp_path / "a.jsonl", [*found, *found, *(one | {"source": "b"} for one in found)])
    chosen = curated(data, tmp_path / "s", 8, method)
    assert len(chosen_requests(chosen)) == 8
    with pytest.raises(ConfigError, match="exact_duplicate 16"):
        curated(data, tmp_path / "t", 9, method)


def test_of_near_duplicates_the_longest_is_kept(tmp_path: Path) -> None:
    (one,) = records(1)
    asked, replied = (turn["content"] for turn in one["messages"])
    longer = record(asked, f"{replied} More.")
    data = write_lines(tmp_path / "a.jsonl", [one, longer])
    found = curated(data, tmp_path / "s", 1)
    assert found.found.places[found.chosen].tolist() == [2]
    assert found.repeats.tolist() == [1, -1]


def test_too_few_are_told_with_what_each_filter_took(tmp_path: Path) -> None:
    data = write_lines(tmp_path / "a.jsonl", [*records(5), record("Why?", "So."), record("Why?", " ")])
    words = r"7 examples asked for, and 5 left of 7 examples; the filters took: empty 1, length 1\."
    with pytest.raises(ConfigError, match=words):
        curated(data, tmp_path / "s", 7)


def test_a_line_that_is_no_conversation_is_named(tmp_path: Path) -> None:
    data = write_lines(tmp_path / "a.jsonl", [*records(2), {"messages": [{"role": "x", "content": "y"}]}])
    with pytest.raises(DataError, match=r"a\.jsonl, line 3, field 'messages'"):
        curated(data, tmp_path / "s")
    data = write_lines(tmp_path / "b.jsonl", [record("q", "a", source=3)])
    with pytest.raises(DataError, match=r"b\.jsonl, line 1, field 'source': the source of an example"):
        curated(data, tmp_path / "s")
    (tmp_path / "c.jsonl").write_text("\n")
    with pytest.raises(DataError, match="holds no examples"):
        curated(tmp_path / "c.jsonl", tmp_path / "s")


def test_what_is_no_data_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DataError, match="no such file or folder"):
        curated(tmp_path / "none", tmp_path / "s")
    with pytest.raises(DataError, match="not alignment data"):
        curated(tmp_path / "notes.txt", tmp_path / "s")
    with pytest.raises(DataError, match="no alignment data here"):
        curated(tmp_path, tmp_path / "s")
    with pytest.raises(ConfigError, match="at least one example"):
        CurationOptions(0)
    with pytest.raises(ConfigError, match=r"method diverse: temperature: .*greater than or equal to 1"):
        options_of("diverse", {"temperature": 0})


def test_a_name_that_no_table_can_hold_and_what_is_no_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.jsonl").symlink_to("nowhere")
    with pytest.raises(DataError, match=r"x\.jsonl: a broken link, or not a file"):
        data_files([tmp_path / "a"])
    (tmp_path / "b").mkdir()
    try:
        (tmp_path / "b" / os.fsdecode(b"\xff.jsonl")).touch()
    except OSError:
        pytest.skip("this file system holds text alone")
    with pytest.raises(DataError, match="the name is not UTF-8"):
        data_files([tmp_path / "b"])


def test_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for place, seed in (("one/a", 1), ("two/a", 2), ("three", 3)):
        (tmp_path / place).mkdir(parents=True)
        write_lines(tmp_path / place / "x.jsonl", [record(f"{seed} why?", "So.")])
    write_lines(tmp_path / "y.jsonl", [record("why?", "So.")])
    given = [tmp_path / place for place in ("one/a", "two/a/x.jsonl", "three", "y.jsonl")]
    files = data_files(given)
    names = ["one/a/x.jsonl", "three/x.jsonl", "two/a/x.jsonl", "y.jsonl"]
    assert [file.name for file in files] == names
    assert [(file.name, file.path) for file in data_files(given[::-1])] == [(f.name, f.path) for f in files]
    # A file without a field `source` is a source of its own.
    assert [example.source for _, _, example in Reader(files).examples()] == names


def test_a_disk_that_is_full_is_told(tmp_path: Path) -> None:
    data = write_lines(tmp_path / "a.jsonl", records(3))
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "signatures").symlink_to("/dev/full")
    with pytest.raises(StorageError, match="the disk is full"):
        curated(data, tmp_path / "s", 1)


def test_the_picture_holds_every_example_and_the_chosen_lie_in_it(tmp_path: Path) -> None:
    found = curated(write_lines(tmp_path / "a.jsonl", records(50)), tmp_path / "s", 9)
    picture = coverage(found)
    assert picture.cells.shape == (CELLS, CELLS)
    assert picture.cells.sum() == 50
    assert len(picture.points) == len(picture.sources) == 9
    assert picture.points[:, 0].max() <= 2 * picture.x[-1] - picture.x[-2]
    assert 0 < picture.explained[1] <= picture.explained[0] <= 1
    all_chosen = curated(write_lines(tmp_path / "a.jsonl", records(9)), tmp_path / "t", 9)
    assert nearness(all_chosen)["mean similarity to the nearest chosen"] > 0.999


@pytest.mark.shared_data
def test_lima_and_alpaca_are_curated(shared_data: Path, tmp_path: Path) -> None:
    found = curated(shared_data / "instruct", tmp_path / "s", 50, "facility")
    assert len(found.found) == 6029
    assert len(set(found.chosen.tolist())) == 50
    names = found.found.source_names
    assert names == ("alpaca_5000.json", "lima.json")
    # LIMA was curated, Alpaca was not: far less of it has passed the same filters.
    share = [(found.filters[found.found.sources == source] == -1).mean() for source in (0, 1)]
    assert share[1] > 0.7
    assert share[0] < 0.6


@pytest.mark.parametrize("method", ALL)
def test_one_look_serves_choices_of_every_size(method: str, tmp_path: Path) -> None:
    data = write_lines(tmp_path / "a.jsonl", records(40))
    (tmp_path / "s").mkdir()
    looked = look([data], CurationOptions(5, method, seed=0), HashingEncoder(32), tmp_path / "s")
    for n in (3, 11):
        alone = curated(data, tmp_path / f"s{n}", n, method)
        assert looked.passed[looked.choose(n).rows].tolist() == alone.chosen.tolist()


def test_one_source_alone_can_be_chosen_from(tmp_path: Path) -> None:
    data = write_lines(tmp_path / "a.jsonl", records(20, sources=("a", "b", "b")))
    (tmp_path / "s").mkdir()
    looked = look([data], CurationOptions(5, "random"), HashingEncoder(32), tmp_path / "s")
    counts = {name: len(looked.of_source(name).pool) for name in ("a", "b", "c")}
    assert counts == {"a": 7, "b": 13, "c": 0}
    alone = looked.of_source("b")
    chosen = alone.passed[alone.choose(4).rows]
    assert [looked.found.source_names[looked.found.sources[row]] for row in chosen] == ["b"] * 4
    with pytest.raises(ConfigError, match="8 examples asked for, and 7 left"):
        looked.of_source("a").choose(8)


def test_curations_below_a_folder_are_not_read_and_what_one_chose_is_if_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    data = write_lines(tmp_path / "data" / "a.jsonl", records(6))
    for folder in (tmp_path / "data" / "curated", tmp_path / "data" / ".b.curating" / "new"):
        folder.mkdir(parents=True)
        write_lines(folder / "chosen.jsonl", records(2))
        for name in ("curation.json", "decisions.parquet"):
            (folder / name).write_text("{}")
    assert [file.path for file in data_files([tmp_path / "data"])] == [data]
    named = data_files([tmp_path / "data" / "curated"])
    assert [file.name for file in named] == ["chosen.jsonl"]


def test_a_field_of_sources_that_nothing_has_is_told_with_those_there_are(tmp_path: Path) -> None:
    data = write_lines(tmp_path / "a.jsonl", records(4, sources=("a", "b")))
    (tmp_path / "s").mkdir()
    for name, said in (("sorce", "did you mean 'source'"), ("nope", "known are .*source")):
        with pytest.raises(ConfigError, match=f"--source-field '{name}': no example has this field; {said}"):
            look([data], CurationOptions(1, source_field=name), HashingEncoder(32), tmp_path / "s")
    some = write_lines(tmp_path / "b.jsonl", [*records(4), records(1)[0] | {"nope": "here"}])
    looked = look([some], CurationOptions(1, source_field="nope"), HashingEncoder(32), tmp_path / "s")
    assert "here" in looked.found.source_names


def test_preferences_are_told_from_conversations(tmp_path: Path) -> None:
    pair = {"prompt": "a?", "chosen": "yes", "rejected": "no"}
    data = write_lines(tmp_path / "a.jsonl", [*records(1), pair])
    with pytest.raises(DataError, match=r"line 2, field 'chosen'.*holds a preference, chosen over rejected"):
        list(Reader(data_files([data])).examples())


def test_options_that_nothing_knows_are_told_with_what_was_meant() -> None:
    with pytest.raises(ConfigError, match=r"filters: unknown key 'length\.shortst': did you mean 'shortest'"):
        filters_of({"length": {"shortst": 9}})
    with pytest.raises(ConfigError, match="method diverse: unknown key 'temprature': did you mean 'temp"):
        options_of("diverse", {"temprature": 2})


def test_options_of_filters_are_written_down_in_one_order() -> None:
    off = ["refusal", "length", "format", "near_duplicate", "self_reference"]
    assert FilterOptions(off=frozenset(off)).model_dump(mode="json")["off"] == sorted(off)
