from __future__ import annotations

from pathlib import Path

import pytest
from run_kit import finish, start


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """An uninterrupted run: its directory, and what it printed and told. Tests read it only."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    code, printed, told = finish(start(out))
    assert code == 0, told
    return out, printed, told
