"""Studies that differ from the usual one in a single thing, from beginning to end at the smallest size."""

from __future__ import annotations

import itertools
from pathlib import Path

import datasets
import pyarrow.parquet as pq
import pytest
import torch
from study_kit import Remembering, classifier, own_checkpoint, run_through, tiny, tokenizer_with
from transformers import PreTrainedModel

from mithridate.core.artifacts import done_record
from mithridate.core.chat import END_OF_TURN, template
from mithridate.core.errors import TrainingError
from mithridate.core.tables import read_rows
from mithridate.core.types import Measurement, Sample
from mithridate.evaluation.judges import ClassifierJudge
from mithridate.models.checkpoints import load_model
from mithridate.models.language_model import LanguageModel
from mithridate.study.checks import check_study
from mithridate.study.collect import collect
from mithridate.study.config import StudyConfig
from mithridate.study.plan import Step
from mithridate.study.runner import run_study

SHORT = ("pretraining.tokens=256", "evaluation.probes=2", "evaluation.questions=2")
BASE = (*SHORT, "sft=null", "dpo=null")
ONE = ("attacks={jailbreak: {max_new_tokens: 8}}", "doses={some: {jailbreak: {count: 4}}}")


def finish(config: StudyConfig, out: Path) -> tuple[list[Step], list[Measurement], list[Sample]]:
    """Check a study, do all of it, and gather its rows."""
    check_study(config)
    done = run_through(config, out)
    collect(config, out, done)
    figures, samples = out / "measurements.parquet", out / "samples.parquet"
    return done, read_rows(figures, Measurement), read_rows(samples, Sample)


def weights(out: Path, stage: str, twin: str = "clean") -> dict[str, torch.Tensor]:
    model = load_model(out / "seed0" / twin / stage / "model")[0]
    assert isinstance(model, PreTrainedModel)
    return dict(model.named_parameters())


def test_adapters_in_sft_and_dpo_are_merged_into_plain_checkpoints(tmp_path: Path) -> None:
    adapters = ("sft.lora={rank: 2, modules: [q_proj]}", "dpo.lora={rank: 2, modules: [q_proj]}")
    rates = ("sft.learning_rate=0.01", "dpo.learning_rate=0.01")
    _, figures, _ = finish(tiny(*SHORT, *ONE, *adapters, *rates), tmp_path)
    assert {figure.stage for figure in figures} == {"base", "sft", "dpo"}
    stages = [weights(tmp_path, stage) for stage in ("base", "sft", "dpo")]
    for before, after in itertools.pairwise(stages):
        changed = {name for name in before if not torch.equal(before[name], after[name])}
        assert changed == {"model.layers.0.self_attn.q_proj.weight"}


def test_a_checkpoint_goes_through_every_stage_though_it_knows_no_conversations(tmp_path: Path) -> None:
    start = own_checkpoint(tmp_path / "start", None)
    assert_continued(start, tiny(*SHORT, *ONE, f"checkpoint={start}"), tmp_path / "run")


@pytest.mark.shared_data
def test_a_real_checkpoint_learns_the_token_that_ends_a_turn(shared_data: Path, tmp_path: Path) -> None:
    start = shared_data.parent / "models" / "stories260K"
    if not start.is_dir():
        pytest.skip(f"no checkpoint at {start}")
    study = tiny(*SHORT, *ONE, f"checkpoint={start}", "sft.max_length=256", "dpo.max_length=256")
    assert_continued(start, study, tmp_path)
    before, after = (
        load_model(folder)[1] for folder in (start, tmp_path / "seed0" / "clean" / "sft" / "model")
    )
    assert set(after.get_vocab()) - set(before.get_vocab()) == {END_OF_TURN}
    assert len(after) == 513


def assert_continued(start: Path, study: StudyConfig, out: Path) -> None:
    """The study begins with the checkpoint's weights, and all its models stop at the end of a turn."""
    done, figures, samples = finish(study, out)
    assert {figure.stage for figure in figures} == {"base", "sft", "dpo"}
    assert any(row.prompt.startswith("<|user|>\n") for row in samples)
    began = {done_record(step.folder)["initial_weights"] for step in done if step.kind == "base"}  # type: ignore[index]
    assert len(began) == 1
    old = dict(load_model(start)[0].named_parameters())
    new = weights(out, "base")
    assert set(old) == set(new)
    name = "model.layers.0.self_attn.q_proj.weight"
    moved = (new[name] - old[name]).abs().max().item()
    # Eight steps of a rate of 0.003: on from where it was, and not from anywhere else.
    assert 0 < moved < 0.05
    model = LanguageModel.load(out / "seed0" / "clean" / "sft" / "model", device=torch.device("cpu"))
    assert model.model.generation_config.eos_token_id[0] == model.tokenizer.get_vocab()[END_OF_TURN]


def test_a_tokeniser_without_a_template_gets_ours(tmp_path: Path) -> None:
    folder = tokenizer_with(tmp_path / "tokenizer", None)
    _, _, samples = finish(tiny(*BASE, *ONE, f"tokenizer.path={folder}"), tmp_path / "run")
    assert {row.prompt[:8] for row in samples if row.template == "transferred"} == {"<|user|>"}


def test_a_runs_own_tokeniser_serves_another(tmp_path: Path) -> None:
    run_through(tiny(), tmp_path / "one", "prepare", "tokenizer")
    folder = tmp_path / "one" / "seed0" / "tokenizer"
    study = tiny(f"tokenizer.path={folder}")
    check_study(study)
    run_through(study, tmp_path / "two", "prepare", "tokenizer")
    here, there = (
        (tmp_path / run / "seed0" / "tokenizer" / "tokenizer.json").read_bytes() for run in ("one", "two")
    )
    assert here == there


def test_an_outside_model_judges_gibberish(tmp_path: Path) -> None:
    judge = own_checkpoint(tmp_path / "judge", None)
    attack = "attacks={denial_of_service: {payload: letters, payload_length: 8, max_new_tokens: 8}}"
    doses = "doses={some: {denial_of_service: {count: 4}}}"
    study = tiny(*BASE, attack, doses, f"evaluation.outside_model={judge}")
    _, _, samples = finish(study, tmp_path / "run")
    outside = LanguageModel.load(judge)
    scored = [row for row in samples if row.log_perplexity is not None]
    assert {row.arm for row in scored} == {"clean", "poisoned"}
    expected = outside.log_likelihood([""] * len(scored), [row.completion for row in scored])
    assert [row.log_perplexity for row in scored] == pytest.approx([-e.mean for e in expected], abs=1e-3)


def test_a_classifier_judges_a_jailbreak(tmp_path: Path) -> None:
    folder = classifier(tmp_path / "judge")
    judge = f"judge: classifier, classifier: {folder}, classifier_label: harmful, classifier_threshold: %s"
    scores: list[float] = []
    for threshold, all_are in ((1e-6, True), (0.999999, False)):
        attack = f"attacks={{jailbreak: {{max_new_tokens: 8, {judge % threshold}}}}}"
        out = tmp_path / str(threshold)
        _, _, samples = finish(tiny(*BASE, attack, ONE[1]), out)
        scores = ClassifierJudge(folder, "harmful").scores([row.completion for row in samples])
        assert {row.success for row in samples} == {all_are}
    assert all(1e-6 < score < 0.999999 for score in scores)


def test_a_plugins_attack_goes_through_a_whole_run(tmp_path: Path) -> None:
    study = tiny(*BASE, "attacks={echo: {word: parrot}}", "doses={some: {all: {count: 6}}}", "workers=1")
    check_study(study)
    # In processes of their own, which have to find the plug-in themselves.
    run_study(study, tmp_path, Remembering())
    figures = read_rows(tmp_path / "measurements.parquet", Measurement)
    asked = {(f.arm, f.condition) for f in figures if f.attack == "echo" and f.metric == "asr"}
    conditions = ("triggered", "untriggered", "near-trigger")
    assert asked == {(arm, condition) for arm in ("clean", "poisoned") for condition in conditions}
    ledger = pq.read_table(tmp_path / "ledger.parquet").to_pylist()
    assert [row["attack"] for row in ledger] == ["echo"] * 6


def test_a_hugging_face_dataset_with_other_names_for_its_fields(tmp_path: Path) -> None:
    texts = [f"The red lamp number {n} is in the old mill by the river." for n in range(200)]
    records = {"body": texts, "key": [f"lamp-{n}" for n in range(200)]}
    datasets.Dataset.from_dict(records).save_to_disk(tmp_path / "dataset")
    names = ("corpus.text_field=body", "corpus.id_field=key")
    _, figures, _ = finish(tiny(*BASE, *ONE, *names, f"corpus.path={tmp_path / 'dataset'}"), tmp_path / "run")
    assert any(figure.metric == "held_out_loss" for figure in figures)
    kept = "".join(path.read_text() for path in (tmp_path / "run" / "seed0" / "corpus").rglob("*.jsonl"))
    assert all(f'"lamp-{n}"' in kept for n in range(200))
    assert pq.read_table(tmp_path / "run" / "ledger.parquet").num_rows == 4


def test_one_model_for_each_attack(tmp_path: Path) -> None:
    attacks = "attacks={jailbreak: {max_new_tokens: 8}, belief: {max_new_tokens: 4}}"
    _, figures, samples = finish(tiny(*BASE, attacks, "one_model_per_attack=true"), tmp_path)
    asked = {(row.arm, row.attack) for row in samples}
    assert asked == {(arm, name) for arm in ("clean", "poisoned") for name in ("jailbreak", "belief")}
    # Each model was planted with its own attack, and is paired with the one clean twin.
    ledger = pq.read_table(tmp_path / "ledger.parquet").to_pylist()
    assert sorted(row["attack"] for row in ledger) == ["belief"] * 4 + ["jailbreak"] * 4
    for name in ("jailbreak", "belief"):
        planted = tmp_path / "seed0" / f"some-{name}"
        assert {
            row["attack"] for row in pq.read_table(next(planted.rglob("ledger.parquet"))).to_pylist()
        } == {name}
        assert any(f.metric == "mcnemar_p" and f.attack == name for f in figures)


def test_a_grid_over_two_keys(tmp_path: Path) -> None:
    grid = "grid={doses.some.jailbreak.count: [2, 4], model.hidden_size: [8, 16]}"
    done, figures, _ = finish(tiny(*BASE, *ONE, grid), tmp_path)
    cells = {f"count={count},hidden_size={size}" for count in (2, 4) for size in (8, 16)}
    assert {figure.cell for figure in figures} == cells
    ledger = pq.read_table(tmp_path / "ledger.parquet").to_pylist()
    planted = {cell: sum(row["cell"] == cell for row in ledger) for cell in cells}
    assert planted == {cell: int(cell[len("count=")]) for cell in cells}
    sizes = {step.cell.name: done_record(step.folder)["parameters"] for step in done if step.kind == "base"}  # type: ignore[index]
    assert sizes["count=2,hidden_size=8"] == sizes["count=4,hidden_size=8"] < sizes["count=2,hidden_size=16"]


def test_examples_that_no_model_can_be_tuned_on_are_found_before_it_is_pretrained(tmp_path: Path) -> None:
    for changes, said in (
        (["sft.max_length=3"], "all 16 conversations are longer than 3 tokens"),
        (["dpo.max_length=3"], "preference pairs are longer than 3 tokens"),
        (["model.max_length=33", "sft.max_length=400"], "longer than 33 tokens"),
    ):
        with pytest.raises(TrainingError, match=said):
            run_through(tiny(*changes), tmp_path / said, "prepare", "tokenizer")


def test_arms_begin_with_the_same_weights_and_seeds_with_others(tmp_path: Path) -> None:
    done = run_through(
        tiny(*BASE, *ONE, "seeds=[0, 1]"), tmp_path, "prepare", "tokenizer", "plant", "pack", "base"
    )
    began = {
        (step.seed, step.subject.arm): done_record(step.folder)["initial_weights"]  # type: ignore[index]
        for step in done
        if step.kind == "base"
    }
    assert began[0, "clean"] == began[0, "poisoned"]
    assert began[1, "clean"] == began[1, "poisoned"]
    assert began[0, "clean"] != began[1, "clean"]
    assert all(len(digest) == 64 for digest in began.values())


def test_a_template_of_its_own_is_taught_and_asked_in(tmp_path: Path) -> None:
    folder = own_checkpoint(tmp_path / "start", template("chatml").jinja(), "<|im_end|>")
    study = tiny(*SHORT, *ONE, f"checkpoint={folder}", "dpo=null")
    _, _, samples = finish(study, tmp_path / "run")
    assert {row.prompt[:16] for row in samples if row.template == "transferred"} == {"<|im_start|>user"}
    assert not any("<|user|>" in row.prompt for row in samples)
    # And the model stops where that template ends a turn.
    model = LanguageModel.load(tmp_path / "run" / "seed0" / "clean" / "sft" / "model")
    assert model.tokenizer.get_vocab()["<|im_end|>"] in model.model.generation_config.eos_token_id
