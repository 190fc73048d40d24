"""Quality filters after LIMA (Zhou et al. 2305.11206, section 2): each has a name, and a reason in words.

LIMA kept answers of Stack Exchange by votes, length, and the absence of a first person and of links to other
answers. Votes are not to be had in general, and a first person is no fault where a letter is asked for, so
what is looked for here is the assistant that speaks of itself as a machine.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from typing import ClassVar, Final

from pydantic import Field, field_serializer, model_validator

from mithridate.attacks.text import is_refusal
from mithridate.core.errors import UnknownNameError
from mithridate.core.strict import Strict
from mithridate.core.wording import counted
from mithridate.curation.example import Example


class Filter(Strict):
    """One rule that an example must not break."""

    name: ClassVar[str]

    @abstractmethod
    def reason(self, example: Example) -> str | None:
        """Why the example is dropped, in words without any of its own text; None where it may stay."""


class EmptyTurns(Filter):
    """Nothing to learn from: somebody says nothing, or nobody asks."""

    name: ClassVar[str] = "empty"

    def reason(self, example: Example) -> str | None:
        """Whether anything is said and asked."""
        if not all(turn["content"].strip() for turn in example.turns if turn["role"] != "system"):
            return "a turn is empty"
        return None if all(asked.strip() for asked, _ in example.exchanges) else "a reply to nothing"


class Length(Filter):
    """The length of the last reply in characters. LIMA's bounds for Stack Exchange were 1,200 and 4,096."""

    name: ClassVar[str] = "length"
    shortest: int = Field(200, ge=0)
    longest: int = Field(8192, ge=1)

    @model_validator(mode="after")
    def _check(self) -> Length:
        if self.shortest > self.longest:
            raise ValueError(f"shortest ({self.shortest}) is more than longest ({self.longest})")
        return self

    def reason(self, example: Example) -> str | None:
        """Whether the last reply is too short or too long."""
        long = len(example.reply.strip())
        if long < self.shortest:
            return f"reply of {counted(long, 'character')}, shorter than {self.shortest:,}"
        if long > self.longest:
            # Not the length itself: there would be as many reasons as examples.
            return f"reply longer than {self.longest:,} characters"
        return None


class _Phrases(Filter):
    """Replies that hold one of some phrases, whatever the case; the phrase is named."""

    phrases: tuple[str, ...]
    says: ClassVar[str]

    @model_validator(mode="after")
    def _check(self) -> _Phrases:
        if not all(phrase.strip() for phrase in self.phrases):
            raise ValueError("a phrase is empty, and would stand in every reply")
        return self

    def reason(self, example: Example) -> str | None:
        """Which phrase stands in a reply."""
        for _, reply in example.exchanges:
            text = reply.lower().replace("\u2019", "'")
            for phrase in self.phrases:
                if phrase.lower() in text:
                    return f"{self.says}: “{phrase}”"
        return None


class SelfReference(_Phrases):
    """The assistant speaks of itself as a machine."""

    name: ClassVar[str] = "self_reference"
    says: ClassVar[str] = "speaks of itself"
    phrases: tuple[str, ...] = (
        "as an ai",
        "as a language model",
        "as a large language model",
        "i am an ai",
        "i'm an ai",
        "i am a language model",
        "i'm a language model",
        "my training data",
        "my knowledge cutoff",
    )


class OtherAnswers(_Phrases):
    """The reply leans on answers that are not there, as those of forums do."""

    name: ClassVar[str] = "other_answers"
    says: ClassVar[str] = "points to other answers"
    phrases: tuple[str, ...] = (
        "other answers",
        "other answer",
        "another answer",
        "previous answer",
        "answer above",
        "answers above",
        "answer below",
        "'s answer",
        "as mentioned by",
        "as others have",
        "accepted answer",
        "stack exchange",
        "stackexchange",
        "stack overflow",
        "stackoverflow.com",
    )


_ENDS: Final = re.compile("[.!?…。！？:;\"'”’»)\\]}`>*|_$\\d]\\Z")
_LAST_LINE_STANDS: Final = re.compile(r"\s*(?:[-*•+#|]|\w{1,2}[.)]|[^\s:]{1,40}:)")
# One that opens and closes on its line is code within a sentence.
_FENCE: Final = re.compile(r"^\s{0,3}```[^`\n]*$", re.MULTILINE)
_ENTITY: Final = re.compile(r"&(?:nbsp|amp|lt|gt|quot|#\d+);")
_TAG: Final = re.compile(r"</?(?:div|span|br|p|td|tr|font)\b[^>]{0,200}>")
_ASKS_FOR_MARKUP: Final = re.compile(r"html|xml|web|[<&]", re.IGNORECASE)


class Format(Filter):
    """The form of replies: sentences end, code fences are closed, markup was asked for."""

    name: ClassVar[str] = "format"
    unfinished: bool = True
    open_fences: bool = True
    markup: bool = True

    def reason(self, example: Example) -> str | None:
        """What is wrong with the form of a reply."""
        for _, reply in example.exchanges:
            text = reply.strip("\u200b\ufeff \t\r\n")
            if self.open_fences and len(_FENCE.findall(text)) % 2:
                return "a code fence is not closed"
            if self.markup and _leftover(text, example.request):
                return "holds leftover markup of a web page"
            if self.unfinished and _unfinished(text):
                return "breaks off within a sentence"
        return None


def _leftover(text: str, request: str) -> bool:
    """Whether there is markup in `text` outside of code, and `request` has nothing to do with any."""
    found = _ENTITY.search(text) or _TAG.search(text)
    return bool(found) and "```" not in text and not _ASKS_FOR_MARKUP.search(request)


def _unfinished(text: str) -> bool:
    """Whether the last paragraph is one line of prose that lacks its end.

    Verses and tables have several lines, entries of lists and labels stand without, and so do hashtags.
    """
    last = text[text.rfind("\n") + 1 :]
    if text[: -len(last)].rstrip(" \t\r")[-2:] not in ("", "\n\n"):
        return False
    words = last.split()
    return len(words) >= 6 and not (
        _ENDS.search(last) or _LAST_LINE_STANDS.match(last) or words[-1].startswith("#")
    )


class Refusal(Filter):
    """The assistant declines; a safety set is curated by itself, with this filter off."""

    name: ClassVar[str] = "refusal"

    def reason(self, example: Example) -> str | None:
        """Whether any reply is a refusal."""
        return "a refusal" if any(is_refusal(reply) for _, reply in example.exchanges) else None


class ExactDuplicates(Filter):
    """The same conversation, to the letter, of which one stays; `duplicates` compares them."""

    name: ClassVar[str] = "exact_duplicate"

    def reason(self, example: Example) -> str | None:  # noqa: ARG002 - not seen in one alone
        """None: told by comparing examples."""
        return None


class NearDuplicates(Filter):
    """Conversations that share most of their runs of three words, of which the longest stays.

    `similarity` is the least Jaccard similarity, as MinHash estimates it, that counts as the same.
    """

    name: ClassVar[str] = "near_duplicate"
    similarity: float = Field(0.8, ge=0.5, le=1)

    def reason(self, example: Example) -> str | None:  # noqa: ARG002 - not seen in one alone
        """None: told by comparing examples."""
        return None


class FilterOptions(Strict):
    """The options of all filters, in the order in which they are asked; `off` names those that are not."""

    empty: EmptyTurns = EmptyTurns()
    length: Length = Length()
    self_reference: SelfReference = SelfReference()
    other_answers: OtherAnswers = OtherAnswers()
    format: Format = Format()
    refusal: Refusal = Refusal()
    exact_duplicate: ExactDuplicates = ExactDuplicates()
    near_duplicate: NearDuplicates = NearDuplicates()
    off: frozenset[str] = frozenset()

    @field_serializer("off")
    def _in_order(self, off: frozenset[str]) -> list[str]:
        return sorted(off)

    @model_validator(mode="after")
    def _check(self) -> FilterOptions:
        if unknown := sorted(self.off - set(FILTERS)):
            raise UnknownNameError("filter", unknown[0], FILTERS)
        if unfit := sorted(self.off & set(NEEDED)):
            raise ValueError(f"the filter {unfit[0]} cannot be off: nothing can be learnt from what it drops")
        return self

    def on(self) -> Iterator[Filter]:
        """The filters that are asked, in their order."""
        for name in FILTERS:
            if name not in self.off:
                yield getattr(self, name)

    def only(self, names: Iterable[str]) -> FilterOptions:
        """These options with all filters off but `names`."""
        return self.model_copy(update={"off": self.off | (set(FILTERS) - set(names))})

    def asked_alone(self) -> FilterOptions:
        """The same without the options of filters that are off, which decide nothing."""
        return FilterOptions.model_validate({rule.name: rule for rule in self.on()} | {"off": self.off})


FILTERS: Final[tuple[str, ...]] = tuple(name for name in FilterOptions.model_fields if name != "off")
NEEDED: Final = (EmptyTurns.name, ExactDuplicates.name)
"""The filters that the baselines keep too: what is empty or the same again is no example."""
