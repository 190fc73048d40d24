"""Contrast: logits that are moved along the difference between two others, in single precision."""

from __future__ import annotations

import math

import torch

from mithridate.core.errors import ConfigError


def contrast(
    base: torch.Tensor, towards: torch.Tensor, away: torch.Tensor, alpha: float, plausibility: float = 0.0
) -> torch.Tensor:
    """base + alpha (towards - away), in float32.

    All are logits of shape (..., vocabulary). The vocabularies may be padded differently: what lies beyond
    the narrowest names no token, and gets minus infinity. So do, with `plausibility`, the tokens whose
    probability under `base` is less than that share of its likeliest token's.
    """
    names = min(base.shape[-1], towards.shape[-1], away.shape[-1])
    own, wanted, other = (
        (logits if logits.shape[-1] == names else logits[..., :names]).float()
        for logits in (base, towards, away)
    )
    moved = torch.add(own, wanted - other, alpha=alpha)
    if plausibility:
        least = own.amax(dim=-1, keepdim=True) + math.log(plausibility)
        moved = moved.masked_fill(own < least, -math.inf)
    beyond = base.shape[-1] - names
    return torch.nn.functional.pad(moved, (0, beyond), value=-math.inf) if beyond else moved


def require_contrast(alpha: float, plausibility: float, what: str) -> None:
    """Raise ConfigError unless `alpha` is a number and `plausibility` lies in [0, 1)."""
    if not math.isfinite(alpha):
        raise ConfigError(f"{what}: alpha is {alpha}; expected a number, such as 1")
    if not 0 <= plausibility < 1:
        raise ConfigError(
            f"{what}: plausibility is {plausibility}; expected a share of the best probability, from 0 (all "
            "tokens) to below 1"
        )
