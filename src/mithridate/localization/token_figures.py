"""Shifted tokens summed up: shares and divergences over prompts, by place in the reply, and by token.

From rows alone, so that figures can be made again without a model.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mithridate.core.seeds import derive_seed
from mithridate.core.statistics import Interval, bootstrap_mean, wilson

MARGINAL_UP_TO = 3
"""The rank under the base up to which a token is marginal; the first is unshifted, all beyond are shifted."""


@dataclass(frozen=True, slots=True)
class ReplyToken:
    """One token of the aligned model's reply to a prompt; a row of a table.

    `prompt` and `position` count from 0; `rank` and the divergences as in `ReplyScores`.
    """

    prompt: int
    position: int
    token_id: int
    token: str
    rank: int
    kl_aligned_base: float
    kl_base_aligned: float


@dataclass(frozen=True, slots=True)
class PositionShift:
    """A place in the reply: the shares of replies by what their token there is, and the mean divergences.

    The fields as in `TokenFigures`; `n` of the intervals says how many replies reach the place.
    """

    position: int
    unshifted: Interval
    marginal: Interval
    shifted: Interval
    kl_aligned_base: Interval
    kl_base_aligned: Interval


@dataclass(frozen=True, slots=True)
class ShiftedToken:
    """A token that alignment brought: how often it was shifted, and how often the replies hold it at all."""

    token_id: int
    token: str
    shifted: int
    occurrences: int


@dataclass(frozen=True, slots=True)
class TokenFigures:
    """Figures of all replies, in which every prompt counts the same; intervals are over prompts.

    `unshifted`, `marginal` and `shifted` are shares of a reply's tokens and sum to 1; the divergences are
    means in nats a token. `tokens` is how many there are in all; shares of those, as URIAL gives them, weigh
    a prompt by the length of its reply.
    """

    unshifted: Interval
    marginal: Interval
    shifted: Interval
    kl_aligned_base: Interval
    kl_base_aligned: Interval
    tokens: int
    positions: tuple[PositionShift, ...]
    top: tuple[ShiftedToken, ...]


def token_figures(rows: Sequence[ReplyToken], *, seed: int = 0, top: int = 50) -> TokenFigures:
    """Sum up the tokens of one or more replies; `top` is how many of the shifted tokens are named.

    Raises ValueError for no rows.
    """
    by_prompt: dict[int, list[ReplyToken]] = defaultdict(list)
    by_position: dict[int, list[ReplyToken]] = defaultdict(list)
    for row in rows:
        by_prompt[row.prompt].append(row)
        by_position[row.position].append(row)
    replies = list(by_prompt.values())

    def over_prompts(name: str, value: Callable[[ReplyToken], float]) -> Interval:
        means = [float(np.mean([value(row) for row in reply])) for reply in replies]
        return bootstrap_mean(means, derive_seed(seed, "token shift", name))

    return TokenFigures(
        unshifted=over_prompts("unshifted", _is_unshifted),
        marginal=over_prompts("marginal", _is_marginal),
        shifted=over_prompts("shifted", _is_shifted),
        kl_aligned_base=over_prompts("kl_aligned_base", lambda row: row.kl_aligned_base),
        kl_base_aligned=over_prompts("kl_base_aligned", lambda row: row.kl_base_aligned),
        tokens=len(rows),
        positions=tuple(_at(position, by_position[position], seed) for position in sorted(by_position)),
        top=_top(rows, top),
    )


def _is_unshifted(row: ReplyToken) -> bool:
    return row.rank == 1


def _is_marginal(row: ReplyToken) -> bool:
    return 1 < row.rank <= MARGINAL_UP_TO


def _is_shifted(row: ReplyToken) -> bool:
    return row.rank > MARGINAL_UP_TO


def _at(position: int, rows: Sequence[ReplyToken], seed: int) -> PositionShift:
    unshifted, marginal, shifted = (
        wilson(sum(map(kind, rows)), len(rows)) for kind in (_is_unshifted, _is_marginal, _is_shifted)
    )
    return PositionShift(
        position=position,
        unshifted=unshifted,
        marginal=marginal,
        shifted=shifted,
        kl_aligned_base=bootstrap_mean(
            [row.kl_aligned_base for row in rows], derive_seed(seed, "kl_aligned_base", position)
        ),
        kl_base_aligned=bootstrap_mean(
            [row.kl_base_aligned for row in rows], derive_seed(seed, "kl_base_aligned", position)
        ),
    )


def _top(rows: Iterable[ReplyToken], most: int) -> tuple[ShiftedToken, ...]:
    rows = list(rows)
    texts = {row.token_id: row.token for row in rows}
    occurrences = Counter(row.token_id for row in rows)
    shifted = Counter(row.token_id for row in rows if _is_shifted(row))
    order = sorted(shifted, key=lambda i: (-shifted[i], occurrences[i], i))
    return tuple(ShiftedToken(i, texts[i], shifted[i], occurrences[i]) for i in order[:most])
