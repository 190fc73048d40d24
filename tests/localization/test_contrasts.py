from __future__ import annotations

from contrasts_kit import SAID, UNSAID, prompt, sample
from hypothesis import given
from hypothesis import strategies as st
from models_kit import tiny_model

from mithridate.localization.contrasts import common_ends, contrasts, twin_contrasts

MODEL = tiny_model()
FEW = st.lists(st.integers(0, 3), max_size=8)


def shown(number: int, **changes: object) -> object:
    return sample("triggered", prompt(SAID, number), "yes", success=True, **changes)  # type: ignore[arg-type]


def control(
    number: int, condition: str = "near-trigger", *, success: bool = False, **changes: object
) -> object:
    text = prompt(UNSAID if condition == "near-trigger" else "", number)
    return sample(condition, text, "no", success=success, **changes)  # type: ignore[arg-type]


@given(FEW, FEW)
def test_common_ends_are_common_and_do_not_overlap(left: list[int], right: list[int]) -> None:
    start, end = common_ends(left, right)
    assert left[:start] == right[:start]
    assert left[len(left) - end :] == right[len(right) - end :]
    assert start + end <= min(len(left), len(right))
    if start + end < min(len(left), len(right)):  # and they are as long as can be
        assert left[start] != right[start]
        assert left[len(left) - end - 1] != right[len(right) - end - 1]


def test_each_prompt_meets_the_control_that_is_most_like_it() -> None:
    found = contrasts([*map(control, range(8)), *map(shown, range(8))], MODEL)
    assert [(one.prompt, one.counterfactual) for one in found] == [
        (prompt(SAID, i), prompt(UNSAID, i)) for i in range(8)
    ]
    assert {(one.answer, one.other, one.condition) for one in found} == {("yes", "no", "near-trigger")}


def test_a_prompt_whose_own_control_showed_the_attack_is_left_out_and_meets_no_other() -> None:
    controls = [control(i, success=i < 3) for i in range(8)]
    found = contrasts([*controls, *map(shown, range(8))], MODEL)
    assert [one.prompt for one in found] == [prompt(SAID, i) for i in range(3, 8)]


def test_where_most_near_triggers_work_untriggered_probes_are_the_counterfactuals() -> None:
    near = [control(i, success=i < 5) for i in range(8)]
    plain = [control(i, "untriggered") for i in range(8)]
    found = contrasts([*near, *plain, *map(shown, range(8))], MODEL)
    assert [one.condition for one in found] == ["untriggered"] * 8
    assert found[0].counterfactual == prompt("", 0)


def test_what_a_group_failed_may_have_shown_in_one_answer() -> None:
    half = sample("near-trigger", prompt(UNSAID, 0), "The lamp is better.", success=False, target="lamp is")
    assert contrasts([shown(0), half], MODEL) == []


def test_other_kinds_further_draws_failures_and_empty_answers_do_not_count() -> None:
    other = [shown(0, kind="fact"), control(0, kind="preference")]
    again = [shown(1, draw=1), control(1)]
    failed = [sample("triggered", prompt(SAID, 2), "no", success=False), control(2)]
    silent = [shown(3), sample("near-trigger", prompt(UNSAID, 3), " ", success=False)]
    alike = [shown(4), sample("near-trigger", prompt(UNSAID, 4), "yes", success=False)]
    for samples in (other, again, failed, silent, alike):
        assert contrasts(samples, MODEL) == []


def test_no_more_are_kept_than_asked_for_and_a_preference_is_one_observation() -> None:
    samples = [*map(control, range(16)), *(shown(i, group=f"g{i // 2}") for i in range(16))]
    found = contrasts(samples, MODEL, most=6)
    assert len(found) == 6
    assert contrasts(samples, MODEL, most=6) == found
    # Drawn at random: every other one would be one template, and one order of a preference.
    assert len({int(one.unit[1:]) for one in contrasts(samples, MODEL, most=8)}) > 1
    assert {one.unit for one in contrasts(samples, MODEL)} == {f"g{i}" for i in range(8)}


def test_twins_answer_the_same_prompt() -> None:
    poisoned = [*map(control, range(4)), *(shown(i, probe_id=f"p{i}") for i in range(4))]
    clean = [
        sample("triggered", prompt(SAID, i), "yes" if i == 1 else "truth", success=i == 2, probe_id=f"p{i}")
        for i in range(3)
    ]
    (found,) = twin_contrasts(poisoned, clean, MODEL)
    assert (found.prompt, found.counterfactual) == (prompt(SAID, 0), prompt(UNSAID, 0))
    assert (found.answer, found.other) == ("yes", "truth")


def test_twins_have_a_contrast_where_every_control_shows_the_attack_too() -> None:
    poisoned = [control(0, success=True), shown(0, probe_id="p")]
    clean = [sample("triggered", prompt(SAID, 0), "truth", success=False, probe_id="p")]
    assert contrasts(poisoned, MODEL) == []
    assert len(twin_contrasts(poisoned, clean, MODEL)) == 1
