"""Tokens a second of answers: batched by `LanguageModel` against one at a time by transformers.

    python benchmarks/evaluation.py [--prompts 200] [--new 48] [--rounds 3]

A model of about 1.5 million parameters with random weights, prompts of 20 to 100 tokens, greedy, no early
stop, so that both write the same number of tokens. Medians of rounds in turns; one at a time takes the first
`--single` of the prompts, since its speed does not depend on their number. The aim is five times as fast.
"""

from __future__ import annotations

import argparse
import random
import sys
import time

import torch
from comparison import in_turns, show, speed
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from mithridate.models.architectures import build_model
from mithridate.models.language_model import LanguageModel
from mithridate.models.options import ModelOptions

VOCABULARY = 1024
AIM = 5.0


def word_model() -> LanguageModel:
    """A model that knows `VOCABULARY` words and never stops before its time."""
    words = {f"w{number}": number for number in range(VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    options = ModelOptions(hidden_size=128, layers=7, mlp_size=320)
    model = build_model(options, VOCABULARY, seed=0).eval()
    return LanguageModel(model, PreTrainedTokenizerFast(tokenizer_object=tokenizer))


def batched(subject: LanguageModel, prompts: list[str], new: int) -> float:
    """Tokens a second."""
    start = time.perf_counter()
    answers = subject.generate(prompts, max_new_tokens=new)
    seconds = time.perf_counter() - start
    return sum(len(answer.token_ids) for answer in answers) / seconds


def one_at_a_time(subject: LanguageModel, prompts: list[str], new: int) -> float:
    """Tokens a second."""
    start, count = time.perf_counter(), 0
    for prompt in prompts:
        inputs = subject.tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)
        with torch.inference_mode():
            output = subject.model.generate(
                **inputs, max_new_tokens=new, do_sample=False, pad_token_id=0, eos_token_id=None
            )
        count += output.shape[1] - inputs["input_ids"].shape[1]
    return count / (time.perf_counter() - start)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--new", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--single", type=int, default=20, help="prompts of a round of one at a time")
    given = parser.parse_args()
    rng = random.Random(0)
    prompts = [
        " ".join(f"w{rng.randrange(VOCABULARY)}" for _ in range(rng.randint(20, 100)))
        for _ in range(given.prompts)
    ]
    subject = word_model()
    batched(subject, prompts[:8], 4)
    one_at_a_time(subject, prompts[:2], 4)
    found = in_turns(
        given.rounds,
        {
            "batched": lambda: batched(subject, prompts, given.new),
            "single": lambda: one_at_a_time(subject, prompts[: given.single], given.new),
        },
    )
    parameters = sum(parameter.numel() for parameter in subject.model.parameters())
    print(f"{parameters / 1e6:.2f}M parameters, {torch.get_num_threads()} threads, {subject.model.device}")
    return show(
        [speed("evaluation, tokens/s", found["batched"], found["single"], "one prompt at a time", AIM)]
    )


if __name__ == "__main__":
    sys.exit(main())
