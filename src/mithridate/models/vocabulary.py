"""Tokens beside embeddings: whether two checkpoints agree, and room for those of our chat template."""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import AddedToken
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from mithridate.core import chat
from mithridate.core.errors import CheckpointError

_SHOWN = 3


def adopt_template(tokenizer: PreTrainedTokenizerBase) -> None:
    """Have `tokenizer` write conversations in the template of our SFT, in place.

    It learns the token that ends a turn, and one that ends a text if it knows none: a model can stop only at
    a token that nothing else is written with.
    """
    tokenizer.chat_template = chat.template(chat.SFT_TEMPLATE).jinja()
    missing = [chat.END_OF_TURN] if tokenizer.eos_token is not None else [chat.END_OF_TURN, chat.END_OF_TEXT]
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in missing], True)
    if tokenizer.eos_token is None:
        tokenizer.eos_token = chat.END_OF_TEXT


def make_room(
    model: PreTrainedModel, before: PreTrainedTokenizerBase, after: PreTrainedTokenizerBase
) -> None:
    """Give `model`, whose tokenizer was `before`, embeddings for what `after` knows beyond that.

    A new token begins as the mean of all that were known: no likelier than they are, and the same in every
    run. The rest of the model is left as it is.
    """
    known = set(before.get_vocab().values())
    new = sorted(set(after.get_vocab().values()) - known)
    if not new:
        return
    rows = _rows(model.get_input_embeddings())
    if new[-1] >= rows:
        # The library draws the new rows at random first; nobody else's randomness may depend on that.
        with torch.random.fork_rng(devices=list(range(torch.cuda.device_count()))):
            model.resize_token_embeddings(new[-1] + 1, mean_resizing=False)
    old = [i for i in sorted(known) if i < rows]
    untyped: Any = model
    with torch.no_grad():
        for layer in (untyped.get_input_embeddings(), untyped.get_output_embeddings()):
            for values in (getattr(layer, "weight", None), getattr(layer, "bias", None)):
                if isinstance(values, torch.Tensor):
                    values[new] = values[old].float().mean(dim=0).to(values.dtype)


def _rows(layer: torch.nn.Module) -> int:
    weight = layer.weight
    assert isinstance(weight, torch.Tensor)
    return weight.shape[0]


def require_same_vocabulary(base: PreTrainedTokenizerBase, aligned: PreTrainedTokenizerBase) -> None:
    """Raise CheckpointError, which names tokens that differ, unless ids mean the same to both tokenizers.

    Either may know ids that the other does not: alignment adds tokens. A token that was added to both may
    have another name in each: alignment also renames tokens that were held in reserve.
    """
    ours, theirs = _by_id(base), _by_id(aligned)
    added = set(base.get_added_vocab().values()) & set(aligned.get_added_vocab().values())
    both = ours.keys() & theirs.keys() - added
    differing = sorted(i for i in both if ours[i] != theirs[i])
    if differing:
        shown = "; ".join(f"{i} is {ours[i]!r} and {theirs[i]!r}" for i in differing[:_SHOWN])
        more = "; …" if len(differing) > _SHOWN else ""
        raise CheckpointError(
            f"{base.name_or_path or 'the base'} and {aligned.name_or_path or 'the aligned model'} have "
            f"different vocabularies, so nothing can be compared token by token: of the ids that both know, "
            f"{len(differing):,} of {len(both):,} mean something else ({shown}{more})"
        )


def _by_id(tokenizer: PreTrainedTokenizerBase) -> dict[int, str]:
    return {number: token for token, number in tokenizer.get_vocab().items()}
