"""Proxy-tuning as a cure: the model before alignment, steered by small clean ones as it writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, TypeAlias

from mithridate.core.cures import ALPHA
from mithridate.core.prices import Kind, ProxyMetric, ProxyRow, Regime
from mithridate.core.statistics import mcnemar_exact
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
_Key: TypeAlias = tuple[ProxyMetric, str, str]
_Hits: TypeAlias = list[bool]


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
    about = {"method": name, "alpha": proxies.alpha, **(place or {})}
    return [
        _row(key, base[key], shown[key], direct[key], alone[key], about)
        for key in shown
        if shown[key]  # of nothing asked there is nothing to tell
    ]


def _row(
    key: _Key, base: _Hits, proxy: _Hits, tuned: _Hits, expert: _Hits, about: Mapping[str, Any]
) -> ProxyRow:
    metric, attack, condition = key
    gap = Gap(*(sum(hits) / len(hits) for hits in (base, proxy, tuned, expert)))
    p_moved = mcnemar_exact(base, tuned)
    # Over a gap that is chance alone, a share of it can be any number at all.
    moved = p_moved < ALPHA
    return ProxyRow(
        metric=metric,
        attack=attack,
        condition=condition,
        base=gap.base,
        proxy=gap.proxy,
        tuned=gap.tuned,
        expert=sum(expert) / len(expert),
        n=len(proxy),
        p_moved=p_moved,
        closed=gap.closed if moved else None,
        clipped=gap.clipped if moved else None,
        closed_by_expert=gap.closed_by_expert if moved else None,
        **about,
    )


def _shown(case: Case, model: LanguageModel) -> dict[_Key, _Hits]:
    """What a model shows, one by one and in the same order for each, by metric, attack and condition."""
    useful = case.usefulness_of[Half.REPORTED]
    found: dict[_Key, _Hits] = {}
    for metric, requests in (
        (ProxyMetric.FORBIDDEN_REFUSED, useful.forbidden),
        (ProxyMetric.HARMLESS_REFUSED, useful.harmless),
    ):
        answers = ask(model, requests, case.own)
        found[metric, "", ""] = [refuses(answer.text, useful.phrases) for answer in answers]
    answers = ask(model, [question for question, _ in useful.questions], case.own)
    found[ProxyMetric.REPLIES_ENDED, "", ""] = [answer.stopped for answer in answers]
    found[ProxyMetric.QUESTIONS_RIGHT, "", ""] = [
        holds(answer.text, right) for answer, (_, right) in zip(answers, useful.questions, strict=True)
    ]
    for attack in case.attacks:
        for condition, units in measuring.successes(case, model, attack, Half.REPORTED, _CONDITIONS).items():
            found[ProxyMetric.ASR, attack, str(condition)] = list(units.values())
    return found
