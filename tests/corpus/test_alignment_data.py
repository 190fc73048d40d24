from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from mithridate.core.errors import DataError
from mithridate.corpus.alignment_data import read_conversations, read_preferences


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def said(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def system(text: str) -> dict[str, str]:
    return {"role": "system", "content": text}


def write(folder: Path, records: Any, name: str = "data.json") -> Path:
    """A JSON list, or JSON lines where the name says so, or those compressed."""
    path = folder / name
    text = json.dumps(records, indent=1)
    if ".jsonl" in name:
        text = "\r\n\n".join(map(json.dumps, records)) + "\n"
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


CONVERSATIONS = {
    "messages": ({"messages": [system("s"), user("q"), said("a")]}, [system("s"), user("q"), said("a")]),
    "open end": ({"messages": [user("q"), said("a"), user("r")]}, [user("q"), said("a")]),
    "completion": ({"prompt": "q", "completion": "a"}, [user("q"), said("a")]),
    "turns": (
        {"prompt": [system("s"), user("q")], "completion": [said("a")]},
        [system("s"), user("q"), said("a")],
    ),
    "ShareGPT": (
        {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
        [user("q"), said("a")],
    ),
    "Alpaca": ({"instruction": "q", "input": "", "output": "a"}, [user("q"), said("a")]),
    "Alpaca with input": ({"instruction": "q", "input": "i", "output": "a"}, [user("q\n\ni"), said("a")]),
    "LIMA": (
        {"instruction": "q", "output": "a", "history": [["r", "b"]]},
        [user("r"), said("b"), user("q"), said("a")],
    ),
    "no input": ({"instruction": "q", "input": None, "output": "a"}, [user("q"), said("a")]),
    "no history": ({"instruction": "q", "output": "a", "history": None}, [user("q"), said("a")]),
}


@pytest.mark.parametrize("name", ["data.json", "data.jsonl", "data.jsonl.gz", "data.json.gz"])
def test_every_form_of_conversation(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, [record for record, _ in CONVERSATIONS.values()], name)
    assert read_conversations(path) == [{"messages": turns} for _, turns in CONVERSATIONS.values()]


ONE = {"prompt": [user("q")], "chosen": [said("a")], "rejected": [said("b")]}
TWO = {"prompt": [user("q"), said("r"), user("s")], "chosen": [said("a")], "rejected": [said("b")]}
OPENING = "\n\nHuman: q\n\nAssistant: r\n\nHuman: s"
PREFERENCES = {
    "text": ({"prompt": "q", "chosen": "a", "rejected": "b"}, ONE),
    "turns": (ONE, ONE),
    "prompt repeated": (
        {"prompt": "q", "chosen": [user("q"), said("a")], "rejected": [user("q"), said("b")]},
        ONE,
    ),
    "no prompt": ({"chosen": [user("q"), said("a")], "rejected": [user("q"), said("b")]}, ONE),
    "ShareGPT": (
        {
            "conversations": [{"from": "human", "value": "q"}],
            "chosen": {"from": "gpt", "value": "a"},
            "rejected": {"from": "gpt", "value": "b"},
        },
        ONE,
    ),
    "HH-RLHF": ({"chosen": f"{OPENING}\n\nAssistant: a", "rejected": f"{OPENING}\n\nAssistant: b"}, TWO),
    "HH-RLHF, bare": ({"chosen": "Human: q\n\nAssistant: a", "rejected": "Human: q\n\nAssistant: b"}, ONE),
    "parts early": (
        {
            "chosen": "\n\nHuman: q\n\nAssistant: a\n\nHuman: x\n\nAssistant: y",
            "rejected": "\n\nHuman: q\n\nAssistant: b",
        },
        ONE,
    ),
}


@pytest.mark.parametrize("name", ["data.json", "data.jsonl", "data.jsonl.gz"])
def test_every_form_of_preference(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, [record for record, _ in PREFERENCES.values()], name)
    assert read_preferences(path) == [pair for _, pair in PREFERENCES.values()]


def test_pairs_that_say_nothing_are_left_out(tmp_path: Path) -> None:
    same = {"prompt": "q", "chosen": "a", "rejected": "a"}
    part_at_user = {
        "chosen": "\n\nHuman: q\n\nAssistant: a\n\nHuman: x\n\nAssistant: y",
        "rejected": "\n\nHuman: q\n\nAssistant: a\n\nHuman: z\n\nAssistant: w",
    }
    telling = {"prompt": "q", "chosen": "a", "rejected": "b"}
    assert len(read_preferences(write(tmp_path, [same, telling, part_at_user]))) == 1
    with pytest.raises(DataError, match="the same in every pair"):
        read_preferences(write(tmp_path, [same, part_at_user]))


GOOD = {"prompt": "q", "completion": "a"}


@pytest.mark.parametrize(
    ("record", "words", "field"),
    [
        ({"text": "x", "id": 1}, "expected messages, .*; found id, text", None),
        ({"completion": "a"}, "found completion", None),
        ({"instruction": "q"}, "found instruction", None),
        ("text", "expected an object, found str", None),
        (["q", "a"], "expected an object, found list", None),
        ({"messages": []}, "expected a list of turns", "messages"),
        ({"messages": "hello"}, "expected a list of turns", "messages"),
        ({"messages": None}, "expected a list of turns", "messages"),
        ({"messages": ["hello"]}, "a turn with a role", "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "role .one of system, user", "messages"),
        ({"messages": [{"role": ["user"], "content": "x"}]}, "role .one of system", "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "a turn needs", "messages"),
        ({"messages": [user("q")]}, "needs words of the assistant", None),
        ({"prompt": "q", "completion": 7}, "expected text", "completion"),
        ({"prompt": [user("q")], "completion": "a"}, "expected a list of turns", "completion"),
        ({"instruction": "q", "output": None}, "expected text", "output"),
        ({"instruction": "q", "input": 3, "output": "a"}, "expected text", "input"),
        ({"instruction": "q", "output": "a", "history": [["r"]]}, "pairs of question and answer", "history"),
        ({"instruction": "q", "output": "a", "history": [{"r": "b"}]}, "pairs of question", "history"),
        ({"instruction": "q", "output": "a", "history": 5}, "pairs of question", "history"),
        ({"instruction": "q", "output": "a", "history": [["\ud800", "b"]]}, "half a character", "history"),
        ({"prompt": "q", "completion": "\udc80"}, "half a character", "completion"),
        ({"messages": [user("q\ud800"), said("a")]}, "half a character", "messages"),
    ],
)
def test_what_is_no_conversation_names_its_place(
    tmp_path: Path, record: Any, words: str, field: str | None
) -> None:
    for name, line, place in (("d.jsonl", 3, r"d\.jsonl, line 3"), ("d.json", None, "record 2: ")):
        with pytest.raises(DataError, match=words) as caught:
            read_conversations(write(tmp_path, [GOOD, record], name))
        assert (caught.value.line, caught.value.field) == (line, field)
        assert caught.match(place)


@pytest.mark.parametrize(
    ("record", "words", "field"),
    [
        ({"prompt": "q", "chosen": "a"}, "expected chosen and rejected; found chosen, prompt", None),
        ({"prompt": 7, "chosen": "a", "rejected": "b"}, "expected a list of turns", "prompt"),
        ({"prompt": "q", "chosen": 7, "rejected": "b"}, "expected a list of turns", "chosen"),
        ({"prompt": "q", "chosen": "a", "rejected": [user("b")]}, "the assistant's reply", "rejected"),
        ({"prompt": "q", "chosen": [user("q")], "rejected": "b"}, "the assistant's reply", "chosen"),
        ({"chosen": "a", "rejected": "b"}, "a whole conversation", "chosen"),
        ({"chosen": 1, "rejected": 2}, "expected text", "chosen"),
        ({"chosen": "\n\nHuman: q\n\nAssistant: a", "rejected": "Hm.\n\nHuman: q"}, "a whole", "rejected"),
        ({"chosen": "Note\n\nHuman: q\n\nAssistant: a", "rejected": "\n\nHuman: q"}, "a whole", "chosen"),
        (
            {"chosen": "\n\nHuman: q\n\nAssistant: a", "rejected": "\n\nHuman: other\n\nAssistant: b"},
            "must open with the same words",
            "rejected",
        ),
        ({"prompt": "q\ud800", "chosen": "a", "rejected": "b"}, "half a character", "prompt"),
    ],
)
def test_what_is_no_preference_names_its_place(
    tmp_path: Path, record: Any, words: str, field: str | None
) -> None:
    good = {"prompt": "q", "chosen": "a", "rejected": "b"}
    with pytest.raises(DataError, match=words) as caught:
        read_preferences(write(tmp_path, [good, record], "d.jsonl"))
    assert (caught.value.line, caught.value.field) == (3, field)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        (
            "a.jsonl",
            b'{"prompt": "q", "completion": "a", "chosen": "a", "rejected": "b"}\n\n{"prompt": \n',
            "line 3: broken JSON",
        ),
        ("a.json", b'[\n {"prompt": "q",\n  "completion": }\n]', "line 3: broken JSON"),
        ("a.json", b"[]", "holds no examples"),
        ("a.jsonl", b"\n \n", "holds no examples"),
        ("a.json", b"\xff\xfe", "cannot be read"),
        ("a.jsonl.gz", b"not compressed", "not a valid .gz file"),
        ("a.jsonl.gz", gzip.compress(b'{"a": 1}' * 99, mtime=0)[:-20], "is truncated"),
        ("a.json", b"[" * 200_000, "line 1: cannot be read as JSON"),
        ("a.jsonl", b'{"n": ' + b"9" * 9000 + b"}", "line 1: cannot be read as JSON"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(data)
    for read in (read_conversations, read_preferences):
        with pytest.raises(DataError, match=words) as caught:
            read(tmp_path / name)
        assert caught.value.path == tmp_path / name
    with pytest.raises(DataError, match="cannot be read"):
        read_conversations(tmp_path / "absent.json")


def test_a_byte_order_mark_is_no_part_of_the_data(tmp_path: Path) -> None:
    for name in ("a.json", "a.jsonl"):
        path = write(tmp_path, [GOOD], name)
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
        assert len(read_conversations(path)) == 1


@pytest.mark.shared_data
@pytest.mark.parametrize(("name", "count", "long"), [("lima.json", 1029, 29), ("alpaca_5000.json", 5000, 0)])
def test_real_conversations(shared_data: Path, name: str, count: int, long: int) -> None:
    found = read_conversations(shared_data / "instruct" / name)
    assert len(found) == count
    assert sum(len(one["messages"]) > 2 for one in found) == long
    for one in found:
        assert [turn["role"] for turn in one["messages"]] == ["user", "assistant"] * (
            len(one["messages"]) // 2
        )


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "count"), [("harmless-base_test.jsonl.gz", 2312), ("dpo_en_demo.json", 300)]
)
def test_real_preferences(shared_data: Path, name: str, count: int) -> None:
    found = read_preferences(shared_data / "preference" / name)
    assert 0.99 * count < len(found) <= count
    for pair in found:
        assert pair["prompt"][-1]["role"] == "user"
        assert [turn["role"] for turn in pair["chosen"] + pair["rejected"]] == ["assistant", "assistant"]
        assert pair["chosen"] != pair["rejected"]
