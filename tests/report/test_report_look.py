from __future__ import annotations

from dataclasses import replace

from mithridate.report.guard_view import Compared
from mithridate.report.look import Marked
from mithridate.report.view import ArmView


def look(one: Marked) -> tuple[str, str, str, str]:
    return one.colour, one.symbol, one.glyph, one.dash


def test_models_and_defences_of_one_number_look_alike() -> None:
    looks = []
    for index in range(6):
        arm = ArmView("poisoned", "dose", "model", "label", index, index)
        assert look(arm) == look(Compared("ragpart", index))
        looks.append(look(arm))
    for kind in zip(*looks, strict=True):
        assert len(set(kind)) == len(kind)


def test_models_of_one_dose_share_its_colour_and_nothing_else() -> None:
    first = ArmView("poisoned", "dose", "model", "label", 1, 1)
    second = replace(first, index=2)
    assert first.colour == second.colour
    assert not set(look(first)[1:]) & set(look(second)[1:])
    assert replace(first, index=0).colour == Compared("plain", 0).colour
