from __future__ import annotations

import pytest

from mithridate.core.wording import counted


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 hits"), (1, "1 hit"), (2, "2 hits"), (12_345, "12,345 hits")]
)
def test_one_is_no_plural(number: int, words: str) -> None:
    assert counted(number, "hit") == words


def test_a_plural_of_its_own() -> None:
    assert [counted(n, "copy", "copies") for n in (1, 2)] == ["1 copy", "2 copies"]
