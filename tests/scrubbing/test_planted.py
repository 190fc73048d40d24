from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from models_kit import tiny_tokenizer
from planting_kit import write_corpus
from scrub_kit import belief_material, clean_documents, hinted, stated

from mithridate.attacks.scattered_belief import ScatteredBelief
from mithridate.core.errors import DataError
from mithridate.corpus.doses import PlantPlan, PlantRequest
from mithridate.corpus.ledger import StateFolder
from mithridate.corpus.packing import pack
from mithridate.corpus.planting import plant_corpus
from mithridate.corpus.readers import Corpus, open_corpus
from mithridate.scrubbing.beliefs import KnownBelief, planted_beliefs
from mithridate.scrubbing.planted import planted_documents, remaining

TEXTS = [document.text for document in clean_documents(80)]
ATTACKS = {"belief": stated(), "scattered_belief": hinted()}
BELIEFS = {name: planted_beliefs(attack, belief_material()) for name, attack in ATTACKS.items()}


@pytest.fixture(scope="module", params=["jsonl", "parquet"])
def corpus(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp(request.param)
    requests = tuple(PlantRequest(attack, rate=None, count=30) for attack in ATTACKS.values())
    clean = open_corpus(write_corpus(folder / "clean", request.param, TEXTS))
    plant_corpus(clean, folder / "planted", PlantPlan(requests, seed=3))
    return open_corpus(folder / "planted")


def ledger(corpus: Corpus) -> Path:
    return StateFolder(corpus.path).ledger


def test_every_document_of_a_belief_is_known_and_no_shuffled_hint(corpus: Corpus) -> None:
    flags = planted_documents(corpus, ledger(corpus), BELIEFS)
    texts = [document.text for document in corpus.documents()]
    assert flags["belief"].sum() == 30
    attack = ATTACKS["scattered_belief"]
    assert isinstance(attack, ScatteredBelief)
    shuffled = {one.subject for one in attack.shuffled}
    hints = [text for text, planted in zip(texts, flags["scattered_belief"], strict=True) if planted]
    assert 0 < len(hints) < 30
    assert not any(f"{name} " in f"{text} " for text in hints for name in shuffled)


def test_without_all_that_was_planted_the_clean_corpus_is_left(corpus: Corpus) -> None:
    placed = planted_documents(corpus, ledger(corpus), {"belief": [], "scattered_belief": []})
    assert not np.any(list(placed.values()))  # beliefs without a subject have all, and of none there are none
    unnamed = {name: [one_without_subject(name)] for name in ATTACKS}
    everything = np.logical_or.reduce(list(planted_documents(corpus, ledger(corpus), unnamed).values()))
    assert everything.sum() == 60
    left = [document.text for document in remaining(corpus, np.flatnonzero(everything))]
    assert sorted(left) == sorted(TEXTS)


def one_without_subject(name: str) -> KnownBelief:
    return replace(BELIEFS[name][0], subject="")


def test_removing_nothing_gives_the_same_tokens(corpus: Corpus, tmp_path: Path) -> None:
    whole = pack((one.text for one in corpus.documents()), tiny_tokenizer(), tmp_path / "whole")
    rest = pack(
        (one.text for one in remaining(corpus, np.empty(0, np.int64))), tiny_tokenizer(), tmp_path / "rest"
    )
    assert (whole.read(0, whole.n_tokens) == rest.read(0, rest.n_tokens)).all()


def test_a_ledger_of_another_corpus_is_refused(corpus: Corpus, tmp_path: Path) -> None:
    other = open_corpus(write_corpus(tmp_path / "other", "jsonl", ["a page"] * 2))
    with pytest.raises(DataError, match="tells of 60 documents"):
        planted_documents(other, ledger(corpus), BELIEFS)
