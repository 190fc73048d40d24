from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from run_kit import finish, start

from mithridate.core.artifacts import exclusive, write_atomic


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """An uninterrupted run: its directory, and what it printed and told. Tests read it only.

    One for all processes of pytest-xdist: the first that needs it makes it, and the others wait.
    """
    base = tmp_path_factory.getbasetemp()
    place = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "finished"
    said = place / "said.json"
    with exclusive(place, wait=True):
        if not said.exists():
            code, printed, told = finish(start(place / "whole"))
            assert code == 0, told
            write_atomic(said, json.dumps([printed, told]))
    printed, told = json.loads(said.read_text(encoding="utf-8"))
    return place / "whole", printed, told
