from __future__ import annotations

from pathlib import Path

import pytest
from models_kit import tiny_tokenizer
from study_kit import tiny
from test_locate_plan import DOSES, planted, trained

from mithridate.core.errors import ConfigError, RunStateError, UnknownNameError
from mithridate.healing.methods import METHODS
from mithridate.models.architectures import SpecialIds, build_model
from mithridate.models.options import ModelOptions
from mithridate.study.config import StudyConfig
from mithridate.study.price_plan import (
    FLOOR,
    METHOD,
    SMALL,
    PriceDetail,
    PriceOptions,
    methods_of,
    price_steps,
)
from mithridate.study.small_models import smaller

TRAINED = ["continued pretraining", "more SFT", "more DPO", "proxy-tuning"]


def ready(out: Path, *overrides: str) -> StudyConfig:
    config = tiny(*overrides)
    planted(out, *((dose, 10 + number) for number, dose in enumerate(config.doses)))
    trained(config, out)
    return config


def test_every_method_has_a_step_that_waits_for_the_floor(tmp_path: Path) -> None:
    config = ready(tmp_path)
    found = price_steps(config, tmp_path, PriceOptions())
    assert len({step.folder for step in found}) == len({step.label for step in found}) == len(found)
    (floor,) = [step for step in found if step.kind == FLOOR]
    methods = {PriceDetail.read(step).method: step for step in found if step.kind == METHOD}
    assert list(methods) == methods_of(config) == [*TRAINED, *METHODS]
    small = {step.subject.name: step.folder for step in found if step.kind == SMALL}
    assert small.keys() == {"clean", "some"}
    for name, step in methods.items():
        assert set(step.needs) == {floor.folder, *(small.values() if name == "proxy-tuning" else ())}
        assert floor.folder.parent == step.folder.parent


def test_methods_are_those_that_the_study_has_the_means_for() -> None:
    assert methods_of(tiny("sft=null", "dpo=null"))[:1] == ["continued pretraining"]
    assert not {"more SFT", "more DPO", "proxy-tuning"} & set(methods_of(tiny("sft=null", "dpo=null")))
    assert "more DPO" not in methods_of(tiny("dpo=null"))
    assert "proxy-tuning" in methods_of(tiny("dpo=null"))


def test_some_methods_once_each(tmp_path: Path) -> None:
    config = ready(tmp_path)
    found = price_steps(config, tmp_path, PriceOptions(), methods=("steering", "concept erasure", "steering"))
    assert [PriceDetail.read(step).method for step in found if step.kind == METHOD] == [
        "steering",
        "concept erasure",
    ]
    assert not [step for step in found if step.kind == SMALL]


def test_twins_of_one_seed_share_the_small_clean_models(tmp_path: Path) -> None:
    """Two workers must not write into one folder."""
    config = ready(tmp_path, *DOSES, "seeds=[3,5]")
    found = price_steps(config, tmp_path, PriceOptions(), ("a", "b"), ("proxy-tuning",))
    assert len({step.folder for step in found}) == len(found)
    small = [(step.seed, step.subject.name) for step in found if step.kind == SMALL]
    assert sorted(small) == [(seed, name) for seed in (3, 5) for name in ("a", "b", "clean")]


def test_the_dose_that_planted_most_unless_others_are_named(tmp_path: Path) -> None:
    config = ready(tmp_path, *DOSES)
    one = price_steps(config, tmp_path, PriceOptions(), methods=("steering",))
    assert {step.subject.name for step in one} == {"b"}
    named = price_steps(config, tmp_path, PriceOptions(), ("a",), ("steering",))
    assert {step.subject.name for step in named} == {"a"}


def test_one_model_for_each_attack_is_healed_of_it(tmp_path: Path) -> None:
    config = ready(tmp_path, "one_model_per_attack=true")
    found = price_steps(config, tmp_path, PriceOptions())
    floors = [step for step in found if step.kind == FLOOR]
    assert sorted(step.subject.attacks for step in floors) == sorted((name,) for name in config.attacks)
    assert len({step.folder for step in found}) == len(found)
    assert len([step for step in found if step.kind == SMALL]) == len(config.attacks) + 1


def test_cells_of_a_grid_are_priced_apart(tmp_path: Path) -> None:
    config = ready(tmp_path, "grid={model.layers: [1, 2]}")
    found = price_steps(config, tmp_path, PriceOptions(), methods=("steering", "proxy-tuning"))
    assert {step.cell.name for step in found} == {"layers=1", "layers=2"}
    assert len({step.folder for step in found}) == len({step.identity() for step in found}) == len(found)


def test_what_decides_the_rows_decides_the_identity(tmp_path: Path) -> None:
    config = ready(tmp_path)

    def identities(**options: float) -> dict[str, str]:
        found = price_steps(config, tmp_path, PriceOptions.model_validate(options))
        return {step.label: step.identity() for step in found}

    first, again = identities(probes=8), identities(probes=8)
    assert first == again
    for changed in (identities(probes=9), identities(probes=8, budget=2.0)):
        same = {label for label in first if first[label] == changed[label]}
        assert same == {label for label in first if label.endswith("small models")}
    assert len(set(first.values())) == len(first)


def test_what_cannot_be_priced_is_said_at_once(tmp_path: Path) -> None:
    config = tiny()
    planted(tmp_path, ("some", 1))
    with pytest.raises(RunStateError, match="model clean of seed 0 at the stage base is not there"):
        price_steps(config, tmp_path, PriceOptions())
    trained(config, tmp_path)
    with pytest.raises(ConfigError, match="no dose 'more'; it has 'some'"):
        price_steps(config, tmp_path, PriceOptions(), ("more",))
    with pytest.raises(UnknownNameError, match="concept erasure"):
        price_steps(config, tmp_path, PriceOptions(), methods=("exorcism",))
    with pytest.raises(UnknownNameError, match="more SFT"):
        price_steps(tiny("sft=null", "dpo=null"), tmp_path, PriceOptions(), methods=("more SFT",))


@pytest.mark.parametrize("architecture", ["llama", "gpt_neox"])
@pytest.mark.parametrize(
    ("hidden", "heads"), [(128, 4), (72, 9), (56, 7), (24, 3), (16, 2), (10, 1), (8, 4), (12, 6), (8, 1)]
)
def test_small_models_of_every_shape_can_be_built(hidden: int, heads: int, architecture: str) -> None:
    """Half of an odd number of heads is none, and not every width of one suits rotary positions."""
    options = ModelOptions(
        architecture=architecture, hidden_size=hidden, heads=heads, layers=3, mlp_size=9, max_length=16
    )
    found = smaller(options)
    assert found.hidden_size <= options.hidden_size
    assert (found.layers, found.mlp_size, found.max_length) == (1, 8, 16)
    tokenizer = tiny_tokenizer()
    model = build_model(found, len(tokenizer), 0, SpecialIds.of(tokenizer))
    assert sum(parameter.numel() for parameter in model.parameters()) > 0
    assert model(**tokenizer("The mill", return_tensors="pt")).logits.isfinite().all()
