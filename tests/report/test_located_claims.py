from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from located_kit import BLOCKS, LAYERS, MODEL, PEAKS, bump, located_rows, row, token_rows
from report_kit import write_run

from mithridate.core.errors import DataError
from mithridate.core.located import Experiment, Metric
from mithridate.core.permutations import Tails
from mithridate.core.statistics import Interval
from mithridate.localization.overlap import Profile, scaled
from mithridate.localization.relation import Point, Relation
from mithridate.report.located import LocatedView, Subject
from mithridate.report.locating_claims import (
    HELPFULNESS_LOWER,
    PLANTED_LOWER,
    REACH,
    REACH_RAW,
    SHALLOW,
    depth_verdict,
    located_claims,
    reach,
    reach_verdict,
    shallow,
    shallow_verdict,
)
from mithridate.report.locations import Facing, Location, SeedLocation, locations
from mithridate.report.run import read_measurements
from mithridate.report.statements import StatementVerdict
from mithridate.report.survival import Survival, survivals

SUBJECT = Subject("", MODEL, MODEL)


def around(peak: float) -> Profile:
    found = scaled({layer: bump(layer, peak) for layer in LAYERS})  # type: ignore[arg-type]
    assert found is not None
    return found


def planted(
    seeds: int, kept: Callable[[int, float], float | None], learnt: Sequence[bool] = (True,) * 4
) -> list[Location]:
    """Four attacks ever nearer to alignment; `kept` gives the survival from the seed and the overlap."""
    alignment = around(BLOCKS - 1)
    found = []
    for i, attack in enumerate(PEAKS):
        of = []
        for seed in range(seeds):
            facing = Facing(around(i + seed / 10), alignment)
            assert facing.overlap is not None
            survival = Survival(learnt[i], kept(seed, facing.overlap), None)
            of.append(SeedLocation(seed, facing, Facing(None, None), survival))
        found.append(Location(SUBJECT, attack, None, tuple(of)))
    return found


@pytest.mark.parametrize("seeds", [1, 2, 5])
def test_a_planted_relation_is_found(seeds: int) -> None:
    falls = reach(planted(seeds, lambda _, overlap: 1 - overlap))
    assert falls.verdict is StatementVerdict.SUPPORTED
    rises = reach(planted(seeds, lambda _, overlap: overlap))
    assert rises.verdict is StatementVerdict.CONTRADICTED
    assert falls.relation is not None and falls.relation.rho == pytest.approx(-1)


def test_one_seed_says_how_little_it_can_say() -> None:
    made = reach(planted(1, lambda _, overlap: 1 - overlap))
    assert "1 seed (4 points), p = .042" in made.reason
    assert "the smallest possible is .042" in made.reason
    # A single exchange of two neighbours is enough to undo it.
    survivals_ = iter((0.8, 1.0, 0.3, 0.1))
    nearly = reach(planted(1, lambda _, __: next(survivals_)))
    assert nearly.verdict is StatementVerdict.INCONCLUSIVE
    assert "With 80% power, |rho| from 0.99 on would have been found." in nearly.reason


def test_no_relation_is_inconclusive() -> None:
    mixed = {0: (1.0, 0.2, 0.9, 0.3), 1: (0.2, 0.9, 0.1, 0.8), 2: (0.5, 0.4, 0.6, 0.45)}
    turns = {seed: iter(values) for seed, values in mixed.items()}
    made = reach(planted(3, lambda seed, _: next(turns[seed])))
    assert made.verdict is StatementVerdict.INCONCLUSIVE
    assert "would have been found" in made.reason


def test_what_was_not_learnt_or_not_traced_is_no_point() -> None:
    found = planted(1, lambda _, overlap: 1 - overlap, learnt=(True, True, True, False))
    made = reach(found)
    assert made.verdict is StatementVerdict.NOT_TESTED
    assert made.reason.startswith("3 pairs of overlap and survival")
    alignment = around(BLOCKS - 1)
    nowhere = [
        replace(one, seeds=tuple(replace(s, facing=Facing(None, alignment)) for s in one.seeds))
        for one in planted(1, lambda _, overlap: overlap)
    ]
    assert reach(nowhere).verdict is StatementVerdict.NOT_TESTED
    assert reach([]).verdict is StatementVerdict.NOT_TESTED
    same = reach(planted(2, lambda _, __: 1.0))
    assert same.verdict is StatementVerdict.NOT_TESTED and "no order" in same.reason


def test_attacks_that_repeat_over_seeds_are_not_taken_for_more_attacks() -> None:
    """A relation among four attacks that is not perfect, the same in every seed."""
    order = (0.8, 1.0, 0.1, 0.3)
    turns = {seed: iter(order) for seed in range(5)}
    made = reach(planted(5, lambda seed, _: next(turns[seed])))
    assert made.verdict is StatementVerdict.INCONCLUSIVE
    assert made.relation is not None and made.relation.whole is not None
    assert made.relation.within is not None and made.relation.within.lower < 0.02
    assert made.relation.whole.lower > 0.2
    assert made.reason.endswith("not shown for attacks other than these.")


def test_depth_needs_five_seeds() -> None:
    verdict, reason = depth_verdict([(0.3, 0.8)] * 5)
    assert verdict is StatementVerdict.REPRODUCED and "p = .031" in reason
    assert depth_verdict([(0.8, 0.3)] * 5)[0] is StatementVerdict.NOT_REPRODUCED
    assert depth_verdict([(0.3, 0.8)] * 4)[0] is StatementVerdict.INCONCLUSIVE
    one, said = depth_verdict([(0.3, 0.8)])
    assert one is StatementVerdict.INCONCLUSIVE and "the smallest possible is .500" in said
    assert depth_verdict([(0.5, 0.5)] * 6)[0] is StatementVerdict.INCONCLUSIVE
    assert depth_verdict([])[0] is StatementVerdict.NOT_TESTED


@pytest.mark.parametrize(
    ("first", "later", "verdict"),
    [
        ((2.0, 1.5, 2.5), (0.3, 0.2, 0.4), StatementVerdict.REPRODUCED),
        # Twice as far is asked for, and intervals that do not touch.
        ((0.55, 0.5, 0.6), (0.3, 0.25, 0.35), StatementVerdict.INCONCLUSIVE),
        ((0.7, 0.3, 1.1), (0.3, 0.2, 0.4), StatementVerdict.INCONCLUSIVE),
        ((0.3, 0.2, 0.4), (0.3, 0.25, 0.35), StatementVerdict.NOT_REPRODUCED),
        ((2.0, None, None), (0.3, 0.2, 0.4), StatementVerdict.INCONCLUSIVE),
        ((2.0, 1.5, 2.5), (0.0, 0.0, 0.0), StatementVerdict.REPRODUCED),
    ],
)
def test_the_rule_of_depth_in_tokens(
    first: tuple[float, float | None, float | None],
    later: tuple[float, float | None, float | None],
    verdict: StatementVerdict,
) -> None:
    found, reason = shallow_verdict(Interval(*first, n=40), Interval(*later, n=40))
    assert found is verdict
    assert reason.endswith(".")


def test_replies_are_split_where_the_rule_says() -> None:
    def claim(*values: float) -> StatementVerdict:
        rows = [
            row(
                Experiment.TOKENS, Metric.KL_ALIGNED_BASE, value, 0.01,
                pair="alignment", position=str(place),
            )
            for place, value in enumerate(values)
        ]  # fmt: skip
        return shallow(LocatedView(tuple(rows)), SUBJECT).verdict

    assert claim(*[1.0] * 5, *[9.0] * 5, *[0.4] * 5) is StatementVerdict.REPRODUCED
    assert claim(*[1.0] * 5, *[0.0] * 5, *[1.0] * 5) is StatementVerdict.NOT_REPRODUCED
    assert claim(*[1.0] * 10) is StatementVerdict.NOT_TESTED
    assert claim() is StatementVerdict.NOT_TESTED


def test_models_asked_alike_are_compared_where_there_are_several_templates() -> None:
    rows = [*token_rows(0, template="own", start=0.3, rest=0.3), *token_rows(0, template="shared")]
    assert shallow(LocatedView(tuple(rows)), SUBJECT).verdict is StatementVerdict.REPRODUCED


def test_survival_is_the_share_of_the_excess_that_is_kept(tmp_path: Path) -> None:
    found = survivals(read_measurements(write_run(tmp_path / "run", seeds=(0, 1))))
    of = {(attack, seed): s for (_, dose, _, attack, seed), s in found.items() if dose == "learning"}
    assert {seed for _, seed in of} == {0, 1}
    dos, jailbreak, belief = (of[a, 0] for a in ("denial_of_service", "jailbreak", "belief"))
    assert dos.learnt and jailbreak.learnt and belief.learnt
    # As in the kit: 97% at base, 93% after DPO, of which the template of SFT shows 93%.
    assert dos.kept == pytest.approx(0.865 / 0.97, abs=0.01)
    assert dos.planted == pytest.approx(0.93 / 0.97, abs=0.01)
    assert jailbreak.kept == pytest.approx(0.02, abs=0.01)
    # The clean twin prefers right by chance: what counts is what is above it.
    assert belief.kept == pytest.approx((0.98 * 0.93 - 0.45) / (0.99 - 0.45), abs=0.02)
    small = {a: s for (_, dose, _, a, seed), s in found.items() if (dose, seed) == ("0.1%", 0)}
    assert not small["context_extraction"].learnt and small["denial_of_service"].learnt


def test_a_stage_or_twin_that_is_missing_leaves_no_survival(tmp_path: Path) -> None:
    rows = read_measurements(write_run(tmp_path / "run"))
    base = survivals(m for m in rows if m.stage == "base")
    assert base and all(s.kept is None and s.planted is None for s in base.values())
    alone = survivals(m for m in rows if m.arm == "poisoned")
    assert alone and not any(s.learnt or s.kept is not None for s in alone.values())


def test_a_run_is_claimed_as_it_was_made_up(tmp_path: Path) -> None:
    seeds = (0, 1, 2, 3, 4)
    measured = read_measurements(write_run(tmp_path / "run", seeds=seeds))
    view = LocatedView(tuple(located_rows(seeds)), tuple(PEAKS))
    found = locations(view, measured)
    assert [location.attack for location in found] == list(PEAKS)
    jailbreak = found[2]
    assert jailbreak.overlap is not None and jailbreak.overlap.low is not None
    assert jailbreak.overlap.value > max(o.overlap.value for o in found if o.overlap and o is not jailbreak)
    claims = {claim.statement: claim for claim in located_claims(view, found)}
    for statement in (REACH, REACH_RAW):
        # Found within seeds, but four attacks as wholes do not stand in a perfect order.
        between = claims[statement].relation
        assert between is not None and between.within is not None and between.whole is not None
        assert between.rho is not None and between.rho < 0
        assert between.within.lower < 0.05 <= between.whole.lower
        assert claims[statement].verdict is StatementVerdict.INCONCLUSIVE
    verdicts = {statement: claim.verdict for statement, claim in claims.items()}
    assert verdicts[PLANTED_LOWER] is StatementVerdict.REPRODUCED
    assert verdicts[HELPFULNESS_LOWER] is StatementVerdict.REPRODUCED
    assert verdicts[SHALLOW] is StatementVerdict.REPRODUCED


def test_an_attack_without_an_effect_is_no_point(tmp_path: Path) -> None:
    view = LocatedView(tuple(located_rows(without=("belief",))), tuple(PEAKS))
    found = {location.attack: location for location in locations(view)}
    belief = found["belief"]
    assert belief.effect is not None and belief.effect.value == pytest.approx(0.01)
    assert belief.profile is None and belief.overlap is None and belief.kept is None
    assert found["jailbreak"].profile is not None


def test_two_figures_for_one_place_are_refused() -> None:
    rows = located_rows()
    view = LocatedView((*rows, replace(rows[2], value=0.123)))
    with pytest.raises(DataError, match=r"holds two figures for .*'denial_of_service'.*: 0\.9 and 0\.123"):
        view.subjects  # noqa: B018
    assert len(LocatedView((*rows, *rows)).at(SUBJECT)) == len(rows)


def test_without_the_second_test_nothing_is_supported() -> None:
    """Attacks that drop out of seeds may leave too few that are in all of them."""
    points = tuple(Point(str(i % 3), i // 3, float(i), float(-i)) for i in range(6))
    within = Tails(lower=0.01, upper=1.0, smallest=0.01)
    alone = Relation(points, -1.0, within, None, 0.5)
    assert reach_verdict(alone) is StatementVerdict.INCONCLUSIVE
    assert reach_verdict(replace(alone, whole=Tails(0.04, 1.0, 0.04))) is StatementVerdict.SUPPORTED
    assert reach_verdict(replace(alone, whole=Tails(0.2, 1.0, 0.04))) is StatementVerdict.INCONCLUSIVE
