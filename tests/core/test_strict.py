from __future__ import annotations

from typing import Literal

import pytest
from pydantic import Field, ValidationError

from mithridate.core.strict import Strict, fields_at, meant, value_meant


class Inner(Strict):
    depth: int = 0


class Outer(Strict):
    inner: Inner | None = None
    by_name: dict[str, Inner] = Field({})
    form: Literal["circle", "square"] = "circle"


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
    assert set(fields_at(Outer, ())) == {"inner", "by_name", "form"}
    assert fields_at(Outer, ("inner",)) == fields_at(Outer, ("by_name", "any")) == ["depth"]
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
