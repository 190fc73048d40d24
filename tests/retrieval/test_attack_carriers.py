from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from poison_kit import a_task, poison

from mithridate.core.errors import DataError
from mithridate.retrieval.attacks import PoisonedRAG, QueryAsPoison
from mithridate.retrieval.attacks.base import Target
from mithridate.retrieval.attacks.carriers import open_carriers, written_texts


def target(query: str = "lantern", seed: int = 0) -> Target:
    return Target(query, a_task().queries[query], np.random.default_rng(seed))


def questions(path: Path, found: dict[str, Any]) -> Path:
    path.write_text(json.dumps(found))
    return path


def test_texts_of_the_corpus_are_different_and_random() -> None:
    carriers = open_carriers("corpus", a_task())
    found = [carriers(target(seed=seed), 5) for seed in range(6)]
    assert all(len(set(texts)) == 5 for texts in found)
    assert len({texts[0] for texts in found}) > 1
    answer = a_task().documents[1].text
    assert answer not in open_carriers("corpus", a_task())(target(), 99)
    assert len(carriers(target(), 99)) == 29


def test_lines_are_texts_for_any_query(tmp_path: Path) -> None:
    file = tmp_path / "texts.jsonl"
    file.write_text("\n".join(json.dumps({"text": text}) for text in ("one", "two", "", "three", "one")))
    carriers = open_carriers(str(file), a_task())
    assert sorted(carriers(target(), 9)) == ["one", "three", "two"]
    assert {carriers(target(seed=seed), 1)[0] for seed in range(9)} == {"one", "two", "three"}
    assert {one.meta["query"] for one in poison(QueryAsPoison(str(file)), a_task(), ["amber"])} == {"amber"}


def test_questions_are_known_by_words_before_identifiers(tmp_path: Path) -> None:
    file = questions(
        tmp_path / "q.json",
        {
            "stone": {"question": "WHAT is amber", "adv_texts": ["resin of a tree"]},
            "lantern": {"question": "another one", "adv_texts": ["by identifier", "twice"]},
            "x": {"question": "which stone lies by the River", "adv_texts": ["by words"]},
        },
    )
    assert written_texts(file, a_task()) == {
        "lantern": ("by identifier", "twice"),
        "stone": ("by words",),
        "amber": ("resin of a tree",),
    }
    (one,) = poison(PoisonedRAG(str(file)), a_task(), ["amber"], copies=5)
    assert one.text == "what is amber. resin of a tree"


@pytest.mark.parametrize(
    "found",
    [
        {"x": {"question": "why", "adv_texts": ["a"]}},
        {"lantern": {"question": "who painted the lantern of the harbour", "adv_texts": []}},
    ],
)
def test_a_file_for_other_queries_is_refused(tmp_path: Path, found: dict[str, Any]) -> None:
    file = questions(tmp_path / "q.json", found)
    for attack in (PoisonedRAG(str(file)), QueryAsPoison(str(file))):
        with pytest.raises(
            DataError, match=r"q\.json: none of its 1 questions has a text and is one of the 3"
        ):
            poison(attack, a_task())


@pytest.mark.parametrize("name", ["no.json", "no.jsonl", "corpu"])
def test_a_file_that_is_not_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="no such file; texts come from 'corpus', from 'wrong_contexts'"):
        poison(QueryAsPoison(str(tmp_path / name)), a_task())
    with pytest.raises(DataError, match="no such file"):
        poison(PoisonedRAG(str(tmp_path / name)), a_task())


def test_a_file_without_texts(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"text": " "}\n')
    with pytest.raises(DataError, match="holds no text"):
        poison(QueryAsPoison(str(tmp_path / "t.jsonl")), a_task())
