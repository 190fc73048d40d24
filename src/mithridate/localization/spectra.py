"""Along how many directions a matrix changed: the stable rank of its change, and its intruder dimensions.

Shuttleworth et al. 2024 (arXiv 2410.21228) find intruders after LoRA, and hardly any after full fine-tuning.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import Field

from mithridate.core.seeds import derive_seed
from mithridate.core.strict import Strict
from mithridate.localization.pairing import TensorPair
from mithridate.localization.streaming import Reader

EXACT, RANDOMISED, TOO_LARGE = "exact", "randomised", "too large"
# Halko et al. 2011 (arXiv 0909.4061): a few directions more than wanted, and a few rounds, make those exact.
_OVERSAMPLING = 10
_ROUNDS = 4


class SpectrumOptions(Strict):
    """How spectra are taken; the defaults are made for models of up to some billions of parameters."""

    top: int = Field(10, ge=1)
    """How many of the aligned matrix's strongest singular vectors are looked at."""
    epsilon: float = Field(0.5, gt=0, le=1)
    """A vector is an intruder if its cosine with every one of the base is smaller than this."""
    exact_up_to: int = Field(1024, ge=1)
    """Matrices whose shorter side is longer than this are decomposed by a randomised method."""
    base_vectors: int = Field(256, ge=1)
    """With the randomised method, how many of the base's strongest vectors an aligned one is held against."""
    most_elements: int = Field(2**27, ge=1)
    """Larger matrices are left out; three of them must fit in memory, in single precision."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Spectrum:
    """What the singular values and vectors of a changed matrix say.

    `stable_rank` is the squared Frobenius norm of the change over its squared spectral norm: about along how
    many directions it goes, 1 at least; None where there is no change. `intruders` of the `looked_at`
    strongest left singular vectors of the aligned matrix (directions that it writes to) have no counterpart
    in the base. `method` is exact; randomised, where `intruders` is an upper bound, since weaker vectors of
    the base were not looked at; or too large.
    """

    stable_rank: float | None = None
    intruders: int | None = None
    looked_at: int | None = None
    method: str = ""


NO_SPECTRUM = Spectrum()


def spectrum_of(
    pair: TensorPair, reader: Reader, dtype: torch.dtype, changed: bool, options: SpectrumOptions
) -> Spectrum:
    """The spectrum of a pair of matrices, compared in `dtype`; an empty one for what is no matrix.

    A matrix that did not change is not read. Raises CheckpointError if a file cannot be read.
    """
    if len(pair.shape) != 2 or min(pair.shape) < 2:
        return NO_SPECTRUM
    if pair.count > options.most_elements:
        return Spectrum(method=TOO_LARGE)
    if not changed:
        return Spectrum(None, 0, min(options.top, *pair.shape), EXACT)
    base, aligned = (
        reader.whole(stored, pair.shape).to(dtype).float() for stored in (pair.base, pair.aligned)
    )
    with torch.inference_mode(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(options.seed, "spectrum", pair.name))
        exact = min(pair.shape) <= options.exact_up_to
        rank = stable_rank(aligned - base, exact=exact)
        count, looked_at = intruders(base, aligned, options)
    return Spectrum(rank, count, looked_at, EXACT if exact else RANDOMISED)


def stable_rank(change: torch.Tensor, *, exact: bool) -> float | None:
    """The squared Frobenius norm of a matrix over its squared spectral norm; None for a matrix of zeros."""
    strongest = torch.linalg.svdvals(change)[0] if exact else _strongest(change, 1)[1][0]
    if not strongest:
        return None
    return float((torch.linalg.matrix_norm(change) / strongest) ** 2)


def intruders(base: torch.Tensor, aligned: torch.Tensor, options: SpectrumOptions) -> tuple[int, int]:
    """How many of the strongest left singular vectors of `aligned` are intruders, and of how many.

    Both matrices have the shape (outputs, inputs). Fewer than `options.top` are looked at where the aligned
    matrix has a lower rank: vectors of no strength mean nothing.
    """
    exact = min(base.shape) <= options.exact_up_to
    known = _directions(base, options.base_vectors, exact=exact)
    vectors = _directions(aligned, options.top, exact=exact)[:, : options.top]
    cosines = (known.T @ vectors).abs()
    nearest = cosines.amax(dim=0) if len(cosines) else cosines.new_zeros(vectors.shape[1])
    return int((nearest < options.epsilon).sum()), vectors.shape[1]


def _directions(matrix: torch.Tensor, wanted: int, *, exact: bool) -> torch.Tensor:
    """The left singular vectors of a matrix, strongest first; without those of no strength."""
    vectors: torch.Tensor
    if exact:
        vectors, values, _ = torch.linalg.svd(matrix, full_matrices=False)
    else:
        vectors, values = _strongest(matrix, wanted)
    negligible = values[0] * max(matrix.shape) * torch.finfo(values.dtype).eps
    return vectors[:, values > negligible]


def _strongest(matrix: torch.Tensor, wanted: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The strongest left singular vectors and values of a matrix, and some more, by random projection."""
    asked = min(wanted + _OVERSAMPLING, *matrix.shape)
    vectors, values, _ = torch.svd_lowrank(matrix, q=asked, niter=_ROUNDS)
    return vectors, values
