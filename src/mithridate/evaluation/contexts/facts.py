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
    "expected records in CounterFact's form (prompt, subject, ground_truth, target_new, and rephrase_prompt "
    "if there is one) or in ours (subject, original, substitute, asked, substituted, coherent)"
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


class CounterFactRecord(BaseModel):
    """A record of CounterFact (Meng et al. 2202.05262) as knowledge-editing tools write it.

    Other fields than these are left alone: the files of different tools add their own.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    prompt: Words
    subject: Words
    ground_truth: Words
    target_new: Words
    rephrase_prompt: Words | None = None
    case_id: int | str | None = None

    @model_validator(mode="after")
    def _contradicts(self) -> Self:
        if self.ground_truth.lower() == self.target_new.lower():
            raise ValueError("ground_truth and target_new are the same answer")
        return self

    def fact(self, number: int) -> ContextFact:
        """The fact of the record with that number; a passage is made of both wordings."""
        other = self.rephrase_prompt
        stated = f"{self.prompt} {self.target_new}."
        return ContextFact(
            id=str(self.case_id if self.case_id is not None else number),
            subject=self.subject,
            original=self.ground_truth,
            substitute=self.target_new,
            asked=self.prompt,
            paraphrases=(other,) if other else (),
            substituted=stated,
            coherent=f"{stated} {other} {self.target_new}." if other else stated,
        )


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
        if self.original.lower() == self.substitute.lower():
            raise ValueError("original and substitute are the same answer")
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
    kind = StatedFact if _OURS & record.keys() and "prompt" not in record else CounterFactRecord
    try:
        return kind.model_validate(record).fact(number)
    except ValidationError as error:
        problem, field = first_problem(error)
        if error.errors()[0]["type"] == "missing":
            problem = f"is not there; {FORMS}"
        raise DataError(f"record {number}: {problem}", path=path, line=line, field=field) from error
