"""Which documents of a corpus look planted, and why; honest documents are among them, see each rule.

With queries, the corpus is searched as it is, and what the defences observe about the hits is told. Without,
there is only what documents show by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from mithridate.core.errors import ConfigError, shown
from mithridate.core.types import Document
from mithridate.retrieval.base import Encoder, Hit, Mode, Reason
from mithridate.retrieval.consensus import Consensus
from mithridate.retrieval.index import GuardedIndex
from mithridate.retrieval.ragmask import RAGMask
from mithridate.retrieval.ragpart import RAGPart
from mithridate.retrieval.scan_records import (
    AGREEING,
    RULES,
    SEVERAL,
    SPAN,
    VOTES,
    Finding,
    Level,
    Rule,
    ScanReport,
)
from mithridate.retrieval.scan_texts import near_copies, questions

ScanProgress: TypeAlias = Callable[[str, int, int | None], object]
"""Called with what is done now, how much of it is done, and of how much where that is known."""


_Read: TypeAlias = tuple[float, bool, str]
"""How clear a sign is, whether it is a warning, and what more is to be said."""

_MANY_COPIES = 3


@dataclass(frozen=True, slots=True)
class ScanOptions:
    """What counts as a sign.

    Hits: the first `top_k` of each query are looked at. A span's warning needs the match to fall by `fall`
    of itself, votes' by fewer than `votes` of the combinations; less is a note. Texts: `copies` is the cosine
    of near-copies, `nearer` the share of documents that may be nearer to a leading question than its rest.

    Raises ConfigError for a number that cannot be.
    """

    top_k: int = 5
    fall: float = 0.4
    votes: float = 0.1
    copies: float = 0.95
    nearer: float = 0.05

    def __post_init__(self) -> None:
        if self.top_k < 1:
            raise ConfigError(f"top_k is {self.top_k}, but must be at least 1")
        for name in ("fall", "votes", "copies", "nearer"):
            if not 0 <= (value := getattr(self, name)) <= 1:
                raise ConfigError(f"{name} is {value}, but must lie between 0 and 1")


def scan(
    documents: Iterable[Document],
    encoder: Encoder,
    queries: Mapping[str, str] | None = None,
    options: ScanOptions | None = None,
    progress: ScanProgress | None = None,
) -> ScanReport:
    """Look at all `documents`, and at what comes up for `queries` (texts by identifier) where there are any.

    The same corpus, encoder and queries give the same report. Raises DocumentError for identifiers that come
    twice or no document, QueryError for an empty query, ConfigError for options that cannot be.
    """
    options, queries = options or ScanOptions(), queries or {}
    tell = progress or (lambda *_: None)
    index = GuardedIndex.build(
        documents,
        encoder,
        retriever=RAGPart(),
        rerankers=(RAGMask(), Consensus()) if queries else (),
        mode=Mode.OBSERVE,
        progress=lambda done, total: tell("encoding the corpus", done, total),
    )
    rows, whole = index.documents, index.vectors.whole
    found = near_copies(rows, whole, options.copies)
    found += questions(rows, whole, encoder, options.nearer)
    found += _of_hits(index, queries, options, tell)
    found += _several(found)
    return ScanReport(
        documents=len(rows),
        queries=len(queries),
        encoder=encoder.identity,
        findings=_ordered(found),
        warnings=list(index.warnings),
    )


def _of_hits(
    index: GuardedIndex, queries: Mapping[str, str], options: ScanOptions, tell: ScanProgress
) -> list[Finding]:
    """For each document and rule, the clearest finding over all queries, with how many show it."""
    clearest: dict[tuple[int, str], tuple[float, Finding]] = {}
    shown_by: dict[tuple[int, str], int] = {}
    row_of = {document.id: row for row, document in enumerate(index.documents)}
    for number, (name, text) in enumerate(queries.items(), 1):
        for hit in index.search(text, options.top_k).hits:
            for strength, finding in _signs(hit, row_of[hit.document.id], name, text, options):
                key = (finding.row, finding.rule)
                shown_by[key] = shown_by.get(key, 0) + 1
                if key not in clearest or strength > clearest[key][0]:
                    clearest[key] = strength, finding
        tell("searching", number, len(queries))
    return [
        finding.model_copy(update={"evidence": {**finding.evidence, "queries": shown_by[key]}})
        for key, (_, finding) in clearest.items()
    ]


def _signs(hit: Hit, row: int, name: str, text: str, options: ScanOptions) -> Iterator[tuple[float, Finding]]:
    """What the defences find suspicious about a hit, which is document `row`, and how clear each is."""
    for reason in hit.reasons:
        if reason.suspicious and reason.defense in _READ:
            rule, read = _READ[reason.defense]
            strength, grave, quoted = read(reason, hit.document.text, options)
            message = f"for the query {shown(text, 100)}: {reason.says}{quoted}"
            evidence = {"query": name, **reason.evidence}
            level = Level.WARNING if grave else Level.NOTE
            yield strength, rule.finding(row, hit.document.id, message, evidence, level)


def _read_span(reason: Reason, text: str, options: ScanOptions) -> _Read:
    before, left = reason.evidence["similarity"], reason.evidence["similarity_left"]
    fall = (before - left) / before if before > 0 else 0.0
    start, end = reason.evidence["carriers"][0]
    return fall, fall >= options.fall, f"; the first is {shown(text[start:end], 120)}"


def _read_votes(reason: Reason, text: str, options: ScanOptions) -> _Read:  # noqa: ARG001 - as the others
    share = reason.evidence["votes"] / reason.evidence["combinations"]
    return 1 - share, share <= options.votes, ""


def _read_copies(reason: Reason, text: str, options: ScanOptions) -> _Read:  # noqa: ARG001 - as the others
    copies = reason.evidence["cluster"]
    return copies, copies >= _MANY_COPIES, ""


_READ: dict[str, tuple[Rule, Callable[[Reason, str, ScanOptions], _Read]]] = {
    RAGMask.name: (SPAN, _read_span),
    RAGPart.name: (VOTES, _read_votes),
    Consensus.name: (AGREEING, _read_copies),
}


def _several(found: Sequence[Finding]) -> list[Finding]:
    """One finding for each document that two rules or more warn of."""
    warned: dict[int, dict[str, Finding]] = {}
    for finding in found:
        if finding.level is Level.WARNING:
            warned.setdefault(finding.row, {})[finding.rule] = finding
    return [
        SEVERAL.finding(
            row,
            next(iter(rules.values())).document,
            f"{len(rules)} rules warn of it: {', '.join(sorted(rules))}",
            {"rules": [*sorted(rules)]},
        )
        for row, rules in warned.items()
        if len(rules) > 1
    ]


def _ordered(found: Sequence[Finding]) -> list[Finding]:
    rules = [rule.id for rule in RULES]
    return sorted(found, key=lambda one: (-one.level.rank, one.row, rules.index(one.rule)))
