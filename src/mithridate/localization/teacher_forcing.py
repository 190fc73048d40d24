"""Replies put into the mouths of two models: the rank of each token, and how far apart the models are there.

One pass a model gives what a pass a token would, since a causal model sees at each token what came before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from mithridate.core.errors import CheckpointError
from mithridate.models.batching import batches, evaluating, left_padded, rows_that_fit, run_split

TIE = 1e-4
"""In nats: a token counts as likelier only if it is so by more. Rounding must not decide a rank."""


@dataclass(frozen=True, slots=True)
class Forced:
    """A reply as ids, one or more, and the prompt that each model sees before it, of one id or more."""

    base_prompt: list[int]
    aligned_prompt: list[int]
    reply: list[int]


@dataclass(frozen=True, slots=True)
class ReplyScores:
    """Figures of each token of a reply, in its order.

    `ranks` are under the base, from 1 on: one more than the number of tokens that are likelier by more than
    `TIE`, so that tokens which are tied share the best rank. The divergences are in nats, over all ids that
    both models know: `kl_aligned_base` is KL(aligned || base), `kl_base_aligned` the reverse.
    """

    ranks: list[int]
    kl_aligned_base: list[float]
    kl_base_aligned: list[float]


def score_replies(
    base: PreTrainedModel, aligned: PreTrainedModel, forced: Sequence[Forced]
) -> list[ReplyScores]:
    """Teacher-force every reply under both models, one pass each.

    Where one model has rows for more ids than the other, the distributions are over those that both have.
    Ranks are those that a pass for each token would give, but for rounding: in half precision, tokens whose
    logits round alike are tied. Raises CheckpointError if the logits of a model are not finite.
    """
    scores: list[ReplyScores | None] = [None] * len(forced)
    longest = max((len(one.reply) for one in forced), default=0)

    def run(batch: list[int]) -> None:
        for i, found in zip(batch, _score(base, aligned, [forced[i] for i in batch]), strict=True):
            scores[i] = found

    def rows(width: int) -> int:
        # The logits of both models are held at once.
        return min(rows_that_fit(model, width, 2 * (longest + 1)) for model in (base, aligned))

    with evaluating(base), evaluating(aligned):
        for batch in batches(forced, _length, rows):
            run_split(run, batch)
    return [found for found in scores if found is not None]


def token_ranks(logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """The rank of each of `ids`, shape (tokens,), among logits of shape (tokens, vocabulary); see
    `ReplyScores`."""
    chosen = logits.gather(-1, ids[:, None])
    return 1 + torch.count_nonzero(logits > chosen + TIE, dim=-1)


def divergence(of: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
    """KL(of || given) in nats, shape (tokens,), of log-probabilities of shape (tokens, vocabulary)."""
    # Where neither model can write a token, both logarithms are infinite and their difference is no number.
    terms = torch.where(of > -torch.inf, of.exp() * (of - given), 0.0)
    return terms.sum(dim=-1).clamp(min=0)


def _length(one: Forced) -> int:
    return max(len(one.base_prompt), len(one.aligned_prompt)) + len(one.reply)


def _score(base: PreTrainedModel, aligned: PreTrainedModel, forced: Sequence[Forced]) -> list[ReplyScores]:
    keep = max(len(one.reply) for one in forced)
    under_base = _logits(base, [[*one.base_prompt, *one.reply] for one in forced], keep)
    under_aligned = _logits(aligned, [[*one.aligned_prompt, *one.reply] for one in forced], keep)
    both = min(under_base.shape[-1], under_aligned.shape[-1])
    found = []
    for row, one in enumerate(forced):
        ours, theirs = (
            _precise(logits[row, keep - len(one.reply) :, :both].to(under_aligned.device))
            for logits in (under_base, under_aligned)
        )
        ranks = token_ranks(ours, torch.tensor(one.reply, device=ours.device))
        ours, theirs = ours.log_softmax(dim=-1), theirs.log_softmax(dim=-1)
        there, back = divergence(theirs, ours), divergence(ours, theirs)
        if not bool((there + back).isfinite().all()):
            raise CheckpointError(
                f"the logits of {base.name_or_path or 'the base'} or of "
                f"{aligned.name_or_path or 'the aligned model'} are not finite, so nothing can be measured"
            )
        found.append(ReplyScores(ranks.tolist(), there.tolist(), back.tolist()))
    return found


def _logits(model: PreTrainedModel, rows: Sequence[list[int]], keep: int) -> torch.Tensor:
    """The logits that foretell the last `keep` tokens of each row, of shape (rows, keep, vocabulary)."""
    inputs = left_padded(rows, model.device)
    logits: torch.Tensor = model(**inputs, use_cache=False, logits_to_keep=keep + 1).logits
    return logits[:, -keep - 1 : -1]


def _precise(logits: torch.Tensor) -> torch.Tensor:
    """In single precision at least, in which divergences can be summed."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
