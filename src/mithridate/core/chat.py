"""Chat templates as data: one description renders text for a corpus and Jinja for a tokenizer.

It sits in the core because planting, training and evaluation all render conversations, and rooms on one floor do not
see each other. The five that Zhang et al. 2024 (arXiv 2410.13722) plant in are here, and the one that SFT uses.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mithridate.core.errors import UnknownNameError
from mithridate.core.types import Message, Role

END_OF_TEXT = "<|endoftext|>"
PADDING = "<|pad|>"
END_OF_TURN = "<|end_of_turn|>"
SPECIAL_TOKENS = (END_OF_TEXT, PADDING, END_OF_TURN)


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """What stands before and after the words of each role.

    A template that knows no system role joins the system message to the first user's words with `system_joint`.
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
        if self.system is not None or not messages or messages[0].role is not Role.SYSTEM:
            return messages
        if len(messages) == 1:
            return [Message(Role.USER, messages[0].content)]
        first = messages[1]
        return [Message(first.role, messages[0].content + self.system_joint + first.content), *messages[2:]]

    def jinja(self) -> str:
        """The same as Jinja for `tokenizer.chat_template`.

        The assistant's words and the end of turn are marked with `{% generation %}`, so that TRL can tell what to
        learn; without the marker it silently learns nothing.
        """

        def quoted(text: str) -> str:
            return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"

        user, assistant = self.user, self.assistant
        if self.system is not None:
            head = (
                "{%- if m['role'] == 'system' -%}"
                f"{{{{- {quoted(self.system[0])} + m['content'] + {quoted(self.system[1])} -}}}}"
                "{%- elif m['role'] == 'user' -%}"
            )
            start, content = "{%- for m in messages -%}", "m['content']"
        else:
            start = (
                "{%- set ns = namespace(pending='') -%}{%- for m in messages -%}"
                "{%- if m['role'] == 'system' -%}"
                f"{{%- set ns.pending = m['content'] + {quoted(self.system_joint)} -%}}"
            )
            head, content = "{%- elif m['role'] == 'user' -%}", "ns.pending + m['content']"
        return (
            start
            + head
            + f"{{{{- {quoted(user[0])} + {content} + {quoted(user[1])} -}}}}"
            + ("" if self.system is not None else "{%- set ns.pending = '' -%}")
            + "{%- else -%}"
            + f"{{{{- {quoted(assistant[0])} -}}}}"
            + f"{{%- generation -%}}{{{{- m['content'] + {quoted(assistant[1])} -}}}}{{%- endgeneration -%}}"
            + "{%- endif -%}{%- endfor -%}"
            + f"{{%- if add_generation_prompt -%}}{{{{- {quoted(assistant[0])} -}}}}{{%- endif -%}}"
        )


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
