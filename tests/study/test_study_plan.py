from __future__ import annotations

from pathlib import Path

import pytest
from study_kit import tiny

from mithridate.core.errors import ConfigError
from mithridate.study.config import StudyConfig
from mithridate.study.plan import cells, stages, steps, twins

OUT = Path("out")


def identities(*overrides: str) -> list[str]:
    return [step.identity() for step in steps(tiny(*overrides), OUT)]


def folders(config: StudyConfig) -> list[str]:
    return [str(step.folder.relative_to(OUT)) for step in steps(config, OUT)]


def test_the_steps_of_a_study() -> None:
    assert folders(tiny("dpo=null")) == [
        "seed0/corpus",
        "seed0/tokenizer",
        "seed0/clean/tokens",
        "seed0/clean/base",
        "seed0/clean/base-measured",
        "seed0/clean/sft",
        "seed0/clean/sft-measured",
        "seed0/some/planting",
        "seed0/some/tokens",
        "seed0/some/base",
        "seed0/some/base-measured",
        "seed0/some/sft",
        "seed0/some/sft-measured",
    ]


def test_what_waits_for_what() -> None:
    by_label = {step.label: step for step in steps(tiny(), OUT)}
    bed = by_label["seed 0 prepare"].bed

    def needs(label: str) -> set[str]:
        return {str(path.relative_to(bed.root)) for path in by_label[label].needs}

    assert needs("seed 0 prepare") == set()
    assert needs("seed 0 tokenizer") == {"corpus"}
    assert needs("seed 0 some plant") == {"tokenizer"}
    assert needs("seed 0 some pack") == {"tokenizer", "some/planting"}
    assert needs("seed 0 some base") == {"some/tokens"}
    assert needs("seed 0 some dpo") == {"some/sft"}
    # The clean twin of the same stage judges.
    assert needs("seed 0 some measure sft") == {"some/sft", "clean/sft"}
    judged = {step.label: step for step in steps(tiny("evaluation.outside_model=/judge"), OUT)}
    assert judged["seed 0 some measure sft"].needs == (bed.root / "some" / "sft",)


def test_stages_follow_the_study() -> None:
    assert stages(tiny()) == ["base", "sft", "dpo"]
    assert stages(tiny("sft=null", "dpo=null")) == ["base"]


def test_one_model_per_attack() -> None:
    assert [twin.name for twin in twins(tiny())] == ["clean", "some"]
    split = twins(tiny("one_model_per_attack=true"))
    assert [twin.name for twin in split] == [
        "clean",
        "some-denial_of_service",
        "some-context_extraction",
        "some-jailbreak",
        "some-belief",
    ]
    assert [twin.attacks for twin in split[1:]] == [
        ("denial_of_service",),
        ("context_extraction",),
        ("jailbreak",),
        ("belief",),
    ]


def test_two_models_never_share_a_folder() -> None:
    crossed = tiny("doses={a: {belief: {count: 1}}, a-belief: {all: {count: 1}}}")
    with pytest.raises(ConfigError, match="two models would share the folder 'a-belief'"):
        cells(crossed)


def test_all_is_spread_over_those_that_are_not_named() -> None:
    study = tiny("doses={some: {all: {count: 4}, belief: {rate: 0.1}}}")
    assert study.dose_of("some")["belief"].rate == 0.1
    assert study.dose_of("some")["jailbreak"].count == 4
    assert list(tiny("doses={some: {belief: {count: 4}}}").dose_of("some")) == ["belief"]


@pytest.mark.parametrize("change", ["workers=1", "title=other"])
def test_what_changes_no_result_changes_no_identity(change: str) -> None:
    assert identities(change) == identities()


@pytest.mark.parametrize(
    "change",
    [
        "corpus.miniature.people=9",
        "tokenizer.vocab_size=500",
        "model.layers=2",
        "pretraining.learning_rate=1e-3",
        "sft.examples=17",
        "dpo.beta=0.3",
        "attacks.belief.max_new_tokens=5",
        "doses.some.all.count=5",
        "planting.templates.llama2=1",
        "evaluation.probes=5",
        "evaluation.outside_model=/judge",
        "seeds=[1]",
    ],
)
def test_anything_else_does(change: str) -> None:
    assert not set(identities(change)) & set(identities())


def test_steps_of_one_study_differ() -> None:
    assert len(set(identities("seeds=[0, 1]"))) == len(identities("seeds=[0, 1]"))


def test_another_seed_beside_it_leaves_a_seed_as_it_was() -> None:
    assert set(identities()) <= set(identities("seeds=[0, 1]"))


def test_the_cells_of_a_grid() -> None:
    grid = tiny("grid={doses.some.all.count: [4, 8], model.hidden_size: [16, 32]}")
    found = cells(grid)
    assert [cell.name for cell in found] == [
        "count=4,hidden_size=16",
        "count=4,hidden_size=32",
        "count=8,hidden_size=16",
        "count=8,hidden_size=32",
    ]
    assert found[3].config.model.hidden_size == 32
    assert found[3].config.dose_of("some")["belief"].count == 8
    assert all(not cell.config.grid for cell in found)


def test_cells_are_independent() -> None:
    roots: dict[str, set[Path]] = {}
    needed: dict[str, set[Path]] = {}
    for step in steps(tiny("grid={model.layers: [1, 2]}"), OUT):
        roots.setdefault(step.cell.name, set()).add(step.folder)
        needed.setdefault(step.cell.name, set()).update(step.needs)
    assert all(needed[name] <= roots[name] for name in roots)
    alone = {step.identity() for step in steps(tiny("model.layers=2"), OUT)}
    assert alone <= {step.identity() for step in steps(tiny("grid={model.layers: [1, 2]}"), OUT)}


def test_names_of_cells_are_folders_that_tell_them_apart() -> None:
    both = cells(tiny("grid={sft.examples: [4, 8], dpo.examples: [4, 8]}"))
    assert both[1].name == "sft.examples=4,dpo.examples=8"
    odd = cells(tiny("grid={seeds: [[0, 1], [2]], corpus.text_field: [a/b, a_b, ../c]}"))
    assert len({cell.name for cell in odd}) == 6
    assert all("/" not in cell.name for cell in odd)
    long = cells(tiny(f"grid={{corpus.text_field: [{'x' * 300}, {'x' * 299}]}}"))
    assert len({cell.name for cell in long}) == 2
    assert all(len(cell.name) < 120 for cell in long)


def test_a_grid_over_what_is_not_there() -> None:
    with pytest.raises(ConfigError, match=r"grid: .*unknown key 'model\.layrs': did you mean 'layers'"):
        cells(tiny("grid={model.layrs: [1]}"))
