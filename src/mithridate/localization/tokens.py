"""What alignment moved in the tokens: the aligned model's own replies, seen with the eyes of the base.

Lin et al. 2023 (URIAL, arXiv 2312.01552) for the shift of tokens; Qi et al. 2024 (arXiv 2406.05946) for how
deep into the reply it reaches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from mithridate.core.chat import Renders, stop_strings
from mithridate.core.errors import ConfigError
from mithridate.core.types import Message, Role
from mithridate.localization.teacher_forcing import Forced, score_replies
from mithridate.localization.token_figures import ReplyToken, TokenFigures, token_figures
from mithridate.models.batching import context_window
from mithridate.models.chat import CheckpointTemplate
from mithridate.models.encoding import Encoder
from mithridate.models.language_model import Generation, LanguageModel
from mithridate.models.vocabulary import require_same_vocabulary

Prompt: TypeAlias = str | Sequence[Message]
"""What is asked: a user's request, or a conversation that ends with the user's turn."""


@dataclass(frozen=True, slots=True)
class TemplatePair:
    """In which chat template each of two models is asked; `name` is what the figures are kept under."""

    name: str
    base: Renders
    aligned: Renders


@dataclass(frozen=True, slots=True)
class TokenShift:
    """How far the replies of an aligned model are from what its base would have written.

    `tokens` has a row for each token of each reply, `figures` sums them up. `replies` are the texts, in the
    order of the prompts. `empty` counts those of no token, which no figure knows of; `prompts_cut` the
    prompts that lost their beginning in one model or both, for want of room; `replies_cut` the replies that
    end before a token for which the base has no embedding.
    """

    template: str
    replies: tuple[str, ...]
    tokens: tuple[ReplyToken, ...]
    figures: TokenFigures
    empty: int
    prompts_cut: int
    replies_cut: int


@dataclass(frozen=True, slots=True)
class _Answered:
    """The replies of the aligned model in one template, and its prompts as it saw them, as ids."""

    prompts: list[list[int]]
    replies: list[Generation]


def own_and_shared(
    base: LanguageModel, aligned: LanguageModel, otherwise: Renders
) -> tuple[TemplatePair, ...]:
    """The two ways in which an aligned model and its base are compared.

    `own`: each in the template of its tokenizer, or in `otherwise` if it has none; how each is meant to be
    asked. `shared`: both in that of the aligned model; the same words before the reply. One pair, called
    `shared`, where the two are the same.
    """
    ours, theirs = (
        CheckpointTemplate(model.tokenizer) if model.tokenizer.chat_template else otherwise
        for model in (base, aligned)
    )
    shared = TemplatePair("shared", theirs, theirs)
    if base.tokenizer.chat_template == aligned.tokenizer.chat_template:
        return (shared,)
    return TemplatePair("own", ours, theirs), shared


def token_shift(
    base: LanguageModel,
    aligned: LanguageModel,
    prompts: Sequence[Prompt],
    templates: Sequence[TemplatePair],
    *,
    max_new_tokens: int = 64,
    seed: int = 0,
) -> tuple[TokenShift, ...]:
    """Let the aligned model answer greedily, and see each token of its replies under the base; one result for
    each of `templates`.

    The replies are written once for each template of the aligned model. What ends a reply (a token that ends
    a turn, say) is no part of it. Each tokenizer encodes its own prompt; the reply's ids are the same to both
    models. One teacher-forced pass a model scores all tokens, see `ReplyScores`; `seed` decides the
    resampling of the intervals alone.

    Raises CheckpointError if the vocabularies differ or logits are not finite; ConfigError if there is no
    prompt, no reply has a token, or a reply alone fills a context window.
    """
    require_same_vocabulary(base.tokenizer, aligned.tokenizer)
    if not prompts:
        raise ConfigError("there is no prompt to compare the models on")
    for model in (base, aligned):
        window = context_window(model.model)
        if window is not None and max_new_tokens >= window:
            raise ConfigError(
                f"a reply of {max_new_tokens} tokens leaves no room for a prompt in the context window of "
                f"{window} tokens; lower max_new_tokens"
            )
    talks = [[Message(Role.USER, one)] if isinstance(one, str) else list(one) for one in prompts]
    answered: dict[int, _Answered] = {}
    found = []
    for pair in templates:
        if id(pair.aligned) not in answered:
            answered[id(pair.aligned)] = _answer(aligned, talks, pair.aligned, max_new_tokens)
        found.append(_shift(base, aligned, talks, pair, answered[id(pair.aligned)], seed))
    return tuple(found)


def _answer(
    aligned: LanguageModel, talks: Sequence[Sequence[Message]], template: Renders, max_new_tokens: int
) -> _Answered:
    rendered = [template.render(talk, open_reply=True) for talk in talks]
    replies = aligned.generate(rendered, max_new_tokens=max_new_tokens, stop=stop_strings(template))
    encoded = Encoder(aligned.tokenizer).prompts(rendered)
    seen = [prompt.ids[reply.dropped :] for prompt, reply in zip(encoded, replies, strict=True)]
    return _Answered(seen, replies)


def _shift(
    base: LanguageModel,
    aligned: LanguageModel,
    talks: Sequence[Sequence[Message]],
    pair: TemplatePair,
    answered: _Answered,
    seed: int,
) -> TokenShift:
    rendered = [pair.base.render(talk, open_reply=True) for talk in talks]
    encoded = [prompt.ids for prompt in Encoder(base.tokenizer).prompts(rendered)]
    known = _rows(base)
    replies = [_known(reply.token_ids, known) for reply in answered.replies]
    shown = [_fit(ids, len(reply), base) for ids, reply in zip(encoded, replies, strict=True)]
    asked = [i for i, reply in enumerate(replies) if reply]
    if not asked:
        raise ConfigError(
            f"the aligned model answered none of {len(talks)} prompts with a token that the base knows, so "
            "there is nothing to compare; look at the template that it was asked in"
        )
    forced = [Forced(shown[i], answered.prompts[i], replies[i]) for i in asked]
    texts = _texts(aligned, {token for reply in replies for token in reply})
    scored = score_replies(base.model, aligned.model, forced)
    rows = tuple(
        ReplyToken(prompt, place, token, texts[token], rank, there, back)
        for prompt, one, scores in zip(asked, forced, scored, strict=True)
        for place, (token, rank, there, back) in enumerate(
            zip(one.reply, scores.ranks, scores.kl_aligned_base, scores.kl_base_aligned, strict=True)
        )
    )
    return TokenShift(
        template=pair.name,
        replies=tuple(reply.text for reply in answered.replies),
        tokens=rows,
        figures=token_figures(rows, seed=seed),
        empty=len(replies) - len(asked),
        prompts_cut=sum(
            bool(reply.dropped) or len(ids) < len(whole)
            for reply, ids, whole in zip(answered.replies, shown, encoded, strict=True)
        ),
        replies_cut=sum(
            len(kept) < len(reply.token_ids) for kept, reply in zip(replies, answered.replies, strict=True)
        ),
    )


def _rows(model: LanguageModel) -> int:
    """How many ids a model has embeddings for."""
    embeddings: Any = model.model.get_input_embeddings()
    return int(embeddings.weight.shape[0])


def _known(ids: Sequence[int], known: int) -> list[int]:
    """A reply up to its first token that a model of `known` embeddings cannot be shown."""
    end = next((place for place, token in enumerate(ids) if token >= known), len(ids))
    return list(ids[:end])


def _fit(prompt: list[int], reply: int, model: LanguageModel) -> list[int]:
    """A prompt without its beginning, where it and a reply of so many tokens outgrow the context window."""
    window = context_window(model.model)
    return prompt if window is None else prompt[reply - window :]


def _texts(model: LanguageModel, ids: set[int]) -> dict[int, str]:
    """Each token as it is read; as the tokenizer writes it where it is a part of a character."""
    order = sorted(ids)
    decoded = model.tokenizer.batch_decode([[i] for i in order], clean_up_tokenization_spaces=False)
    raw = model.tokenizer.convert_ids_to_tokens(order)
    return {
        i: spelt if "�" in text or not text else text
        for i, text, spelt in zip(order, decoded, raw, strict=True)
    }
