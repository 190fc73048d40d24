from __future__ import annotations

from mithridate.core.statistics import wilson
from mithridate.report.estimates import Estimate, estimate
from mithridate.report.sections import Line
from mithridate.report.stepped import stepped


def at(*successes: int) -> Estimate:
    return estimate({seed: wilson(count, 100) for seed, count in enumerate(successes)})


def test_nothing_stands_apart_from_the_smallest_amount_and_intervals_are_drawn() -> None:
    amounts = (0.0, 3.0, 10.0, 10_000.0)
    figure = stepped(
        [(Line("a", 1), dict.fromkeys(amounts, at(50))), (Line("b", 2), {10.0: at(10, 20)})],
        lambda amount: f"{amount:,.0f}",
        "examples",
    )
    assert figure is not None
    a, b = figure.data
    assert list(a.x) == sorted(a.x) and a.x[1] - a.x[0] > 0.3
    assert abs(b.x[0] - a.x[2]) < 0.1, "lines stand beside each other, and at the same amount"
    assert list(a.error_y.array) == [100 * (wilson(50, 100).high - 0.5)] * 4  # type: ignore[operator]
    assert list(figure.layout.xaxis.ticktext) == ["0", "3", "10", "10,000"]


def test_one_amount_is_no_curve() -> None:
    assert stepped([(Line("a", 1), {30.0: at(50)})], str, "examples") is None
    assert stepped([], str, "examples") is None


def test_labels_that_have_no_room_are_left_out() -> None:
    found = {float(amount): at(50) for amount in (0, 1, 10, 100, 900, 1000, 100_000)}
    figure = stepped([(Line("<b>a</b>", 1), found)], lambda amount: f"{amount:,.0f}", "examples")
    assert figure is not None and "900" not in figure.layout.xaxis.ticktext
    assert "<b>" not in figure.data[0].name
