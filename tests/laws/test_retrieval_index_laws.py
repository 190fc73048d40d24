"""What must hold for every corpus and every order of changes to an index, and for whatever is read."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from index_kit import WORDS

from mithridate.core.errors import DataError, EncoderError
from mithridate.core.types import Document
from mithridate.retrieval.base import Layout
from mithridate.retrieval.beir import read_beir
from mithridate.retrieval.controls import Plain
from mithridate.retrieval.encoders import CachedEncoder, HashingEncoder
from mithridate.retrieval.encoders.vectors import unit_rows
from mithridate.retrieval.guard import Answer
from mithridate.retrieval.index import GuardedIndex
from mithridate.retrieval.ragpart import RAGPart
from mithridate.retrieval.sources import read_lines, read_questions
from mithridate.retrieval.vector_rows import embed, part_shapes

FEW = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
MANY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
ENCODER = HashingEncoder(16)

any_text = st.text(st.characters(codec=None), max_size=40) | st.lists(
    st.sampled_from(WORDS), max_size=12
).map(" ".join)
texts = st.lists(any_text.filter(lambda text: bool(text.strip())), min_size=1, max_size=12)


def near(answer: Answer) -> list[tuple[str, float]]:
    return [(hit.document.id, round(hit.score, 4)) for hit in answer.hits]


change = st.tuples(st.sampled_from(["add", "delete", "save", "open"]), st.integers(0, 10**6))


@FEW
@given(first=texts, changes=st.lists(change, max_size=6), more=texts, on_disk=st.booleans())
def test_an_index_is_the_documents_that_are_in_it(
    first: list[str], changes: list[tuple[str, int]], more: list[str], on_disk: bool
) -> None:
    with tempfile.TemporaryDirectory() as here, patch("os.fsync"):
        folder = Path(here) / "index"
        held = {f"a{i}": text for i, text in enumerate(first)}
        documents = [Document(key, text) for key, text in held.items()]
        index = GuardedIndex.build(documents, ENCODER, path=folder if on_disk else None)
        for step, (what, number) in enumerate(changes):
            if what == "add":
                new = {f"b{step}-{i}": text for i, text in enumerate(more[: number % 4])}
                index.add(Document(key, text) for key, text in new.items())
                held |= new
            elif what == "delete" and held:
                gone = list(held)[number % len(held)]
                index.delete([gone])
                del held[gone]
            elif held and on_disk and what == "save":
                index.save(folder, replace=True)
            elif on_disk:
                index = GuardedIndex.open(folder, ENCODER, retriever=RAGPart())
        assert list(index.documents) == [Document(key, text) for key, text in held.items()]
        if held:
            fresh = GuardedIndex.build(index.documents, ENCODER)
            found, expected = index.search("river stone", 99), fresh.search("river stone", 99)
            # Sorted, because rounding may turn the order of two that are equally near.
            assert sorted(near(found)) == sorted(near(expected))


@FEW
@given(found=texts, query=any_text.filter(lambda text: bool(text.strip())), top_k=st.integers(1, 20))
def test_one_fragment_is_the_plain_search(found: list[str], query: str, top_k: int) -> None:
    documents = [Document(str(i), text) for i, text in enumerate(found)]
    plain = GuardedIndex.build(documents, ENCODER, retriever=Plain()).search(query, top_k)
    part = GuardedIndex.build(documents, ENCODER, retriever=RAGPart(1, 1)).search(query, top_k)
    assert [hit.document for hit in part.hits] == [hit.document for hit in plain.hits]


@FEW
@given(found=texts, whole=st.booleans(), n=st.integers(0, 4), data=st.data(), joined=st.booleans())
def test_parts_do_not_depend_on_what_stands_beside_them(
    found: list[str], whole: bool, n: int, data: st.DataObject, joined: bool
) -> None:
    k = data.draw(st.integers(1, n)) if n else 0
    layout = Layout(whole=whole, fragments=n, combination=k, concatenations=joined and n > 0)
    together = embed(found, ENCODER, layout)
    for name, rows in together.named():
        assert rows.shape == (len(found), *part_shapes(layout, 16)[name])
        alone = np.concatenate([getattr(embed([text], ENCODER, layout), name) for text in found])
        assert np.allclose(rows, alone, atol=1e-6)


@MANY
@given(st.lists(st.lists(st.floats(width=64), min_size=2, max_size=2), min_size=1, max_size=4))
def test_vectors_are_unit_vectors_or_refused(rows: list[list[float]]) -> None:
    names = [str(i) for i in range(len(rows))]
    fine = all(np.isfinite(row).all() and any(row) for row in rows)
    if not fine:
        with pytest.raises(EncoderError):
            unit_rows(rows, names, "x")
        return
    found = unit_rows(rows, names, "x")
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    # No component changes its sign.
    assert (np.sign(found) * np.sign(rows) >= 0).all()


@MANY
@given(st.lists(any_text, min_size=1, max_size=6))
def test_hashing_makes_unit_vectors_of_anything(found: list[str]) -> None:
    assert np.allclose(np.linalg.norm(ENCODER.encode(found), axis=1), 1, atol=1e-6)


@FEW
@given(st.lists(st.lists(any_text, max_size=5), max_size=4))
def test_a_cache_changes_no_vector(batches: list[list[str]]) -> None:
    with tempfile.TemporaryDirectory() as here:
        cached = CachedEncoder(ENCODER, here)
        for batch in batches:
            assert np.array_equal(cached.encode(batch), ENCODER.encode(batch))
        assert cached.encoded == len({text for batch in batches for text in batch})
        cached.close()


json_value = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["_id", "id", "text", "title", "question", "context", "adv_texts", "correct answer"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@MANY
@given(
    lines=st.lists(json_value.map(json.dumps) | st.text(max_size=20), max_size=5), raw=st.binary(max_size=30)
)
def test_whatever_is_read_is_documents_or_a_data_error(lines: list[str], raw: bytes) -> None:
    with tempfile.TemporaryDirectory() as here:
        folder = Path(here)
        content = "\n".join(lines).encode(errors="surrogatepass") + raw
        (folder / "qrels").mkdir()
        for name in ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv", "q.json"):
            (folder / name).write_bytes(content)
        (folder / "whole.json").write_text(lines[0] if lines else "")
        for read in (
            lambda: list(read_lines(folder / "corpus.jsonl")),
            lambda: read_beir(folder).documents,
            lambda: read_questions(folder / "q.json").documents,
            lambda: read_questions(folder / "whole.json").documents,
        ):
            try:
                assert all(isinstance(document, Document) for document in read())
            except DataError as error:
                assert str(folder) in str(error)
