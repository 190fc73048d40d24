"""A run directory: the names of its files, and the rows of those that hold neither figures nor answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import Field

from mithridate.core.strict import Strict

STUDY = "study.yaml"
LEDGER = "ledger.parquet"
PLANTING = "planting.parquet"
CURVES = "curves.parquet"
SAMPLES = "samples.parquet"
MEASUREMENTS = "measurements.parquet"
SUMMARY = "summary.json"

CLEAN = "clean"
"""The model of a cell and seed that was trained without planted documents."""


@dataclass(frozen=True, slots=True)
class PlantingRow:
    """How much of one attack was asked for and planted in the corpus of one model.

    One of `requested_rate` and `requested_count` is given; rates are planted tokens / clean tokens.
    """

    cell: str
    seed: int
    dose: str
    model: str
    attack: str
    requested_rate: float | None
    requested_count: int | None
    realised_rate: float
    documents: int
    tokens: int
    clean_tokens: int


@dataclass(frozen=True, slots=True)
class PlantedKind:
    """What the run's ledger tells of a planted document besides its place: the kind, and for which model."""

    cell: str
    dose: str
    model: str
    attack: str
    kind: str
    template: str


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


class Summary(Strict):
    """What a run notes about itself: nothing that a figure rests on."""

    title: str = ""
    seconds: dict[str, float] = Field(default_factory=dict)
    """Seconds of work by kind of step, added up over models."""
    machine: dict[str, str | int | float] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    parameters: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    """Numbers of parameters that a cell's models have: one, unless the vocabularies of its seeds differ."""
    cells: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """For each cell of a grid, the study's keys that it sets, with their values."""
