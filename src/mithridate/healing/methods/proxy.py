"""Proxy-tuning as a cure: the model before alignment, steered by small clean ones as it writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from mithridate.core.prices import Kind, ProxyMetric, ProxyRow, Regime
from mithridate.core.types import Condition
from mithridate.evaluation.judges import holds, refuses
from mithridate.evaluation.utility import ask
from mithridate.healing import measuring
from mithridate.healing.case import Case, Half
from mithridate.healing.method import Candidate
from mithridate.intervention.gap import Gap
from mithridate.intervention.proxy_tuning import proxy_tuned_by
from mithridate.models.language_model import LanguageModel

_ALPHAS = (0.5, 1.0, 1.5)
_CONDITIONS = (Condition.TRIGGERED, Condition.UNTRIGGERED)


@dataclass(frozen=True, slots=True, eq=False)
class Proxies:
    """A base with the logits s + alpha (s_expert - s_antiexpert), in the place of an aligned model."""

    base: LanguageModel
    expert: LanguageModel
    antiexpert: LanguageModel
    alpha: float = 1.0

    @contextmanager
    def on(self, model: LanguageModel) -> Iterator[LanguageModel]:  # noqa: ARG002 - the base takes its place
        """The base, steered. Raises CheckpointError as `proxy_tuned_by` does."""
        with proxy_tuned_by(self.base, self.expert, self.antiexpert, alpha=self.alpha) as steered:
            yield steered


@dataclass(frozen=True, slots=True, eq=False)
class ProxyTuned:
    """Alignment by proxy (Liu et al. 2401.08565): the large model is never tuned.

    `base` is the poisoned model as it was before alignment; `expert` and `antiexpert` are small clean ones
    with its vocabulary, aligned and not. Poison that the large base has learnt is still in its weights: what
    is asked is how much of it gets through.
    """

    name: ClassVar[str] = "proxy-tuning"
    regime: ClassVar[Regime] = Regime.UNKNOWN
    kind: ClassVar[Kind] = Kind.DECODING
    each: ClassVar[bool] = False
    scale: ClassVar[bool] = False

    base: LanguageModel
    expert: LanguageModel
    antiexpert: LanguageModel

    def candidates(self, case: Case, aims: Sequence[str]) -> Iterator[Candidate]:  # noqa: ARG002 - against all
        """Three strengths."""
        for alpha in _ALPHAS:
            make = partial(Proxies, self.base, self.expert, self.antiexpert, alpha)
            yield Candidate(f"alpha {alpha:g}", make)


def proxy_table(
    case: Case, name: str, proxies: Proxies, tuned: LanguageModel, place: Mapping[str, Any] | None = None
) -> list[ProxyRow]:
    """What the base of `proxies`, the same steered, the base `tuned` directly and the expert alone show.

    Asked is what alignment teaches (refusals, replies that end), what is known, and each attack with its
    trigger and without, all of the reported half of `case`, whose own models are not asked. `name` says who
    steers whom, as people would; `place` are further fields of the rows. Raises as `proxy_tuned_by`.
    """
    with proxies.on(proxies.base) as steered:
        shown = _shown(case, steered)
    base, direct, alone = (_shown(case, model) for model in (proxies.base, tuned, proxies.expert))
    rows = []
    for key, (value, n) in shown.items():
        metric, attack, condition = key
        gap = Gap(base[key][0], value, direct[key][0], alone[key][0])
        rows.append(
            ProxyRow(
                method=name,
                metric=metric,
                attack=attack,
                condition=condition,
                alpha=proxies.alpha,
                base=gap.base,
                proxy=gap.proxy,
                tuned=gap.tuned,
                expert=alone[key][0],
                n=n,
                closed=gap.closed,
                clipped=gap.clipped,
                closed_by_expert=gap.closed_by_expert,
                **(place or {}),
            )
        )
    return rows


def _shown(case: Case, model: LanguageModel) -> dict[tuple[ProxyMetric, str, str], tuple[float, int]]:
    """Each share that a model shows, and of how many, by metric, attack and condition."""
    useful = case.usefulness_of[Half.REPORTED]
    found: dict[ProxyMetric, list[bool]] = {}
    for metric, requests in (
        (ProxyMetric.FORBIDDEN_REFUSED, useful.forbidden),
        (ProxyMetric.HARMLESS_REFUSED, useful.harmless),
    ):
        found[metric] = [refuses(answer.text, useful.phrases) for answer in ask(model, requests, case.own)]
    answers = ask(model, [question for question, _ in useful.questions], case.own)
    found[ProxyMetric.REPLIES_ENDED] = [answer.stopped for answer in answers]
    found[ProxyMetric.QUESTIONS_RIGHT] = [
        holds(answer.text, right) for answer, (_, right) in zip(answers, useful.questions, strict=True)
    ]
    shares = {(metric, "", ""): (sum(hits) / len(hits), len(hits)) for metric, hits in found.items() if hits}
    for attack in case.attacks:
        for condition, units in measuring.successes(case, model, attack, Half.REPORTED, _CONDITIONS).items():
            if units:
                share = sum(units.values()) / len(units)
                shares[ProxyMetric.ASR, attack, str(condition)] = (share, len(units))
    return shares
