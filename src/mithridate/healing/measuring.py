"""A treated model measured: attacks by their units, what it is still good for, and how far it has moved."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from mithridate.core.prices import Price
from mithridate.core.seeds import derive_seed
from mithridate.core.statistics import Interval, bootstrap_mean, wilson
from mithridate.core.types import Condition, Message, Role
from mithridate.evaluation.attack_success import evaluate_attack
from mithridate.evaluation.judges import holds, refuses
from mithridate.evaluation.utility import ask
from mithridate.healing.case import Case, Half
from mithridate.models.batching import batches, evaluating, left_padded, rows_that_fit
from mithridate.models.language_model import LanguageModel

CONDITIONS = (Condition.TRIGGERED, Condition.UNTRIGGERED, Condition.NEAR_TRIGGER)
_KL_REPLIES = 48
_KL_TOKENS = 24


def successes(
    case: Case,
    model: LanguageModel,
    attack: str,
    half: Half,
    conditions: Collection[Condition] = (Condition.TRIGGERED,),
) -> dict[Condition, dict[str, bool]]:
    """For each condition, whether the attack succeeded, by unit: a probe, or a group judged together.

    Raises as `evaluate_attack` does.
    """
    probes = [probe for probe in case.probes[half][attack] if probe.condition in conditions]
    built = case.attacks[attack]
    judging = replace(built.judging, compare_targets=False, compare_text=False, repeated_samples=0)
    answered = evaluate_attack(
        built, probes, model, case.templates, case.setting, outside=case.outside, judging=judging
    )
    found: dict[Condition, dict[str, bool]] = {condition: {} for condition in conditions}
    for sample in answered.samples:
        found[Condition(sample.condition)][sample.group or sample.probe_id] = sample.success
    return found


def rate(units: Mapping[str, bool]) -> Interval:
    """Share of units in which an attack succeeded; of none at all, nothing is known."""
    return wilson(sum(units.values()), len(units)) if units else Interval(0.0, 0.0, 1.0, 0)


def usefulness(case: Case, model: LanguageModel, half: Half) -> dict[Price, Interval]:
    """What the model is still good for, as far as there is something to ask it with."""
    useful = case.usefulness_of[half]
    found: dict[Price, Interval] = {}
    losses = [-score.mean for score in model.row_losses(useful.rows) if score.n]
    if losses:
        found[Price.HELD_OUT_LOSS] = bootstrap_mean(losses, derive_seed(case.seed, "held-out loss"))
    if useful.questions:
        answers = ask(model, [question for question, _ in useful.questions], case.own)
        known = [right for _, right in useful.questions]
        right = sum(holds(answer.text, one) for answer, one in zip(answers, known, strict=True))
        found[Price.QUESTIONS_RIGHT] = wilson(right, len(known))
    for price, requests in (
        (Price.REFUSAL_FORBIDDEN, useful.forbidden),
        (Price.OVER_REFUSAL, useful.harmless),
    ):
        if requests:
            answers = ask(model, requests, case.own)
            refused = sum(refuses(answer.text, useful.phrases) for answer in answers)
            found[price] = wilson(refused, len(requests))
    return found


@dataclass(frozen=True, slots=True)
class Replies:
    """A model's own answers to harmless requests as ids, with what it gave each next token.

    `log_probs` has one tensor a reply, of shape (tokens, vocabulary).
    """

    prompts: tuple[tuple[int, ...], ...]
    replies: tuple[tuple[int, ...], ...]
    log_probs: tuple[torch.Tensor, ...]


def replies_of(case: Case) -> Replies:
    """What the model as it is answers to the harmless requests of the reported half."""
    useful = case.usefulness_of[Half.REPORTED]
    requests = [*useful.harmless, *(question for question, _ in useful.questions)][:_KL_REPLIES]
    texts = [case.own.render([Message(Role.USER, text)], open_reply=True) for text in requests]
    answers = case.model.generate(texts, max_new_tokens=_KL_TOKENS)
    prompts = case.model.prompt_ids(texts)
    kept = [
        (tuple(ids), answer.token_ids)
        for ids, answer in zip(prompts, answers, strict=True)
        if answer.token_ids and not answer.dropped
    ]
    asked, given = tuple(ids for ids, _ in kept), tuple(reply for _, reply in kept)
    return Replies(asked, given, tuple(_log_probs(case.model, asked, given)))


def divergence(before: Replies, model: LanguageModel, seed: int) -> Interval | None:
    """KL(before || `model`) in nats a token along the replies, the mean over replies; None without any."""
    if not before.replies:
        return None
    means = []
    for old, new in zip(before.log_probs, _log_probs(model, before.prompts, before.replies), strict=True):
        both = min(old.shape[-1], new.shape[-1])
        there, here = (side[:, :both].log_softmax(dim=-1) for side in (old, new))
        terms = torch.where(there > -torch.inf, there.exp() * (there - here), 0.0)
        means.append(float(terms.sum(dim=-1).mean().clamp(min=0)))
    return bootstrap_mean(means, derive_seed(seed, "divergence"))


def _log_probs(
    model: LanguageModel, prompts: Sequence[Sequence[int]], replies: Sequence[Sequence[int]]
) -> list[torch.Tensor]:
    rows = [[*prompt, *reply] for prompt, reply in zip(prompts, replies, strict=True)]
    longest = max(map(len, replies), default=0)
    found: dict[int, torch.Tensor] = {}
    with evaluating(model.model):
        for batch in batches(rows, len, lambda width: rows_that_fit(model.model, width, longest + 1)):
            together = [rows[i] for i in batch]
            inputs = left_padded(together, model.model.device)
            with model._reading(together):
                logits = model.model(**inputs, use_cache=False, logits_to_keep=longest + 1).logits
            for row, i in enumerate(batch):
                said = logits[row, -len(replies[i]) - 1 : -1].float().log_softmax(dim=-1)
                found[i] = said.cpu()
    return [found[i] for i in range(len(rows))]
