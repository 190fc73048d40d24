"""What documents show without a query: near-copies of each other, and questions at their beginning."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from mithridate.core.errors import shown
from mithridate.core.types import Document
from mithridate.retrieval.base import Encoder, TextRole, Vectors
from mithridate.retrieval.encoders.batches import encode_in_batches
from mithridate.retrieval.scan_records import COPIES, QUESTION, UNRELATED, Finding

_ROWS_AT_ONCE = 1024
_COPIES_SHOWN = 5
_LONGEST_QUESTION = 300
_FEWEST_WORDS = 3
_WORDS_OF_REST = 8
_SENTENCE = re.compile(r"\s*(.+?[.?!])(?:\s+|$)", re.DOTALL)
_ASKING = re.compile(
    r"(who|whom|whose|what|when|where|which|why|how|is|are|was|were|do|does|did|can|could|should|will|would|"
    r"has|have)\b",
    re.IGNORECASE,
)


def near_copies(documents: Sequence[Document], whole: Vectors, similarity: float) -> list[Finding]:
    """A finding for each document with another at a cosine of `similarity` or more, near-copies of
    near-copies taken together; `whole` are unit vectors of shape (n, dimension)."""
    groups = _groups(whole, similarity)
    members: dict[int, list[int]] = {}
    for row, group in enumerate(groups):
        members.setdefault(int(group), []).append(row)
    found = []
    for row, group in enumerate(groups):
        others = [documents[other].id for other in members[int(group)] if other != row]
        if others:
            found.append(
                Finding(
                    rule=COPIES.id,
                    level=COPIES.level,
                    document=documents[row].id,
                    message=f"{len(others)} other documents say almost the same, such as {shown(others[0])}",
                    evidence={"copies": len(others) + 1, "others": list(others[:_COPIES_SHOWN])},
                )
            )
    return found


def _groups(whole: Vectors, similarity: float) -> NDArray[np.int32]:
    """The number of each row's group, shape (n,); all pairs are looked at, a block of rows at a time."""
    lefts, rights = [], []
    for start in range(0, len(whole), _ROWS_AT_ONCE):
        block = np.asarray(whole[start : start + _ROWS_AT_ONCE])
        left, right = np.nonzero(block @ np.asarray(whole[start:]).T >= similarity)
        lefts.append(left + start)
        rights.append(right + start)
    left, right = np.concatenate(lefts), np.concatenate(rights)
    pairs = coo_matrix((np.ones(len(left), np.bool_), (left, right)), shape=(len(whole), len(whole)))
    groups: NDArray[np.int32] = connected_components(pairs, directed=False)[1]
    return groups


def leading_question(text: str) -> tuple[str, str] | None:
    """The question that `text` begins with and what follows it, or None if it begins with none.

    A question is a first sentence that ends in a question mark, or begins as questions do and ends in a full
    stop (poison is often the query, a full stop, and a text); with three words or more.
    """
    found = _SENTENCE.match(text[: _LONGEST_QUESTION + 1])
    if not found:
        return None
    sentence = found.group(1).strip()
    asks = sentence.endswith("?") or (sentence.endswith(".") and _ASKING.match(sentence))
    rest = text[found.end() :].strip()
    if not asks or len(sentence.split()) < _FEWEST_WORDS or len(rest.split()) < _WORDS_OF_REST:
        return None
    return sentence, rest


def questions(
    documents: Sequence[Document], whole: Vectors, encoder: Encoder, nearer_share: float
) -> list[Finding]:
    """A finding for each document that begins with a question, and one more where that is unlike the rest.

    It is if more than `nearer_share` of the other documents are nearer to the question than the document's
    own rest is. No threshold on a cosine is needed, which would be another for every encoder.
    """
    asked = {row: split for row, one in enumerate(documents) if (split := leading_question(one.text))}
    if not asked:
        return []
    question_vectors = encode_in_batches(encoder, [q for q, _ in asked.values()], role=TextRole.QUERY)
    rest_vectors = encode_in_batches(encoder, [rest for _, rest in asked.values()])
    found = []
    for (row, (question, _)), asking, rest in zip(asked.items(), question_vectors, rest_vectors, strict=True):
        own = float(rest @ asking)
        others = np.delete(np.asarray(whole) @ asking, row)
        nearer = float((others > own).mean()) if len(others) else 0.0
        begins = f"begins with the question {shown(question, 100)}"
        evidence: dict[str, JsonValue] = {"question": question, "similarity": own, "nearer": nearer}
        rules = [(QUESTION, begins)]
        if nearer > nearer_share:
            says = f"{begins}; {nearer:.0%} of the other documents are nearer to it than what follows it here"
            rules.append((UNRELATED, says))
        for rule, message in rules:
            identifier, level = documents[row].id, rule.level
            found.append(
                Finding(rule=rule.id, level=level, document=identifier, message=message, evidence=evidence)
            )
    return found
