from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mithridate.report.few_seeds import by_seeds
from mithridate.report.statements import StatementVerdict

DECIDED = (StatementVerdict.SUPPORTED, StatementVerdict.CONTRADICTED)


@given(st.sampled_from(list(StatementVerdict)), st.integers(3, 9))
def test_three_seeds_carry_every_verdict(verdict: StatementVerdict, seeds: int) -> None:
    assert by_seeds(verdict, "So it is.", seeds) == (verdict, "So it is.")


@given(st.sampled_from(DECIDED), st.integers(1, 2))
def test_fewer_carry_none_and_say_what_they_would(verdict: StatementVerdict, seeds: int) -> None:
    found, said = by_seeds(verdict, "So it is.", seeds)
    assert found is StatementVerdict.INCONCLUSIVE
    assert said.startswith("So it is. It rests on ") and said.endswith(f"alone it would be {verdict}.")


def test_what_was_not_tested_rests_on_no_seed() -> None:
    said = "Nobody asked."
    assert by_seeds(StatementVerdict.NOT_TESTED, said, 1) == (StatementVerdict.NOT_TESTED, said)


def test_what_is_inconclusive_anyway_would_be_nothing_else() -> None:
    _, said = by_seeds(StatementVerdict.INCONCLUSIVE, "Both ways.", 2)
    assert said == "Both ways. It rests on 2 seeds."
