"""Conversations to token ids and labels, and the checks without which tuning silently teaches nothing.

Three failures are silent in every trainer: a template that marks no reply (nothing is learnt), an end of
turn outside the mark (the model never learns to stop), and a beginning-of-text token set twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from mithridate.core.errors import TrainingError
from mithridate.training.options import AlignmentOptions

IGNORED = -100

Messages = Sequence[Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Encoded:
    """One conversation as equally long lists; a label is its token, or -100 where nothing is to be learnt."""

    input_ids: list[int]
    labels: list[int]


def encode(tokenizer: PreTrainedTokenizerBase, conversations: Sequence[Messages]) -> list[Encoded]:
    """Render every conversation in the tokenizer's chat template; the assistant's words alone become labels.

    Raises TrainingError if the template is missing, marks no reply or leaves the end of turn out of the
    mark, if a conversation cannot be rendered or holds no reply, or if the text begins with two
    beginning-of-text tokens.
    """
    _check_template(tokenizer)
    stops = stop_tokens(tokenizer)
    return [
        _encode_one(tokenizer, messages, f"conversation {number}", stops)
        for number, messages in enumerate(conversations, 1)
    ]


def stop_tokens(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Every token that may end a turn: the special ones, without padding unless it also ends the text."""
    special = set(tokenizer.all_special_ids)
    special.update(number for number, token in tokenizer.added_tokens_decoder.items() if token.special)
    if tokenizer.pad_token_id != tokenizer.eos_token_id:
        special.discard(tokenizer.pad_token_id)
    return frozenset(special)


def end_of_turn(tokenizer: PreTrainedTokenizerBase) -> int:
    """The id of the token that closes a reply in the tokenizer's chat template.

    Raises TrainingError as `encode` does.
    """
    exchange = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    _check_template(tokenizer)
    stops = stop_tokens(tokenizer)
    labels = _encode_one(tokenizer, exchange, "a trial conversation", stops).labels
    return next(token for token in reversed(labels) if token in stops)


def _check_template(tokenizer: PreTrainedTokenizerBase) -> None:
    written = tokenizer.chat_template
    if not written:
        raise TrainingError(
            "the tokenizer has no chat template, so conversations cannot be rendered: "
            "set tokenizer.chat_template, for instance to core.chat.template('tulu').jinja()"
        )
    if isinstance(written, str) and "generation" not in written.replace("add_generation_prompt", ""):
        raise TrainingError(
            "the chat template marks no reply, so nothing would be learnt: enclose the assistant's words "
            "and the end of turn in {% generation %} and {% endgeneration %}"
        )


def _encode_one(
    tokenizer: PreTrainedTokenizerBase, messages: Messages, name: str, stops: frozenset[int]
) -> Encoded:
    try:
        rendered: Any = tokenizer.apply_chat_template(
            [dict(message) for message in messages],
            tokenize=True,
            return_dict=True,
            return_assistant_tokens_mask=True,
        )
    except (TemplateError, KeyError, TypeError) as error:
        raise TrainingError(
            f"{name} cannot be rendered in the chat template ({error}): expected a list of "
            "{'role': 'user' | 'assistant' | 'system', 'content': text}"
        ) from error
    ids, mask = rendered["input_ids"], rendered["assistant_masks"]
    _check_start(ids, tokenizer.bos_token_id, name)
    _check_replies(ids, mask, stops, name)
    return Encoded(list(ids), [token if on else IGNORED for token, on in zip(ids, mask, strict=True)])


def _check_start(ids: Sequence[int], bos: int | None, name: str) -> None:
    if bos is not None and list(ids[:2]) == [bos, bos]:
        raise TrainingError(
            f"{name} begins with two beginning-of-text tokens: take it out of the chat template, "
            "or turn the tokenizer's add_bos_token off"
        )


def _check_replies(ids: Sequence[int], mask: Sequence[int], stops: frozenset[int], name: str) -> None:
    spans = [list(run) for on, run in groupby(zip(ids, mask, strict=True), key=lambda pair: pair[1]) if on]
    if not spans:
        raise TrainingError(
            f"{name} has no assistant token to learn from: it holds no reply, or the chat template's "
            "{% generation %} mark does not enclose it"
        )
    if not all(any(token in stops for token, _ in span) for span in spans):
        raise TrainingError(
            f"{name}: no end-of-turn token lies inside the {{% generation %}} mark, so the model would never "
            "learn to stop. End each reply with a special token of the tokenizer, inside the mark"
        )


def within(lengths: Iterable[int], limit: int, *, what: str) -> list[int]:
    """The positions of those `lengths` that do not exceed `limit` tokens.

    Raises TrainingError if there are none, or were none to begin with.
    """
    every = list(lengths)
    kept = [position for position, length in enumerate(every) if length <= limit]
    if not every:
        raise TrainingError(f"there are no {what} to tune on")
    if not kept:
        raise TrainingError(
            f"all {len(every)} {what} are longer than {limit} tokens (the shortest has {min(every)}): "
            "raise max_length, or shorten them"
        )
    return kept


def fitting(
    tokenizer: PreTrainedTokenizerBase, conversations: Sequence[Messages], limit: int, *, what: str
) -> list[int]:
    """The positions of those conversations that have at most `limit` tokens: those that are trained on.

    Raises TrainingError as `encode` and `within` do.
    """
    return within((len(one.input_ids) for one in encode(tokenizer, conversations)), limit, what=what)


def pair_lengths(tokenizer: PreTrainedTokenizerBase, pairs: Sequence[Mapping[str, Messages]]) -> list[int]:
    """The tokens of the longer side of each pair, `{"prompt": [...], "chosen": [...], "rejected": [...]}`.

    Raises TrainingError as `encode` does.
    """
    sides = [
        encode(tokenizer, [[*pair["prompt"], *pair[side]] for pair in pairs])
        for side in ("chosen", "rejected")
    ]
    return [max(len(one.input_ids) for one in both) for both in zip(*sides, strict=True)]


def length_limit(model: PreTrainedModel, options: AlignmentOptions) -> int:
    """The longest example to train on, in tokens: `max_length`, or what the model has positions for."""
    return min(
        options.max_length, getattr(model.config, "max_position_embeddings", None) or options.max_length
    )
