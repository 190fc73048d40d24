"""What is not right is told by its first problem, its field, and what was probably meant."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import Field, ValidationError, model_validator

from mithridate.core.strict import Strict, fields_at, first_problem, meant, value_meant


class Inner(Strict):
    depth: int = 0
    sizes: tuple[int, ...] = ()

    @model_validator(mode="after")
    def _sorted(self) -> Inner:
        if list(self.sizes) != sorted(self.sizes):
            raise ValueError("sizes: put them in order")
        return self


class Outer(Strict):
    inner: Inner | None = None
    by_name: dict[str, Inner] = Field({})
    form: Literal["circle", "square"] = "circle"
    rate: float = 0.0


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("epocs", "did you mean 'epochs'?"),
        ("zzz", "known are epochs, steps"),
    ],
)
def test_a_name_that_is_near_is_offered_else_all(name: str, said: str) -> None:
    assert meant(name, ["steps", "epochs"]) == said


def test_fields_are_known_at_every_depth() -> None:
    assert set(fields_at(Outer, ())) == {"inner", "by_name", "form", "rate"}
    assert fields_at(Outer, ("inner",)) == fields_at(Outer, ("by_name", "any")) == ["depth", "sizes"]
    assert fields_at(Outer, ("form",)) == fields_at(Outer, ("none", "such")) == []


@pytest.mark.parametrize(
    ("given", "said"),
    [("sqare", ": did you mean 'square'?"), ("xyz", ""), (5, "")],
)
def test_a_value_that_is_near_is_offered(given: object, said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate({"form": given})
    assert value_meant(caught.value.errors()[0]) == said


def test_other_errors_offer_no_value() -> None:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate({"inner": {"depth": "deep"}})
    assert value_meant(caught.value.errors()[0]) == ""


@pytest.mark.parametrize(
    ("given", "words", "field"),
    [
        ({"inner": {"sizes": [1, "many"]}}, "valid integer", "inner.sizes.1"),
        ({"inner": {"sizes": [2, 1]}}, "sizes: put them in order", "inner"),
        ({"rate": float("nan")}, "finite number", "rate"),
        ({"rat": 1}, "Extra inputs", "rat"),
        ({"form": "circel"}, "did you mean 'circle'?", "form"),
        ([], "valid dictionary", None),
    ],
)
def test_the_first_problem_and_its_field(given: object, words: str, field: str | None) -> None:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(given)
    problem, place = first_problem(caught.value)
    assert words in problem and not problem.startswith("Value error")
    assert place == field
