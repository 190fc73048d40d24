"""Copies of a model in which an intervention becomes weights."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from mithridate.core.errors import AccessError
from mithridate.models.access import parts_of
from mithridate.models.language_model import LanguageModel


def copy_of(model: LanguageModel, *, untied: bool = False) -> LanguageModel:
    """A copy of `model`, whose weights may be changed.

    With `untied` a head that is the embeddings becomes a matrix of its own, so that one can be changed
    without the other; its configuration says so, and its checkpoint is larger by that matrix. Raises
    AccessError for a model whose modules are wrapped, since a copy of those would still use its weights.
    """
    if wrapped := next(
        (name for name, found in model.model.named_modules() if "forward" in vars(found)), None
    ):
        raise AccessError(
            f"something, such as an intervention, is at work on the model: the forward of {wrapped} is "
            "wrapped; fold outside of its block"
        )
    made = copy.deepcopy(model.model)
    if untied:
        _untie(made)
    return LanguageModel(made, model.tokenizer)


def _untie(model: Any) -> None:
    parts = parts_of(model)
    head: Any = parts.head
    if getattr(head, "weight", None) is not getattr(parts.embeddings, "weight", head):
        return
    head.weight = nn.Parameter(head.weight.detach().clone(), requires_grad=head.weight.requires_grad)
    for config in {id(found): found for found in (model.config, model.config.get_text_config())}.values():
        config.tie_word_embeddings = False
    model.all_tied_weights_keys = model.get_expanded_tied_weights_keys(all_submodels=True)
