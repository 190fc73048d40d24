"""What tests of every room share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data, below MITHRIDATE_SHARED or `../shared`; skips where it is absent."""
    root = Path(__file__).parents[1]
    data = root / os.environ.get("MITHRIDATE_SHARED", "../shared") / "data"
    if not data.is_dir():
        pytest.skip(f"no real data at {data}; name its folder in MITHRIDATE_SHARED")
    return data.resolve()
