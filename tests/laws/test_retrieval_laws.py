"""What must hold for every index, query and setting of the retrieval guard's defences."""

from __future__ import annotations

import math
import subprocess
import sys
from itertools import combinations, pairwise

import numpy as np
from defense_kit import Countdown, hits_of, ids, naive_scores, query, random_fragments, stored, suspects, unit
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mithridate.retrieval.base import Mode
from mithridate.retrieval.consensus import Consensus
from mithridate.retrieval.controls import MeanOfFragments, Plain
from mithridate.retrieval.encodings import Encodings
from mithridate.retrieval.fragments import combination_norms, fragments
from mithridate.retrieval.guard import Guard
from mithridate.retrieval.masking import Masking, without
from mithridate.retrieval.ragmask import RAGMask, published
from mithridate.retrieval.ragpart import RAGPart
from mithridate.retrieval.ranking import best_rows

SOME = settings(max_examples=60, deadline=None)
FEW = settings(max_examples=25, deadline=None)

WORDS = ("river", "stone", "amber", "lantern", "orchard", "violin", "harbour", "copper", "meadow", "glacier")
sentences = st.lists(st.sampled_from(WORDS), max_size=24).map(" ".join)
corpora = st.lists(sentences, min_size=1, max_size=8)
seeds = st.integers(0, 10_000)


@st.composite
def shapes(draw: st.DrawFn) -> tuple[int, int]:
    n = draw(st.integers(1, 6))
    return n, draw(st.integers(1, n))


def far_apart(scores: np.ndarray) -> bool:
    """Whether no two scores of a combination are so near that rounding could swap them."""
    gaps = np.diff(np.sort(scores, axis=-1), axis=-1)
    return not gaps.size or float(gaps.min()) > 1e-5


@SOME
@given(shape=shapes(), seed=seeds, rows=st.integers(1, 90), top=st.integers(1, 12), own=st.booleans())
def test_ragpart_is_exact_against_an_index_of_every_combination(
    shape: tuple[int, int], seed: int, rows: int, top: int, own: bool
) -> None:
    n, k = shape
    vectors, asked = random_fragments(seed, rows, n, 6), unit(np.random.default_rng(seed + 1).normal(size=6))
    scores = naive_scores(vectors, k, asked)
    means = scores.mean(axis=0)
    assume(far_apart(scores) and far_apart(means))
    per_vote = top + 2 if own else None
    votes = np.zeros(rows, int)
    for one in scores:
        votes[np.argsort(-one)[: per_vote or top]] += 1
    expected = sorted(range(rows), key=lambda row: (-votes[row], -means[row], row))[:top]
    found = RAGPart(n, k, per_vote=per_vote).retrieve(stored(vectors, k), asked, top)
    assert [ranked.row for ranked in found] == expected
    assert [r.reason.evidence["votes"] for r in found if r.reason] == [int(votes[row]) for row in expected]
    assert [r.reason.suspicious for r in found if r.reason] == [
        bool(2 * votes[r] < len(scores)) for r in expected
    ]


@SOME
@given(seed=seeds, rows=st.integers(1, 200), top=st.integers(1, 12), twins=st.booleans())
def test_ragpart_with_one_fragment_is_plain_retrieval(seed: int, rows: int, top: int, twins: bool) -> None:
    vectors = random_fragments(seed, rows, 1, 8)
    if twins:
        vectors[rows // 2 :] = vectors[: rows - rows // 2]
    asked = unit(np.random.default_rng(seed).normal(size=8))
    index = stored(vectors, 1, whole=vectors[:, 0])
    plain = Plain().retrieve(index, asked, top)
    found = RAGPart(1, 1).retrieve(index, asked, top)
    assert [(one.row, one.score) for one in found] == [(one.row, one.score) for one in plain]
    assert not any(one.reason.suspicious for one in found if one.reason)


@FEW
@given(n=st.integers(1, 6), seed=seeds, rows=st.integers(1, 60), top=st.integers(1, 9))
def test_one_combination_of_all_fragments_is_their_mean(n: int, seed: int, rows: int, top: int) -> None:
    vectors, asked = random_fragments(seed, rows, n, 6), unit(np.random.default_rng(seed).normal(size=6))
    index = stored(vectors, n)
    mean = MeanOfFragments(n).retrieve(index, asked, top)
    assert [one.row for one in RAGPart(n, n).retrieve(index, asked, top)] == [one.row for one in mean]


@SOME
@given(shape=shapes(), seed=seeds, rows=st.integers(0, 20))
def test_norms_need_no_means(shape: tuple[int, int], seed: int, rows: int) -> None:
    n, k = shape
    vectors = random_fragments(seed, rows, n, 5)
    means = [
        np.linalg.norm(vectors[:, list(c)].astype(float).mean(axis=1), axis=1)
        for c in combinations(range(n), k)
    ]
    np.testing.assert_allclose(combination_norms(vectors, k), np.transpose(means), atol=1e-6)


@SOME
@given(st.text(max_size=200), st.integers(1, 7))
def test_fragments_lose_nothing_but_white_space(text: str, n: int) -> None:
    found = fragments(text, n)
    assert len(found) == n
    if found != [text] * n:
        assert "".join("".join(found).split()) == "".join(text.split())
        assert all(piece in text and piece == piece.strip() and piece for piece in found)


@SOME
@given(st.lists(st.text("abé-", min_size=1, max_size=20), max_size=40), st.integers(2, 7))
def test_fragments_share_the_words_out_evenly(words: list[str], n: int) -> None:
    found = fragments(" ".join(words), n)
    if len(words) < n:
        assert found == [" ".join(words)] * n
    else:
        sizes = [len(piece.split()) for piece in found]
        assert " ".join(found).split() == words
        assert max(sizes) - min(sizes) <= 1


@SOME
@given(st.lists(st.integers(0, 5), max_size=400), st.integers(1, 20))
def test_the_best_rows_are_a_stable_sort_cut_short(levels: list[int], top: int) -> None:
    expected = sorted(range(len(levels)), key=lambda row: (-levels[row], row))[:top]
    assert best_rows(np.array(levels, np.float32), top).tolist() == expected


@SOME
@given(st.integers(0, 3000), st.integers(1, 12), st.integers(1, 12), st.integers(1, 40))
def test_spans_cover_every_token(tokens: int, length: int, stride: int, most: int) -> None:
    ranges = Masking(length, min(stride, length), most_spans=most).token_ranges(tokens)
    assert len(ranges) <= most
    assert {t for first, last in ranges for t in range(first, last)} == set(range(tokens))
    assert all(a < c and b < d for (a, b), (c, d) in pairwise(ranges))


@SOME
@given(st.text(max_size=60), st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=6))
def test_what_is_left_is_what_no_span_held(text: str, pairs: list[tuple[int, int]]) -> None:
    spans = [(min(a, b), min(max(a, b), len(text))) for a, b in pairs if min(a, b) <= len(text)]
    kept = [c for i, c in enumerate(text) if not any(start <= i < end for start, end in spans)]
    left = without(text, spans)
    assert "".join(left.split()) == "".join("".join(kept).split())
    assert len(left) <= len(kept) + len(spans)


@FEW
@given(texts=corpora, asked=sentences.filter(str.strip), top_k=st.integers(1, 4))
def test_ragmask_with_an_infinite_threshold_changes_nothing(texts: list[str], asked: str, top_k: int) -> None:
    encoder = Countdown()
    q = query(encoder, asked)
    hits = hits_of(encoder, q, texts)
    after = RAGMask(delta=math.inf).rerank(q, hits, top_k, Encodings(encoder))
    assert [(hit.document, hit.score) for hit in after] == [(hit.document, hit.score) for hit in hits]
    assert not suspects(after)


@FEW
@given(
    texts=corpora,
    asked=sentences.filter(str.strip),
    top_k=st.integers(1, 3),
    span=st.integers(1, 9),
    delta=st.sampled_from([0.0, 0.01, 0.05, 0.2]),
    form=st.sampled_from(["delete", "mask"]),
    overlap=st.booleans(),
    vectors=st.booleans(),
)
def test_ragmask_is_the_published_form(
    texts: list[str],
    asked: str,
    top_k: int,
    span: int,
    delta: float,
    form: str,
    overlap: bool,
    vectors: bool,
) -> None:
    encoder = Countdown()
    q = query(encoder, asked)
    hits = hits_of(encoder, q, texts, vectors=vectors)
    defense = RAGMask(span, delta, form=form, stride=max(1, span // 2) if overlap else None)
    plain, _ = published(defense, q, hits, top_k, encoder)
    encodings = Encodings(encoder)
    for _ in ("cold", "warm"):
        ours = defense.rerank(q, hits, top_k, encodings)[: len(plain)]
        assert [(hit.document, hit.score) for hit in ours] == [(hit.document, hit.score) for hit in plain]


@FEW
@given(texts=corpora, asked=sentences.filter(str.strip), top_k=st.integers(1, 6), floor=st.integers(0, 4))
def test_modes_of_a_chain_of_defences(texts: list[str], asked: str, top_k: int, floor: int) -> None:
    encoder = Countdown()
    q = query(encoder, asked)
    hits = hits_of(encoder, q, texts)
    answers = {
        mode: Guard([RAGMask(4), Consensus()], encoder, mode=mode, floor=floor).rerank(q, hits, top_k)
        for mode in Mode
    }
    observed, demoted, dropped = (answers[mode] for mode in (Mode.OBSERVE, Mode.DEMOTE, Mode.DROP))
    # Observing is the plain search.
    assert [(h.document, h.score) for h in observed.hits] == [(h.document, h.score) for h in hits[:top_k]]
    for answer in (demoted, dropped):
        scores = [hit.score for hit in answer.hits]
        assert scores == sorted(scores, reverse=True)
    for answer in answers.values():
        assert all([r.defense for r in hit.reasons] == ["ragmask", "consensus"] for hit in answer.hits)
        assert len(set(ids(answer.hits)) | set(ids(answer.removed))) == len(answer.hits) + len(answer.removed)
    # Demoting leaves nothing out, and dropping nothing but what is suspicious.
    assert len(demoted.hits) == min(top_k, len(texts))
    assert len(dropped.hits) >= min(floor, top_k, len(texts))
    assert all(hit.suspicious for hit in dropped.removed)
    assert dropped.hits or dropped.warnings
    if suspects(dropped.hits):
        assert dropped.warnings
        assert len(dropped.hits) == min(floor, top_k, len(texts))
    # A mode decides what is done, never what is found.
    found = {hit.document.id: hit.reasons for hit in demoted.hits}
    for answer in (observed, dropped):
        assert all(found.get(hit.document.id, hit.reasons) == hit.reasons for hit in answer.hits)


def test_the_guard_needs_neither_torch_nor_transformers() -> None:
    code = """
import sys
for name in ("torch", "transformers", "sentence_transformers"):
    sys.modules[name] = None  # importing it fails
import mithridate.retrieval as r
for name in r.__all__:
    getattr(r, name)
guard = r.Guard([r.RAGMask(), r.Consensus()], r.HashingEncoder())
assert [hit.document.text for hit in guard.rerank("a river", ["the river", "a stone"], 2).hits]
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
