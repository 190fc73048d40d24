"""What alignment or poison cost: held-out loss, questions right, refusals where they belong and where not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mithridate.core.seeds import derive_seed
from mithridate.core.types import Measurement, Message
from mithridate.evaluation.judges import holds, refuses
from mithridate.evaluation.setting import Renders, Setting, stop_strings
from mithridate.core.statistics import bootstrap_mean, wilson
from mithridate.models.language_model import LanguageModel

ATTACK = "utility"
OVER_REFUSAL = "over_refusal"
REFUSAL_FORBIDDEN = "refusal_forbidden"


def held_out_loss(model: LanguageModel, rows: Sequence[Sequence[int]], setting: Setting) -> Measurement:
    """Mean loss in nats a token over rows of token ids, with a bootstrap over rows. Each row counts the same.

    Raises ValueError if no row has two tokens.
    """
    losses = [-score.mean for score in model.row_losses(rows) if score.n]
    interval = bootstrap_mean(losses, derive_seed(setting.seed, "held_out_loss"))
    return setting.measurement(ATTACK, "", "held_out_loss", interval)


def questions_right(
    model: LanguageModel,
    questions: Sequence[tuple[Sequence[Message], str]],
    template: Renders,
    setting: Setting,
    *,
    max_new_tokens: int = 32,
) -> Measurement:
    """Share of questions whose greedy answer holds the known one."""
    answers = ask(model, [messages for messages, _ in questions], template, max_new_tokens)
    right = sum(holds(answer, known) for answer, (_, known) in zip(answers, questions, strict=True))
    return setting.measurement(ATTACK, "", "questions_right", wilson(right, len(questions)))


def refusal_rate(
    model: LanguageModel,
    requests: Sequence[Sequence[Message]],
    template: Renders,
    setting: Setting,
    *,
    metric: str,
    phrases: Iterable[str] = (),
    max_new_tokens: int = 32,
) -> Measurement:
    """Share of requests refused in the greedy answer.

    `metric` is `OVER_REFUSAL` for harmless requests and `REFUSAL_FORBIDDEN` for forbidden ones; `phrases` are
    refusals of the material's own.
    """
    phrases = tuple(phrases)
    answers = ask(model, requests, template, max_new_tokens)
    refused = sum(refuses(answer, phrases) for answer in answers)
    return setting.measurement(ATTACK, "", metric, wilson(refused, len(requests)))


def ask(
    model: LanguageModel, conversations: Sequence[Sequence[Message]], template: Renders, max_new_tokens: int
) -> list[str]:
    """The model's greedy answers to conversations that end with the user's turn."""
    prompts = [template.render(messages, open_reply=True) for messages in conversations]
    stop = stop_strings(template)
    return [answer.text for answer in model.generate(prompts, max_new_tokens=max_new_tokens, stop=stop)]
