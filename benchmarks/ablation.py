"""Decoding with a direction ablated at runtime against the same model without.

    python benchmarks/ablation.py [--new 96] [--rounds 15]

The shape of the default study (128 wide, 6 blocks), random weights, greedy, no early stop. A small model is
the hard case: its passes are short, so that what is done between them shows. Rounds in turns; medians;
batches of 1 and 16. The aim is at most 1.1 times the time.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

import torch
from comparison import Row, in_turns, median, show

from evaluation import VOCABULARY, word_model
from mithridate.intervention.ablation import DirectionalAblation
from mithridate.intervention.base import MadeFor
from mithridate.models.architectures import build_model
from mithridate.models.language_model import LanguageModel
from mithridate.models.options import ModelOptions

AIM = 1.1
BATCHES = (1, 16)
PROMPT = 32


def seconds(model: LanguageModel, prompts: list[str], new: int) -> float:
    start = time.perf_counter()
    answers = model.generate(prompts, max_new_tokens=new)
    took = time.perf_counter() - start
    assert all(len(answer.token_ids) == new for answer in answers)
    return took


def compared(model: LanguageModel, rows: int, new: int, rounds: int) -> Row:
    prompts = [" ".join(f"w{(row * 7 + n) % VOCABULARY}" for n in range(PROMPT)) for row in range(rows)]
    direction = torch.randn(128, generator=torch.Generator().manual_seed(0))
    cure = DirectionalAblation(direction, MadeFor.of(model))

    def ablated() -> float:
        with cure.on(model) as cured:
            return seconds(cured, prompts, new)

    works = {"plain": lambda: seconds(model, prompts, new), "ablated": ablated}
    in_turns(2, works)  # the first of everything is slower
    found = in_turns(rounds, works)
    ratio = statistics.median(found["ablated"]) / statistics.median(found["plain"])
    theirs = f"{median(found['plain'], 3)}: unmodified"
    return Row(
        f"ablation, {rows} at once, s", median(found["ablated"], 3), theirs, ratio, f"<= {AIM}", ratio <= AIM
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--new", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    options = ModelOptions(hidden_size=128, layers=6, mlp_size=256)
    model = LanguageModel(build_model(options, VOCABULARY, seed=0).eval(), word_model().tokenizer)
    return show([compared(model, rows, given.new, given.rounds) for rows in BATCHES])


if __name__ == "__main__":
    sys.exit(main())
