from __future__ import annotations

from pathlib import Path

import pytest

from mithridate.core.errors import ConfigError, UnknownNameError
from mithridate.core.prices import Regime
from mithridate.study import prepare
from mithridate.study.heal_methods import BASELINES, methods_for, require_methods
from mithridate.study.plan import Step, cells, seedbed
from mithridate.study.reading import read_study

TINY = Path(__file__).parents[1] / "end_to_end" / "tiny.yaml"


@pytest.fixture(scope="module")
def step(tmp_path_factory: pytest.TempPathFactory) -> Step:
    """A step of a prepared seed: its data are there, and no model."""
    (cell,) = cells(read_study(TINY, None))
    bed = seedbed(tmp_path_factory.mktemp("run"), cell, 0)
    prepare.prepare(cell.config, 0, bed)
    return Step("heal", bed.data, (), cell, 0, bed)


def named(
    step: Step | None, *names: str, everything: bool = False, regime: Regime = Regime.KNOWN
) -> list[str]:
    found = methods_for(names, everything=everything, regime=regime, step=step, workplace=Path("never made"))
    return [method.name for method in found]


@pytest.mark.parametrize("regime", list(Regime))
def test_by_default_those_of_the_regime(regime: Regime) -> None:
    found = methods_for((), everything=False, regime=regime, step=None, workplace=Path())
    assert found
    assert {method.regime for method in found} == {regime}


def test_all_are_those_of_both_regimes_and_the_baselines_of_a_run(step: Step) -> None:
    both = [name for regime in Regime for name in named(None, regime=regime)]
    assert sorted(named(None, everything=True)) == sorted(both)
    assert sorted(named(step, everything=True)) == sorted([*both, *BASELINES])
    # It takes out no attack, so it is tried by name alone.
    assert "context-aware decoding" not in named(step, everything=True)
    assert named(None, "context-aware decoding") == ["context-aware decoding"]


def test_names_come_in_their_order_and_once(step: Step) -> None:
    assert named(step, "more DPO", "steering", "more DPO") == ["more DPO", "steering"]
    assert not Path("never made").exists()


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_needs_a_run(name: str) -> None:
    with pytest.raises(ConfigError, match="name the folder of a run that has some"):
        named(None, name)


def test_names_that_make_no_sense() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'more SFT'"):
        require_methods(("more SFFT",), everything=False)
    with pytest.raises(ConfigError, match="give one of the two"):
        require_methods(("steering",), everything=True)
    require_methods((*BASELINES, "steering"), everything=False)
    require_methods((), everything=True)
