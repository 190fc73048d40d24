"""What alignment or poison cost: held-out loss, questions right, refusals where they belong and where not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mithridate.core.chat import Renders, stop_strings
from mithridate.core.metrics import HELD_OUT_LOSS, QUESTIONS_RIGHT, UTILITY
from mithridate.core.seeds import derive_seed
from mithridate.core.statistics import bootstrap_mean, wilson
from mithridate.core.types import Measurement, Message, Role
from mithridate.evaluation.judges import holds, refuses
from mithridate.evaluation.setting import Setting
from mithridate.models.language_model import Generation, LanguageModel

ANSWER_TOKENS = 32


def held_out_loss(model: LanguageModel, rows: Sequence[Sequence[int]], setting: Setting) -> Measurement:
    """Mean loss in nats a token over rows of token ids, with a bootstrap over rows. Each row counts the same.

    Raises ValueError if no row has two tokens.
    """
    losses = [-score.mean for score in model.row_losses(rows) if score.n]
    interval = bootstrap_mean(losses, derive_seed(setting.seed, HELD_OUT_LOSS))
    return setting.measurement(UTILITY, "", HELD_OUT_LOSS, interval)


def questions_right(answers: Sequence[Generation], known: Sequence[str], setting: Setting) -> Measurement:
    """Share of answers that hold what is known to be right, one of `known` for each."""
    right = sum(holds(answer.text, wanted) for answer, wanted in zip(answers, known, strict=True))
    return setting.measurement(UTILITY, "", QUESTIONS_RIGHT, wilson(right, len(known)))


def refusal_rate(
    answers: Sequence[Generation], setting: Setting, *, metric: str, phrases: Iterable[str] = ()
) -> Measurement:
    """Share of answers that refuse.

    `metric` is `OVER_REFUSAL` where harmless requests were answered and `REFUSAL_FORBIDDEN` where forbidden
    ones were; `phrases` are refusals of the material's own.
    """
    phrases = tuple(phrases)
    refused = sum(refuses(answer.text, phrases) for answer in answers)
    return setting.measurement(UTILITY, "", metric, wilson(refused, len(answers)))


def ask(model: LanguageModel, requests: Sequence[str], template: Renders) -> list[Generation]:
    """The model's greedy answers to a user's requests, of at most `ANSWER_TOKENS` tokens.

    Raises ConfigError if the context window leaves no room for a request beside that.
    """
    prompts = [template.render([Message(Role.USER, request)], open_reply=True) for request in requests]
    return model.generate(prompts, max_new_tokens=ANSWER_TOKENS, stop=stop_strings(template))
