"""A run directory: the names of its files, and the rows of those that hold neither figures nor answers."""

from __future__ import annotations

from dataclasses import dataclass

STUDY = "study.yaml"
LEDGER = "ledger.parquet"
CURVES = "curves.parquet"
SAMPLES = "samples.parquet"
MEASUREMENTS = "measurements.parquet"
SUMMARY = "summary.json"

CLEAN = "clean"
"""The model of a cell and seed that was trained without planted documents."""


@dataclass(frozen=True, slots=True)
class CurveRow:
    """One point of a model's training curve: the loss (nats a token) after `tokens` tokens."""

    stage: str
    arm: str
    dose: str
    seed: int
    cell: str
    step: int
    tokens: int
    loss: float
    learning_rate: float
    model: str
