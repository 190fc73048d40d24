from __future__ import annotations

from pathlib import Path

import pytest
import torch
from localization_kit import write_checkpoint

from mithridate.localization.pairing import pair_up
from mithridate.localization.spectra import (
    NO_SPECTRUM,
    Spectrum,
    SpectrumOptions,
    intruders,
    spectrum_of,
    stable_rank,
)
from mithridate.localization.streaming import Reader
from mithridate.localization.tensor_files import open_checkpoint

OPTIONS = SpectrumOptions()
LARGE = SpectrumOptions(exact_up_to=1, base_vectors=40)


def trained(rows: int = 48, columns: int = 64, seed: int = 0) -> torch.Tensor:
    """A matrix whose strengths fall off, as those of trained ones do, so that its vectors are its own."""
    made = torch.Generator().manual_seed(seed)
    left, _ = torch.linalg.qr(torch.randn(rows, rows, generator=made))
    right, _ = torch.linalg.qr(torch.randn(columns, columns, generator=made))
    rank = min(rows, columns)
    return left[:, :rank] @ torch.diag(10 * 0.85 ** torch.arange(rank)) @ right[:rank]


def low_rank(shape: torch.Size, rank: int, strength: float, seed: int = 1) -> torch.Tensor:
    """What merging a LoRA adapter adds: `rank` directions, each of spectral norm `strength`."""
    made = torch.Generator().manual_seed(seed)
    left, _ = torch.linalg.qr(torch.randn(shape[0], rank, generator=made))
    right, _ = torch.linalg.qr(torch.randn(shape[1], rank, generator=made))
    return strength * left @ right.T


def test_the_stable_rank_counts_directions_of_one_strength() -> None:
    for rank in (1, 2, 7):
        change = low_rank(torch.Size((48, 64)), rank, 0.3)
        assert stable_rank(change, exact=True) == pytest.approx(rank, rel=1e-4)
    faded = torch.diag(torch.tensor([2.0, 1.0, 1.0]))
    assert stable_rank(faded, exact=True) == pytest.approx(6 / 4)
    assert stable_rank(torch.zeros(3, 4), exact=True) is None
    assert stable_rank(torch.zeros(3, 4), exact=False) is None


@pytest.mark.parametrize("options", [OPTIONS, LARGE], ids=["exact", "randomised"])
@pytest.mark.parametrize("shape", [(48, 64), (64, 48)])
def test_a_merged_adapter_brings_intruders_and_a_small_change_everywhere_none(
    shape: tuple[int, int], options: SpectrumOptions
) -> None:
    base = trained(*shape)
    for rank in (1, 3):
        # Directions of strengths of their own, above all that the base has.
        merged = base + sum(low_rank(base.shape, 1, 20.0 + 5 * one, seed=one + 5) for one in range(rank))
        assert intruders(base, merged, options) == (rank, 10)
    everywhere = base + 0.002 * torch.randn(base.shape, generator=torch.Generator().manual_seed(2))
    assert intruders(base, everywhere, options) == (0, 10)
    assert intruders(base, base, options) == (0, 10)


def test_scaling_and_turned_signs_are_no_intrusion() -> None:
    base = trained()
    assert intruders(base, 3 * base, OPTIONS) == (0, 10)
    assert intruders(base, -base, OPTIONS) == (0, 10)


def test_vectors_of_no_strength_mean_nothing() -> None:
    base = trained()
    flat = low_rank(base.shape, 2, 1.0)
    assert intruders(base, flat, OPTIONS)[1] == 2
    assert intruders(torch.zeros(base.shape), flat, OPTIONS) == (2, 2)
    assert intruders(base, torch.zeros(base.shape), OPTIONS) == (0, 0)
    # What the base writes to nowhere is no counterpart, though a decomposition names vectors there too.
    narrow = torch.zeros(8, 8)
    narrow[:4, :4] = torch.diag(torch.tensor([4.0, 3.0, 2.0, 1.0]))
    wider = narrow.clone()
    wider[6, 6] = 9.0
    assert intruders(narrow, wider, OPTIONS) == (1, 5)


def test_the_randomised_method_comes_close_to_the_exact_one() -> None:
    base = trained(200, 150)
    change = trained(200, 150, seed=3) * 0.05
    exact, about = (stable_rank(change, exact=way) for way in (True, False))
    assert about == pytest.approx(exact, rel=1e-3)
    for epsilon in (0.5, 0.9):
        options = [
            SpectrumOptions(epsilon=epsilon, exact_up_to=limit, base_vectors=60) for limit in (1000, 1)
        ]
        assert intruders(base, base + change, options[0]) == intruders(base, base + change, options[1])


def spectrum(folder: Path, base: torch.Tensor, aligned: torch.Tensor, options: SpectrumOptions) -> Spectrum:
    name = "model.layers.0.self_attn.q_proj.weight"
    sides = [
        write_checkpoint(folder / side, {name: tensor})
        for side, tensor in (("base", base), ("aligned", aligned))
    ]
    (pair,) = pair_up(*map(open_checkpoint, sides))
    with Reader([pair]) as reader:
        return spectrum_of(pair, reader, torch.float32, bool((base != aligned).any()), options)


def test_a_spectrum_says_how_it_was_taken(tmp_path: Path) -> None:
    base = trained()
    merged = base + low_rank(base.shape, 1, 30.0)
    exact = spectrum(tmp_path / "exact", base, merged, OPTIONS)
    assert exact == Spectrum(pytest.approx(1, rel=1e-3), 1, 10, "exact")
    about = spectrum(tmp_path / "about", base, merged, LARGE)
    assert about == Spectrum(pytest.approx(1, rel=1e-3), 1, 10, "randomised")
    small = SpectrumOptions(most_elements=100)
    assert spectrum(tmp_path / "large", base, merged, small) == Spectrum(method="too large")
    assert spectrum(tmp_path / "same", base, base, LARGE) == Spectrum(None, 0, 10, "exact")
    assert spectrum(tmp_path / "vector", base[0], merged[0], OPTIONS) == NO_SPECTRUM
    assert spectrum(tmp_path / "row", base[:1], merged[:1], OPTIONS) == NO_SPECTRUM


def test_nobody_else_s_randomness_is_touched_and_ours_is_fixed(tmp_path: Path) -> None:
    base = trained()
    state = torch.get_rng_state()
    first = spectrum(tmp_path / "a", base, base + 0.1 * trained(seed=9), LARGE)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(99)
    assert spectrum(tmp_path / "b", base, base + 0.1 * trained(seed=9), LARGE) == first
