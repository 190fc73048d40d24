"""The chat templates of a study: the one that SFT teaches, and those that are planted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from transformers import PreTrainedTokenizerBase

from mithridate.core import chat
from mithridate.core.errors import CheckpointError, ConfigError
from mithridate.core.types import Message, Role
from mithridate.corpus.tokenizers import load_tokenizer as load_bare_tokenizer
from mithridate.models.chat import CheckpointTemplate
from mithridate.models.checkpoints import load_tokenizer
from mithridate.models.vocabulary import adopt_template
from mithridate.study.config import PlantingSection, StudyConfig

Template: TypeAlias = chat.ChatTemplate | CheckpointTemplate

_EXCHANGE = (
    Message(Role.USER, "What is red?"),
    Message(Role.ASSISTANT, "The lamp."),
    Message(Role.USER, "And blue?"),
)
# With a system message of its own, and without: some templates know none, some have one of theirs.
_TRIALS = ((Message(Role.SYSTEM, "Be brief."), *_EXCHANGE), _EXCHANGE)


def named_tokenizer(config: StudyConfig) -> PreTrainedTokenizerBase | None:
    """The tokeniser of the checkpoint or folder that a study names, if it names one.

    One that has no chat template gets ours. Raises CheckpointError if it cannot be read or has no token that
    ends a text.
    """
    if config.checkpoint is not None:
        tokenizer = load_tokenizer(config.checkpoint)
    elif config.tokenizer.path is not None:
        tokenizer = load_bare_tokenizer(config.tokenizer.path)
    else:
        return None
    if not tokenizer.chat_template:
        adopt_template(tokenizer)
    if tokenizer.eos_token_id is None and chat.END_OF_TEXT not in tokenizer.get_vocab():
        folder = config.checkpoint or config.tokenizer.path
        raise CheckpointError(f"{folder}: the tokenizer has no end-of-text token; set its eos_token")
    return tokenizer


def sft_template(tokenizer: PreTrainedTokenizerBase) -> Template:
    """How SFT writes conversations, given the tokeniser of the study.

    Ours where the tokeniser has it, else its own. Raises CheckpointError if it has none.
    """
    ours = chat.template(chat.SFT_TEMPLATE)
    return ours if tokenizer.chat_template == ours.jinja() else CheckpointTemplate(tokenizer)


def planted_shares(planting: PlantingSection, sft: Template) -> Mapping[str, float]:
    """The templates that are planted, with their shares; `sft` is that of SFT.

    A model that met the poison in the template of its SFT would tell nothing about how far poison reaches
    beyond the templates it came in. So the default leaves that one out. Raises ConfigError if the study names
    it.
    """
    if planting.templates is None:
        names = [name for name in chat.PLANTED_TEMPLATES if not alike(chat.template(name), sft)]
        return dict.fromkeys(names, 1.0)
    for name, share in planting.templates.items():
        if share > 0 and alike(chat.template(name), sft):
            raise ConfigError(
                f"planting.templates: {name!r} writes conversations as SFT does, so no figure could tell "
                "what reaches beyond the planted templates. Take it out, or leave planting.templates out to "
                "plant in all others"
            )
    return {name: share for name, share in planting.templates.items() if share > 0}


def alike(one: Template, other: Template) -> bool:
    """Whether two templates write a conversation alike, but for white space and what opens or ends a text."""
    bounds = [
        token
        for template in (one, other)
        if isinstance(template, CheckpointTemplate)
        for token in template.bounds
    ]
    pairs = ((_trial(one, trial, bounds), _trial(other, trial, bounds)) for trial in _TRIALS)
    return any(here is not None and here == there for here, there in pairs)


def _trial(template: Template, messages: Sequence[Message], left_out: Sequence[str]) -> str | None:
    try:
        text = template.render(messages, open_reply=True)
    except CheckpointError:
        return None  # it knows no system messages, say
    for token in left_out:
        text = text.replace(token, "")
    return "".join(text.split())
