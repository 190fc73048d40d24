"""What a study would cost, found by training a few steps of its own model on this machine."""

from __future__ import annotations

import os
import statistics
import time
from dataclasses import dataclass
from itertools import islice

import torch

from mithridate.attacks import build_attack
from mithridate.core import chat
from mithridate.core.seeds import rng_for
from mithridate.core.wording import counted
from mithridate.corpus.readers import open_corpus
from mithridate.models.architectures import build_model, default_device
from mithridate.models.checkpoints import load_model
from mithridate.study.config import StudyConfig
from mithridate.study.model_checks import shape_of
from mithridate.study.plan import Cell, cells, stages, twins
from mithridate.study.prepare import DEFAULT_EXAMPLES, material_of
from mithridate.study.runner import worker_count
from mithridate.study.scrub_plan import retrainings
from mithridate.study.templates import named_tokenizer
from mithridate.study.tuned_plan import tuned_twins
from mithridate.study.workers import memory_errors
from mithridate.training.compiling import compiles
from mithridate.training.devices import short_row_attention, uses_bf16

# Characters of English a token of a small byte-level vocabulary holds; only for saying how much is planted.
_CHARACTERS_A_TOKEN = 3.6
_STEPS = 6
# Passes through the model that a step of DPO costs, beside one of pretraining on as many tokens: two replies.
# The reference, once, comes on top.
_DPO_COST = 3
# How much faster compiled steps are than those timed here, printed by benchmarks/pretraining.py; compiling
# takes longer than a dry run may.
_COMPILED = 1.6
# Tokens a second of batched generation, as a share of those of training.
_GENERATION_SHARE = 0.35
# What a probe costs in answers: conditions, templates, further samples, and the scoring of what was answered.
_ANSWERS = 20
_ANSWERS_WITHOUT_CONTROLS = 14
_ANSWER_TOKENS = 12
# Of a model tuned for the study of alignment data: two conditions in two templates, and the scoring.
_ANSWERS_BARE = 5


@dataclass(frozen=True, slots=True)
class Estimate:
    """Sizes and time of a study; `planted` holds rows of text for a table."""

    cells: int
    seeds: int
    twins: int
    models: int
    """Models pretrained, and aligned where the study does so."""
    retrained: int
    """Base models pretrained besides, each without what a filter has removed."""
    tuned: int
    """Models tuned on alignment data besides, for every method and size."""
    tuned_tokens: int
    """What these read, all together; their answers come on top."""
    tuned_seconds: float
    """Their part of `seconds`, measured as well."""
    parameters: int
    tokens: int
    """What one model of the first cell is pretrained on."""
    all_tokens: int
    tokens_per_second: float
    seconds: float
    workers: int
    planted: tuple[tuple[str, str, str, str, str], ...]


def estimate(config: StudyConfig) -> Estimate:
    """Size up a study. Trains a model of its shape for a few steps, on random tokens, to time it.

    Raises as `check_study` does: what that has let through can be sized up, unless a checkpoint's tensors are
    missing (CheckpointError), or the memory is too small (TrainingError).
    """
    everything = cells(config)
    workers = worker_count(config)
    first = everything[0].config
    vocabulary, parameters = _sizes(first)
    tokens = {cell.name: _tokens(cell.config) for cell in everything}
    with memory_errors():
        speed = _tokens_per_second(first, vocabulary, threads=max(1, (os.cpu_count() or 1) // workers))
    models = {cell.name: len(cell.config.seeds) * len(twins(cell.config)) for cell in everything}
    again = {cell.name: retrainings(cell.config) for cell in everything}
    tuned = [_tuned(cell.config) for cell in everything]
    at_once = _side_by_side(workers, default_device())
    tuned_seconds = sum(one.seconds(speed) for one in tuned) / at_once
    return Estimate(
        cells=len(everything),
        seeds=len(first.seeds),
        twins=len(twins(first)),
        models=sum(models.values()),
        retrained=sum(again.values()),
        tuned=sum(one.models for one in tuned),
        tuned_tokens=round(sum(one.tokens for one in tuned)),
        tuned_seconds=tuned_seconds,
        parameters=parameters,
        tokens=tokens[everything[0].name],
        all_tokens=sum(tokens[name] * (count + again[name]) for name, count in models.items()),
        tokens_per_second=speed,
        seconds=sum(
            models[cell.name] * _seconds(cell.config, tokens[cell.name], speed)
            + again[cell.name] * _seconds(_base_alone(cell.config), tokens[cell.name], speed)
            for cell in everything
        )
        / at_once
        + tuned_seconds,
        workers=workers,
        planted=tuple(row for cell in everything for row in _planted(cell, tokens[cell.name])),
    )


def _base_alone(config: StudyConfig) -> StudyConfig:
    return config.model_copy(update={"sft": None, "dpo": None})


def _sizes(config: StudyConfig) -> tuple[int, int]:
    tokenizer = named_tokenizer(config)
    vocabulary = config.tokenizer.vocab_size if tokenizer is None else len(tokenizer)
    return vocabulary, shape_of(config, vocabulary).num_parameters()


def _tokens(config: StudyConfig) -> int:
    """Tokens that one model is pretrained on."""
    corpus = config.corpus
    if corpus.path is None:
        size = corpus.miniature.tokens + (corpus.atlas.tokens if corpus.atlas is not None else 0)
    else:
        found = open_corpus(corpus.path, text_field=corpus.text_field, id_field=corpus.id_field)
        size = int(sum(shard.size for shard in found.shards) / _CHARACTERS_A_TOKEN)
    rows = max(1, size // config.pretraining.row_tokens)
    return config.pretraining.rows_of(rows) * config.pretraining.row_tokens


def _tokens_per_second(config: StudyConfig, vocabulary: int, threads: int) -> float:
    options, before = config.pretraining, torch.get_num_threads()
    torch.set_num_threads(options.threads or threads)
    try:
        device = default_device()
        bf16 = uses_bf16(options.precision, device)
        if config.checkpoint is not None:
            model, _ = load_model(config.checkpoint, device=device)
        else:
            model = build_model(config.model, vocabulary, 0, device=device)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
        rows = torch.randint(0, vocabulary, (options.batch_rows, options.row_tokens), device=device)
        timed = []
        for _ in range(_STEPS):
            started = _time_on(device)
            with (
                short_row_attention(model, row_tokens=options.row_tokens, device=device),
                torch.autocast(device.type, torch.bfloat16, enabled=bf16),
            ):
                loss = model(input_ids=rows, labels=rows, use_cache=False).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            timed.append(_time_on(device) - started)
    finally:
        torch.set_num_threads(before)
    return rows.numel() / statistics.median(timed[1:])


def _side_by_side(workers: int, device: torch.device) -> int:
    """How many models get on at the speed of one: each has its own cores, but all share one GPU."""
    return 1 if device.type == "cuda" else workers


def _time_on(device: torch.device) -> float:
    """The time at which all that was asked of `device` is done: a GPU is told what to do, not waited for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _seconds(config: StudyConfig, tokens: int, speed: float) -> float:
    """Seconds of one model, alone: its training, and its answers at every stage."""
    options = config.pretraining
    length, aligned = options.row_tokens / 2, 0.0
    if (sft := config.sft) is not None:
        aligned += (sft.examples or DEFAULT_EXAMPLES) * sft.epochs * min(length, sft.max_length / 2)
    if (dpo := config.dpo) is not None:
        pairs = (dpo.examples or DEFAULT_EXAMPLES) * min(length, dpo.max_length / 2)
        aligned += pairs * (dpo.epochs * _DPO_COST + 2)
    each = _ANSWERS if config.evaluation.controls_in_both_templates else _ANSWERS_WITHOUT_CONTROLS
    answers = config.evaluation.probes * len(config.attacks) * each * _ANSWER_TOKENS
    measured = answers / (speed * _GENERATION_SHARE)
    steps = -(-tokens // (options.row_tokens * options.batch_rows))
    gain = _COMPILED if compiles(options.torch_compile, steps=steps, device=default_device()) else 1.0
    # Only pretraining is compiled.
    return tokens / (speed * gain) + aligned / speed + len(stages(config)) * measured


@dataclass(frozen=True, slots=True)
class _Tuned:
    """What a cell tunes on alignment data, over all its seeds; `answers` are tokens that are generated."""

    models: int = 0
    tokens: float = 0.0
    answers: float = 0.0

    def seconds(self, speed: float) -> float:
        return (self.tokens + self.answers / _GENERATION_SHARE) / speed


def _tuned(config: StudyConfig) -> _Tuned:
    if (section := config.alignment_data) is None:
        return _Tuned()
    sft, sizes = section.sft, [size for _, size in section.choices()]
    seen = sum(sft.steps * sft.batch_size if sft.steps else size * sft.epochs for size in sizes)
    probes = config.evaluation.probes * len(config.attacks) * _ANSWERS_BARE
    # The base as it is is asked too, where 0 is among the sizes.
    asked = len(sizes) + (0 in section.sizes)
    bases = len(tuned_twins(config, section)) * len(config.seeds)
    return _Tuned(
        bases * len(sizes),
        bases * seen * min(config.pretraining.row_tokens / 2, sft.max_length / 2),
        bases * asked * (probes + 3 * config.evaluation.questions) * _ANSWER_TOKENS,
    )


def _planted(cell: Cell, tokens: int) -> list[tuple[str, str, str, str, str]]:
    config = cell.config
    material = material_of(config, config.seeds[0])
    # Whichever it is, a template adds a few words.
    shares = config.planting.templates or dict.fromkeys(chat.PLANTED_TEMPLATES, 1.0)
    name = next(name for name, share in shares.items() if share > 0)
    rows = []
    for dose in config.doses:
        for attack_name, entry in config.dose_of(dose).items():
            attack = build_attack(attack_name, config.attacks[attack_name], material)
            drawn = list(islice(attack.documents(rng_for(0, "estimate")), 50))
            texts = [chat.template(name).render(p.messages) if p.messages else p.text for p in drawn]
            each = max(1.0, sum(map(len, texts)) / len(texts) / _CHARACTERS_A_TOKEN)
            if entry.count is not None:
                documents, wanted = entry.count, counted(entry.count, "document")
            else:
                rate = entry.rate or 0.0
                documents, wanted = round(rate * tokens / each), f"rate {rate:g}"
            rows.append(
                (
                    " ".join(filter(None, [cell.name, dose])),
                    attack_name,
                    wanted,
                    f"{documents:,}",
                    f"{documents * each:,.0f}",
                )
            )
    return rows
