from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bert_kit import tiny_bert
from index_kit import WORDS
from poison_kit import a_task, poison

from mithridate.retrieval.attacks import HotFlip, SpreadHotFlip
from mithridate.retrieval.attacks.drafts import Draft, leading
from mithridate.retrieval.attacks.gradients import Gradients
from mithridate.retrieval.base import TextRole
from mithridate.retrieval.encoders import CachedEncoder, SentenceTransformerEncoder
from mithridate.retrieval.masking import Masking

QUESTION = "heron of the amber lantern"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("model"), tokens=48)


@pytest.fixture(scope="module")
def encoder(folder: Path) -> SentenceTransformerEncoder:
    return SentenceTransformerEncoder(folder, device="cpu")


@pytest.fixture(scope="module")
def gradients(encoder: SentenceTransformerEncoder) -> Gradients:
    return Gradients(encoder, "test")


def cosines(encoder: SentenceTransformerEncoder, texts: list[str], query: str) -> np.ndarray:
    return encoder.encode(texts) @ encoder.encode([query], role=TextRole.QUERY)[0]


def test_its_words_are_whole_tokens(gradients: Gradients, encoder: SentenceTransformerEncoder) -> None:
    drawn = set(gradients.random_words(np.random.default_rng(0), 2000))
    assert drawn == {*WORDS, "query"}
    for word in drawn:
        assert encoder.model.tokenizer.tokenize(f"amber {word} amber") == ["amber", word, "amber"]


def test_a_gradient_is_the_slope_of_the_cosine(
    gradients: Gradients, encoder: SentenceTransformerEncoder
) -> None:
    draft, query = leading(["stone", "river"], ["velvet", "heron"]), gradients.query(QUESTION)
    _, gradient, tokens = gradients._gradient(draft, query)
    assert tokens == {0: 1, 6: 2, 12: 3, 19: 4}
    embeddings = encoder.model.transformers_model.get_input_embeddings()
    # The word stands once in the text, so that a change of its row in the table is a change of that token.
    row = encoder.model.tokenizer.convert_tokens_to_ids("river")
    direction = torch.randn(16, generator=torch.Generator().manual_seed(0))
    step, before = 1e-2, embeddings.weight[row].detach().clone()

    def cosine(shift: float) -> float:
        with torch.no_grad():
            embeddings.weight[row] = before + shift * direction
        try:
            return float(gradients.similarities([draft], query)[0])
        finally:
            with torch.no_grad():
                embeddings.weight[row] = before

    slope = (cosine(step) - cosine(-step)) / (2 * step)
    assert float(gradient[2] @ direction) == pytest.approx(slope, rel=0.05, abs=1e-4)


def test_the_swaps_that_promise_most_come_first(
    gradients: Gradients, encoder: SentenceTransformerEncoder
) -> None:
    draft, query = leading(["stone", "river"], ["velvet", "heron"]), gradients.query(QUESTION)
    ids, gradient, tokens = gradients._gradient(draft, query)
    table = encoder.model.transformers_model.get_input_embeddings().weight.detach()
    number = encoder.model.tokenizer.convert_tokens_to_ids
    promised = {
        (place, word): float(gradient[token] @ (table[number(word)] - table[ids[token]]))
        for place, token in enumerate([tokens[0], tokens[6]])
        for word in (*WORDS, "query")
    }
    best = sorted(promised, key=lambda swap: -promised[swap])
    assert gradients.swaps(draft, [0, 1], query, 3) == best[:3]
    assert gradients.swaps(draft, [1], query, 2) == [swap for swap in best if swap[0] == 1][:2]


def test_what_the_model_does_not_read_has_no_swaps(gradients: Gradients) -> None:
    draft = Draft(("amber",) * 60, (10, 50, 59))
    swaps = gradients.swaps(draft, [0, 1, 2], gradients.query(QUESTION), 99)
    assert {place for place, _ in swaps} == {0}
    assert gradients.swaps(draft, [1, 2], gradients.query(QUESTION), 99) == []


@pytest.mark.parametrize("kind", [HotFlip, SpreadHotFlip])
def test_it_comes_nearer_the_query(kind: Any, encoder: SentenceTransformerEncoder) -> None:
    few, more = (
        [one.text for one in poison(kind(6, n, carrier_words=12), a_task(), copies=3, encoder=encoder)]
        for n in (1, 8)
    )
    question = a_task().queries["lantern"]
    after_few, after_more = cosines(encoder, few, question), cosines(encoder, more, question)
    # Each step keeps what it has or finds better, so that more steps are never worse; and here some help.
    assert (after_more >= after_few - 1e-6).all()
    assert after_more.mean() > after_few.mean() + 0.02
    assert all(len(text.split()) == 18 for text in more)


def test_it_can_start_from_the_query(encoder: SentenceTransformerEncoder) -> None:
    question = a_task().queries["stone"]
    attack = HotFlip(8, 3, start="query", carrier_words=12)
    found = [one.text for one in poison(attack, a_task(), ["stone"], copies=3, encoder=encoder)]
    # The six words of the query, and the first two again.
    begun = [" ".join([question, "which stone", *text.split()[8:]]) for text in found]
    before, after = cosines(encoder, begun, question), cosines(encoder, found, question)
    assert (after >= before - 1e-6).all()
    assert after.mean() > before.mean()


def test_free_words_stand_before_the_text_or_all_over_it(encoder: SentenceTransformerEncoder) -> None:
    options = {"words": 4, "carrier_words": 16, "iterations": 1}
    text = a_task().documents
    (led,) = poison(HotFlip(**options), a_task(), copies=1, encoder=encoder)
    assert any(one.text.startswith(" ".join(led.text.split()[4:])) for one in text)
    (woven,) = poison(SpreadHotFlip(**options), a_task(), copies=1, encoder=encoder)
    places = range(4, 20, 5)
    rest = " ".join(word for i, word in enumerate(woven.text.split()) if i not in places)
    assert any(one.text.startswith(rest) for one in text)
    # Five tokens a free word: no span of four holds two of them.
    spans = Masking(4, 1).token_ranges(20)
    assert all(sum(first <= place < last for place in places) <= 1 for first, last in spans)


def test_the_encoder_is_left_as_it_was(encoder: SentenceTransformerEncoder, tmp_path: Path) -> None:
    embeddings = encoder.model.transformers_model.get_input_embeddings()
    before = encoder.encode(["amber river"])
    cached = CachedEncoder(encoder, tmp_path)
    direct = poison(HotFlip(4, 2), a_task(), encoder=encoder)
    assert poison(HotFlip(4, 2), a_task(), encoder=cached) == direct
    assert cached.encoded == 0
    cached.close()
    assert not embeddings._forward_hooks
    assert all(parameter.grad is None for parameter in encoder.model.parameters())
    assert np.array_equal(encoder.encode(["amber river"]), before)


def test_documents_have_their_prompt_before_them(folder: Path) -> None:
    prompted = SentenceTransformerEncoder(folder, document_prompt="stone : ", device="cpu")
    draft, query = leading(["stone"], ["velvet"]), Gradients(prompted, "test").query(QUESTION)
    _, _, tokens = Gradients(prompted, "test")._gradient(draft, query)
    assert tokens == {0: 3, 6: 4}


def test_halves_of_characters_are_no_obstacle(encoder: SentenceTransformerEncoder) -> None:
    task = a_task().with_documents([])
    broken = type(task)(tuple(task.documents), {"lantern": "heron \ud800"}, {})
    (one,) = poison(HotFlip(4, 1, start="query"), broken, copies=1, encoder=encoder)
    assert "\ud800" not in one.text
