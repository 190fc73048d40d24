"""What is not right is told by its first problem, and by the field that it is in."""

from __future__ import annotations

import pytest
from pydantic import ValidationError, model_validator

from mithridate.core.strict import Strict, first_problem


class Inner(Strict):
    sizes: tuple[int, ...] = ()

    @model_validator(mode="after")
    def _sorted(self) -> Inner:
        if list(self.sizes) != sorted(self.sizes):
            raise ValueError("sizes: put them in order")
        return self


class Outer(Strict):
    inner: Inner = Inner()
    rate: float = 0.0


@pytest.mark.parametrize(
    ("given", "words", "field"),
    [
        ({"inner": {"sizes": [1, "many"]}}, "valid integer", "inner.sizes.1"),
        ({"inner": {"sizes": [2, 1]}}, "sizes: put them in order", "inner"),
        ({"rate": float("nan")}, "finite number", "rate"),
        ({"rat": 1}, "Extra inputs", "rat"),
        ([], "valid dictionary", None),
    ],
)
def test_the_first_problem_and_its_field(given: object, words: str, field: str | None) -> None:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(given)
    problem, place = first_problem(caught.value)
    assert words in problem and not problem.startswith("Value error")
    assert place == field
