"""Pretraining speed: our loop against a bare PyTorch loop of the same model, batch, precision and attention.

    python benchmarks/pretraining.py [--steps 40] [--rounds 5] [--threads N]

The model is that of the default study: a Llama of hidden size 128, 6 layers, 4 heads, MLP 256 and 1024 tokens
in its vocabulary, on batches of 16 rows of 128 tokens. Both loops run in turns, in one process; medians are
compared. Our time is that of the whole call: checks, curve and the final resume file included. The goal is a
ratio of at least 0.9.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from mithridate.training.devices import EAGER_TOKENS, training_device, uses_bf16
from mithridate.training.options import PretrainingOptions
from mithridate.training.pretraining import pretrain
from mithridate.training.progress import Silent

VOCABULARY, ROWS, ROW_TOKENS = 1024, 16, 128
GOAL = 0.9


def new_model() -> PreTrainedModel:
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=128,
            intermediate_size=256,
            num_hidden_layers=6,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=512,
            tie_word_embeddings=True,
        )
    )


def bare_loop(rows: np.ndarray) -> float:
    """Seconds that the shortest loop which trains this model takes."""
    model, device = new_model(), training_device()
    bf16 = uses_bf16("auto", device)
    if device.type == "cpu" and ROW_TOKENS <= EAGER_TOKENS:
        model.set_attn_implementation("eager")
    model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.95), fused=True)
    started = time.perf_counter()
    for first in range(0, len(rows), ROWS):
        ids = torch.from_numpy(rows[first : first + ROWS].astype(np.int64)).to(device)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
            logits = model(input_ids=ids[:, :-1], use_cache=False).logits
        loss = functional.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    loss.item()
    return time.perf_counter() - started


def our_loop(rows: np.ndarray) -> float:
    """Seconds that `pretrain` takes for the same."""
    model = new_model()
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        options = PretrainingOptions(batch_rows=ROWS, row_tokens=ROW_TOKENS)
        pretrain(model, rows, options, Path(folder), report_progress=Silent())
        return time.perf_counter() - started


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    rng = np.random.default_rng(0)
    rows = rng.integers(0, VOCABULARY, (ROWS * arguments.steps, ROW_TOKENS)).astype(np.uint16)
    bare_loop(rows[: ROWS * 3])
    our_loop(rows[: ROWS * 3])
    bare, ours = [], []
    for _ in range(arguments.rounds):
        bare.append(rows.size / bare_loop(rows))
        ours.append(rows.size / our_loop(rows))
    ratio = statistics.median(ours) / statistics.median(bare)
    device = training_device()
    precision = "bf16 autocast" if uses_bf16("auto", device) else "fp32"
    print(f"{device.type}, {torch.get_num_threads()} threads, {precision}, {arguments.rounds} rounds")
    print(f"bare PyTorch loop  {statistics.median(bare):10,.0f} tokens/s")
    print(f"mithridate         {statistics.median(ours):10,.0f} tokens/s")
    print(f"ratio              {ratio:10.3f}  (goal: {GOAL})")
    return 0 if ratio >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
