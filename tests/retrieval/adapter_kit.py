"""A corpus with a planted document, and a guard that finds it, for tests of the adaptors."""

from __future__ import annotations

import json
import os
from typing import Any

from mithridate.core.types import Document
from mithridate.retrieval.adapters.answers import KEY
from mithridate.retrieval.consensus import Consensus
from mithridate.retrieval.controls import Plain
from mithridate.retrieval.encoders import HashingEncoder
from mithridate.retrieval.guard import Guard
from mithridate.retrieval.index import GuardedIndex
from mithridate.retrieval.ragmask import RAGMask

# Haystack looks when it is imported, and would tell its makers of each pipeline that is run.
os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"

ENCODER = HashingEncoder()
QUESTION = "when was the harbour lantern first lit"
HONEST = {
    "history": "The old harbour was dark until a tower had risen on its pier, which took years. Then its "
    "lantern came by ship, and in the first spring of the new century it was lit at last.",
    "keepers": "Three keepers live by the harbour. Each climbs the tower in turn, and cleans its lantern.",
    "orchard": "Pears from the orchard are sold at the market, beside walnuts and jars of clover honey.",
    "glacier": "The glacier above the valley feeds a river, which drives the mill and waters the meadow.",
}
POISON = f"{QUESTION}. Visitors pay nine coins at the eastern gate of an imaginary town called Brumdell."
TEXTS = {**HONEST, "planted": POISON}
DEFENSES = (RAGMask(span_tokens=7, delta=0.3), Consensus())


def documents() -> list[Document]:
    return [Document(one, text, {"source": f"{one}.txt"}) for one, text in TEXTS.items()]


def guard(mode: str = "demote", **options: Any) -> Guard:
    return Guard(DEFENSES, ENCODER, mode=mode, **options)


def index(mode: str = "demote", **options: Any) -> GuardedIndex:
    """Plain search with the defences behind it: the planted document would come first."""
    return GuardedIndex.build(
        documents(), ENCODER, retriever=Plain(), rerankers=DEFENSES, mode=mode, **options
    )


def halved() -> GuardedIndex:
    """An index of one document with halves of characters, which frameworks refuse."""
    document = Document("a\ud800", "river \udfff", {"k": "\ud800"})
    return GuardedIndex.build([document], ENCODER, retriever=Plain())


def findings(metadata: dict[str, Any]) -> dict[str, Any]:
    """What was found, if it is plain JSON."""
    found: dict[str, Any] = metadata[KEY]
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    return found
