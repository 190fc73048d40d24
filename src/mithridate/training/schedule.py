"""The learning rate of a step: linear warm-up, then a cosine down to a share of the peak."""

from __future__ import annotations

import math


def learning_rate_at(step: int, *, total: int, warmup: int, peak: float, final_share: float) -> float:
    """The rate of `step`, counted from 0, of `total` steps.

    It climbs in `warmup` equal strides to `peak` and ends, at the last step, at `final_share` of it.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    span = max(1, total - 1 - warmup)
    turn = min(1.0, (step - warmup) / span)
    return peak * (final_share + (1 - final_share) * 0.5 * (1 + math.cos(math.pi * turn)))
