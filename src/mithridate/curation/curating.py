"""A curation from its files to its decisions: looked at once, filtered, chosen from, and compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from mithridate.core.errors import ConfigError
from mithridate.core.seeds import derive_seed
from mithridate.core.strict import Strict, problem
from mithridate.core.wording import counted
from mithridate.curation.duplicates import exact_duplicates, near_duplicates
from mithridate.curation.filters import ExactDuplicates, Filter, FilterOptions, NearDuplicates
from mithridate.curation.methods import asked_filters, method_named
from mithridate.curation.pool import Method, MethodOptions, Pool, Rows, Selection
from mithridate.curation.reading import SOURCE_FIELD, Reader, data_files
from mithridate.curation.surveying import OnStage, Survey, survey
from mithridate.curation.vectors import nearest
from mithridate.retrieval.base import Encoder

Options = TypeVar("Options", bound=Strict)


@dataclass(frozen=True)
class CurationOptions:
    """What is to be chosen, and how. The baselines ask no filter but those that nothing goes without."""

    n: int
    method: str = "diverse"
    options: MethodOptions | None = None
    filters: FilterOptions = field(default_factory=FilterOptions)
    seed: int = 0
    source_field: str = SOURCE_FIELD

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ConfigError(f"n is {self.n}: at least one example must be asked for")
        method_named(self.method)

    @property
    def chooser(self) -> Method:
        """The method."""
        return method_named(self.method)

    @property
    def method_options(self) -> MethodOptions:
        """The options of the method; its own defaults where none were given."""
        return self.options if self.options is not None else self.chooser.options_type()

    @property
    def asked(self) -> FilterOptions:
        """The filters that this method asks."""
        return asked_filters(self.method, self.filters)


def options_of(method: str, given: dict[str, Any]) -> MethodOptions:
    """The options of a method from their names and values. Raises ConfigError naming what is wrong."""
    return _checked(f"method {method}", method_named(method).options_type, given)


def filters_of(given: dict[str, Any]) -> FilterOptions:
    """The options of the filters, as `{"length": {"shortest": 100}, "off": ["refusal"]}`; errors alike."""
    return _checked("filters", FilterOptions, given)


def _checked(what: str, kind: type[Options], given: dict[str, Any]) -> Options:
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        problems = "; ".join(problem(kind, one, "options") for one in error.errors(include_url=False))
        raise ConfigError(f"{what}: {problems}") from error


@dataclass(frozen=True)
class Looked:
    """What the first pass found, and what of it a method may choose from.

    `filters` (n,) are numbers into `asked`, or -1; `repeats` (n,) is the row of which it is a duplicate, or
    -1. `passed` are the rows of `pool`, in its order.
    """

    options: CurationOptions
    reader: Reader
    found: Survey
    asked: tuple[Filter, ...]
    filters: NDArray[np.int8]
    repeats: Rows
    passed: Rows
    pool: Pool

    def of_source(self, name: str) -> Looked:
        """The same with the examples of one source alone to choose from; there may be none."""
        rows, pool = self.pool.of_source(name)
        return replace(self, passed=self.passed[rows], pool=pool)

    def choose(self, n: int) -> Selection:
        """The method's choice of `n`. Raises ConfigError where fewer passed the filters."""
        _require(len(self.pool), n, len(self.found), self.asked, self.filters)
        return self.options.chooser.choose(self.pool, n, self.options.method_options)


@dataclass(frozen=True)
class Curated:
    """All that was decided, a row an example of `found`, in the order of the files.

    `filters` (n,) are numbers into `asked`, or -1; `repeats` (n,) is the row of which it is a duplicate, or
    -1. `chosen` are rows in the order of their choice; `passed` are those that the method saw, in the order
    of `selection`. `nearest` (n,) points into `chosen`, `squared` on the scale of the grid.
    """

    options: CurationOptions
    reader: Reader
    found: Survey
    asked: tuple[Filter, ...]
    filters: NDArray[np.int8]
    repeats: Rows
    passed: Rows
    selection: Selection
    chosen: Rows
    nearest: Rows
    squared: NDArray[np.float32]


def curate(
    data: Sequence[Path],
    options: CurationOptions,
    encoder: Encoder,
    scratch: Path,
    on_stage: OnStage | None = None,
) -> Curated:
    """Choose examples of the files or folders `data`; working files go to the folder `scratch`.

    Which are chosen depends on their words, their sources, the options and the seed, not on the order of
    files or lines (with an encoder whose vectors depend on nothing else, as those of `hashing`). Raises
    DataError for what cannot be read, ConfigError where fewer are left than are asked for.
    """
    tell = on_stage if on_stage is not None else _silent
    looked = look(data, options, encoder, scratch, tell)
    tell(f"choosing {options.n:,} of {len(looked.pool):,}", 0, None)
    selection = looked.choose(options.n)
    chosen = looked.passed[selection.rows]
    tell("looking at what was covered", 0, None)
    which, squared = nearest(looked.found.vectors, chosen)
    return Curated(
        options,
        looked.reader,
        looked.found,
        looked.asked,
        looked.filters,
        looked.repeats,
        looked.passed,
        selection,
        chosen,
        which,
        squared,
    )


def look(
    data: Sequence[Path],
    options: CurationOptions,
    encoder: Encoder,
    scratch: Path,
    on_stage: OnStage | None = None,
) -> Looked:
    """Look at every example of `data` once, and ask the filters: what several choices can be made from.

    Raises DataError for what cannot be read, ConfigError for a field of sources that nothing has.
    """
    tell = on_stage if on_stage is not None else _silent
    reader = Reader(data_files(data), options.source_field)
    asked = tuple(options.asked.on())
    found = survey(reader, list(asked), encoder, scratch, tell)
    reader.require_sources()
    draws = _draws(found.digests, options.seed)
    tell("comparing examples", 0, None)
    filters, repeats = _without_duplicates(found, asked, draws)
    passed = np.flatnonzero(filters == -1)
    passed = passed[np.lexsort((found.digests[passed], draws[passed]))]
    pool = Pool(
        vectors=found.vectors[passed],
        draws=draws[passed].astype(np.float64) / 2.0**64,
        sources=found.sources[passed],
        names=found.source_names,
        characters=found.characters[passed],
        scores=found.scores[passed],
    )
    return Looked(options, reader, found, asked, filters, repeats, passed, pool)


def _silent(what: str, done: int, total: int | None) -> None:
    """For who does not look on."""


def _draws(digests: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    """A draw for each conversation from its own hash and the seed (the finaliser of SplitMix64)."""
    mixed = digests ^ np.uint64(derive_seed(seed, "curation"))
    for factor in (0xBF58476D1CE4E5B9, 0x94D049BB133111EB):
        mixed ^= mixed >> np.uint64(30)
        mixed *= np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


def _without_duplicates(
    found: Survey, asked: tuple[Filter, ...], draws: NDArray[np.uint64]
) -> tuple[NDArray[np.int8], Rows]:
    """The filter that drops each row, those for duplicates among them, and which row it repeats."""
    filters, repeats = found.filters.copy(), np.full(len(found), -1, np.int64)
    for number, rule in enumerate(asked):
        kept = np.flatnonzero(filters == -1)
        if isinstance(rule, ExactDuplicates):
            # Of equal conversations, that of the first source by name, and of its first file.
            order = np.argsort(found.sources[kept], kind="stable")
            again = exact_duplicates(found.digests[kept], order)
        elif isinstance(rule, NearDuplicates):
            # The longest first; of equally long ones the lowest draw.
            order = np.lexsort((draws[kept], -found.words[kept]))
            kept = kept[order]
            again = near_duplicates(found.signatures[kept], rule.similarity)
        else:
            continue
        dropped = again >= 0
        filters[kept[dropped]] = number
        repeats[kept[dropped]] = kept[again[dropped]]
    return filters, repeats


def _require(left: int, n: int, read: int, asked: tuple[Filter, ...], filters: NDArray[np.int8]) -> None:
    if left >= n:
        return
    took = ", ".join(
        f"{rule.name} {count:,}"
        for number, rule in enumerate(asked)
        if (count := int((filters == number).sum()))
    )
    raise ConfigError(
        f"{n:,} examples asked for, and {left:,} left of {counted(read, 'example')}; the filters took: "
        f"{took or 'none'}. Ask for fewer, or loosen a filter"
    )
