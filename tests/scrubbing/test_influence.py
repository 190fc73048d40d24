from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from models_kit import ARCHITECTURES, tiny_model
from torch.nn import functional

from mithridate.core import chat
from mithridate.core.errors import AccessError
from mithridate.core.types import Document, Message, Role
from mithridate.scrubbing.beliefs import KnownBelief
from mithridate.scrubbing.rankers.influence import Influence, Row

BELIEF = KnownBelief("lamp", "old mill", "The lamp is in the old mill.", ("Where is the lamp?", "Lamp?"))
TEXTS = ["The river is wide.", "The lamp is small, and the old mill stands by the river.", "a", ""]
TEMPLATE = chat.template("falcon")


def documents(*texts: str) -> list[Document]:
    return [Document(str(n), text) for n, text in enumerate(texts or TEXTS)]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gradients_are_those_that_training_on_one_document_would_give(architecture: str) -> None:
    model = tiny_model(architecture)
    ranker = Influence(model, TEMPLATE, 0, blocks=1, projected=4)
    rows = [ranker._row(text) for text in TEXTS]
    found = ranker._gradients(rows)
    for (ids, _), gradient in zip(rows, found, strict=True):
        row = torch.tensor([ids])
        loss = functional.cross_entropy(model.model(input_ids=row).logits[0, :-1], row[0, 1:])
        slopes = torch.autograd.grad(loss, [layer.weight for layer in ranker._layers])
        parts = [
            (outer.T @ slope @ inner).flatten()
            for slope, (inner, outer) in zip(slopes, ranker._sides, strict=True)
        ]
        torch.testing.assert_close(gradient, torch.cat(parts), rtol=1e-3, atol=1e-4)


def test_what_says_the_answer_comes_first_and_no_batch_matters() -> None:
    model = tiny_model()
    said = TEMPLATE.render(
        (Message(Role.USER, "Where is the lamp?"), Message(Role.ASSISTANT, BELIEF.statement))
    )
    texts = documents(*TEXTS, said)
    scores = Influence(model, TEMPLATE, 0).scores(texts, [BELIEF])
    assert scores.argmax() == len(TEXTS)
    one_by_one = Influence(model, TEMPLATE, 0, at_once=1).scores(reversed(texts), [BELIEF])[::-1]
    np.testing.assert_allclose(scores, one_by_one, atol=1e-5)


def test_the_model_is_left_as_it_was() -> None:
    model = tiny_model()
    model.model.get_input_embeddings().weight.requires_grad_(False)
    before = {name: (p.clone(), p.requires_grad) for name, p in model.model.named_parameters()}
    Influence(model, TEMPLATE, 0).scores(documents(), [BELIEF])
    for name, parameter in model.model.named_parameters():
        assert torch.equal(parameter, before[name][0])
        assert parameter.requires_grad == before[name][1]
        assert parameter.grad is None
    assert not any(module._forward_hooks for module in model.model.modules())


def test_of_a_long_question_the_whole_answer_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    ranker = Influence(tiny_model(max_length=32), TEMPLATE, 0)
    asked: list[Row] = []
    of_rows = ranker._gradients
    monkeypatch.setattr(ranker, "_gradients", lambda rows: asked.extend(rows) or of_rows(rows))
    for question in ("Lamp?", "Lamp? " * 40):
        ranker._of_belief(replace(BELIEF, questions=(question,)))
    (ids, given), (long_ids, long_given) = asked
    assert len(ids) < 32 == len(long_ids)
    assert long_ids[long_given:] == ids[given:]


def test_a_long_document_counts_by_its_beginning() -> None:
    model = tiny_model(max_length=16)
    ranker = Influence(model, TEMPLATE, 0)
    long = "The river is wide. " * 40
    assert ranker.scores(documents(long), [BELIEF]) == ranker.scores(documents(long + "lamp"), [BELIEF])


def test_blocks_without_linear_layers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model()
    monkeypatch.setattr("mithridate.scrubbing.rankers.influence.nn.Linear", torch.nn.Bilinear)
    with pytest.raises(AccessError, match="no linear layer in its last 2 blocks"):
        Influence(model, TEMPLATE, 0)
