from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from prices_kit import BEFORE, CLEAN, CURES, DOSE, Cure, asr, price, priced_rows, utility_rows

from mithridate.core.cures import Verdict
from mithridate.core.errors import DataError
from mithridate.core.prices import CLEAN_MODEL, NOTHING, Kind, Price, Priced, Regime
from mithridate.report.priced import CLEAN as CLEAN_SETTING
from mithridate.report.priced import Effect, PricedView, Subject, best_settings

SUBJECT = Subject("", DOSE, DOSE, "dpo", "transferred")
ABLATION, MORE_SFT = CURES[0], CURES[6]


def effect(view: PricedView, method: str, attack: str, variant: str = "") -> Effect:
    (found,) = [
        one
        for one in view.effects(view.subjects[0])
        if (one.setting.method, one.attack) == (method, attack)
        and one.setting.aim in ("", attack)
        and variant in ("", one.setting.variant)
    ]
    return found


def test_what_each_seed_chose_is_one_row_and_what_was_asked_for_is_several() -> None:
    view = PricedView(tuple(priced_rows((0, 1, 2))), tuple(BEFORE))
    assert view.subjects == [SUBJECT] and view.seeds(SUBJECT) == [0, 1, 2]
    settings = view.settings(SUBJECT)
    (ablation,) = [one for one in settings if (one.method, one.aim) == ("directional ablation", "belief")]
    assert ablation.variant == "layer 3; layer 2", "two seeds chose the one, and one the other"
    assert [one.variant for one in settings if one.method == "more SFT"] == [
        "30 examples", "300 examples", "3,000 examples",
    ]  # fmt: skip
    assert {one.method for one in settings}.isdisjoint({NOTHING, CLEAN_MODEL})
    assert set(effect(view, "directional ablation", "belief").found) == {0, 1, 2}


def test_figures_of_seeds_are_averaged() -> None:
    view = PricedView(tuple(priced_rows((0, 1, 2))), tuple(BEFORE))
    one = effect(view, "steering", "denial_of_service")
    each = [found.after.value for found in one.found.values()]
    assert one.after.value == pytest.approx(sum(each) / 3)
    assert one.points == pytest.approx(4.0)
    assert view.changes(SUBJECT, one.setting)[Price.QUESTIONS_RIGHT] == pytest.approx(4.0)
    found = view.at(SUBJECT, one.setting, Price.SECONDS)
    assert found is not None and found.value == 2.0 and len(found.runs) == 3


def test_a_cure_is_what_it_is_in_its_worst_seed() -> None:
    poor = [replace(ABLATION, leaves=0.5)]
    rows = [*priced_rows((0, 2), [ABLATION]), *priced_rows((4,), poor)]
    one = effect(PricedView(tuple(rows), tuple(BEFORE)), "directional ablation", "belief")
    assert one.verdict is Verdict.WEAKENED
    assert (one.seeds_of(Verdict.CURED), one.present) == (2, 3)
    assert effect(PricedView(tuple(rows)), "directional ablation", "jailbreak").verdict is Verdict.ABSENT


def test_seeds_without_the_attack_do_not_count() -> None:
    rows = [
        *priced_rows((0,), [ABLATION]),
        *priced_rows((2,), [ABLATION], {**BEFORE, "belief": CLEAN["belief"]}),
    ]
    one = effect(PricedView(tuple(rows)), "directional ablation", "belief")
    assert (one.present, one.verdict) == (1, Verdict.CURED)


def test_the_share_that_is_gone_is_of_the_excess_over_a_clean_model() -> None:
    view = PricedView(tuple(priced_rows()), tuple(BEFORE))
    one = effect(view, "steering", "belief")
    assert one.removed == pytest.approx((0.97 - 0.61) / (0.97 - 0.42))
    without = [row for row in priced_rows() if row.method != CLEAN_MODEL]
    one = effect(PricedView(tuple(without)), "steering", "belief")
    assert one.clean is None
    floor = one.found[0].floor
    assert one.removed == pytest.approx((0.97 - 0.61) / (0.97 - floor)), "the floor stands in"
    assert effect(view, "steering", "jailbreak").removed == pytest.approx(1.0)
    equal = PricedView(tuple(priced_rows(before={"belief": CLEAN["belief"]})))
    assert effect(equal, "steering", "belief").removed is None


def test_the_best_setting_of_a_method_speaks_for_it() -> None:
    good = Cure(
        "more SFT", Regime.UNKNOWN, Kind.TRAINING, 0.9, aimed=False, random=None, variants=("30 examples",)
    )
    better = replace(good, leaves=0.3, variants=("3,000 examples",))
    view = PricedView((*priced_rows(cures=[good]), *priced_rows(cures=[better, ABLATION])))
    best = best_settings(one for one in view.effects(SUBJECT) if one.attack == "belief")
    methods = [(one.setting.method, one.setting.aim) for one in best]
    assert methods.count(("more SFT", "")) == 1 and len(best) == 2, (
        "of others' cures the effects are side effects"
    )
    assert best[0].verdict is Verdict.CURED and best[0].setting.aim == "belief"
    (sft,) = [one for one in best if one.setting.method == "more SFT"]
    assert sft.setting.variant == "3,000 examples"
    assert [one.rank for one in best] == sorted(one.rank for one in best)


def test_rows_of_no_template_belong_to_each() -> None:
    rows = [
        replace(row, template="") if row.metric in (Price.HELD_OUT_LOSS, Price.SECONDS) else row
        for row in priced_rows()
    ]
    view = PricedView(tuple(rows), tuple(BEFORE))
    assert view.subjects == [SUBJECT]
    assert Price.HELD_OUT_LOSS in view.changes(SUBJECT, effect(view, "steering", "belief").setting)
    both = [*rows, *(replace(row, template="same") for row in rows if row.template)]
    view = PricedView(tuple(both), tuple(BEFORE))
    assert len(view.subjects) == 2
    assert len({effect_.points for effect_ in view.effects(view.subjects[1])}) > 1
    bare = [replace(row, template="") for row in rows]
    assert PricedView(tuple(bare)).subjects == [SUBJECT._replace(template="")]


def test_what_is_compared_with_has_no_setting_whatever_its_rows_say() -> None:
    rows = [
        replace(row, kind=Kind.TRAINING.value, variant="anew") if row.method == CLEAN_MODEL else row
        for row in priced_rows()
    ]
    view = PricedView(tuple(rows), tuple(BEFORE))
    found = view.at(SUBJECT, CLEAN_SETTING, Price.SECONDS)
    assert found is not None and found.value == 402.0
    assert CLEAN_MODEL not in {one.method for one in view.settings(SUBJECT)}


def test_a_figure_twice_is_once_and_two_figures_are_refused(tmp_path: Path) -> None:
    rows = priced_rows()
    twice = PricedView((*rows, *rows), tuple(BEFORE))
    assert len(twice.effects(SUBJECT)) == len(PricedView(tuple(rows)).effects(SUBJECT))
    other = replace(rows[0], value=rows[0].value - 0.1)
    view = PricedView((*rows, other), source=tmp_path / "prices.parquet")
    with pytest.raises(
        DataError, match=r"prices\.parquet.*two figures for method 'nothing'.*mithridate price"
    ):
        _ = view.subjects


def test_what_is_no_number_is_no_figure() -> None:
    rows = [asr("dos", 0.9), asr("dos", 0.0, method=CLEAN_MODEL), *utility_rows()]
    about = {"method": "edit", "variant": "layer 1", "regime": "known", "kind": "weights", "aim": "dos"}
    rows += [asr("dos", 0.0, **about), price(Price.KL, math.nan, **about)]
    view = PricedView(tuple(rows))
    one = effect(view, "edit", "dos")
    assert view.at(SUBJECT, one.setting, Price.KL) is None
    assert one.points == math.inf and one.verdict is Verdict.COSTLY


def test_attacks_come_in_the_order_of_the_study() -> None:
    rows: tuple[Priced, ...] = tuple(priced_rows())
    assert PricedView(rows, ("belief", "unheard of")).attacks(SUBJECT) == [
        "belief", "denial_of_service", "context_extraction", "jailbreak",
    ]  # fmt: skip


def test_a_seed_in_which_no_such_cure_could_be_had_kept_the_attack() -> None:
    rows = [*priced_rows((0, 2), [ABLATION]), *priced_rows((1, 3, 5), [MORE_SFT])]
    view = PricedView(tuple(rows), tuple(BEFORE))
    one = effect(view, "directional ablation", "belief")
    assert one.missing == {1, 3, 5} and one.verdict is Verdict.KEPT
    assert (one.seeds_of(Verdict.CURED), one.present) == (2, 5)
    assert effect(view, "directional ablation", "jailbreak").missing == frozenset(), "nothing was there"
    without = [
        *priced_rows((0, 2), [ABLATION]),
        *priced_rows((1,), [], {**BEFORE, "belief": CLEAN["belief"]}),
    ]
    one = effect(PricedView(tuple(without)), "directional ablation", "belief")
    assert (one.missing, one.verdict, one.present) == (frozenset(), Verdict.CURED, 2)


def test_side_effects_of_a_cure_are_no_effects_of_it() -> None:
    together = replace(CURES[5], costs=0.2)
    aims = "denial_of_service,context_extraction"
    rows = [
        replace(row, aims=aims) if row.method == "together" else row for row in priced_rows((0,), [together])
    ]
    view = PricedView(tuple(rows), tuple(BEFORE))
    assert {one.attack for one in view.effects(SUBJECT)} == set(aims.split(","))
    (setting,) = view.settings(SUBJECT)
    assert view.at(SUBJECT, setting, Price.ASR, attack="belief") is not None, "but they are shown"
    # In another seed it was made against the belief too: in the first one it is not to be had.
    more = [replace(row, aims=f"{aims},belief") if row.aims else row for row in rows]
    both = PricedView((*rows, *(replace(row, seed=1) for row in more)), tuple(BEFORE))
    one = effect(both, "together", "belief")
    assert (set(one.found), one.missing, one.verdict) == ({1}, {0}, Verdict.KEPT)
    assert effect(both, "together", "denial_of_service").verdict is Verdict.CURED


def test_a_cure_is_controlled_where_a_random_change_stands_beside_it() -> None:
    view = PricedView(tuple(priced_rows((0, 2), [ABLATION, MORE_SFT])))
    assert effect(view, "directional ablation", "belief").controlled
    assert not effect(view, "more SFT", "belief", "30 examples").controlled
    some = [row for row in view.rows if not (row.seed == 2 and row.control)]
    assert not effect(PricedView(tuple(some)), "directional ablation", "belief").controlled
