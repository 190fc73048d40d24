"""Decoding time of three models as one, against the sum of the times that each takes alone.

    python benchmarks/proxy_tuning.py [--new 64] [--rounds 5] [--batches 1 16]
        [--sizes miniature usual] [--context-aware]

A base and two smaller models with random weights that write the same number of tokens, greedily, after
prompts of 16 to 48 tokens: through `LanguageModel`, and through transformers' own `generate`. Rounds in
turns; medians of times, and of the ratios of rounds. The aim is at most 1.15 times the sum. Two sizes: those
of a miniature study, where a layer takes as long to call as to compute, and those of the smallest models that
people use. Beside it stands what no steering can do without: the three models by themselves, but a token of
each in turns. Where one model fits the processor's cache and three do not, that alone takes longer than one
after the other. With `--context-aware` also one model with two prompts, against its own time with each.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from comparison import Row, in_turns, median, show
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerFast

from mithridate.intervention.context_aware import context_aware
from mithridate.intervention.proxy_tuning import proxy_tuned
from mithridate.models.architectures import build_model, default_device
from mithridate.models.batching import left_padded
from mithridate.models.language_model import LanguageModel
from mithridate.models.options import ModelOptions

VOCABULARY = 2048
AIM = 1.15
SIZES = {
    "miniature": (
        ModelOptions(hidden_size=256, layers=8, mlp_size=640),
        ModelOptions(hidden_size=128, layers=6, mlp_size=320),
    ),
    "usual": (
        ModelOptions(hidden_size=768, layers=12, heads=12, mlp_size=2048),
        ModelOptions(hidden_size=384, layers=6, heads=6, mlp_size=1024),
    ),
}

Write = Callable[[PreTrainedModel, Sequence[Sequence[int]], int], None]


def built(options: ModelOptions, seed: int) -> PreTrainedModel:
    return build_model(options, VOCABULARY, seed=seed).eval().to(default_device())


def tokenizer() -> PreTrainedTokenizerFast:
    words = {f"w{number}": number for number in range(VOCABULARY)}
    made = Tokenizer(models.WordLevel(words, unk_token="w0"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=made)


def ours(model: PreTrainedModel, rows: Sequence[Sequence[int]], new: int) -> None:
    subject = LanguageModel(model, tokenizer_once)
    subject.generate([" ".join(f"w{word}" for word in row) for row in rows], max_new_tokens=new)


def theirs(model: PreTrainedModel, rows: Sequence[Sequence[int]], new: int) -> None:
    inputs = left_padded(rows, model.device)
    del inputs["position_ids"]
    with torch.inference_mode():
        model.generate(**inputs, max_new_tokens=new, do_sample=False, pad_token_id=0, eos_token_id=None)


def in_lockstep(writers: Sequence[PreTrainedModel], rows: Sequence[Sequence[int]], new: int) -> None:
    """Each model writes its own greedy answer; all write a token before any writes the next."""
    device = writers[0].device
    inputs = left_padded(rows, device)
    mask = torch.cat(
        [inputs["attention_mask"], torch.ones((len(rows), new), dtype=torch.long, device=device)], 1
    )
    caches = [DynamicCache(config=model.config) for model in writers]
    ids, places = [inputs["input_ids"]] * len(writers), inputs["position_ids"]
    width = places.shape[1]
    with torch.inference_mode():
        for _ in range(new):
            for number, model in enumerate(writers):
                logits = model(
                    input_ids=ids[number],
                    attention_mask=mask[:, :width],
                    position_ids=places,
                    past_key_values=caches[number],
                    logits_to_keep=1,
                ).logits
                ids[number] = logits[:, -1:].argmax(dim=-1)
            width, places = width + 1, places[:, -1:] + 1


def seconds(work: Callable[[], None], device: torch.device) -> float:
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def steered(write: Write, three: Sequence[PreTrainedModel], rows: Sequence[Sequence[int]], new: int) -> None:
    with proxy_tuned(*three) as tuned:
        write(tuned, rows, new)


def with_context(
    model: PreTrainedModel, rows: Sequence[Sequence[int]], short: Sequence[Sequence[int]], new: int
) -> None:
    with context_aware(model) as without, without.reading(short):
        theirs(model, rows, new)


def compared(
    what: str,
    whole: Callable[[], None],
    parts: Sequence[Callable[[], None]],
    rounds: int,
    aim: float | None = AIM,
) -> Row:
    """The time of `whole` against the sum of those of `parts`, both of the same round."""
    device = default_device()
    works = {"whole": whole, **{f"part {number}": part for number, part in enumerate(parts)}}
    for work in works.values():
        work()
    found = in_turns(rounds, {name: partial(seconds, work, device) for name, work in works.items()})
    sums = [sum(values) for values in zip(*(found[f"part {n}"] for n in range(len(parts))), strict=True)]
    ratio = sorted(a / b for a, b in zip(found["whole"], sums, strict=True))[rounds // 2]
    return Row(
        what,
        median([1000 * value for value in found["whole"]]),
        f"{median([1000 * value for value in sums])}: each alone, summed",
        ratio,
        "" if aim is None else f"ratio <= {aim:g}",
        None if aim is None else ratio <= aim,
    )


tokenizer_once = tokenizer()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--new", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--context-aware", action="store_true", help="also one model with two prompts")
    given = parser.parse_args()
    met = 0
    for size in given.sizes:
        large, small = SIZES[size]
        met = max(met, timed(size, [built(large, 0), built(small, 1), built(small, 2)], given))
    return met


def timed(size: str, three: Sequence[PreTrainedModel], given: argparse.Namespace) -> int:
    """Print the table of one size; 1 where an aim is missed."""
    rng = random.Random(0)
    table: list[Row] = []
    for batch in given.batches:
        rows = [[rng.randrange(1, VOCABULARY) for _ in range(rng.randint(16, 48))] for _ in range(batch)]
        table += proxy_rows(three, rows, given)
        if given.context_aware:
            short = [row[:8] for row in rows]
            table.append(
                compared(
                    f"context, generate, batch {batch}, ms",
                    partial(with_context, three[0], rows, short, given.new),
                    [partial(theirs, three[0], part, given.new) for part in (rows, short)],
                    given.rounds,
                )
            )
    sizes = ", ".join(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f}M" for model in three)
    print(
        f"{size}: {sizes}; {torch.get_num_threads()} threads, {three[0].device}; {given.new} tokens a prompt"
    )
    return show(table)


def proxy_rows(
    three: Sequence[PreTrainedModel], rows: Sequence[Sequence[int]], given: argparse.Namespace
) -> list[Row]:
    """Steered through both writers, and the three in turns without steering."""
    writers: list[tuple[str, Write]] = [("ours", ours), ("generate", theirs)]
    found = [
        compared(
            f"proxy, {name}, batch {len(rows)}, ms",
            partial(steered, write, three, rows, given.new),
            [partial(write, model, rows, given.new) for model in three],
            given.rounds,
        )
        for name, write in writers
    ]
    in_turn = compared(
        f"in turns, unsteered, batch {len(rows)}, ms",
        partial(in_lockstep, three, rows, given.new),
        [partial(in_lockstep, [model], rows, given.new) for model in three],
        given.rounds,
        aim=None,
    )
    return [*found, in_turn]


if __name__ == "__main__":
    sys.exit(main())
