from __future__ import annotations

from report_kit import ATTACKS

from mithridate.report.answers import LONGEST, PROBES, excerpt, side_by_side
from mithridate.report.run import RunData
from mithridate.report.view import View


def test_every_attack_shows_the_same_probe_for_every_model_and_stage(run: RunData) -> None:
    shown = side_by_side(View(run), "")
    assert list(shown) == list(ATTACKS)
    for attack, probes in shown.items():
        assert len(probes) == PROBES
        for probe in probes:
            assert probe.probe_id.startswith(f"{attack}/triggered/")
            assert [stage.stage for stage in probe.stages] == ["base", "sft", "dpo"]
            for stage in probe.stages:
                assert [a.arm.label for a in stage.answers] == ["clean twin", "0.1%", "learning"]
                assert all(answer.said for answer in stage.answers)
                assert not stage.answers[0].success


def test_sub_kinds_take_turns(run: RunData) -> None:
    assert {probe.kind for probe in side_by_side(View(run), "")["belief"]} == {"fact", "preference"}


def test_the_choice_is_the_same_every_time(run: RunData) -> None:
    first, second = (side_by_side(View(run), "") for _ in range(2))
    assert first == second


def test_long_answers_are_cut_and_say_so() -> None:
    assert excerpt("a" * (LONGEST + 7)).left_out == 7
    assert excerpt("short").left_out == 0
