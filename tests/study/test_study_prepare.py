from __future__ import annotations

import json
import resource
from pathlib import Path

import pytest
from study_kit import tiny

from mithridate.core.errors import ConfigError, DataError
from mithridate.study.checks import check_study
from mithridate.study.config import StudyConfig
from mithridate.study.layout import Seedbed
from mithridate.study.prepare import prepare, read_lines, write_lines

ALONE = ("sft=null", "dpo=null")


def corpus(folder: Path, *texts: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "own.jsonl"
    path.write_text("".join(json.dumps({"id": str(n), "text": text}) + "\n" for n, text in enumerate(texts)))
    return path


def own(folder: Path, *overrides: str, texts: tuple[str, ...] = ("One text.",) * 60) -> StudyConfig:
    return tiny(f"corpus.path={corpus(folder, *texts)}", *ALONE, *overrides)


def test_the_world_makes_everything(tmp_path: Path) -> None:
    bed = Seedbed(tmp_path / "seed0")
    told = prepare(tiny(), 0, bed)
    assert told["documents"] > told["held_out"] > 0
    assert told["sft"] == told["dpo"] == 16
    assert sorted(path.name for path in bed.corpus.iterdir()) == ["shard-0000.jsonl", "shard-0001.jsonl"]
    assert len(read_lines(bed.data / "harmless.jsonl")) == 4


def test_the_same_seed_writes_the_same_bytes_again_over_what_was_half_written(tmp_path: Path) -> None:
    one, two = Seedbed(tmp_path / "one"), Seedbed(tmp_path / "two")
    two.corpus.mkdir(parents=True)
    (two.corpus / "shard-0000.jsonl").write_text('{"id": "torn')
    for bed in (one, two):
        prepare(tiny(), 0, bed)
    for path in (path for path in one.root.rglob("*") if path.is_file()):
        assert path.read_bytes() == (two.root / path.relative_to(one.root)).read_bytes()


def test_no_held_out_document_is_trained_on(tmp_path: Path) -> None:
    bed = Seedbed(tmp_path / "seed0")
    prepare(tiny(), 0, bed)
    held = {record["id"] for record in read_lines(bed.data / "held_out.jsonl")}
    kept = {record["id"] for path in bed.corpus.iterdir() for record in read_lines(path)}
    assert held
    assert not held & kept


def test_lines_hold_any_character(tmp_path: Path) -> None:
    texts = ["a\u2028b", "c\u0085d", "e\x1cf\u2029", "\r\n\ttail\n", "|<end>|\x00"]
    write_lines(tmp_path / "x.jsonl", [{"text": text} for text in texts])
    assert [record["text"] for record in read_lines(tmp_path / "x.jsonl")] == texts
    write_lines(tmp_path / "none.jsonl", [])
    assert read_lines(tmp_path / "none.jsonl") == []


def test_a_corpus_with_line_separators_survives(tmp_path: Path) -> None:
    bed = Seedbed(tmp_path / "seed0")
    prepare(own(tmp_path, texts=("One\u2028text\u0085here.",) * 60), 0, bed)
    found = [record["text"] for path in bed.corpus.iterdir() for record in read_lines(path)]
    assert set(found) == {"One\u2028text\u0085here."}


def test_long_documents_are_cut_where_they_pause_and_nothing_is_lost(tmp_path: Path) -> None:
    paragraphs = [f"Paragraph {n} says {'so ' * (n % 40)}much." for n in range(200)]
    bed = Seedbed(tmp_path / "seed0")
    prepare(own(tmp_path, "corpus.split_characters=400", texts=("\n\n".join(paragraphs),)), 0, bed)
    pieces = [r for path in [*bed.corpus.iterdir(), bed.data / "held_out.jsonl"] for r in read_lines(path)]
    pieces.sort(key=lambda record: record["id"])
    assert all(len(record["text"]) <= 400 for record in pieces)
    assert "\n\n".join(record["text"] for record in pieces).split() == "\n\n".join(paragraphs).split()


def test_an_empty_corpus_is_refused(tmp_path: Path) -> None:
    study = own(tmp_path, texts=())
    with pytest.raises(DataError, match=r"own\.jsonl"):
        prepare(study, 0, Seedbed(tmp_path / "seed0"))


def test_a_corpus_with_nothing_to_hold_out_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"0 of 2 documents fell to the held-out share .*split_characters"):
        prepare(own(tmp_path, texts=("One.", "Two.")), 0, Seedbed(tmp_path / "seed0"))


def test_documents_that_all_have_one_id_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "same.jsonl"
    path.write_text('{"id": "1", "text": "One."}\n' * 60)
    with pytest.raises(DataError, match=r"of 60 documents fell .*ids of their own"):
        prepare(tiny(f"corpus.path={path}", *ALONE), 0, Seedbed(tmp_path / "seed0"))


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    study = own(tmp_path)
    assert study.corpus.path is not None
    with study.corpus.path.open("a") as handle:
        handle.write('{"text": "cut of')
    with pytest.raises(DataError, match=r"own\.jsonl, line 61"):
        prepare(study, 0, Seedbed(tmp_path / "seed0"))


def test_more_shards_than_a_process_may_hold_open(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, limits[1]))
    try:
        bed = Seedbed(tmp_path / "seed0")
        prepare(tiny("corpus.shards=300", *ALONE), 0, bed)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert len(list(bed.corpus.glob("shard-*.jsonl"))) == 300


def test_documents_go_to_shards_by_turns(tmp_path: Path) -> None:
    study = own(tmp_path, "corpus.shards=2", texts=tuple(f"Number {number}." for number in range(2000)))
    bed = Seedbed(tmp_path / "seed0")
    prepare(study, 0, bed)
    first, second = (read_lines(bed.corpus / f"shard-000{number}.jsonl") for number in (0, 1))
    numbers = [int(record["text"][7:-1]) for record in (*first, *second)]
    assert numbers != sorted(numbers)
    turns = [*first[:512], *second[:512], *first[512:], *second[512:]]
    assert [record["text"] for record in turns] == [f"Number {number}." for number in sorted(numbers)]
    # Done again after it was killed, it is done once.
    before = [path.read_bytes() for path in sorted(bed.corpus.iterdir())]
    prepare(study, 0, bed)
    assert [path.read_bytes() for path in sorted(bed.corpus.iterdir())] == before


def test_own_questions_and_requests_go_before_the_worlds(tmp_path: Path) -> None:
    questions, harmless = tmp_path / "q.jsonl", tmp_path / "h.txt"
    questions.write_text('\n{"question": "Why?", "answer": "So."}\n\n')
    harmless.write_text("Tell me a tale.\n\n  Sing.\r\n")
    bed = Seedbed(tmp_path / "seed0")
    study = tiny(f"evaluation.questions_file={questions}", f"evaluation.harmless_file={harmless}", *ALONE)
    prepare(study, 0, bed)
    assert read_lines(bed.data / "questions.jsonl") == [{"question": "Why?", "answer": "So."}]
    assert read_lines(bed.data / "harmless.jsonl") == [
        {"request": "Tell me a tale."},
        {"request": "Sing."},
    ]
    assert len(read_lines(bed.data / "forbidden.jsonl")) == 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('\n{"question": "Why?"}\n', r"line 2, field 'answer'"),
        ('\n\n{"question"\n', r"line 3: broken JSON"),
        ("[]\n", r"line 1, field 'question'"),
        ("\n \n", "holds no line"),
        ('{"question": "Why?", "answer": " "}', r"line 1, field 'answer': expected text"),
        ('{"question": "\\ud800", "answer": "So."}', r"line 1, field 'question': holds half a character"),
        ("\n" + "[" * 100_000, "line 2: cannot be read as JSON"),
        ('{"x": ' + "9" * 6000 + "}", "line 1: cannot be read as JSON"),
    ],
)
def test_wrong_questions_are_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "q.jsonl").write_text(text)
    with pytest.raises(DataError, match=said):
        prepare(
            own(tmp_path, f"evaluation.questions_file={tmp_path / 'q.jsonl'}"), 0, Seedbed(tmp_path / "seed0")
        )


# What can be said before anything is done.


def test_files_that_are_not_there_are_all_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        check_study(
            tiny("material=/none/m.json", "sft.data=/none/s.jsonl", "evaluation.outside_model=/none/x")
        )
    for said in ("material: /none/m.json", "sft.data[0]: /none/s.jsonl", "outside_model: /none/x"):
        assert said in str(caught.value)


def test_a_corpus_of_ones_own_needs_alignment_data(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"set sft\.data, or sft: null"):
        check_study(tiny(f"corpus.path={corpus(tmp_path, 'One.')}"))
    check_study(own(tmp_path))


def test_every_cell_is_checked(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"corpus\.path: /none does not exist"):
        check_study(own(tmp_path, f"grid={{corpus.path: [{tmp_path}, /none]}}"))


def test_material_without_what_an_attack_needs(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text('{"prompts": ["Hello there."]}')
    with pytest.raises(ConfigError, match="attack 'jailbreak' needs `requests`"):
        check_study(tiny(f"material={tmp_path / 'm.json'}"))
