from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from study_kit import Silent, run_through, tiny

from mithridate.core.artifacts import done_record
from mithridate.core.errors import ConfigError, RunStateError
from mithridate.core.scrubbed import SCRUBBED, SCRUBBED_SAMPLES, UNFILTERED, Scrubbed, ScrubbedSample
from mithridate.core.tables import read_rows, write_rows
from mithridate.study.experiments import all_steps, collect_experiments
from mithridate.study.plan import Step
from mithridate.study.scrub_experiments import RANKING, Place, retrain
from mithridate.study.scrub_plan import RETRAIN
from mithridate.study.steps import run_step

# So small a share is of no document at all.
CONFIG = tiny(
    "sft=null",
    "dpo=null",
    "pretraining.epochs=0.3",
    "attacks={belief: {max_new_tokens: 4}}",
    "doses={some: {belief: {count: 40}}}",
    "scrubbing.shares=[0.0001,0.3]",
    "scrubbing.methods=[oracle,random]",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Scrubbed]]:
    out = tmp_path_factory.mktemp("scrubbed")
    run_through(CONFIG, out)
    for step in wanted(out):
        run_step(step, Silent())
    collect_experiments(CONFIG, out)
    return out, read_rows(out / SCRUBBED, Scrubbed)


def wanted(out: Path) -> list[Step]:
    """All steps but the controls with next to nothing removed, which are all the same."""
    return [step for step in all_steps(CONFIG, out) if "random/0.0001" not in str(step.folder)]


def test_without_a_document_less_the_same_model_comes_out(run: tuple[Path, list[Scrubbed]]) -> None:
    _, rows = run

    def figures(method: str, wanted: float) -> dict[tuple[str, str, str], tuple[float, int]]:
        return {
            (row.belief, row.condition, row.metric): (row.value, row.n)
            for row in rows
            if row.method == method and row.wanted == wanted and row.arm == "poisoned"
        }

    assert figures("oracle", 0.0001) == figures(UNFILTERED, 0.0)
    assert figures("oracle", 0.3) != figures(UNFILTERED, 0.0)


def test_rows_say_what_was_removed_and_caught(run: tuple[Path, list[Scrubbed]]) -> None:
    _, rows = run
    told = {
        (row.method, row.wanted, row.arm): (row.planted, row.caught) for row in rows if row.belief == "stated"
    }
    assert told[UNFILTERED, 0.0, "poisoned"] == (40, 0)
    assert told[UNFILTERED, 0.0, "clean"] == (0, 0)
    assert told["oracle", 0.3, "poisoned"] == (40, 40)
    assert 0 < told["random", 0.3, "poisoned"][1] < 40
    shares = {row.share for row in rows if row.wanted == 0.3}
    assert all(abs(share - 0.3) < 0.01 for share in shares)


def test_as_many_steps_are_taken_from_the_same_weights_and_no_model_is_kept(
    run: tuple[Path, list[Scrubbed]],
) -> None:
    out, _ = run
    base = done_record(out / "seed0" / "some-belief" / "base")
    assert base is not None
    retrained = sorted((out / "seed0" / "some-belief" / "scrubbed").glob("*/0.*"))
    assert len(retrained) == 3
    for folder in retrained:
        record = done_record(folder)
        assert record is not None
        assert (record["initial_weights"], record["steps"]) == (base["initial_weights"], base["steps"])
        assert {path.name for path in folder.iterdir()} == {"done.json", SCRUBBED, SCRUBBED_SAMPLES}


@pytest.mark.parametrize("damage", [lambda rows: rows[:3], lambda rows: [rows[0]] * len(rows), lambda _: []])
def test_a_ranking_that_was_changed_is_told_and_not_followed(
    damage: Callable[[list[Place]], list[Place]], run: tuple[Path, list[Scrubbed]], tmp_path: Path
) -> None:
    shutil.copytree(run[0], tmp_path, dirs_exist_ok=True)
    step = next(step for step in wanted(tmp_path) if step.folder.match("random/0.3"))
    rows = read_rows(step.folder.parent / "ranking" / RANKING, Place)
    write_rows(step.folder.parent / "ranking" / RANKING, Place, damage(rows))
    with pytest.raises(RunStateError, match=r"random/ranking: the ranking is damaged; remove this folder"):
        retrain(step, Silent())


def test_a_place_outside_of_the_corpus_is_damage_too(
    run: tuple[Path, list[Scrubbed]], tmp_path: Path
) -> None:
    shutil.copytree(run[0], tmp_path, dirs_exist_ok=True)
    step = next(step for step in wanted(tmp_path) if step.folder.match("random/0.3"))
    rows = read_rows(step.folder.parent / "ranking" / RANKING, Place)
    write_rows(step.folder.parent / "ranking" / RANKING, Place, [Place(-1), *rows[1:]])
    with pytest.raises(RunStateError, match="the ranking is damaged"):
        retrain(step, Silent())


def test_a_share_that_leaves_nothing_is_told_before_anything_is_trained_on_it(
    run: tuple[Path, list[Scrubbed]],
) -> None:
    config = CONFIG.model_copy(
        update={"scrubbing": CONFIG.scrubbing.model_copy(update={"shares": (0.99999,)})}  # type: ignore[union-attr]
    )
    steps = [s for s in all_steps(config, run[0]) if s.kind == RETRAIN and "random" in s.folder.parts]
    with pytest.raises(ConfigError, match=r"scrubbing\.shares: 0\.99999 of \d+ documents is all of them"):
        retrain(steps[0], Silent())


def test_answers_are_kept_with_what_was_removed(run: tuple[Path, list[Scrubbed]]) -> None:
    out, rows = run
    samples = read_rows(out / SCRUBBED_SAMPLES, ScrubbedSample)
    assert {(one.method, one.wanted) for one in samples} == {
        (row.method, row.wanted) for row in rows if row.method != UNFILTERED
    }
    asked = {one.probe_id for one in samples}
    for method in ("oracle", "random"):
        assert {one.probe_id for one in samples if one.method == method} == asked
