"""What documents show without a query: near-copies of each other, and questions at their beginning."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from mithridate.core.errors import shown
from mithridate.core.seeds import rng_for
from mithridate.core.types import Document
from mithridate.core.wording import counted
from mithridate.retrieval.base import Encoder, TextRole, Vectors
from mithridate.retrieval.encoders.batches import encode_in_batches
from mithridate.retrieval.scan_records import COPIES, QUESTION, UNRELATED, Finding

_ROWS_AT_ONCE = 512
_COPIES_SHOWN = 5
_COMPARED = 16_384
_ROUNDING = 1e-6
"""Similarities that differ by no more are equal: a matrix product rounds a row by what stands beside it."""
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
    near-copies taken together; `whole` are unit vectors of shape (n, dimension).

    Memory grows with n and not with the number of pairs, of which planted copies make many.
    """
    groups = _groups(whole, similarity).tolist()
    sizes = Counter(groups)
    first: dict[int, list[int]] = {}
    for row, group in enumerate(groups):
        # One more than is shown: a document is not among the others of itself.
        if len(known := first.setdefault(group, [])) <= _COPIES_SHOWN:
            known.append(row)
    found = []
    for row, group in enumerate(groups):
        if copies := sizes[group] - 1:
            others = [documents[other].id for other in first[group] if other != row][:_COPIES_SHOWN]
            say = "other document says", "other documents say"
            message = f"{counted(copies, *say)} almost the same, such as {shown(others[0])}"
            evidence: dict[str, JsonValue] = {"copies": copies + 1, "others": list(others)}
            found.append(COPIES.finding(row, documents[row].id, message, evidence))
    return found


def _groups(whole: Vectors, similarity: float) -> NDArray[np.intp]:
    """The number of each row's group, shape (n,).

    Equal vectors count as one. All pairs of the others are looked at, a tile at a time; a tile whose rows
    are of one group already says nothing new.
    """
    firsts, copied = _distinct(whole)
    groups = np.arange(len(firsts))
    for start in range(0, len(firsts), _ROWS_AT_ONCE):
        left = slice(start, start + _ROWS_AT_ONCE)
        rows = np.asarray(whole[firsts[left]])
        for other in range(start, len(firsts), _ROWS_AT_ONCE):
            right = slice(other, other + _ROWS_AT_ONCE)
            named, place = np.unique(np.concatenate([groups[left], groups[right]]), return_inverse=True)
            if len(named) == 1:
                continue
            near = np.nonzero(rows @ np.asarray(whole[firsts[right]]).T >= similarity)
            ends = place[: len(rows)][near[0]], place[len(rows) :][near[1]]
            pairs = coo_matrix((np.ones(len(near[0]), np.bool_), ends), shape=(len(named), len(named)))
            count, joined = connected_components(pairs, directed=False)
            if count < len(named):
                _join(groups, named, joined)
    return groups[copied]


def _join(groups: NDArray[np.intp], named: NDArray[np.intp], joined: NDArray[np.int32]) -> None:
    """Give the groups `named` that are `joined` the number of the first of them."""
    _, first = np.unique(joined, return_index=True)
    new = np.arange(len(groups))
    new[named] = named[first[joined]]
    groups[:] = new[groups]


def _distinct(whole: Vectors) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The first row of each distinct vector, and for each row which of these it equals."""
    firsts: list[int] = []
    seen: dict[bytes, int] = {}
    copied = np.empty(len(whole), np.intp)
    for row, vector in enumerate(whole):
        place = seen.setdefault(hashlib.blake2b(vector.tobytes(), digest_size=32).digest(), len(firsts))
        if place == len(firsts):
            firsts.append(row)
        copied[row] = place
    return np.array(firsts, np.intp), copied


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
    own rest is. No threshold on a cosine is needed, which would be another for every encoder. Of more than
    16,384 documents, so many are drawn to compare with, the same for all questions: the share is then known
    to 0.4 points (a standard error, at most), and time grows with the questions alone.
    """
    asked = {row: split for row, one in enumerate(documents) if (split := leading_question(one.text))}
    if not asked:
        return []
    asking = encode_in_batches(encoder, [question for question, _ in asked.values()], role=TextRole.QUERY)
    rests = encode_in_batches(encoder, [rest for _, rest in asked.values()])
    own = np.multiply(rests, asking, dtype=np.float64).sum(axis=1)
    shares = _nearer(whole, asking, own, list(asked))
    found = []
    for (row, (question, _)), similarity, nearer in zip(
        asked.items(), own.tolist(), shares.tolist(), strict=True
    ):
        begins = f"begins with the question {shown(question, 100)}"
        evidence: dict[str, JsonValue] = {"question": question, "similarity": similarity, "nearer": nearer}
        found.append(QUESTION.finding(row, documents[row].id, begins, evidence))
        if nearer > nearer_share:
            says = f"{begins}; {nearer:.0%} of the other documents are nearer to it than what follows it here"
            found.append(UNRELATED.finding(row, documents[row].id, says, evidence))
    return found


def _nearer(
    whole: Vectors, asking: Vectors, own: NDArray[np.float64], rows: Sequence[int]
) -> NDArray[np.float64]:
    """For each question, the share of documents other than its own that are nearer than `own`, shape (q,).

    `asking` are the questions' vectors, shape (q, dimension); `rows` the documents that they begin.
    """
    drawn = sorted(rng_for(0, "scan", "questions").sample(range(len(whole)), min(len(whole), _COMPARED)))
    compared, least = np.asarray(whole[drawn]), (own + _ROUNDING)[:, np.newaxis]
    place = {row: at for at, row in enumerate(drawn)}
    shares = np.zeros(len(asking))
    for start in range(0, len(asking), _ROWS_AT_ONCE):
        tile = slice(start, start + _ROWS_AT_ONCE)
        nearer = asking[tile] @ compared.T > least[tile]
        itself = [(i, place[row]) for i, row in enumerate(rows[tile]) if row in place]
        others = np.full(len(nearer), len(drawn))
        for i, at in itself:
            nearer[i, at] = False
            others[i] -= 1
        shares[tile] = nearer.sum(axis=1) / np.maximum(others, 1)
    return shares
