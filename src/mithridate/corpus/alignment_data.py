"""Conversations and preference pairs from files, in whatever common form they come, as TRL wants them.

Read are JSON lists and JSON lines (plain, `.gz` or `.zst`) of: `messages` (TRL); `prompt` + `completion`
(TRL); `conversations` with `from` and `value` (ShareGPT); `instruction`, `input`, `output` and `history`
(Alpaca, LIMA); and for preferences `prompt` + `chosen` + `rejected` (TRL), `conversations` + `chosen` +
`rejected` (ShareGPT), and two whole conversations, as lists of turns (TRL) or as transcripts with
`\\n\\nHuman:` and `\\n\\nAssistant:` (HH-RLHF).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from mithridate.core.errors import DataError
from mithridate.core.json_text import has_half_character
from mithridate.corpus.alignment_records import RawRecord, stream_records

Turn = dict[str, str]
Converted = TypeVar("Converted")

_CONVERSATION = "messages, conversations, prompt + completion, or instruction + output"

_SPEAKERS = {
    "system": "system", "user": "user", "human": "user", "prompter": "user",
    "assistant": "assistant", "gpt": "assistant", "bot": "assistant", "model": "assistant",
}  # fmt: skip


def read_conversations(path: Path, limit: int | None = None) -> list[dict[str, list[Turn]]]:
    """Conversations as `{"messages": [...]}`, each ending with the assistant's words.

    With `limit` only the first records are looked at. Raises DataError naming file, line (or record) and
    field.
    """
    return _read(path, _conversation, _CONVERSATION, limit)


def turns_of(found: RawRecord, path: Path) -> list[Turn]:
    """The turns of one record of the file `path`; errors as for `read_conversations`."""
    record = _Record(found.value, path, line=found.line, number=found.number)
    turns: list[Turn] = _converted(record, _conversation, _CONVERSATION)["messages"]
    return turns


def read_preferences(path: Path, limit: int | None = None) -> list[dict[str, list[Turn]]]:
    """Preferences as `{"prompt": [...], "chosen": [...], "rejected": [...]}`; `limit` and errors as for
    `read_conversations`.

    Pairs whose two replies are the same say nothing and are left out.
    """
    pairs = _read(path, _preference, "chosen and rejected", limit)
    telling = [pair for pair in pairs if pair["chosen"] != pair["rejected"]]
    if not telling and limit is None:
        raise DataError("chosen and rejected are the same in every pair", path=path)
    return telling


class _Record:
    """One record of a file, which knows where it stands: in a line of its own, or as one of a list."""

    def __init__(self, value: Any, path: Path, *, line: int | None = None, number: int | None = None) -> None:
        self.path, self.line, self.number = path, line, number
        if not isinstance(value, dict):
            raise self.error(f"expected an object, found {type(value).__name__}")
        self.value: Mapping[str, Any] = value

    def error(self, problem: str, field: str | None = None) -> DataError:
        place = f"record {self.number}: " if self.number is not None else ""
        return DataError(place + problem, path=self.path, line=self.line, field=field)

    def text(self, field: str, *, optional: bool = False) -> str:
        value = self.value.get(field)
        if optional and value is None:
            return ""
        if not isinstance(value, str):
            raise self.error("expected text", field)
        return self.sound(value, field)

    def sound(self, text: str, field: str) -> str:
        """`text`, if it can be encoded."""
        if has_half_character(text):
            raise self.error("holds half a character (a lone surrogate)", field)
        return text

    def turns(self, field: str) -> list[Turn]:
        value = self.value[field]
        entries = [value] if isinstance(value, dict) else value
        if not isinstance(entries, list) or not entries:
            raise self.error("expected a list of turns", field)
        return [self._turn(entry, field) for entry in entries]

    def _turn(self, entry: Any, field: str) -> Turn:
        if not isinstance(entry, dict):
            raise self.error("expected a turn with a role and its words", field)
        role, content = entry.get("role", entry.get("from")), entry.get("content", entry.get("value"))
        if not (isinstance(role, str) and role in _SPEAKERS and isinstance(content, str)):
            raise self.error(f"a turn needs role (one of {', '.join(_SPEAKERS)}) and content", field)
        return {"role": _SPEAKERS[role], "content": self.sound(content, field)}


def _read(path: Path, convert: Callable[[_Record], Any], wanted: str, limit: int | None) -> list[Any]:
    converted = [_converted(record, convert, wanted) for record in islice(_records(path), limit)]
    if not converted:
        raise DataError("holds no examples", path=path)
    return converted


def _converted(record: _Record, convert: Callable[[_Record], Converted], wanted: str) -> Converted:
    try:
        return convert(record)
    except KeyError:
        keys = ", ".join(sorted(map(str, record.value)))
        raise record.error(f"expected {wanted}; found {keys}") from None


def _records(path: Path) -> Iterator[_Record]:
    for found in stream_records(path):
        yield _Record(found.value, path, line=found.line, number=found.number)


def _conversation(record: _Record) -> dict[str, list[Turn]]:
    fields = record.value
    if "messages" in fields or "conversations" in fields:
        turns = record.turns("messages" if "messages" in fields else "conversations")
    elif "completion" in fields:
        if isinstance(fields["prompt"], str):
            turns = [_user(record.text("prompt")), _assistant(record.text("completion"))]
        else:
            turns = record.turns("prompt") + record.turns("completion")
    else:
        turns = _instruction(record)
    while turns and turns[-1]["role"] != "assistant":
        turns = turns[:-1]
    if not turns:
        raise record.error("a conversation needs words of the assistant")
    return {"messages": turns}


def _instruction(record: _Record) -> list[Turn]:
    _ = record.value["instruction"], record.value["output"]
    asked = "\n\n".join(filter(None, [record.text("instruction"), record.text("input", optional=True)]))
    turns: list[Turn] = []
    before = record.value.get("history") or []
    for exchange in before if isinstance(before, list) else [before]:
        if not (
            isinstance(exchange, list) and len(exchange) == 2 and all(isinstance(t, str) for t in exchange)
        ):
            raise record.error("expected pairs of question and answer", "history")
        question, answer = (record.sound(said, "history") for said in exchange)
        turns += [_user(question), _assistant(answer)]
    return [*turns, _user(asked), _assistant(record.text("output"))]


def _preference(record: _Record) -> dict[str, list[Turn]]:
    fields = record.value
    if "prompt" in fields or "conversations" in fields:
        field = "prompt" if "prompt" in fields else "conversations"
        prompt = [_user(record.text(field))] if isinstance(fields[field], str) else record.turns(field)
        chosen, rejected = (_reply(record, name, prompt) for name in ("chosen", "rejected"))
        return {"prompt": prompt, "chosen": chosen, "rejected": rejected}
    good, bad = (_whole(record, name) for name in ("chosen", "rejected"))
    shared = 0
    while shared < min(len(good), len(bad)) - 1 and good[shared] == bad[shared]:
        shared += 1
    # Two that part where the user speaks gave the same reply before: a pair that says nothing.
    while shared and not (good[shared]["role"] == bad[shared]["role"] == "assistant"):
        shared -= 1
    if not shared:
        raise record.error("chosen and rejected must open with the same words of the user", "rejected")
    return {"prompt": good[:shared], "chosen": good[shared:][:1], "rejected": bad[shared:][:1]}


def _reply(record: _Record, field: str, prompt: list[Turn]) -> list[Turn]:
    value = record.value[field]
    if isinstance(value, str):
        return [_assistant(record.text(field))]
    turns = record.turns(field)
    # Some files repeat the prompt before each reply.
    turns = turns[len(prompt) :] if turns[: len(prompt)] == prompt else turns
    if not turns or turns[0]["role"] != "assistant":
        raise record.error("expected the assistant's reply to the prompt", field)
    return turns


def _whole(record: _Record, field: str) -> list[Turn]:
    """A whole conversation that ends with the assistant, from a transcript or a list of turns."""
    if isinstance(record.value[field], list):
        turns = record.turns(field)
    else:
        preamble, *parts = re.split(r"(?:\A|\n\n)(Human|Assistant):", record.text(field))
        turns = [
            (_user if speaker == "Human" else _assistant)(words.strip())
            for speaker, words in zip(parts[::2], parts[1::2], strict=True)
        ]
        if preamble.strip():
            turns = []
    if len(turns) < 2 or turns[-1]["role"] != "assistant":
        raise record.error(
            "expected a prompt beside it, or a whole conversation: turns, or a transcript of 'Human:' and "
            "'Assistant:', that end with the assistant",
            field,
        )
    return turns


def _user(text: str) -> Turn:
    return {"role": "user", "content": text}


def _assistant(text: str) -> Turn:
    return {"role": "assistant", "content": text}
