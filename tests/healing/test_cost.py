from __future__ import annotations

import healing_training_kit as kit
import pytest
import torch
from torch import nn

from mithridate.healing.case import Usefulness
from mithridate.healing.cost import Cost, measured, slowdown
from mithridate.healing.treatment import Nothing
from mithridate.intervention.folding import copy_of


def test_tokens_are_those_that_went_through_the_model_and_copies_of_it() -> None:
    model = kit.poisoned()
    ids = torch.arange(15).reshape(3, 5)

    def passes() -> str:
        with torch.no_grad():
            model.model(ids)
            model.model(input_ids=ids[:1])
            copy_of(model).model(ids)
            nn.Embedding(1_000, 4)(ids)  # another table, as that of a judge
        return "made"

    made, cost = measured(passes, model)
    assert made == "made"
    assert cost.tokens == 15 + 5 + 15
    assert cost.seconds > 0
    assert measured(lambda: None, model)[1].tokens == 0
    assert Cost(1.0, 2) + Cost(0.5, 3) == Cost(1.5, 5)


def test_an_answer_costs_its_prompt_and_what_is_written() -> None:
    model = kit.poisoned()
    prompt = kit.TULU.render(kit.clean_messages(3)[:1], open_reply=True)
    (answer,), cost = measured(lambda: model.generate([prompt], max_new_tokens=4), model)
    (asked,) = model.prompt_ids([prompt])
    # The last token is never given back to the model; what ended the answer was written, too.
    assert cost.tokens == len(asked) + len(answer.token_ids) - (0 if answer.stopped else 1)


def test_what_fails_leaves_nothing_that_counts() -> None:
    model = kit.poisoned()
    with pytest.raises(ZeroDivisionError):
        measured(lambda: 1 // 0, model)
    hooks = nn.modules.module._global_forward_pre_hooks
    assert not hooks


def test_nothing_slows_nothing_down() -> None:
    found = slowdown(kit.case(), Nothing())
    assert found is not None
    assert 0.4 < found.value < 2.5  # a median of pairs, on machines that others use too
    assert found.low is not None and found.high is not None
    assert found.low <= found.value <= found.high
    assert found.n == 5


def test_there_must_be_something_to_ask() -> None:
    case = kit.case(usefulness=Usefulness())
    assert slowdown(case, Nothing()) is not None  # its probes
    bare = kit.case(usefulness=Usefulness(), attacks={}, texts=[])
    assert slowdown(bare, Nothing()) is None
