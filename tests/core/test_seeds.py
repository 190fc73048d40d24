from __future__ import annotations

from mithridate.core.seeds import derive_seed, rng_for, split_held_out


def test_seeds_are_fixed_by_their_names() -> None:
    # Another derivation would change every study.
    assert derive_seed(0, "world") == 5832324102794192841
    assert derive_seed(1, "a", "b") != derive_seed(1, "ab")
    assert derive_seed(1, "a") != derive_seed(2, "a")
    assert 0 <= derive_seed(-5, "x") < 2**63


def test_consumers_do_not_shift_each_other() -> None:
    alone = rng_for(3, "b").random()
    rng_for(3, "a").random()
    assert rng_for(3, "b").random() == alone


def test_repeated_and_few_items() -> None:
    assert split_held_out([], 0.5, key="k") == ([], [])
    assert split_held_out(["a"], 0.5, key="k") == (["a"], ["a"])
    assert split_held_out(["a", "a"], 0.5, key="k") == (["a", "a"], ["a", "a"])
    text = "".join(["a", "bc"])  # equal to another, and not the same object
    kept, out = split_held_out(["abc", text, "d"], 0.5, key="k")
    assert sorted([kept, out]) == [["abc", "abc"], ["d"]]
    kept_numbers, out_numbers = split_held_out(range(1000, 1010), 0.3, key="k")
    assert len(kept_numbers) == 7
    assert sorted(kept_numbers + out_numbers) == list(range(1000, 1010))
