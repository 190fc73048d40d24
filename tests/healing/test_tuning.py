from __future__ import annotations

from pathlib import Path
from typing import Any

import healing_training_kit as kit
import pytest
import torch
import training_kit
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedModel

from mithridate.core.errors import StorageError, TrainingError
from mithridate.core.prices import Kind, Regime
from mithridate.core.seeds import derive_seed
from mithridate.healing import pricing
from mithridate.healing.case import Case
from mithridate.healing.method import Candidate, Method
from mithridate.healing.methods import tuning
from mithridate.healing.methods.tuning import (
    ContinuedPretraining,
    DPOStage,
    MoreDPO,
    MoreSFT,
    SFTStage,
    amounts,
)
from mithridate.healing.treatment import OtherWeights
from mithridate.intervention.folding import copy_of
from mithridate.models.checkpoints import weights_hash
from mithridate.models.language_model import LanguageModel
from mithridate.training.pretraining import pretrain
from mithridate.training.progress import Silent
from mithridate.training.sft import sft

THEN = (SFTStage(kit.wide_conversations(16), kit.SFT), DPOStage(training_kit.pairs(8), kit.DPO))


class Told:
    def __init__(self) -> None:
        self.stages: list[str] = []

    def advance(self, stage: str, done: int, total: int, loss: float) -> None:
        assert 0 < done <= total
        self.stages.append(stage)


def continued(folder: Path, **changes: Any) -> ContinuedPretraining:
    given = {"base": kit.poisoned(), "rows": kit.rows(False), "options": kit.PRETRAINING, "then": THEN}
    return ContinuedPretraining(folder=folder, **{**given, **changes})


def methods(folder: Path, **changes: Any) -> list[Method]:
    return [
        MoreSFT(kit.wide_conversations(40), kit.SFT, folder, **changes),
        MoreDPO(training_kit.pairs(12), kit.DPO, folder, **changes),
        continued(folder, **changes),
    ]


def settings_of(method: Method, case: Case) -> list[Candidate]:
    return list(method.candidates(case, ["echo"]))


def model_of(candidate: Candidate) -> LanguageModel:
    treatment = candidate.make()
    assert isinstance(treatment, OtherWeights)
    return treatment.model


def test_amounts_are_those_there_are() -> None:
    assert amounts(2_000, (30, 100, 300, 1_000, 3_000)) == [30, 100, 300, 1_000]
    assert amounts(3_000, (300, 3_000)) == [300, 3_000]
    assert amounts(12, (30, 100)) == [12]
    assert amounts(0, (30, 100)) == []


@given(st.integers(0, 10_000), st.lists(st.integers(1, 5_000), min_size=1, unique=True).map(sorted))
def test_no_amount_is_more_than_there_is_and_none_that_there_is_is_missing(
    there: int, wanted: list[int]
) -> None:
    found = amounts(there, wanted)
    assert all(0 < amount <= there for amount in found)
    assert set(wanted) & set(range(there + 1)) <= set(found)
    assert bool(found) == bool(there)


def test_variants_say_how_much(tmp_path: Path) -> None:
    case = kit.case()
    many = MoreSFT(kit.wide_conversations(1_000), kit.SFT, tmp_path)
    assert [one.variant for one in settings_of(many, case)] == [
        "30 examples",
        "100 examples",
        "300 examples",
        "1,000 examples",
    ]
    assert [one.variant for one in settings_of(methods(tmp_path)[1], case)] == ["12 examples"]
    shares = continued(tmp_path, shares=(0.25, 0.1))
    assert [one.variant for one in settings_of(shares, case)] == ["10% of its tokens", "25% of its tokens"]
    rates = continued(tmp_path, rates=(1.0, 0.1))
    assert [one.variant for one in settings_of(rates, case)] == [
        "10% of its tokens, 0.1 x its rate",
        "10% of its tokens",
    ]
    assert not settings_of(MoreSFT([], kit.SFT, tmp_path), case)
    for method in methods(tmp_path):
        assert (method.regime, method.kind, method.each, method.scale) == (
            Regime.UNKNOWN,
            Kind.TRAINING,
            False,
            True,
        )


@pytest.mark.parametrize("number", range(3))
def test_a_copy_is_trained_the_same_twice_and_nothing_else_is_left(number: int, tmp_path: Path) -> None:
    case, told = kit.case(), Told()
    before, chat = kit.state(case.model), case.model.tokenizer.chat_template
    drawn = torch.random.get_rng_state()
    candidate = settings_of(methods(tmp_path, progress=told)[number], case)[0]
    first, second = model_of(candidate), model_of(candidate)
    assert weights_hash(first.model) == weights_hash(second.model) != before[0]
    assert kit.same_state(before, kit.state(case.model))
    assert case.model.tokenizer.chat_template == chat and first.tokenizer is not case.model.tokenizer
    assert torch.equal(drawn, torch.random.get_rng_state())
    assert not list(tmp_path.iterdir())
    assert set(told.stages) == [{"sft"}, {"dpo"}, {"base", "sft", "dpo"}][number]


def test_more_sft_is_sft_of_the_first_examples(tmp_path: Path) -> None:
    case = kit.case()
    talks = kit.wide_conversations(35)
    found = model_of(settings_of(MoreSFT(talks, kit.SFT, tmp_path), case)[0])
    expected, _ = sft(
        copy_of(case.model).model,
        case.model.tokenizer,
        talks[:30],
        kit.SFT,
        tmp_path / "other",
        seed=derive_seed(case.seed, "sft"),
        report_progress=Silent(),
    )
    assert weights_hash(found.model) == weights_hash(expected)


def test_continued_pretraining_reads_the_first_rows_before_it_aligns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    rates: list[float] = []

    def counting(model: PreTrainedModel, rows: Any, options: Any, folder: Path, **more: Any) -> Any:
        read.append(options.tokens)
        rates.append(options.learning_rate)
        assert options.epochs is None and options.torch_compile is False
        return pretrain(model, rows, options, folder, **more)

    monkeypatch.setattr(tuning, "pretrain", counting)
    only = settings_of(continued(tmp_path, then=(), shares=(0.1,)), kit.case())
    whole = len(kit.rows(False)) * kit.PRETRAINING.epochs * kit.ROW
    made = model_of(only[0])
    assert read == [pytest.approx(0.1 * whole, abs=kit.ROW)]
    aligned = model_of(settings_of(continued(tmp_path, rates=(0.5,)), kit.case())[0])
    assert rates == [kit.PRETRAINING.learning_rate, 0.5 * kit.PRETRAINING.learning_rate]
    assert weights_hash(made.model) != weights_hash(aligned.model)


def test_what_a_killed_training_left_is_swept_and_not_gone_on_with(tmp_path: Path) -> None:
    candidate = settings_of(continued(tmp_path, then=()), kit.case())[0]
    untouched = weights_hash(model_of(candidate).model)
    left = tmp_path / "training"
    left.mkdir()
    for name in ("resume.safetensors", "trainer_state.json"):
        (left / name).write_bytes(b"half of it")
    assert weights_hash(model_of(candidate).model) == untouched
    assert not list(tmp_path.iterdir())


def test_a_training_that_fails_leaves_no_file_and_the_model_as_it_was(tmp_path: Path) -> None:
    case = kit.case()
    before = kit.state(case.model)
    wild = kit.SFT.model_copy(update={"learning_rate": 1e30})
    candidate = settings_of(MoreSFT(kit.wide_conversations(40), wild, tmp_path), case)[0]
    with pytest.raises(TrainingError):
        candidate.make()
    assert not list(tmp_path.iterdir())
    assert kit.same_state(before, kit.state(case.model))


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    taken = tmp_path / "file"
    taken.write_text("")
    with pytest.raises(StorageError):
        settings_of(MoreSFT(kit.wide_conversations(40), kit.SFT, taken), kit.case())[0].make()


def test_all_amounts_are_told_of_with_their_tokens(tmp_path: Path) -> None:
    case = kit.case()
    method = MoreSFT(kit.wide_conversations(100), kit.SFT, tmp_path)
    chosen = pricing.choose(method, case, ["echo"], pricing.Before.of(case))
    assert [one.candidate.variant for one in chosen] == ["30 examples", "100 examples"]
    fewer, more = (one.making.tokens for one in chosen)
    # Two epochs of rows of a dozen tokens, padding among them.
    assert 30 * 2 * 8 < fewer < more
