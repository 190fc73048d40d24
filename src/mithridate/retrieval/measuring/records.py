"""The records of a benchmark of defences, as they are kept on disk: figures and intervals, no verdict."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar

from pydantic import BeforeValidator, Field, ValidationError

from mithridate.core.artifacts import write_atomic
from mithridate.core.errors import DataError
from mithridate.core.statistics import Interval
from mithridate.core.strict import Strict, first_problem
from mithridate.retrieval.encoders.texts import readable
from mithridate.retrieval.json_lines import read_json

FORMAT_VERSION: Final = 2
NDCG_DEPTH = 10
"""How many hits nDCG looks at."""
PLAIN = "plain"
"""The defence that every other is compared with: none. It is measured whether it was asked for or not."""


def _told(value: object) -> object:
    # Half a surrogate pair, which corpora hold, cannot be written as UTF-8.
    return readable(value) if isinstance(value, str) else value


Text = Annotated[str, BeforeValidator(_told)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Depth = Annotated[int, Field(ge=1)]

T = TypeVar("T", bound=Strict)


class Figure(Strict):
    """A mean over `n` queries with its 95 % interval, if it has one."""

    value: float
    low: float | None
    high: float | None
    n: Count

    @classmethod
    def of(cls, interval: Interval) -> Figure:
        """As a record."""
        return cls(value=interval.value, low=interval.low, high=interval.high, n=interval.n)


class FigureAt(Strict):
    """A figure for answers of `k` hits."""

    k: Depth
    figure: Figure


class Versions(Strict):
    """What measured: releases of Python, of this package, and of libraries that figures depend on."""

    python: Text
    packages: dict[Text, Text]


class Settings(Strict):
    """What was measured, and how.

    `queries` were drawn by `seed` from those that have a relevant document (`judged` of the drawn have one),
    or from all where none has; `split` names the judgements in a BEIR folder, and is None for other corpora.
    Each of `top_ks` is asked for by itself, as an application would, since defences look as far as they are
    asked for. Of the texts of an attack, planted together for all attacked queries, the first 1, 2, ... a
    query are planted for each of `copies`. Times are taken on `timed_queries` of the queries, with answers of
    `timed_k` hits.
    """

    corpus: Text
    corpus_digest: str
    documents: Count
    queries: Count
    judged: Count
    split: Text | None = None
    encoder: Text
    dimension: Depth
    top_ks: list[Depth]
    copies: list[Depth]
    attacks: list[Text]
    defenses: list[Text]
    """Chains as they are written, such as "ragpart+ragmask(delta=0.1)"; `PLAIN` is always the first."""
    seed: int
    timed_queries: Count
    timed_k: Depth
    versions: Versions


class Example(Strict):
    """A planted text, for readers to look at: it may hold anything, HTML and terminal escapes too."""

    document: Text
    query: Text
    text: Text
    """Cut where it is long."""
    cut: bool


class AttackRecord(Strict):
    """What an attack planted: `attacked` queries got texts, `skipped` got none.

    `words` is the median length of the texts, None where there are none.
    """

    attack: Text
    attacked: Count
    skipped: Count
    words: float | None
    examples: list[Example]


class AttackAt(Strict):
    """Answers of `k` hits under attack; means over the attacked queries.

    `asr`: a document planted for this query is among them. `any_planted`: one planted for any query is.
    `sr`: a relevant one is (None where no attacked query has any). `poison`: share of the hits that are
    planted, for whatever query.
    """

    k: Depth
    asr: Figure
    any_planted: Figure
    sr: Figure | None
    poison: Figure


class AttackBand(Strict):
    """Attacked queries whose planted documents have between `least` and `most` words."""

    least: float
    most: float
    queries: Count
    asr: list[FigureAt]


class FoundUnderAttack(Strict):
    """The ranks, from 1, of documents planted for the query, planted for others, and relevant ones."""

    k: Depth
    hits: Count
    own: list[Depth]
    others: list[Depth]
    relevant: list[Depth]


class AttackRow(Strict):
    """One attacked query; `words` is the mean number of words of its planted documents."""

    query: Text
    words: float
    judged: bool
    found: list[FoundUnderAttack]


class AttackResult(Strict):
    """One defence under one attack with so many copies a query.

    `by_length` splits the attacked queries at the tertiles of the words of their planted documents, the same
    for all defences.
    """

    attack: Text
    copies: Depth
    defense: Text
    planted: Count
    at: list[AttackAt]
    by_length: list[AttackBand]
    rows: list[AttackRow]


class CleanAt(Strict):
    """Answers of `k` hits on the clean corpus.

    `recall`, and `sr` (a relevant document is among them), over the judged queries; None where there is none.
    Nothing is planted here, so what looks planted does so falsely. `dropped_hits` is the share of the plain
    search's first `k` that mode "drop" would leave out because they look planted, wherever the defence ranks
    them, in the mean over all queries; `dropped_queries` the share of queries with such a hit. The floor,
    which lets some come back, is not counted in. A hit that a retriever does not bring up looks like nothing
    to it, and is not among them: that shows in recall and nDCG.
    """

    k: Depth
    recall: Figure | None
    sr: Figure | None
    dropped_hits: Figure
    dropped_queries: Figure


class CleanBand(Strict):
    """Judged queries whose relevant documents have between `least` and `most` words, in the mean."""

    least: float
    most: float
    queries: Count
    ndcg: Figure
    recall: list[FigureAt]


class FoundClean(Strict):
    """The ranks, from 1, of relevant documents; `dropped` are ranks among the `plain` hits that the plain
    search has, of those that mode "drop" would leave out.
    """

    k: Depth
    hits: Count
    relevant: list[Depth]
    plain: Count
    dropped: list[Depth]
    recall: Share | None


class CleanRow(Strict):
    """One query on the clean corpus; `words` is the mean of its relevant documents, `ndcg` at NDCG_DEPTH."""

    query: Text
    words: float | None
    ndcg: Share | None
    found: list[FoundClean]


class Cost(Strict):
    """What a defence takes.

    Milliseconds from a query's vector to its answer of `k` hits, the encoding of the query left out, on one
    process, with what can be kept from query to query kept (RAGMask's masked documents). `encodings` is the
    mean number of texts encoded a query then, `encodings_cold` the same where nothing was kept. Index and
    build are those of the vectors that this defence needs; `build_seconds` is None where some came from a
    cache.
    """

    k: Depth
    ms_median: float = Field(ge=0)
    ms_p95: float = Field(ge=0)
    encodings: float = Field(ge=0)
    encodings_cold: float = Field(ge=0)
    index_bytes: Count
    build_encodings: Count
    build_seconds: float | None


class CleanResult(Strict):
    """One defence on the clean corpus.

    `ndcg` at `NDCG_DEPTH`; `ndcg_loss` is that of the plain search less this one, query by query. Both are
    None without judged queries.
    """

    defense: Text
    ndcg: Figure | None
    ndcg_loss: Figure | None
    at: list[CleanAt]
    by_length: list[CleanBand]
    cost: Cost
    rows: list[CleanRow]


class BenchResult(Strict):
    """A whole benchmark. `clean` has a record a defence, `attacked` one a defence, attack and copies."""

    format: Literal["mithridate-guard-bench"] = "mithridate-guard-bench"
    version: Literal[2] = FORMAT_VERSION
    settings: Settings
    attacks: list[AttackRecord]
    clean: list[CleanResult]
    attacked: list[AttackResult]
    warnings: list[Text]

    def clean_of(self, defense: str) -> CleanResult:
        """The record of a defence on the clean corpus; KeyError if it was not measured."""
        return {one.defense: one for one in self.clean}[defense]

    def attack_of(self, attack: str, copies: int, defense: str) -> AttackResult:
        """The record of a defence under an attack; KeyError if it was not measured."""
        known = {(one.attack, one.copies, one.defense): one for one in self.attacked}
        return known[attack, copies, defense]


def save_result(result: Strict, path: Path) -> None:
    """Write a record whole, or not at all; StorageError where it cannot be."""
    write_atomic(path, result.model_dump_json(indent=1) + "\n")


def load_result(path: Path, kind: type[T]) -> T:
    """The record that `save_result` wrote.

    Raises DataError naming file and field for what cannot be read, and for a record of another release.
    """
    try:
        return kind.model_validate(read_json(path))
    except ValidationError as error:
        problem, field = first_problem(error)
        expected = f"expected a {kind.__name__} that this release wrote: measure again"
        raise DataError(f"{problem}; {expected}", path=path, field=field) from error
