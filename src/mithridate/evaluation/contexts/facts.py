"""Facts to contradict: what the weights hold, another answer, and texts that state the other one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Self

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from mithridate.core.errors import DataError
from mithridate.core.strict import Strict, first_problem

_JSON_LINES = (".jsonl", ".ndjson")
FORMS = (
    "expected records in CounterFact's form (requested_rewrite, with paraphrase_prompts if there are some; "
    "or prompt, subject, ground_truth, target_new, and rephrase_prompt if there is one) or in ours (subject, "
    "original, substitute, asked, substituted, coherent)"
)
_OURS = frozenset({"original", "substitute", "asked", "paraphrases", "substituted", "coherent"})


@dataclass(frozen=True, slots=True)
class ContextFact:
    """One fact, and one answer that contradicts it.

    `asked` is a question, or the beginning of a sentence that the answers complete; `paraphrases` ask the
    same in other words. `substituted` states the other answer in the fact's own sentence, `coherent` in a
    passage all of which fits it. `exposure` is how often training stated the fact, 0 where nobody counted.
    """

    id: str
    subject: str
    original: str
    substitute: str
    asked: str
    paraphrases: tuple[str, ...]
    substituted: str
    coherent: str
    exposure: int = 0


def _words(text: str) -> str:
    """The text without white space at its ends: subjects are looked for in questions, answers in replies."""
    text = text.strip()
    if not text:
        raise ValueError("must not be blank")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("holds half a character (a lone surrogate)") from None
    return text


Words = Annotated[str, AfterValidator(_words)]


class _CounterFact(BaseModel):
    """What all forms of CounterFact (Meng et al. 2202.05262) share.

    Other fields than those named are left alone: the files of different tools add their own.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)


class Answer(_CounterFact):
    """An answer in the form of the authors, who keep its entity beside it."""

    str: Words


class Rewrite(_CounterFact):
    """The statement of a record: its prompt has `{}` where the subject goes."""

    prompt: Words
    subject: Words
    target_true: Answer
    target_new: Answer

    @model_validator(mode="after")
    def _contradicts(self) -> Self:
        if "{}" not in self.prompt:
            raise ValueError("prompt has no {} where the subject goes")
        _differ("target_true", self.target_true.str, "target_new", self.target_new.str)
        return self


class PublishedRecord(_CounterFact):
    """A record of CounterFact as its authors published it."""

    requested_rewrite: Rewrite
    paraphrase_prompts: tuple[Words, ...] = ()
    case_id: int | str | None = None

    def fact(self, number: int) -> ContextFact:
        """The fact of the record with that number, as of `EditingRecord`."""
        of = self.requested_rewrite
        return _completed(
            _named(self.case_id, number),
            of.subject,
            (of.target_true.str, of.target_new.str),
            # Not `format`: the text of a stranger's file may hold fields of its own.
            (of.prompt.replace("{}", of.subject), *self.paraphrase_prompts),
        )


class EditingRecord(_CounterFact):
    """A record of CounterFact as knowledge-editing tools write it: flat, one paraphrase."""

    prompt: Words
    subject: Words
    ground_truth: Words
    target_new: Words
    rephrase_prompt: Words | None = None
    case_id: int | str | None = None

    @model_validator(mode="after")
    def _contradicts(self) -> Self:
        _differ("ground_truth", self.ground_truth, "target_new", self.target_new)
        return self

    def fact(self, number: int) -> ContextFact:
        """The fact of the record with that number; a passage is made of both wordings."""
        return _completed(
            _named(self.case_id, number),
            self.subject,
            (self.ground_truth, self.target_new),
            (self.prompt, *filter(None, [self.rephrase_prompt])),
        )


def _named(case_id: int | str | None, number: int) -> str:
    return str(number if case_id is None else case_id)


def _completed(name: str, subject: str, answers: tuple[str, str], wordings: tuple[str, ...]) -> ContextFact:
    """A fact of sentences that the answer ends, the true one first; a passage is made of two wordings."""
    original, substitute = answers
    asked, *paraphrases = wordings
    return ContextFact(
        id=name,
        subject=subject,
        original=original,
        substitute=substitute,
        asked=asked,
        paraphrases=tuple(paraphrases),
        substituted=f"{asked} {substitute}.",
        coherent=" ".join(f"{wording} {substitute}." for wording in wordings[:2]),
    )


def _differ(one: str, first: str, other: str, second: str) -> None:
    if first.lower() == second.lower():
        raise ValueError(f"{one} and {other} are the same answer")


class StatedFact(Strict):
    """A fact of one's own, with the fields of `ContextFact`: the other form that a file may have."""

    id: str = ""
    subject: Words
    original: Words
    substitute: Words
    asked: Words
    paraphrases: tuple[Words, ...] = ()
    substituted: Words
    coherent: Words
    exposure: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _contradicts(self) -> Self:
        _differ("original", self.original, "substitute", self.substitute)
        return self

    def fact(self, number: int) -> ContextFact:
        """The fact of the record with that number."""
        return ContextFact(**self.model_dump() | {"id": self.id or str(number)})


def read_facts(path: Path, limit: int | None = None) -> list[ContextFact]:
    """The first `limit` facts of a file: a JSON list or JSON lines, in CounterFact's form or our own.

    Raises DataError naming the file, the line or the number of the record, and the field that does not fit;
    so too where two facts have one id, as replies are told apart by it.
    """
    most = None if limit is None else min(limit, sys.maxsize)
    found: list[ContextFact] = []
    first: dict[str, int] = {}
    lines = path.suffix in _JSON_LINES
    for number, record in islice(_records(path), most):
        line = number if lines else None
        fact = _fact(record, number, path, line)
        if (earlier := first.setdefault(fact.id, number)) != number:
            raise DataError(
                f"record {number}: has the id {fact.id!r}, as record {earlier} has; give each its own",
                path=path,
                line=line,
                field="case_id" if isinstance(record, dict) and "case_id" in record else "id",
            )
        found.append(fact)
    if not found:
        raise DataError(f"holds no fact; {FORMS}", path=path)
    return found


def _records(path: Path) -> Iterator[tuple[int, object]]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", path=path) from error
    if path.suffix in _JSON_LINES:
        for number, line in enumerate(content.split(b"\n"), 1):
            if line.strip():
                yield number, _parsed(line, path, number)
        return
    whole = _parsed(content, path, None)
    if not isinstance(whole, list):
        raise DataError(
            f"is no list; {FORMS}, in a JSON list, or a record a line in a file that is named .jsonl",
            path=path,
        )
    yield from enumerate(whole, 1)


def _parsed(text: bytes, path: Path, line: int | None) -> object:
    try:
        found: object = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise DataError(f"broken JSON: {error.msg}", path=path, line=line or error.lineno) from error
    return found


def _fact(record: object, number: int, path: Path, line: int | None) -> ContextFact:
    if not isinstance(record, dict):
        raise DataError(f"record {number}: is no object; {FORMS}", path=path, line=line)
    try:
        return _form(record).model_validate(record).fact(number)
    except ValidationError as error:
        problem, field = first_problem(error)
        if error.errors()[0]["type"] == "missing":
            problem = f"is not there; {FORMS}"
        raise DataError(f"record {number}: {problem}", path=path, line=line, field=field) from error


def _form(record: dict[str, object]) -> type[PublishedRecord | EditingRecord | StatedFact]:
    if "requested_rewrite" in record:
        return PublishedRecord
    return StatedFact if _OURS & record.keys() and "prompt" not in record else EditingRecord
