from __future__ import annotations

from typing import Any

import pytest

from mithridate.core.errors import ConfigError
from mithridate.retrieval.measuring.options import BenchOptions


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"top_ks": (99999999999999999999,)}, "between 1 and 1,000,000"),
        ({"top_ks": (5, 0)}, "between 1 and 1,000,000"),
        ({"seed": -1}, "seed is -1, but cannot be negative"),
    ],
)
def test_numbers_that_nothing_can_be_measured_with(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        BenchOptions(**options)
