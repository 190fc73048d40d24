"""What must hold for every corpus, dose and seed."""

from __future__ import annotations

import json
import math
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import datasets
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from planting_kit import FORMATS, FakeAttack, some_texts, tree, write_corpus

from mithridate.core.errors import ConfigError
from mithridate.core.tables import read_rows
from mithridate.corpus.doses import PlantPlan, PlantRequest
from mithridate.corpus.ledger import ShardRecord, StateFolder, read_ledger
from mithridate.corpus.planting import plant_corpus
from mithridate.corpus.readers import open_corpus
from mithridate.corpus.unplanting import unplant

datasets.disable_progress_bars()
FEW = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
MANY = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@contextmanager
def room() -> Iterator[Path]:
    # Durability is not under test, and waiting for the disk is most of the time.
    with tempfile.TemporaryDirectory() as folder, patch("os.fsync"):
        yield Path(folder)


def by_rate(rate: float, seed: int = 0) -> PlantPlan:
    return PlantPlan((PlantRequest(FakeAttack(), rate=rate),), seed)


@pytest.mark.parametrize("kind", FORMATS)
@FEW
@given(n=st.integers(2, 30), seed=st.integers(0, 99))
def test_rate_zero_leaves_the_corpus_byte_identical(kind: str, n: int, seed: int) -> None:
    with room() as here:
        clean = write_corpus(here / "clean", kind, some_texts(n, seed=seed))
        report = plant_corpus(open_corpus(clean), here / "out", by_rate(0.0, seed))
        assert tree(here / "out") == tree(clean)
        assert report.attacks[0].documents == 0


@pytest.mark.parametrize("kind", FORMATS)
@FEW
@given(n=st.integers(2, 30), seed=st.integers(0, 99), count=st.integers(1, 40))
def test_unplanting_restores_every_byte(kind: str, n: int, seed: int, count: int) -> None:
    with room() as here:
        clean = write_corpus(here / "clean", kind, some_texts(n, seed=seed))
        plan = PlantPlan((PlantRequest(FakeAttack(), count=count),), seed)
        plant_corpus(open_corpus(clean), here / "out", plan)
        assert tree(here / "out") != tree(clean)
        texts = [d.text for d in open_corpus(here / "out").documents()]
        assert len(texts) == n + count
        clean_texts = Counter(d.text for d in open_corpus(clean).documents())
        assert not clean_texts - Counter(texts)
        unplant(here / "out", here / "back")
        assert tree(here / "back") == tree(clean)


line = st.one_of(
    st.just(b""),
    st.just(b"  "),
    st.text(max_size=30).map(lambda t: json.dumps({"text": t}).encode()),
    st.text(max_size=30).map(lambda t: json.dumps({"id": "a1", "text": t, "x": [1]}).encode()),
)


@MANY
@given(
    lines=st.lists(line, max_size=12),
    end=st.sampled_from([b"\n", b"\r\n"]),
    ended=st.booleans(),
    bom=st.booleans(),
    seed=st.integers(0, 9),
)
def test_strange_line_ends_and_blank_lines_survive(
    lines: list[bytes], end: bytes, ended: bool, bom: bool, seed: int
) -> None:
    with room() as here:
        (here / "clean").mkdir()
        data = b"\xef\xbb\xbf" * bom + end.join(lines) + end * ended
        (here / "clean" / "odd.jsonl").write_bytes(data)
        (here / "clean" / "even.jsonl").write_bytes(b'{"text": "something"}\n')
        plan = PlantPlan((PlantRequest(FakeAttack(), count=9),), seed)
        plant_corpus(open_corpus(here / "clean"), here / "out", plan)
        found = list(open_corpus(here / "out").documents())
        assert len(found) == 10 + sum(bool(one.strip()) for one in lines)
        unplant(here / "out", here / "back")
        assert (here / "back" / "odd.jsonl").read_bytes() == data


@MANY
@given(rate=st.floats(0.02, 0.5), seed=st.integers(0, 99), n=st.integers(20, 80), shards=st.integers(1, 5))
def test_realised_rate_misses_by_less_than_a_document_a_shard(
    rate: float, seed: int, n: int, shards: int
) -> None:
    with room() as here:
        clean = write_corpus(here / "clean", "jsonl", some_texts(n, seed=seed), shards)
        try:
            plant_corpus(open_corpus(clean), here / "out", by_rate(rate, seed))
        except ConfigError:
            return  # too little for one document, and said so
        state = StateFolder(here / "out")
        rows = list(read_ledger(state.ledger))
        plan = by_rate(rate, seed)
        for record in read_rows(state.shards, ShardRecord):
            if record.format == "other":
                continue
            planted = [row.tokens for row in rows if row.shard == record.shard]
            drawn = plan.sample(plan.requests[0], record.shard)
            lengths = [len(next(drawn)[1].encode()) for _ in range(len(planted) + 1)]
            missed = rate * record.clean_tokens - sum(planted)
            # Short by less than the document that would have come next, or over by less than the last one.
            assert -(lengths[len(planted) - 1] if planted else 0) < missed < lengths[len(planted)] + 1e-9


@FEW
@given(seed=st.integers(0, 99))
def test_the_order_of_shards_does_not_matter(seed: int) -> None:
    with room() as here:
        clean = write_corpus(here / "clean", "jsonl", some_texts(40, seed=seed), 4)
        requests = (PlantRequest(FakeAttack(), rate=0.3), PlantRequest(FakeAttack(), count=5, name="second"))
        plan = PlantPlan(requests, seed)
        plant_corpus(open_corpus(clean), here / "whole", plan)
        for part in (3, 1, 2):
            report = plant_corpus(open_corpus(clean), here / "parts", plan, part=(part, 3))
        assert report.complete
        assert tree(here / "whole", state=True) == tree(here / "parts", state=True)


@FEW
@given(seed=st.integers(0, 99), count=st.integers(0, 60), shards=st.integers(1, 6))
def test_counts_sum_exactly(seed: int, count: int, shards: int) -> None:
    plan = PlantPlan((PlantRequest(FakeAttack(), count=count),), seed)
    sizes = [(n * 37 + seed) % 5 * 100 for n in range(shards)]
    assert sum(quota[0] or 0 for quota in plan.quotas(sizes)) == count


@FEW
@given(low=st.floats(0.05, 0.2), more=st.floats(0, 0.3), seed=st.integers(0, 99))
def test_a_higher_rate_adds_to_a_lower_one(low: float, more: float, seed: int) -> None:
    with room() as here:
        clean = write_corpus(here / "clean", "jsonl", some_texts(60, seed=seed))
        found = []
        for name, rate in (("low", low), ("high", low + more)):
            plant_corpus(open_corpus(clean), here / name, by_rate(rate, seed))
            texts = Counter(d.text for d in open_corpus(here / name).documents())
            found.append(texts - Counter(d.text for d in open_corpus(clean).documents()))
        assert not found[0] - found[1]
        assert math.isclose(sum(found[0].values()), sum((found[0] & found[1]).values()))
