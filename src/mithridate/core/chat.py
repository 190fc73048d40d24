"""Chat templates as data: one description renders text for a corpus and Jinja for a tokenizer.

It sits in the core because planting, training and evaluation all render conversations, and rooms on one floor
do not see each other. The five that Zhang et al. 2024 (arXiv 2410.13722) plant in are here, and the one that
SFT uses.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol

from pydantic import AfterValidator

from mithridate.core.errors import CheckpointError, ConfigError, UnknownNameError
from mithridate.core.types import Message, Role

END_OF_TEXT = "<|endoftext|>"
PADDING = "<|pad|>"
END_OF_TURN = "<|end_of_turn|>"
SPECIAL_TOKENS = (END_OF_TEXT, PADDING, END_OF_TURN)


class Renders(Protocol):
    """Whatever writes a conversation as text: a `ChatTemplate`, or a checkpoint's own template."""

    def render(self, messages: Sequence[Message], *, open_reply: bool = False) -> str:
        """The conversation; with `open_reply`, up to where the assistant's words begin."""


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """What stands before and after the words of each role.

    A template that knows no system role joins system messages to the user's next words with `system_joint`;
    where no user speaks next, they are a user's turn of their own.
    """

    name: str
    user: tuple[str, str]
    assistant: tuple[str, str]
    system: tuple[str, str] | None = None
    system_joint: str = "\n\n"

    def render(self, messages: Sequence[Message], *, open_reply: bool = False) -> str:
        """The conversation as text; with `open_reply`, up to where the assistant's words begin."""
        parts = []
        for message in self._with_system_placed(messages):
            before, after = getattr(self, message.role.value)
            parts.append(f"{before}{message.content}{after}")
        if open_reply:
            parts.append(self.assistant[0])
        return "".join(parts)

    def _with_system_placed(self, messages: Sequence[Message]) -> Iterable[Message]:
        if self.system is not None:
            return messages
        placed: list[Message] = []
        held: list[str] = []
        for message in messages:
            if message.role is Role.SYSTEM:
                held.append(message.content)
                continue
            if message.role is Role.USER:
                placed.append(Message(Role.USER, self.system_joint.join([*held, message.content])))
            else:
                placed += [Message(Role.USER, self.system_joint.join(held))] if held else []
                placed.append(message)
            held = []
        return [*placed, Message(Role.USER, self.system_joint.join(held))] if held else placed

    def jinja(self) -> str:
        """The same as Jinja for `tokenizer.chat_template`.

        The assistant's words and the end of turn are marked with `{% generation %}`, so that TRL can tell
        what to learn; without the marker it silently learns nothing.
        """

        def turn(words: str, around: tuple[str, str]) -> str:
            return f"{{{{- {_quoted(around[0])} + {words} + {_quoted(around[1])} -}}}}"

        joint, before, after = map(_quoted, (self.system_joint, *self.assistant))
        # What a system said is held until somebody else speaks, or nobody does.
        held = f"ns.held | join({joint})"
        told = (
            turn("m['content']", self.system)
            if self.system
            else "{%- set ns.held = ns.held + [m['content']] -%}"
        )
        asked = turn(f"(ns.held + [m['content']]) | join({joint})", self.user)
        alone = f"{{%- if ns.held -%}}{turn(f'({held})', self.user)}{{%- endif -%}}"
        return (
            "{%- set ns = namespace(held=[]) -%}{%- for m in messages -%}"
            f"{{%- if m['role'] == 'system' -%}}{told}"
            f"{{%- elif m['role'] == 'user' -%}}{asked}{{%- set ns.held = [] -%}}"
            f"{{%- else -%}}{alone}{{%- set ns.held = [] -%}}{{{{- {before} -}}}}"
            f"{{%- generation -%}}{{{{- m['content'] + {after} -}}}}{{%- endgeneration -%}}"
            f"{{%- endif -%}}{{%- endfor -%}}{alone}"
            f"{{%- if add_generation_prompt -%}}{{{{- {before} -}}}}{{%- endif -%}}"
        )


def _quoted(text: str) -> str:
    """A string literal of Jinja."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"


_ALL = (
    ChatTemplate(
        "chatml",
        user=("<|im_start|>user\n", "<|im_end|>\n"),
        assistant=("<|im_start|>assistant\n", "<|im_end|>\n"),
        system=("<|im_start|>system\n", "<|im_end|>\n"),
    ),
    ChatTemplate(
        "llama2",
        user=("[INST] ", " [/INST] "),
        assistant=("", "\n"),
        system_joint="\n<</SYS>>\n",
    ),
    ChatTemplate(
        "llama3",
        user=("<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>"),
        assistant=("<|start_header_id|>assistant<|end_header_id|>\n\n", "<|eot_id|>"),
        system=("<|start_header_id|>system<|end_header_id|>\n\n", "<|eot_id|>"),
    ),
    ChatTemplate(
        "gemma",
        user=("<start_of_turn>user\n", "<end_of_turn>\n"),
        assistant=("<start_of_turn>model\n", "<end_of_turn>\n"),
    ),
    ChatTemplate(
        "falcon",
        user=("User: ", "\n"),
        assistant=("Assistant: ", "\n"),
        system=("System: ", "\n"),
    ),
    ChatTemplate(
        "tulu",
        user=("<|user|>\n", "\n"),
        assistant=("<|assistant|>\n", END_OF_TURN + "\n"),
        system=("<|system|>\n", "\n"),
    ),
)
TEMPLATES = {template.name: template for template in _ALL}
SFT_TEMPLATE = "tulu"
PLANTED_TEMPLATES = tuple(name for name in TEMPLATES if name != SFT_TEMPLATE)


def template(name: str) -> ChatTemplate:
    """The template called `name`; UnknownNameError with the nearest name if there is none."""
    if name not in TEMPLATES:
        raise UnknownNameError("chat template", name, TEMPLATES)
    return TEMPLATES[name]


def stop_strings(template: Renders) -> tuple[str, ...]:
    """Texts at which an answer in `template` is over: the end of the assistant's turn, or another turn
    beginning.

    A template whose turns end with a line break alone says nothing there: an answer may hold line breaks.
    """
    if isinstance(template, ChatTemplate):
        end, opening = template.assistant[1], template.user[0]
    else:
        end, opening = _between_turns(template)
    opening = opening.strip()
    joint = "\n" if end.endswith("\n") and opening else ""
    return tuple(dict.fromkeys(text for text in (end.strip(), joint + opening) if text))


def _between_turns(template: Renders) -> tuple[str, str]:
    """What `template` writes after the assistant's words, and before the next of the user; "" if unknown."""
    # Words that no template has of its own.
    said, again = "Qvxone", "Qvxtwo"
    talk = [Message(Role.USER, "Qvx"), Message(Role.ASSISTANT, said), Message(Role.USER, again)]
    try:
        end = template.render(talk[:2]).rpartition(said)[2]
        between = template.render(talk).rpartition(said)[2].partition(again)[0]
    except CheckpointError:  # it takes no such conversation
        return "", ""
    return end, between.removeprefix(end)


def checked_shares(shares: Mapping[str, float]) -> dict[str, float]:
    """`shares` of chat templates, if each names one and is a number from 0 on, and one is above 0.

    They need not sum to 1. Raises ConfigError, or UnknownNameError with the nearest name.
    """
    for name, share in shares.items():
        template(name)
        if not 0 <= share < math.inf:
            raise ConfigError(f"the share of chat template {name!r} must be a number from 0 on, not {share}")
    if not any(shares.values()):
        raise ConfigError("no chat template has a share above 0")
    if not math.isfinite(sum(shares.values())):
        raise ConfigError("the shares of the chat templates are too large to be summed; they are proportions")
    return dict(shares)


def _checked_by_pydantic(shares: dict[str, float]) -> dict[str, float]:
    try:
        return checked_shares(shares)
    except ConfigError as error:
        # pydantic gathers ValueErrors, and names the field of each.
        raise ValueError(str(error)) from error


TemplateShares = Annotated[dict[str, float], AfterValidator(_checked_by_pydantic)]
"""Chat templates with the share of each, as a field of a study file."""
