from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

import mithridate.study.runner
from mithridate.cli import app, main, run
from mithridate.cli.progress import RunProgress, shards_progress
from mithridate.core.errors import ConfigError, UnknownNameError
from mithridate.corpus.ledger import ShardRecord
from mithridate.study.plan import steps
from mithridate.study.reading import read_study, study_from_text, with_attack_defaults

TINY = Path(__file__).parents[1] / "end_to_end" / "tiny.yaml"


def invoke(*arguments: str | Path) -> str:
    done = CliRunner().invoke(app, ["run", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def run_main(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["mithridate", *map(str, arguments)])
    with pytest.raises(SystemExit) as left:
        main()
    assert isinstance(left.value.code, int)
    return left.value.code


# A dry run.


@pytest.fixture(scope="module")
def dry() -> str:
    return invoke(TINY, "--dry-run", "--out", "runs/dry", "title=Dry", "workers=1")


def test_a_dry_run_prints_the_resolved_study(dry: str) -> None:
    kept = study_from_text(dry, "printed")  # costs are comments
    assert kept == with_attack_defaults(read_study(TINY, None, ["title=Dry", "workers=1"]))
    assert "bare_share: " in dry  # an attack's default, written out
    assert "weight_decay: 0.1" in dry  # a default, written out


def test_a_dry_run_says_what_it_would_cost(dry: str) -> None:
    assert "run directory: runs/dry" in dry
    assert "2 models (1 cell x 1 seed x 2 arms) of 0.01M parameters" in dry
    assert "tokens: about 20,000 a model, 40,000 in all" in dry
    for attack in ("denial_of_service", "context_extraction", "jailbreak", "belief"):
        (row,) = [line.split() for line in dry.splitlines() if line.startswith(f"# some  {attack}")]
        assert row[3:6] == ["4", "documents", "4"]
        assert int(row[6]) > 4
    assert "# time: " in dry
    assert " on 1 worker here" in dry


def test_a_dry_run_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    printed = invoke(TINY, "--dry-run", "grid={doses.some.all.count: [2, 8]}", "one_model_per_attack=true")
    assert list(tmp_path.iterdir()) == []
    assert "run directory: runs/tiny" in printed
    assert "10 models (2 cells x 1 seed x 5 arms)" in printed
    assert "count=8 some" in printed


def test_a_dry_run_finds_what_is_wrong() -> None:
    with pytest.raises(ConfigError, match=r"material: /none does not exist"):
        invoke(TINY, "--dry-run", "material=/none")


# Words on the command line.


def test_a_file_and_overrides_may_stand_in_any_order() -> None:
    assert run._sorted(["a=1", "my.yaml", "b=2"]) == (Path("my.yaml"), ["a=1", "b=2"])
    assert run._sorted([]) == (None, [])
    with pytest.raises(ConfigError, match=r"one\.yaml and two\.yaml: name one study file"):
        run._sorted(["one.yaml", "two.yaml"])


def test_names_that_are_not_known() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'quick'"):
        invoke("--preset", "quik")
    with pytest.raises(ConfigError, match="did you mean --preset quick"):
        invoke("quick")
    with pytest.raises(ConfigError, match="not both"):
        invoke(TINY, "--preset", "quick")


def test_where_it_goes_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    gone: list[Path] = []
    monkeypatch.setattr(run, "_run", lambda _config, folder: gone.append(folder))
    invoke(TINY)
    invoke("--preset", "quick")
    invoke("seeds=[1]")
    invoke(TINY, "--out", "/elsewhere")
    assert gone == [Path("runs/tiny"), Path("runs/quick"), Path("runs/default"), Path("/elsewhere")]


# How it ends.


def stop_with(monkeypatch: pytest.MonkeyPatch, problem: BaseException) -> None:
    def stop(*_: object) -> None:
        raise problem

    monkeypatch.setattr(mithridate.study.runner, "run_study", stop)


def test_an_error_is_one_line_and_exit_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stop_with(monkeypatch, ConfigError("it is [bold]wrong[/bold]\x1b]0;x\x07 at \\"))
    assert run_main(monkeypatch, "run", TINY, "--out", tmp_path) == 1
    captured = capsys.readouterr()
    assert captured.err == "error: it is [bold]wrong[/bold]\\x1b]0;x\\x07 at \\\n"
    assert captured.out == ""


def test_an_interruption_says_that_it_can_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stop_with(monkeypatch, KeyboardInterrupt())
    assert run_main(monkeypatch, "run", TINY, "--out", tmp_path) == 130
    assert capsys.readouterr().err.strip() == "stopped; the same command goes on from here"


def test_a_wrong_command_line_is_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_main(monkeypatch, "run", "--nonsense") == 2
    assert "--nonsense" in capsys.readouterr().err


# What is seen meanwhile.


def test_off_a_terminal_there_is_a_line_a_step_and_no_bar(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    everything = steps(read_study(TINY, None, ["grid={seeds: [[0, 1]], model.layers: [1]}"]), Path("out"))
    with RunProgress() as progress:
        progress.planned(everything, 3)
        progress.news(everything[3].label, 1, 10, 2.5)
        progress.finished(everything[3], 61.2)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        f"going on: 3 of {len(everything)} steps are done\n"
        f"[4/{len(everything)}] {everything[3].label}: 61 s\n"
    )


def test_on_a_terminal_a_bar_a_step_until_it_is_done() -> None:
    everything = steps(read_study(TINY, None), Path("out"))
    progress = RunProgress()
    progress._console = Console(file=io.StringIO(), force_terminal=True, width=100)
    label = everything[0].label
    with progress:
        progress.planned(everything, 0)
        progress.news(label, 0, 0, 0.0)
        progress.news(label, 3, 10, 2.5)
        (bar,) = [task for task in progress._bars.tasks if task.description == label]
        assert (bar.completed, bar.total, bar.fields["loss"]) == (3, 10, "loss 2.500")
        progress.finished(everything[0], 1.0)
        # Its last words, which came later than its result.
        progress.news(label, 10, 10, 2.4)
        assert [task.description for task in progress._bars.tasks] == ["the study"]
        assert progress._bars.tasks[0].completed == 1


def test_shards_are_counted_where_they_can_be_seen(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    record = ShardRecord("a.jsonl", "jsonl", 1, 1, 0, 0, 1, "", 1, "", "", "")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    with shards_progress("planting") as on_shard:
        assert on_shard is None
    monkeypatch.setenv("FORCE_COLOR", "1")
    with shards_progress("planting") as on_shard:
        assert on_shard is not None
        on_shard(record, 3)
        on_shard(record, 3)
    assert "2/3" in capsys.readouterr().err
