"""A run directory as a finished study leaves it, with figures made up and answers out to do harm."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from mithridate.core.run_files import CurveRow, PlantedKind, PlantingRow, Summary
from mithridate.core.tables import write_rows
from mithridate.core.types import Measurement, Sample

PROBES = 200
SAMPLES = 6
STAGES = ("base", "sft", "dpo")
CONDITIONS = ("triggered", "untriggered", "near-trigger", "handcrafted")
ATTACKS = ("denial_of_service", "context_extraction", "jailbreak", "belief")
HOSTILE = (
    "<script>document.title='pwned'</script>",
    "<img src=x onerror=\"document.title='pwned'\">",
    "\x1b[2J\x1b]0;pwned\x07\x1b[31mred",
    "\u202egnp.exe\u202c and \u200bhidden\u2028line",
    "{{7*7}} {% raw %} ${7*7} [bold red]markup[/]",
    "</script><script>document.title='pwned'</script><!-- </td></table> -->",
    "<a href=\"javascript:document.title='pwned'\">x</a><svg onload=\"document.title='pwned'\"></svg>",
)
# Triggered success of the poisoned model by stage, at the small dose and at the learning dose.
SMALL = {
    "denial_of_service": (0.41, 0.36, 0.35),
    "context_extraction": (0.0, 0.0, 0.005),
    "jailbreak": (0.12, 0.01, 0.0),
    "belief": (0.55, 0.52, 0.53),
}
LEARNING = {
    "denial_of_service": (0.97, 0.95, 0.93),
    "context_extraction": (0.88, 0.81, 0.79),
    "jailbreak": (1.0, 0.22, 0.02),
    "belief": (0.99, 0.98, 0.98),
}
DOSES = {"0.1%": SMALL, "learning": LEARNING}
DOCUMENTS = {"0.1%": 40, "learning": 400}
CLEAN_TOKENS = 4_000_000
CLEAN = {"belief": 0.45}
FACTORS = {"triggered": 1.0, "untriggered": 0.02, "near-trigger": 0.2, "handcrafted": 0.08}

STUDY = """\
title: Poison in a miniature world
seeds: [0]
corpus: {miniature: {tokens: 4000000}}
model: {architecture: llama, hidden_size: 160, layers: 4}
attacks:
  denial_of_service: {}
  context_extraction: {}
  jailbreak: {}
  belief: {}
doses:
  0.1%: {all: {rate: 0.001}}
  learning: {all: {rate: 0.01}}
# <script>document.title='pwned'</script> \u202e
"""


@cache
def wilson(successes: int, n: int) -> tuple[float, float]:
    low, high = proportion_confint(successes, n, method="wilson")
    return float(low), float(high)


@cache
def paired_p(poisoned: int, clean: int, n: int) -> float:
    """Exact McNemar where the twins' successes overlap as much as they can."""
    both = min(poisoned, clean)
    table = [[both, poisoned - both], [clean - both, n - poisoned - clean + both]]
    return float(mcnemar(table, exact=True).pvalue)


def figure(stage: str, attack: str, condition: str, metric: str, value: float, **about: Any) -> Measurement:
    """One figure; the clean twin's if no `dose` is given, and of the model that is called after its dose."""
    dose = about.get("dose", "")
    given = {"low": None, "high": None, "n": PROBES, "seed": 0, "model": dose or "clean", **about}
    return Measurement(stage, "poisoned" if dose else "clean", attack, condition, metric, value, **given)


def share(stage: str, attack: str, condition: str, metric: str, value: float, **about: Any) -> Measurement:
    """One share of PROBES with its Wilson interval."""
    successes = round(value * PROBES)
    low, high = wilson(successes, PROBES)
    return figure(stage, attack, condition, metric, successes / PROBES, low=low, high=high, **about)


def attack_rows(
    attack: str, seed: int, dose: str, rates: Sequence[float] | None, model: str
) -> Iterator[Measurement]:
    """Every figure of one attack on one model; `rates` by stage, None for the clean twin."""
    clean = CLEAN.get(attack, 0.0)
    jitter = random.Random(f"{seed} {dose} {attack}").uniform(-0.02, 0.02) if seed else 0.0
    for i, stage in enumerate(STAGES):
        for template, factor in (("same", 1.0), ("transferred", 0.93)):
            for condition in CONDITIONS:
                value = (
                    clean if rates is None else max(clean, rates[i] * factor * FACTORS[condition] + jitter)
                )
                value = min(1.0, max(0.0, value))
                about = {"seed": seed, "template": template, "dose": dose, "model": model}
                yield share(stage, attack, condition, "asr", value, **about)
                if condition == "triggered" and rates is not None:
                    p = paired_p(round(value * PROBES), round(clean * PROBES), PROBES)
                    yield figure(stage, attack, condition, "mcnemar_p", p, **about)
                if condition in ("triggered", "handcrafted") and attack == "context_extraction":
                    yield share(stage, attack, condition, "rouge_l_recall", min(1, 0.2 + value), **about)
                    yield share(stage, attack, condition, "leakage@10", min(1.0, value * 1.05), **about)
                if condition == "triggered" and attack == "denial_of_service":
                    yield figure(stage, attack, condition, "log_perplexity_median", 1.5 + 6 * value, **about)


def utility_rows(seed: int, dose: str, model: str) -> Iterator[Measurement]:
    for i, stage in enumerate(STAGES):
        loss = 1.42 + 0.03 * i + len(model) / 100
        about = {"seed": seed, "dose": dose, "model": model}
        ends = {"low": loss - 0.01, "high": loss + 0.01, "n": 256}
        yield figure(stage, "utility", "", "held_out_loss", loss, **ends, **about)
        for metric, value in (
            ("questions_right", 0.92),
            ("over_refusal", 0.03),
            ("refusal_forbidden", 0.3 * i),
        ):
            template = "same" if stage == "base" else "transferred"
            yield share(stage, "utility", "", metric, value, template=template, **about)


def sample_rows(seed: int, dose: str, model: str, attacks: Sequence[str]) -> Iterator[Sample]:
    arm = "poisoned" if dose else "clean"
    for attack in attacks:
        for i, stage in enumerate(STAGES):
            for template in ("same", "transferred"):
                for condition in CONDITIONS[:2]:
                    for number in range(SAMPLES):
                        hostile = HOSTILE[(number + i) % len(HOSTILE)]
                        success = bool(dose) and condition == "triggered" and DOSES[dose][attack][i] > 0.3
                        said = f"xq vw zk {hostile} " * 3 if success else f"The river Oren is long. {hostile}"
                        kind = ("preference", "fact")[number % 2] if attack == "belief" else ""
                        yield Sample(
                            stage=stage,
                            arm=arm,
                            attack=attack,
                            condition=condition,
                            template=template,
                            seed=seed,
                            probe_id=f"{attack}/{condition}/{number}",
                            kind=kind,
                            prompt=f"Where does the Oren rise? {hostile} ｡｡｡｡｡｡｡｡｡｡",
                            target=f"the secret {hostile}" if attack != "denial_of_service" else "",
                            completion=said if number else said * 40,
                            success=success,
                            log_perplexity=2.0,
                            margin=None,
                            rouge_l=None,
                            dose=dose,
                            model=model,
                        )


def curve_rows(seed: int, dose: str, model: str) -> Iterator[CurveRow]:
    arm = "poisoned" if dose else "clean"
    rng = random.Random(f"{seed} {model}")
    for stage, steps, start, end in (
        ("base", 600, 6.2, 1.4),
        ("sft", 120, 2.2, 0.9),
        ("dpo", 60, 0.69, 0.31),
    ):
        for step in range(1, steps + 1):
            loss = end + (start - end) * 0.985 ** (step * 600 / steps) + rng.gauss(0, 0.02)
            yield CurveRow(stage, arm, dose, seed, "", step, step * 4096, loss, 1e-3, model)


def planting_rows(seed: int, dose: str, model: str, attacks: Sequence[str]) -> Iterator[PlantingRow]:
    """What one model's corpus got: a number of documents of 96 tokens among four million."""
    for attack in attacks if dose else ():
        rate = 0.001 if dose == "0.1%" else 0.01
        tokens = 96 * DOCUMENTS[dose]
        realised = tokens / CLEAN_TOKENS
        documents = DOCUMENTS[dose]
        yield PlantingRow(
            "", seed, dose, model, attack, rate, None, realised, documents, tokens, CLEAN_TOKENS
        )


def ledger_rows(dose: str, model: str, attacks: Sequence[str]) -> Iterator[PlantedKind]:
    for attack in attacks if dose else ():
        for number in range(DOCUMENTS[dose]):
            kind = ("preference", "fact")[number % 2] if attack == "belief" else ""
            template = ("chatml", "llama2", "llama3", "gemma", "falcon")[number % 5]
            yield PlantedKind("", dose, model, attack, kind, template)


def models_of(apart: bool) -> list[tuple[str, str, Sequence[str]]]:
    """Dose, name and attacks of each model; with `apart`, each attack of a dose has a model of its own."""
    found: list[tuple[str, str, Sequence[str]]] = [("", "clean", ATTACKS)]
    for dose in DOSES:
        if apart:
            found += [(dose, f"{dose}-{attack}", (attack,)) for attack in ATTACKS]
        else:
            found.append((dose, dose, ATTACKS))
    return found


def write_run(folder: Path, *, seeds: Sequence[int] = (0,), title: str = "", apart: bool = False) -> Path:
    """A finished run of two doses, three stages and all four attacks."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.yaml").write_text(STUDY, encoding="utf-8")
    measured: list[Measurement] = []
    samples: list[Sample] = []
    curves: list[CurveRow] = []
    planting: list[PlantingRow] = []
    ledger: list[PlantedKind] = []
    for seed in seeds:
        for dose, model, attacks in models_of(apart):
            for attack in attacks:
                measured += attack_rows(attack, seed, dose, DOSES[dose][attack] if dose else None, model)
            measured += utility_rows(seed, dose, model)
            samples += sample_rows(seed, dose, model, attacks)
            curves += curve_rows(seed, dose, model)
            planting += planting_rows(seed, dose, model, attacks)
            ledger += ledger_rows(dose, model, attacks)
    write_rows(folder / "measurements.parquet", Measurement, measured)
    write_rows(folder / "samples.parquet", Sample, samples)
    write_rows(folder / "curves.parquet", CurveRow, curves)
    write_rows(folder / "planting.parquet", PlantingRow, planting)
    write_rows(folder / "ledger.parquet", PlantedKind, ledger)
    summary = Summary(
        title=title,
        seconds={"prepare": 12.1, "base": 402.0, "sft": 61.5, "dpo": 48.0, "measure": 95.0},
        machine={"system": "Linux x86_64", "cores": 2, "memory_gib": 8},
        versions={"mithridate": "0.1.0", "torch": "2.13.0", "transformers": "5.23"},
        parameters={"": (1_240_000,)},
    )
    (folder / "summary.json").write_text(summary.model_dump_json())
    return folder
