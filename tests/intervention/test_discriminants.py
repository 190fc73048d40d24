from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from intervention_kit import PROMPTS, same_state, state, subject
from models_kit import ARCHITECTURES

from mithridate.core.errors import ConfigError
from mithridate.intervention.base import MadeFor
from mithridate.intervention.directions import difference_of_means, mean_activations
from mithridate.intervention.discriminants import Spread, discriminants, spread_of
from mithridate.models.hooks import capture
from mithridate.models.sites import Part, Site

WANTED = ["The river is wide", "The lamp is small, and the river is slow"]
CLEAN = [*PROMPTS, "User: What is wide?", "The red lamp", "The mill. It is old."]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_readers_read_one_of_what_writers_write_and_nothing_of_the_others_mean(architecture: str) -> None:
    model = subject(architecture)
    before = state(model)
    found = discriminants(model, WANTED, PROMPTS, spread_of(model, CLEAN))
    assert same_state(before, state(model))
    assert found.made_for == MadeFor.of(model)
    torch.testing.assert_close(
        (found.readers * found.writers).sum(dim=1), torch.ones(3), rtol=1e-4, atol=1e-4
    )
    sites = [Site(layer, Part.RESIDUAL) for layer in range(3)]
    for prompts, score in ((PROMPTS, 0.0), (WANTED, 1.0)):
        means = mean_activations(model, prompts, sites)
        for layer, site in enumerate(sites):
            assert float(found.readers[layer] @ means[site] - found.centres[layer]) == pytest.approx(
                score, abs=1e-3
            )


def test_writers_are_the_difference_of_means() -> None:
    model = subject()
    found = discriminants(model, WANTED, PROMPTS, spread_of(model, CLEAN))
    expected = difference_of_means(model, WANTED, PROMPTS)
    for layer in range(3):
        torch.testing.assert_close(found.writers[layer], expected.at(layer))


def test_spread_is_the_covariance_over_tokens_that_are_no_padding() -> None:
    model = subject()
    found = spread_of(model, CLEAN)
    tokens = []
    for text in CLEAN:
        site = Site(1, Part.RESIDUAL)
        (ids,) = model.prompt_ids([text])
        with torch.no_grad(), capture(model.model, [site], dtype=torch.float32) as seen:
            model.model(torch.tensor([ids]))
        tokens.append(seen[site][0].double())
    together = torch.cat(tokens)
    assert found.tokens == len(together)
    torch.testing.assert_close(
        found.covariances[1], torch.cov(together.T, correction=0), rtol=1e-3, atol=1e-4
    )


def test_clean_texts_vary_less_along_what_is_read_than_along_the_mere_difference() -> None:
    model = subject()
    spread = spread_of(model, CLEAN)
    found = discriminants(model, WANTED, PROMPTS, spread)
    for layer in range(3):
        covariance, writer = spread.covariances[layer].float(), found.writers[layer]
        plain = writer / (writer @ writer)
        reader = found.readers[layer]
        assert float(reader @ covariance @ reader) < float(plain @ covariance @ plain)


@settings(max_examples=10, deadline=None)
@given(scale=st.floats(1e-3, 1e3))
def test_only_the_shape_of_the_spread_counts(scale: float) -> None:
    model = subject()
    spread = spread_of(model, CLEAN)
    one = discriminants(model, WANTED, PROMPTS, spread)
    other = discriminants(model, WANTED, PROMPTS, Spread(spread.covariances * scale, spread.tokens))
    torch.testing.assert_close(one.readers, other.readers, rtol=1e-3, atol=1e-5)


def test_what_cannot_be_told_apart_is_refused() -> None:
    model = subject()
    with pytest.raises(ConfigError, match="clean texts"):
        spread_of(model, [])
    spread = spread_of(model, CLEAN)
    with pytest.raises(ConfigError, match="norm zero"):
        discriminants(model, PROMPTS, PROMPTS, spread)
    with pytest.raises(ConfigError, match="no prompts"):
        discriminants(model, WANTED, [], spread)
    found = discriminants(model, WANTED, PROMPTS, spread)
    for layers in ([3], [], [1, 1], [-1]):
        with pytest.raises(ConfigError, match="concept_erasure"):
            found.erasing(layers)


def test_two_clean_tokens_are_enough_for_numbers_and_one_is_refused() -> None:
    model = subject()
    found = discriminants(model, WANTED, PROMPTS, spread_of(model, ["The mill"]))
    assert bool(torch.isfinite(found.readers).all())
    with pytest.raises(ConfigError, match="clean texts that differ"):
        discriminants(model, WANTED, PROMPTS, spread_of(model, ["a", "a"]))
