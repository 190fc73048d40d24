from __future__ import annotations

import pytest
import torch
from localization_kit import two_models
from models_kit import tiny_model

from mithridate.core.errors import CheckpointError
from mithridate.localization.teacher_forcing import TIE, Forced, divergence, score_replies, token_ranks
from mithridate.models import batching

# Of logits in single precision, generously.
ROUNDING = TIE / 2


def log_probs(model: torch.nn.Module, prompt: list[int], reply: list[int]) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model.eval()(torch.tensor([prompt + reply])).logits[0]
    return logits[len(prompt) - 1 : -1].double().log_softmax(-1)


def test_ranks_count_what_is_likelier() -> None:
    logits = torch.tensor([[1.0, 3.0, 2.0, 0.0]])
    ranks = [int(token_ranks(logits, torch.tensor([token]))) for token in range(4)]
    assert ranks == [3, 1, 2, 4]


def test_tokens_that_are_tied_share_the_best_rank() -> None:
    logits = torch.tensor([2.0, 1.0, 2.0, 2.0 + TIE / 2, 0.0]).repeat(5, 1)
    assert token_ranks(logits, torch.arange(5)).tolist() == [1, 4, 1, 1, 5]
    apart = torch.tensor([2.0, 2.0 + 2 * TIE]).repeat(2, 1)
    assert token_ranks(apart, torch.arange(2)).tolist() == [2, 1]


def test_divergences_are_those_of_the_textbook() -> None:
    made = torch.Generator().manual_seed(0)
    p, q = (torch.randn(4, 30, generator=made).log_softmax(-1) for _ in range(2))
    expected = torch.nn.functional.kl_div(q, p, reduction="none", log_target=True).sum(-1)
    assert torch.allclose(divergence(p, q), expected, atol=1e-6)
    assert torch.equal(divergence(p, p), torch.zeros(4))
    assert not torch.allclose(divergence(q, p), expected, atol=1e-3)


def test_what_neither_model_can_write_is_no_difference() -> None:
    p, q = (torch.tensor([[a, b, -torch.inf]]).log_softmax(-1) for a, b in ((0.0, 1.0), (0.0, 2.0)))
    two = divergence(p[:, :2], q[:, :2])
    assert divergence(p, q) == two
    assert torch.isinf(divergence(q[:, [0, 2, 1]], p)).all()


@pytest.mark.parametrize("rows", [1, 64])
def test_figures_are_those_of_each_reply_by_itself(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "_CPU_ROWS", rows)
    base, aligned = two_models(by=0.3)
    forced = [
        Forced([5, 6, 7], [9, 8, 7, 6, 5, 4], [20, 30, 40, 50]),
        Forced([11], [12], [60]),
        Forced([3, 4], [3, 4], [70, 80, 90, 100, 110, 120, 130]),
    ]
    scores = score_replies(base.model, aligned.model, forced)
    for one, found in zip(forced, scores, strict=True):
        ours = log_probs(base.model, one.base_prompt, one.reply)
        theirs = log_probs(aligned.model, one.aligned_prompt, one.reply)
        chosen = ours.gather(-1, torch.tensor(one.reply)[:, None])
        # Computed twice as precisely here, so a token that is nearly tied may be on either side.
        least, most = ((ours > chosen + TIE + by).sum(-1) + 1 for by in (ROUNDING, -ROUNDING))
        assert all(a <= rank <= b for a, rank, b in zip(least, found.ranks, most, strict=True))
        there = torch.nn.functional.kl_div(ours, theirs, reduction="none", log_target=True).sum(-1)
        back = torch.nn.functional.kl_div(theirs, ours, reduction="none", log_target=True).sum(-1)
        assert found.kl_aligned_base == pytest.approx(there.tolist(), rel=1e-3, abs=1e-5)
        assert found.kl_base_aligned == pytest.approx(back.tolist(), rel=1e-3, abs=1e-5)


def test_ids_that_one_model_alone_knows_are_left_out() -> None:
    base, aligned = two_models()
    forced = [Forced([5, 6], [5, 6], [20, 30])]
    (same,) = score_replies(base.model, aligned.model, forced)
    rows = aligned.model.get_input_embeddings().weight.shape[0]
    aligned.model.resize_token_embeddings(rows + 8, mean_resizing=False)
    (found,) = score_replies(base.model, aligned.model, forced)
    assert found.ranks == same.ranks
    assert found.kl_aligned_base == pytest.approx(same.kl_aligned_base, rel=1e-4)


def test_half_precision_is_summed_in_single() -> None:
    base, aligned = two_models(by=0.3)
    forced = [Forced([5, 6], [5, 6], [20, 30, 40])]
    (single,) = score_replies(base.model, aligned.model, forced)
    (half,) = score_replies(base.model.bfloat16(), aligned.model.bfloat16(), forced)
    assert half.kl_aligned_base == pytest.approx(single.kl_aligned_base, rel=0.3)
    assert sum(half.kl_aligned_base) > 0


def test_logits_that_are_not_finite_are_refused() -> None:
    base, aligned = two_models()
    with torch.no_grad():
        aligned.model.get_output_embeddings().weight[7] = torch.nan
    with pytest.raises(CheckpointError, match="are not finite"):
        score_replies(base.model, aligned.model, [Forced([5], [5], [20])])


def test_nothing_to_score_and_modes_are_kept() -> None:
    model = tiny_model().model
    model.train()
    assert score_replies(model, model, []) == []
    (found,) = score_replies(model, model, [Forced([5], [5], [20])])
    assert found.kl_aligned_base == [0]
    assert model.training
