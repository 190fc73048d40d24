from __future__ import annotations

from pathlib import Path

import pytest
from study_kit import tiny

from mithridate.core.artifacts import mark_done
from mithridate.core.errors import ConfigError, RunStateError
from mithridate.core.run_files import PLANTING, PlantingRow
from mithridate.core.tables import write_rows
from mithridate.study.config import StudyConfig
from mithridate.study.locate_plan import LocateDetail, LocateOptions, largest_dose, locate_steps
from mithridate.study.plan import cells, seedbed, steps

DOSES = ("doses={a: {all: {count: 4}}, b: {all: {count: 9}}}",)


def planted(out: Path, *tokens: tuple[str, int]) -> None:
    rows = [PlantingRow("", 0, dose, dose, "belief", None, 4, 0.1, 4, count, 1000) for dose, count in tokens]
    write_rows(out / PLANTING, PlantingRow, rows)


def trained(config: StudyConfig, out: Path) -> None:
    """As if every model were there."""
    for step in steps(config, out):
        mark_done(step.folder, {"identity": step.identity()})


def test_the_dose_that_planted_most_is_looked_into_in_every_seed(tmp_path: Path) -> None:
    config = tiny(*DOSES, "seeds=[3,5]")
    planted(tmp_path, ("a", 10), ("b", 30))
    trained(config, tmp_path)
    assert largest_dose(config, tmp_path) == "b"
    found = locate_steps(config, tmp_path, LocateOptions())
    assert {step.subject.name for step in found} == {"b"}
    assert {step.seed for step in found} == {3, 5}
    assert {LocateDetail.read(step).second_seed for step in found if step.seed == 3} == {5}
    assert len({step.folder for step in found}) == len({step.label for step in found}) == len(found)
    both = locate_steps(config, tmp_path, LocateOptions(), ("a", "b"))
    assert {step.subject.name for step in both} == {"a", "b"}


def test_what_decides_the_rows_decides_the_identity(tmp_path: Path) -> None:
    config = tiny()
    planted(tmp_path, ("some", 1))
    trained(config, tmp_path)
    first, again, more = (
        [step.identity() for step in locate_steps(config, tmp_path, LocateOptions(probes=n))]
        for n in (8, 8, 12)
    )
    assert first == again
    assert not set(first) & set(more)
    ones = LocateDetail.read(locate_steps(config, tmp_path, LocateOptions())[0])
    assert ones.second_seed is None
    # Steps of the study itself keep the identity that runs of before have on disk.
    study = seedbed(tmp_path, cells(config)[0], 0)
    assert all(not step.detail for step in steps(config, tmp_path))
    assert study.of_seed(4).root == tmp_path / "seed4"


def test_what_cannot_be_located_is_said_at_once(tmp_path: Path) -> None:
    config = tiny()
    planted(tmp_path, ("some", 1))
    with pytest.raises(RunStateError, match="model clean of seed 0 at the stage base is not there"):
        locate_steps(config, tmp_path, LocateOptions())
    trained(config, tmp_path)
    with pytest.raises(ConfigError, match="no dose 'more'; it has 'some'"):
        locate_steps(config, tmp_path, LocateOptions(), ("more",))
    with pytest.raises(ConfigError, match="no alignment to locate"):
        locate_steps(tiny("sft=null", "dpo=null"), tmp_path, LocateOptions())
