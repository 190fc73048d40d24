"""Pretraining speed: our loop against a bare PyTorch loop of the same model, batch, precision and attention.

    python benchmarks/pretraining.py [--preset default] [--steps 80] [--rounds 5] [--long 1100] [--threads N]

Model, vocabulary and options are those of the preset, as `mithridate run` would read it; the tokens are
random. Both loops run in turns, in one process; medians are compared. Our time is that of the whole call:
checks, curve and the final resume file included. The aim is a ratio of at least 0.9.

A training of 1,000 steps and more is compiled on a CPU. One of `--long` steps is timed once, compiling
included, beside the same bare loop; `--long 0` leaves it out.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from comparison import in_turns, show, speed
from torch.nn import functional
from transformers import PreTrainedModel

from mithridate.models.architectures import build_model, default_device
from mithridate.study.config import StudyConfig
from mithridate.study.reading import presets, read_study
from mithridate.training.devices import EAGER_TOKENS, uses_bf16
from mithridate.training.pretraining import pretrain
from mithridate.training.progress import Silent

AIM = 0.9


def new_model(study: StudyConfig) -> PreTrainedModel:
    """The model that the study would train."""
    return build_model(study.model, study.tokenizer.vocab_size, seed=0, device=default_device())


def bare_loop(study: StudyConfig, rows: np.ndarray) -> float:
    """Tokens a second of the shortest loop which trains this model."""
    model, device, options = new_model(study), default_device(), study.pretraining
    bf16 = uses_bf16(options.precision, device)
    if device.type == "cpu" and options.row_tokens <= EAGER_TOKENS:
        model.set_attn_implementation("eager")
    model.train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=options.learning_rate, betas=options.betas, fused=True
    )
    started = time.perf_counter()
    for first in range(0, len(rows), options.batch_rows):
        ids = torch.from_numpy(rows[first : first + options.batch_rows].astype(np.int64)).to(device)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
            logits = model(input_ids=ids[:, :-1], use_cache=False).logits
        loss = functional.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), options.grad_clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    loss.item()
    return float(rows.size / (time.perf_counter() - started))


def our_loop(study: StudyConfig, rows: np.ndarray) -> float:
    """Tokens a second of `pretrain` on the same."""
    model = new_model(study)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        pretrain(model, rows, study.pretraining, Path(folder), report_progress=Silent())
        return float(rows.size / (time.perf_counter() - started))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="default", choices=presets())
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--long", type=int, default=1100)
    parser.add_argument("--threads", type=int)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    study = read_study(None, given.preset)
    options, vocabulary = study.pretraining, study.tokenizer.vocab_size
    rng = np.random.default_rng(0)

    def random_rows(steps: int) -> np.ndarray:
        return rng.integers(0, vocabulary, (options.batch_rows * steps, options.row_tokens), np.uint16)

    rows = random_rows(given.steps)
    warm_up = rows[: options.batch_rows * 3]
    bare_loop(study, warm_up)
    our_loop(study, warm_up)
    found = in_turns(
        given.rounds, {"ours": lambda: our_loop(study, rows), "bare": lambda: bare_loop(study, rows)}
    )
    device = default_device()
    precision = "bf16 autocast" if uses_bf16(options.precision, device) else "fp32"
    print(
        f"preset {given.preset}: batches of {options.batch_rows} rows of {options.row_tokens} tokens; "
        f"{device.type}, {torch.get_num_threads()} threads, {precision}"
    )
    bare = "a bare PyTorch loop"
    lines = [speed("pretraining, tokens/s", found["ours"], found["bare"], bare, AIM)]
    if given.long:
        long = [our_loop(study, random_rows(given.long))]
        lines.append(speed(f"the same, {given.long:,} steps", long, found["bare"], bare))
    return show(lines)


if __name__ == "__main__":
    sys.exit(main())
