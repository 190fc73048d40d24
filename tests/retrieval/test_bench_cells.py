from __future__ import annotations

from bench_kit import bench_task, benched

from mithridate.core.types import Document
from mithridate.retrieval.measuring.cells import PlantedTexts


def test_a_corpus_may_hold_what_poison_is_called_by() -> None:
    task = bench_task(2).with_documents([Document("poison:query_as_poison:q-amber:0", "pepper and willow")])
    result = benched(task, attacks=("query_as_poison",), copies=(2,), defenses=())
    assert result.attacked[0].planted == 4
    assert [example.document for example in result.attacks[0].examples] == [
        "poison:query_as_poison:q-amber:0:1",
        "poison:query_as_poison:q-barley:0",
    ]


def test_numbering_on_passes_over_what_else_is_planted() -> None:
    planted = [Document(name, name, {"query": "q"}) for name in ("p:q", "p:q:1", "p:q:3")]
    found = PlantedTexts.of(planted, "an attack", {"p:q", "p:q:2"}).documents
    assert [one.id for one in found] == ["p:q:4", "p:q:1", "p:q:3"]
