from __future__ import annotations

from pathlib import Path

import pytest
from study_kit import tiny

from mithridate.core.errors import ConfigError
from mithridate.core.scrubbed import Filter
from mithridate.study.checks import check_study
from mithridate.study.config import StudyConfig
from mithridate.study.estimate import estimate
from mithridate.study.experiments import all_steps
from mithridate.study.plan import Step, steps
from mithridate.study.scrub_plan import AS_IT_IS, RANK, RETRAIN, ScrubDetail, retrainings, scrubbed_dose

SHARES = "scrubbing.shares=[0.1,0.3]"


def scrubbing(config: StudyConfig) -> list[Step]:
    known = {step.folder for step in steps(config, Path("run"))}
    return [step for step in all_steps(config, Path("run")) if step.folder not in known]


def test_a_study_that_does_not_ask_is_planned_as_before() -> None:
    assert not scrubbing(tiny())


def test_what_is_trained_before_is_the_same_with_the_section_and_without() -> None:
    before = {step.folder: step.identity() for step in all_steps(tiny(), Path("run"))}
    beside = {step.folder: step.identity() for step in all_steps(tiny(SHARES), Path("run"))}
    assert before.items() <= beside.items()


@pytest.mark.parametrize(
    ("option", "by"),
    [
        ("scrubbing.projected=8", {Filter.INFLUENCE}),
        ("scrubbing.blocks=1", {Filter.INFLUENCE}),
        ("scrubbing.encoder=minilm", {Filter.SIMILARITY}),
        ("scrubbing.attacks={belief: scattered}", {None, *Filter}),
    ],
)
def test_another_way_to_rank_is_another_ranking_of_the_filters_that_go_by_it(
    option: str, by: set[Filter | None]
) -> None:
    one, other = (
        {(ScrubDetail.read(step).method, step.folder): step.identity() for step in scrubbing(tiny(*more))}
        for more in ((SHARES,), (SHARES, option))
    )
    assert {method for method, folder in one if one[method, folder] != other[method, folder]} == by


def test_more_shares_and_filters_leave_every_other_step_as_it_is() -> None:
    few, more, most = (
        {step.folder: step.identity() for step in scrubbing(tiny(*asked))}
        for asked in (
            ("scrubbing.shares=[0.1]", "scrubbing.methods=[string]"),
            (SHARES, "scrubbing.methods=[string, oracle]"),
            (SHARES, "scrubbing.dose=some"),
        )
    )
    assert few.items() < more.items() < most.items()


def test_a_ranking_a_filter_and_a_model_a_share() -> None:
    found = scrubbing(tiny(SHARES))
    kinds = [step.kind for step in found]
    assert kinds.count(AS_IT_IS) == 1
    assert kinds.count(RANK) == len(Filter)
    assert kinds.count(RETRAIN) == 2 * len(Filter)
    assert len({step.folder for step in found}) == len({step.identity() for step in found}) == len(found)
    assert len({step.label for step in found}) == len(found)


def test_shares_that_lie_close_have_folders_of_their_own() -> None:
    found = scrubbing(tiny("scrubbing.shares=[0.1,0.10000001]"))
    assert len({step.folder for step in found}) == len({step.label for step in found}) == len(found)


def test_only_influence_waits_for_the_base_model() -> None:
    found = scrubbing(tiny(SHARES))
    for step in found:
        if step.kind == RANK:
            waits = any(need.name == "base" for need in step.needs)
            assert waits == (ScrubDetail.read(step).method == Filter.INFLUENCE)


def test_a_dry_run_counts_the_models_that_are_trained_again() -> None:
    assert retrainings(tiny()) == 0
    config = tiny(SHARES, "seeds=[0,1]")
    assert retrainings(config) == sum(step.kind == RETRAIN for step in scrubbing(config))
    once, again = estimate(tiny("seeds=[0,1]")), estimate(config)
    assert (once.retrained, again.retrained) == (0, 2 * 2 * len(Filter))
    assert again.all_tokens == once.tokens * (once.models + again.retrained)


def test_of_models_with_one_attack_each_only_those_with_a_belief() -> None:
    found = scrubbing(tiny(SHARES, "one_model_per_attack=true"))
    assert {step.subject.attacks for step in found} == {("belief",)}


def test_the_dose_with_most_of_the_beliefs_is_scrubbed() -> None:
    more = "doses.more.belief={count: 9}"
    assert scrubbed_dose(tiny(SHARES, more)) == "more"
    assert scrubbed_dose(tiny(SHARES, more, "scrubbing.dose=some")) == "some"


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["scrubbing.dose=none"], "no dose 'none'; it has 'some'"),
        (["scrubbing.attacks={other: stated}"], "plants none of other"),
        (["scrubbing.attacks={belief: stated, jailbreak: stated}"], "two attacks of one kind"),
        (["scrubbing.shares=[0.1,0.1]"], "names a value twice"),
        (["scrubbing.shares=[1]"], "less than 1"),
        (["scrubbing.methods=[guess]"], "'string', 'mention'"),
        (["doses.more.belief={rate: 0.1}"], "some doses of these beliefs are rates and some counts"),
        (["doses.more.jailbreak={count: 3}", "scrubbing.dose=more"], "the dose 'more' plants none of belief"),
        (["scrubbing.attacks={jailbreak: stated}"], "'jailbreak' plants no belief"),
        (
            ["scrubbing.attacks={belief: stated, scattered_beleif: scattered}"],
            "did you mean 'scattered_belief'",
        ),
        (
            ["model.architecture=gpt2", "scrubbing.methods=[influence]"],
            "GPT2LMHeadModel has no linear layer in its blocks.* leave `influence` out of scrubbing.methods",
        ),
        (["scrubbing.attacks={belief: scattered}"], "speak of a stated belief, not a scattered one"),
    ],
)
def test_what_cannot_be_scrubbed_is_said_before_anything_is_trained(overrides: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        check_study(tiny(SHARES, *overrides))


def test_attacks_that_the_study_lacks_are_left_out() -> None:
    check_study(tiny(SHARES, "scrubbing.methods=[string]", "model.architecture=gpt2"))


def test_a_classifier_with_nothing_to_learn_from_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "material.json"
    path.write_text('{"facts": [{"forms": ["a?", "b?"], "true": "x", "planted": "y"}]}', encoding="utf-8")
    config = tiny(
        SHARES, f"material={path}", "attacks={belief: {fact_share: 1}}", "doses={some: {belief: {count: 4}}}"
    )
    with pytest.raises(ConfigError, match="the classifier learns from beliefs that nobody planted"):
        check_study(config)
