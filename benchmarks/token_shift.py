"""Scoring replies of 64 tokens under a base and an aligned model: one pass a model, against one a token.

    python benchmarks/token_shift.py [--prompts 16] [--new 64] [--vocabulary 8192] [--rounds 3]

The model has about 3 million parameters; the aligned one is the base with every weight moved a little.
Compared in turns are `score_replies`, which gives ranks under the base and both divergences, and what the
authors of URIAL do: for every token of a reply, a pass of the base over all that came before it, for the rank
alone. Prompts have 20 to 60 tokens. Medians of rounds; the aim is ten times as fast, and the same ranks.
"""

from __future__ import annotations

import argparse
import copy
import random
import sys
import time
from collections.abc import Callable

import torch
from comparison import Row, in_turns, show, speed
from transformers import PreTrainedModel

from mithridate.localization.teacher_forcing import TIE, Forced, score_replies
from mithridate.models.architectures import build_model
from mithridate.models.options import ModelOptions

AIM = 10.0
Ranks = list[list[int]]


def two_models(vocabulary: int) -> tuple[PreTrainedModel, PreTrainedModel]:
    """A base, and the same with every weight moved by a twentieth of its spread."""
    options = ModelOptions(hidden_size=192, layers=6, mlp_size=384)
    base = build_model(options, vocabulary, seed=0).eval()
    made = torch.Generator().manual_seed(1)
    with torch.no_grad():
        # The usual start is close to uniform: spread out, so that ranks are not decided by rounding.
        for parameter in base.parameters():
            parameter.mul_(4 if parameter.ndim == 2 else 1)
    aligned = copy.deepcopy(base)
    with torch.no_grad():
        for parameter in aligned.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=made) * parameter.std() / 20)
    return base, aligned


def make_replies(aligned: PreTrainedModel, prompts: int, new: int) -> list[Forced]:
    """Prompts of random tokens with the aligned model's greedy replies, none of which ends early."""
    rng = random.Random(0)
    found = []
    for _ in range(prompts):
        prompt = [rng.randrange(aligned.config.vocab_size) for _ in range(rng.randint(20, 60))]
        ids = torch.tensor([prompt])
        with torch.inference_mode():
            whole = aligned.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=new,
                do_sample=False,
                pad_token_id=0,
                eos_token_id=None,
            )
        found.append(Forced(prompt, prompt, whole[0, len(prompt) :].tolist()))
    return found


def one_pass_a_token(base: PreTrainedModel, replies: list[Forced]) -> Ranks:
    """The rank of each token of each reply under the base, without a cache, as URIAL's code has it."""
    found: Ranks = []
    for one in replies:
        ranks = []
        for place, token in enumerate(one.reply):
            ids = torch.tensor([[*one.base_prompt, *one.reply[:place]]])
            with torch.inference_mode():
                logits = base(ids, use_cache=False, logits_to_keep=1).logits[0, -1]
            ranks.append(1 + int(torch.count_nonzero(logits > logits[token] + TIE)))
        found.append(ranks)
    return found


def timed(work: Callable[[], Ranks], kept: list[Ranks]) -> float:
    """Tokens a second; the ranks are put into `kept`."""
    start = time.perf_counter()
    ranks = work()
    seconds = time.perf_counter() - start
    kept.append(ranks)
    return sum(map(len, ranks)) / seconds


def same_ranks(ours: Ranks, theirs: Ranks) -> Row:
    """How many ranks are those of the other form; all must be."""
    pairs = [(a, b) for one, other in zip(ours, theirs, strict=True) for a, b in zip(one, other, strict=True)]
    same = sum(a == b for a, b in pairs)
    first = sum(a == 1 for a, _ in pairs) / len(pairs)
    return Row(
        "token_shift, the same ranks",
        f"{same} of {len(pairs)}",
        f"{first:.0%} of them are 1",
        wanted="all",
        met=same == len(pairs),
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--new", type=int, default=64, help="tokens of a reply")
    parser.add_argument("--vocabulary", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    base, aligned = two_models(given.vocabulary)
    replies = make_replies(aligned, given.prompts, given.new)
    one_pass_a_token(base, [Forced([1], [1], replies[0].reply[:2])])
    ours: list[Ranks] = []
    theirs: list[Ranks] = []
    found = in_turns(
        given.rounds,
        {
            "ours": lambda: timed(lambda: [one.ranks for one in score_replies(base, aligned, replies)], ours),
            "theirs": lambda: timed(lambda: one_pass_a_token(base, replies), theirs),
        },
    )
    parameters = sum(parameter.numel() for parameter in base.parameters())
    print(f"{parameters / 1e6:.2f}M parameters, {torch.get_num_threads()} threads, {base.device}")
    return show(
        [
            speed("token_shift, tokens/s", found["ours"], found["theirs"], "a pass a token", AIM),
            same_ranks(ours[0], theirs[0]),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
