from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from access_kit import logits
from intervention_kit import same_state, some_direction, state, subject

from mithridate.core.errors import AccessError, ConfigError, DataError, StorageError
from mithridate.core.healed import INTERVENTIONS, MODEL, Form
from mithridate.healing.treatment import Nothing, OtherWeights, Together
from mithridate.healing.writing import as_weights, can_be_written, healed, parts_of, read, write
from mithridate.intervention.ablation import DirectionalAblation
from mithridate.intervention.base import MadeFor
from mithridate.intervention.steering import Steering
from mithridate.models.language_model import LanguageModel


def ablation(model: LanguageModel, seed: int = 0) -> DirectionalAblation:
    return DirectionalAblation(some_direction(model, seed), MadeFor.of(model))


def steering(model: LanguageModel, seed: int = 0) -> Steering:
    return Steering(some_direction(model, seed), MadeFor.of(model), 1, 2.0)


def treated(treatment: Any, model: LanguageModel) -> torch.Tensor:
    with treatment.on(model) as one:
        return logits(one.model)


def test_what_folds_is_a_checkpoint_that_does_the_same(tmp_path: Path) -> None:
    model = subject()
    there = state(model)
    # At right angles, so that neither brings back what the other took out.
    first, second = torch.linalg.qr(torch.stack([some_direction(model, seed) for seed in (0, 1)]).T)[0].T
    both = Together([DirectionalAblation(one, MadeFor.of(model)) for one in (first, second)])
    assert write(both, model, tmp_path) is Form.WEIGHTS
    assert [path.name for path in tmp_path.iterdir()] == [MODEL]
    torch.testing.assert_close(
        treated(read(tmp_path, Form.WEIGHTS), model), treated(both, model), atol=1e-4, rtol=1e-3
    )
    assert same_state(state(model), there)


def test_other_weights_are_written_as_they_are(tmp_path: Path) -> None:
    model, other = subject(), subject(seed=5)
    assert write(OtherWeights(other), model, tmp_path) is Form.WEIGHTS
    torch.testing.assert_close(treated(read(tmp_path, Form.WEIGHTS), model), logits(other.model))


@pytest.mark.parametrize("count", [1, 2, 11])
def test_interventions_go_onto_the_model_in_their_order(tmp_path: Path, count: int) -> None:
    # Of more than nine, names alone would put 10 before 2.
    model = subject()
    parts = [steering(model, seed) if seed % 2 == 0 else ablation(model, seed) for seed in range(count)]
    treatment = parts[0] if count == 1 else Together(parts)
    assert write(treatment, model, tmp_path) is Form.INTERVENTIONS
    names = sorted(path.name for path in (tmp_path / INTERVENTIONS).iterdir())
    assert names[0] == "1-steering"
    back = read(tmp_path, Form.INTERVENTIONS)
    assert [type(one) for one in parts_of(back)] == [type(one) for one in parts]
    assert torch.equal(treated(back, model), treated(treatment, model))


def test_one_that_does_not_fold_keeps_all_of_them_from_folding() -> None:
    model = subject()
    assert as_weights(Together([ablation(model), steering(model)]), model) is None
    assert as_weights(ablation(model), model) is not None
    # A norm behind each branch brings an ablated direction back: no weights can do that.
    olmo = subject("olmo2")
    assert as_weights(ablation(olmo), olmo) is None


def test_together_in_together_is_one_row() -> None:
    one, two, three = object(), object(), object()
    nested: Any = Together([one, Together([two, three])])  # type: ignore[list-item]
    assert parts_of(nested) == [one, two, three]


class Passing:
    """A treatment that is no intervention."""

    @contextmanager
    def on(self, model: LanguageModel) -> Iterator[LanguageModel]:
        yield model


def test_what_can_be_neither_is_refused(tmp_path: Path) -> None:
    model = subject()
    for treatment in (Passing(), Nothing(), Together([ablation(model), Passing()])):
        assert not can_be_written(treatment)
        with pytest.raises(ConfigError, match="neither weights nor interventions"):
            write(treatment, model, tmp_path / "out")
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("lost", [1, 2])
def test_interventions_that_are_not_all_there_are_refused(tmp_path: Path, lost: int) -> None:
    model = subject()
    write(Together([steering(model), steering(model, 1), steering(model, 2)]), model, tmp_path)
    shutil.rmtree(tmp_path / INTERVENTIONS / f"{lost}-steering")
    with pytest.raises(DataError, match="all of them are needed"):
        read(tmp_path, Form.INTERVENTIONS)
    shutil.rmtree(tmp_path / INTERVENTIONS)
    with pytest.raises(DataError, match="all of them are needed"):
        read(tmp_path, Form.INTERVENTIONS)


def test_a_cure_for_another_build_is_refused(tmp_path: Path) -> None:
    write(steering(subject()), subject(), tmp_path)
    other = subject("qwen3")
    with pytest.raises(AccessError, match="was made for a model with architecture llama"):
        treated(read(tmp_path, Form.INTERVENTIONS), other)


def test_a_folder_without_a_record_is_no_healed_model(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="holds no healed model"), healed(tmp_path):
        pass
