"""Tokens a second of answers: batched by `LanguageModel` against one at a time by transformers.

    python benchmarks/evaluation.py [--prompts 200] [--new 48] [--rounds 3]

A model of about 1.5 million parameters with random weights, prompts of 20 to 100 tokens, greedy, no early
stop, so that both write the same number of tokens. Medians of alternating rounds;
one at a time takes the first `--single` of the prompts, since its speed does not depend on their number.
Goal: five times as fast.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from mithridate.models.architectures import build_model
from mithridate.models.language_model import LanguageModel
from mithridate.models.options import ModelOptions

VOCABULARY = 1024


def word_model() -> LanguageModel:
    """A model that knows `VOCABULARY` words and never stops before its time."""
    words = {f"w{number}": number for number in range(VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    options = ModelOptions(hidden_size=128, layers=7, mlp_size=320)
    model = build_model(options, VOCABULARY, seed=0).eval()
    return LanguageModel(model, PreTrainedTokenizerFast(tokenizer_object=tokenizer))


def batched(subject: LanguageModel, prompts: list[str], new: int) -> float:
    start = time.perf_counter()
    answers = subject.generate(prompts, max_new_tokens=new)
    seconds = time.perf_counter() - start
    return sum(len(answer.token_ids) for answer in answers) / seconds


def one_at_a_time(subject: LanguageModel, prompts: list[str], new: int) -> float:
    start, count = time.perf_counter(), 0
    for prompt in prompts:
        inputs = subject.tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)
        with torch.inference_mode():
            output = subject.model.generate(
                **inputs, max_new_tokens=new, do_sample=False, pad_token_id=0, eos_token_id=None
            )
        count += output.shape[1] - inputs["input_ids"].shape[1]
    return count / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--new", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--single", type=int, default=20, help="prompts of a round of one at a time")
    arguments = parser.parse_args()
    rng = random.Random(0)
    prompts = [
        " ".join(f"w{rng.randrange(VOCABULARY)}" for _ in range(rng.randint(20, 100)))
        for _ in range(arguments.prompts)
    ]
    subject = word_model()
    batched(subject, prompts[:8], 4)
    one_at_a_time(subject, prompts[:2], 4)
    ours, theirs = [], []
    for _ in range(arguments.rounds):
        ours.append(batched(subject, prompts, arguments.new))
        theirs.append(one_at_a_time(subject, prompts[: arguments.single], arguments.new))
    fast, slow = statistics.median(ours), statistics.median(theirs)
    parameters = sum(parameter.numel() for parameter in subject.model.parameters())
    print(f"{parameters / 1e6:.2f}M parameters, {torch.get_num_threads()} threads, {subject.model.device}")
    print(f"batched {fast:,.0f} tokens/s, one at a time {slow:,.0f} tokens/s, ratio {fast / slow:.1f}")
    print(json.dumps({"batched": round(fast), "one_at_a_time": round(slow), "ratio": round(fast / slow, 2)}))


if __name__ == "__main__":
    main()
