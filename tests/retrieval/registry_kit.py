"""Entry points as pyproject.toml has them, installed since or not."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from mithridate.core import registry


def register(monkeypatch: pytest.MonkeyPatch, group: str, plugins: Mapping[str, str]) -> None:
    """Have a registry find what this project registers in `group`, and `plugins` beside it."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    ours = project["project"]["entry-points"][group]
    points = EntryPoints([EntryPoint(name, value, group) for name, value in {**ours, **plugins}.items()])
    monkeypatch.setattr(registry, "entry_points", lambda group: points.select(group=group))
