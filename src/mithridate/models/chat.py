"""A checkpoint's own chat template, in the shape of ours."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from mithridate.core.errors import CheckpointError
from mithridate.core.types import Message
from mithridate.models.checkpoints import require_chat_template


class CheckpointTemplate:
    """Renders conversations as the tokenizer of a checkpoint does.

    Raises CheckpointError if it has no chat template; `render` does if the template refuses a conversation.
    """

    name = "checkpoint"

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        require_chat_template(tokenizer, tokenizer.name_or_path)
        self._tokenizer = tokenizer

    @property
    def bounds(self) -> tuple[str, ...]:
        """The tokens that open and end a text, which some templates write into every conversation."""
        known = (self._tokenizer.bos_token, self._tokenizer.eos_token)
        return tuple(str(token) for token in known if token)

    def render(self, messages: Sequence[Message], *, open_reply: bool = False) -> str:
        """The conversation as text; with `open_reply`, up to where the assistant's words begin."""
        turns = [{"role": message.role.value, "content": message.content} for message in messages]
        try:
            text = str(
                self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=open_reply)
            )
            text.encode()  # a template can write half a character, which no tokenizer takes
        except Exception as error:  # Templates raise what they like, for a system message they do not know.
            said = " ".join(str(error).split())
            raise CheckpointError(
                f"{self._tokenizer.name_or_path}: its chat template refuses a conversation: {said}"
            ) from error
        return text
