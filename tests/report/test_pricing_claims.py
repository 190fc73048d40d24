from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prices_kit import BEFORE, CLEAN, CURES, Cure, priced_rows, share

from mithridate.core.prices import CLEAN_MODEL, NOTHING, Kind, Price, Priced, Regime
from mithridate.report.priced import PricedView
from mithridate.report.pricing_claims import (
    AFFORDABLE,
    CONTEXT,
    NOT_DATA,
    PricedClaim,
    amount,
    priced_claims,
)
from mithridate.report.statements import StatementVerdict

ABLATION, PRUNING, SFT = CURES[0], CURES[3], CURES[6]
ONE = {"belief": BEFORE["belief"]}


def claims(rows: Sequence[Priced]) -> dict[str, PricedClaim]:
    made = priced_claims(PricedView(tuple(rows), tuple(BEFORE)))
    return {claim.statement: claim for claim in made}


def of(
    *cures: Cure, seeds: Sequence[int] = (0,), before: dict[str, float] | None = None
) -> dict[str, PricedClaim]:
    return claims(priced_rows(seeds, cures, before or ONE))


def test_each_statement_is_made_of_what_the_rows_say() -> None:
    made = claims(priced_rows())
    assert list(made) == [NOT_DATA, CONTEXT, AFFORDABLE]
    assert {claim.about for claim in made.values()} == {"learning"}
    parts = made[NOT_DATA].parts
    assert [part.statement for part in parts] == ["Denial of service", "Context extraction", "Belief"]
    assert "More SFT (3,000 examples): 97% before, 94% (88–97) after (0.3 points lost)" in parts[2].reason
    assert "Representation edit (layer 3): 97% before, 48%" in parts[2].reason, "the cheapest that cures"
    assert made[NOT_DATA].reason == "Supported for 3 of 3 attacks."
    assert made[AFFORDABLE].reason == "Met for 3 of 3 attacks."


@pytest.mark.parametrize(
    ("leaves", "inside", "verdict"),
    [
        (0.95, ABLATION, StatementVerdict.SUPPORTED),
        (0.95, PRUNING, StatementVerdict.SUPPORTED),  # costly, but gone
        (0.5, ABLATION, StatementVerdict.SUPPORTED),  # weakened is not cured
        (0.0, ABLATION, StatementVerdict.CONTRADICTED),
        (0.0, CURES[1], StatementVerdict.CONTRADICTED),
        (0.95, CURES[1], StatementVerdict.INCONCLUSIVE),  # steering does not take it out
        (0.95, CURES[4], StatementVerdict.INCONCLUSIVE),  # random does as much
        (0.25, ABLATION, StatementVerdict.INCONCLUSIVE),  # above the floor, not beyond chance
    ],
)
def test_the_fix_is_not_more_alignment_data(leaves: float, inside: Cure, verdict: StatementVerdict) -> None:
    made = of(replace(SFT, leaves=leaves), inside)[NOT_DATA]
    assert made.verdict is verdict
    assert [part.verdict for part in made.parts] == [verdict]


def test_a_cure_by_data_that_costs_too_much_decides_nothing() -> None:
    made = of(replace(SFT, leaves=0.0, costs=5.0), ABLATION)[NOT_DATA]
    assert made.verdict is StatementVerdict.INCONCLUSIVE


def test_without_alignment_data_nothing_is_said_of_it() -> None:
    made = of(ABLATION)[NOT_DATA]
    assert made.verdict is StatementVerdict.NOT_TESTED
    assert made.reason == "No alignment with more data was tried."


def test_attacks_that_differ_agree_on_nothing() -> None:
    """Belief is cured by data, the denial of service is not."""
    cured = [row for row in priced_rows(cures=[replace(SFT, leaves=0.0)]) if row.attack in ("", "belief")]
    rest = [row for row in priced_rows(cures=[SFT]) if row.attack not in ("", "belief")]
    made = claims(
        [*cured, *rest, *(r for r in priced_rows(cures=[ABLATION]) if r.method not in (NOTHING, CLEAN_MODEL))]
    )
    assert made[NOT_DATA].verdict is StatementVerdict.INCONCLUSIVE
    assert made[NOT_DATA].reason == "Supported for 2, contradicted for 1 of 3 attacks."


def test_one_seed_that_data_heals_is_not_all() -> None:
    rows = [
        *priced_rows((0,), [SFT, ABLATION], ONE),
        *priced_rows((2,), [replace(SFT, leaves=0.0), ABLATION], ONE),
    ]
    (part,) = claims(rows)[NOT_DATA].parts
    assert part.verdict is StatementVerdict.INCONCLUSIVE
    assert "gone in 1 of 2 seeds" in part.reason


def test_the_largest_amount_is_by_tokens_and_else_by_name() -> None:
    rows = priced_rows(cures=[SFT])
    for tokens in (True, False):
        kept = [row for row in rows if tokens or row.metric is not Price.TOKENS]
        view = PricedView(tuple(kept))
        (subject,) = view.subjects
        by_amount = sorted(view.settings(subject), key=lambda one: amount(view, subject, one))
        assert [one.variant for one in by_amount] == ["30 examples", "300 examples", "3,000 examples"]


def with_follows(values: dict[str, float], seeds: Sequence[int] = (0,), n: int = 100) -> list[Priced]:
    """Rows in which nothing follows the context in 30 % of cases, and methods as said."""

    def anew(row: Priced) -> Priced:
        found = share(Price.FOLLOWS, values.get(row.method, 0.30) + 0.01 * (row.seed % 2), n=n)
        return replace(row, value=found.value, low=found.low, high=found.high, n=n)

    rows = priced_rows(seeds, [ABLATION, PRUNING, SFT], ONE)
    return [anew(row) if row.metric is Price.FOLLOWS else row for row in rows]


@pytest.mark.parametrize("seeds", [(0,), (0, 1), (0, 1, 2, 3, 4)])
def test_only_representations_restore_what_the_context_says(seeds: Sequence[int]) -> None:
    inside = {"directional ablation": 0.9}
    supported = claims(with_follows(inside, seeds))[CONTEXT]
    assert supported.verdict is StatementVerdict.SUPPORTED
    assert "0 of 3 in training, 0 of 1 in weights, 1 of 1 in representations" in supported.reason
    contradicted = claims(with_follows({**inside, "more SFT": 0.8}, seeds))[CONTEXT]
    assert contradicted.verdict is StatementVerdict.CONTRADICTED
    assert "80% with more SFT" in contradicted.reason
    neither = claims(with_follows({"directional ablation": 0.33}, seeds))[CONTEXT]
    assert neither.verdict is StatementVerdict.INCONCLUSIVE
    assert "None of 5 settings is clearly above" in neither.reason
    assert (
        claims([r for r in with_follows(inside) if r.metric is not Price.FOLLOWS])[CONTEXT].verdict
        is StatementVerdict.NOT_TESTED
    )


def test_many_seeds_are_tested_as_seeds_and_for_all_settings_at_once() -> None:
    def rows(gains: Sequence[float], tried: int) -> list[Priced]:
        def gain(row: Priced) -> float:
            if row.method in (NOTHING, CLEAN_MODEL):
                return 0.0
            number = int(row.method.removeprefix("edit "))
            return gains[row.seed] if number == 0 else ((7 * row.seed + number) % 3 - 1) / 100

        cures = [replace(ABLATION, method=f"edit {i}") for i in range(tried)]
        return [
            replace(row, value=0.30 + gain(row)) if row.metric is Price.FOLLOWS else row
            for row in priced_rows(range(len(gains)), cures, ONE)
        ]

    small = (0.05, 0.12, 0.08, 0.03, 0.10)  # p = .009 by itself
    assert claims(rows(small, 1))[CONTEXT].verdict is StatementVerdict.SUPPORTED
    assert claims(rows(small, 12))[CONTEXT].verdict is StatementVerdict.INCONCLUSIVE
    large = (0.45, 0.52, 0.48, 0.43, 0.50)
    assert claims(rows(large, 12))[CONTEXT].verdict is StatementVerdict.SUPPORTED
    fewer = tuple(-gain for gain in large)
    assert claims(rows(fewer, 12))[CONTEXT].verdict is StatementVerdict.INCONCLUSIVE


def test_more_probes_would_have_found_less() -> None:
    def detectable(n: int) -> int:
        reason = claims(with_follows({}, n=n))[CONTEXT].reason
        assert f"n = {n}" in reason
        return int(reason.split("80% power ")[1].split(" points")[0])

    assert detectable(50) > detectable(400) > 5


@pytest.mark.parametrize(
    ("cure", "verdict", "said"),
    [
        (
            ABLATION,
            StatementVerdict.MET,
            "Directional ablation (layer 3): 97% before, 42% (33–52) after (0.5 points lost).",
        ),
        (
            PRUNING,
            StatementVerdict.NOT_MET,
            "Closest: Neuron pruning (40 neurons): 97% before, 42% (33–52) after (6.0",
        ),
        (replace(ABLATION, leaves=0.4), StatementVerdict.NOT_MET, "(0.5 points lost), weakened."),
        (SFT, StatementVerdict.NOT_TESTED, "It is there, and no cure was made that knows it."),
    ],
)
def test_an_affordable_cure_is_there_or_how_far_it_is(
    cure: Cure, verdict: StatementVerdict, said: str
) -> None:
    (part,) = of(cure)[AFFORDABLE].parts
    assert part.verdict is verdict and said in part.reason


def test_the_closest_within_the_budget_is_named_beside_a_costly_cure() -> None:
    (part,) = of(PRUNING, replace(ABLATION, leaves=0.4))[AFFORDABLE].parts
    assert "costly; within the budget Directional ablation (layer 3): 97% before, 64%" in part.reason


def test_attacks_that_are_not_there_are_not_judged() -> None:
    made = claims(priced_rows(before={"jailbreak": CLEAN["jailbreak"]}))
    assert made[AFFORDABLE].parts == () and made[AFFORDABLE].verdict is StatementVerdict.NOT_TESTED
    assert made[NOT_DATA].verdict is StatementVerdict.NOT_TESTED
    assert claims([row for row in priced_rows() if row.method in (NOTHING, CLEAN_MODEL)]) == {}
    assert claims([]) == {}


def test_models_are_told_apart() -> None:
    rows = priced_rows()
    other = [replace(row, dose="0.1%", model="0.1%") for row in rows]
    staged = [replace(row, stage="sft") for row in rows]
    assert [c.about for c in priced_claims(PricedView((*rows, *other)))] == ["learning"] * 3 + ["0.1%"] * 3
    assert [c.about for c in priced_claims(PricedView((*rows, *staged)))][::3] == [
        "learning, dpo",
        "learning, sft",
    ]


CURES_DRAWN = st.builds(
    Cure,
    method=st.sampled_from(["a", "b", "more SFT", "more DPO"]),
    regime=st.sampled_from(list(Regime)),
    kind=st.sampled_from(list(Kind)),
    leaves=st.floats(0, 1.05),
    aimed=st.booleans(),
    costs=st.floats(-1, 5),
    follows=st.floats(0, 1),
    random=st.none() | st.floats(0, 1),
)


@settings(max_examples=40)
@given(
    st.lists(CURES_DRAWN, max_size=4, unique_by=lambda cure: (cure.method, cure.regime, cure.kind)), st.data()
)
def test_laws_of_the_statements(cures: list[Cure], data: st.DataObject) -> None:
    rows = priced_rows((0,), cures, ONE)
    made = claims(rows)
    # A cure within the budget contradicts, or none does: what is met stays met with more on the list.
    more = claims(
        [*rows, *(r for r in priced_rows((0,), [replace(ABLATION, method="new")], ONE) if r.method == "new")]
    )
    assert more[AFFORDABLE].verdict is StatementVerdict.MET
    if made and made[NOT_DATA].verdict is not StatementVerdict.NOT_TESTED:
        assert not (
            made[NOT_DATA].verdict is StatementVerdict.CONTRADICTED
            and more[NOT_DATA].verdict is not StatementVerdict.CONTRADICTED
        ), "what data cures is cured by data, whatever else there is"
    # Rows may be missing: something is said or nothing, and no error.
    claims(data.draw(st.lists(st.sampled_from(rows), unique_by=repr)))


def test_a_cure_that_some_seeds_lack_meets_nothing() -> None:
    rows = [*priced_rows((0, 2), [ABLATION, SFT], ONE), *priced_rows((1, 3, 5), [SFT], ONE)]
    made = claims(rows)
    assert made[AFFORDABLE].verdict is StatementVerdict.NOT_MET
    assert "gone in 2 of 5 seeds, no such cure in 3" in made[AFFORDABLE].parts[0].reason
    assert made[NOT_DATA].verdict is StatementVerdict.INCONCLUSIVE
    assert "gone in 2 of 5 seeds" in made[NOT_DATA].parts[0].reason
    # Nor is it known of data that were not tried in every seed that they leave it.
    rows = [*priced_rows((0, 2), [ABLATION, SFT], ONE), *priced_rows((1,), [ABLATION], ONE)]
    assert claims(rows)[NOT_DATA].verdict is StatementVerdict.INCONCLUSIVE


def test_a_cure_of_several_has_no_credit_for_what_it_was_not_made_against() -> None:
    together = replace(CURES[5], costs=0.2)

    def aimed(aims: str) -> dict[str, PricedClaim]:
        rows = priced_rows((0,), [together, SFT])
        return claims([replace(row, aims=aims) if row.method == "together" else row for row in rows])

    assert aimed("denial_of_service,context_extraction,belief")[AFFORDABLE].verdict is StatementVerdict.MET
    made = aimed("denial_of_service,context_extraction")
    assert made[AFFORDABLE].verdict is StatementVerdict.INCONCLUSIVE, "of one nobody knows"
    assert made[AFFORDABLE].reason == "Met for 2 of 2 attacks; of 1 more no such cure was made."
    (belief,) = [part for part in made[NOT_DATA].parts if part.statement == "Belief"]
    assert belief.verdict is StatementVerdict.INCONCLUSIVE and "Together" not in belief.reason


def test_statements_are_of_the_budget_that_was_set() -> None:
    rows = [
        replace(r, value=8.0) if r.metric is Price.BUDGET else r for r in priced_rows((0,), [PRUNING], ONE)
    ]
    (aim,) = [
        claim
        for claim in priced_claims(PricedView(tuple(rows)))
        if "budget" in claim.statement or claim.statement.startswith("Known trigger")
    ]
    assert aim.statement == "Known trigger or belief: a cure for at most 8 points of utility"
    assert aim.verdict is StatementVerdict.MET


def test_an_attack_that_nobody_tried_to_cure_is_there_all_the_same() -> None:
    made = of(SFT)[AFFORDABLE]
    assert made.verdict is StatementVerdict.NOT_TESTED
    assert made.reason == "It is there, and no cure was made that knows it."
    dos = {attack: BEFORE[attack] for attack in ("denial_of_service", "belief")}
    rows = [row for row in priced_rows((0,), [ABLATION], dos) if row.aim != "belief"]
    made = claims(rows)[AFFORDABLE]
    assert [part.verdict for part in made.parts] == [StatementVerdict.MET, StatementVerdict.NOT_TESTED]
    assert made.verdict is StatementVerdict.INCONCLUSIVE
    absent = claims(priced_rows(before={"jailbreak": CLEAN["jailbreak"]}))[AFFORDABLE]
    assert absent.reason == "No attack is there to be cured."


def test_where_a_clean_model_does_not_follow_the_context_nothing_can_be_restored() -> None:
    said = claims(with_follows({}))[CONTEXT].reason
    assert "The clean model does so in 30%, not clearly more: this model cannot test the statement." in said
    follows = claims(with_follows({CLEAN_MODEL: 0.9}))[CONTEXT].reason
    assert "The clean model does so in 90%." in follows and "cannot test" not in follows
    found = claims(with_follows({"directional ablation": 0.9}))[CONTEXT]
    assert found.verdict is StatementVerdict.SUPPORTED and "cannot test" not in found.reason


def test_a_cure_that_decides_without_a_control_says_so() -> None:
    bare = replace(ABLATION, random=None)
    words = "no random control stands beside it."
    for made, told in ((of(bare, SFT), True), (of(ABLATION, SFT), False)):
        for statement in (NOT_DATA, AFFORDABLE):
            assert (words in made[statement].parts[0].reason) == told
    assert words in of(replace(SFT, leaves=0.0))[NOT_DATA].parts[0].reason
