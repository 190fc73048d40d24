from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
from adapter_kit import ENCODER, QUESTION, TEXTS, findings, guard

from mithridate.core.errors import MissingExtraError, QueryError
from mithridate.core.types import Document
from mithridate.retrieval.adapters.answers import Given, legible, place, rerank, with_findings
from mithridate.retrieval.base import Hit, Query, Reason
from mithridate.retrieval.encodings import Encodings
from mithridate.retrieval.guard import Answer, Guard
from mithridate.retrieval.stores import StoreIndex

ADAPTERS = {
    "langchain": ("langchain_core.documents", "langchain-core", "langchain"),
    "llama_index": ("llama_index.core.schema", "llama-index-core", "llama-index"),
    "haystack": ("haystack", "haystack-ai", "haystack"),
}
GIVEN = [Given(text, name) for name, text in TEXTS.items()]


@dataclass(frozen=True)
class Sloppy:
    """A plug-in's defence, whose evidence is no JSON and holds half a character."""

    name: ClassVar[str] = "sloppy"

    def breadth(self, top_k: int) -> int:
        return top_k

    def rerank(self, query: Query, hits: Sequence[Hit], top_k: int, encodings: Encodings) -> list[Hit]:
        evidence = {"vector": {1, 2}.__class__, "text": "half \ud800", "pair": (1, 2)}
        reason = Reason(self.name, suspicious=True, says="half \udc00", evidence=evidence)
        return [Hit(hit.document, hit.score, (reason,)) for hit in hits]


def test_documents_are_found_again_by_their_place() -> None:
    answer = rerank(guard(), QUESTION, GIVEN, 4)
    assert [GIVEN[place(hit)].id for hit in answer.hits] == [hit.document.id for hit in answer.hits]
    assert [GIVEN[place(hit)].text for hit in answer.hits] == [hit.document.text for hit in answer.hits]


def test_documents_without_an_identifier_or_with_the_same_are_told_apart() -> None:
    given = [Given("river stone"), Given("amber", "x"), Given("copper", "x")]
    answer = rerank(Guard([], ENCODER), "copper", given, None)
    assert sorted(place(hit) for hit in answer.hits) == [0, 1, 2]
    assert [hit.document.id for hit in answer.hits] == ["0", "x", "x"]


def test_all_stay_if_no_number_is_given_and_a_number_is_kept_to() -> None:
    assert len(rerank(guard(), QUESTION, GIVEN, None).hits) == len(GIVEN)
    assert len(rerank(guard(), QUESTION, GIVEN, 2).hits) == 2


def test_scores_count_only_if_all_documents_have_one() -> None:
    some = [Given(one.text, one.id, 9.0) for one in GIVEN]
    assert {hit.score for hit in rerank(guard("observe"), QUESTION, some, None).hits} == {9.0}
    for missing in (None, float("nan"), float("inf")):
        mixed = [*some[1:], Given(GIVEN[0].text, GIVEN[0].id, missing)]
        scores = [hit.score for hit in rerank(guard("observe"), QUESTION, mixed, None).hits]
        assert max(scores) < 1


def test_no_document_is_an_empty_answer_and_no_error() -> None:
    answer = rerank(guard(), QUESTION, [], None)
    assert answer.hits == ()
    assert answer.warnings == ("nothing was found",)


def test_an_empty_query_and_no_results_wanted_are_refused() -> None:
    with pytest.raises(QueryError, match="the query is empty"):
        rerank(guard(), " ", GIVEN, None)
    with pytest.raises(QueryError, match="top_k is 0"):
        rerank(guard(), QUESTION, GIVEN, 0)


def test_findings_tell_reasons_score_and_warnings_in_plain_json() -> None:
    answer = rerank(guard("drop", floor=5), QUESTION, GIVEN, None)
    found = findings(with_findings({"source": "x"}, answer.hits[-1], answer))
    assert found["suspicious"] is True
    assert [reason["defense"] for reason in found["reasons"]] == ["ragmask", "consensus"]
    assert found["reasons"][0]["evidence"]["carriers"]
    assert found["warnings"] == list(answer.warnings) != []
    assert found["score"] == answer.hits[-1].score


def test_evidence_of_a_plug_in_becomes_plain_json() -> None:
    answer = rerank(Guard([Sloppy()], ENCODER), QUESTION, GIVEN, 1)
    (reason,) = findings(with_findings({}, answer.hits[0], answer))["reasons"]
    assert reason["says"] == "half \ufffd"
    assert reason["evidence"] == {"vector": "<class 'set'>", "text": "half \ufffd", "pair": [1, 2]}


def test_what_was_planted_in_the_metadata_does_not_pass_for_a_finding() -> None:
    answer = Answer((Hit(Document("a", "b"), 1.0, (Reason("test", suspicious=True, says="because"),)),))
    metadata = {"mithridate": {"suspicious": False, "reasons": []}, "kept": 1}
    found = with_findings(metadata, answer.hits[0], answer)
    assert found["kept"] == 1
    assert found["mithridate"]["suspicious"] is True
    assert metadata["mithridate"] == {"suspicious": False, "reasons": []}


def test_halves_of_characters_are_replaced() -> None:
    found = legible(Document("a\ud800", "b\udfff", {"c\ud800": "d\ud800"}))
    assert found == Document("a\ufffd", "b\ufffd", {"c\ufffd": "d\ufffd"})


@pytest.mark.parametrize("name", ADAPTERS)
def test_without_its_framework_an_adaptor_names_the_command(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, package, extra = ADAPTERS[name]
    monkeypatch.delitem(sys.modules, f"mithridate.retrieval.adapters.{name}", raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError) as raised:
        importlib.import_module(f"mithridate.retrieval.adapters.{name}")
    assert f"the package {package}" in str(raised.value)
    assert f"pip install 'mithridate[{extra}]'" in str(raised.value)


def test_the_guard_loads_no_framework() -> None:
    code = (
        "import sys, mithridate.retrieval as r, mithridate.retrieval.adapters.settings\n"
        "[getattr(r, name) for name in r.__all__]\n"
        "print(sorted({'langchain_core', 'llama_index', 'haystack', 'opentelemetry'} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert run.stdout.strip() == "[]"


def test_adaptors_are_short() -> None:
    for name in ADAPTERS:
        path = Path(sys.modules[StoreIndex.__module__].__file__ or "").parents[1] / "adapters" / f"{name}.py"
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 120
