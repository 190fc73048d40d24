"""What a benchmark measured so far, kept in a folder, so that one that was killed goes on."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence, Set
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from mithridate.core.artifacts import fingerprint
from mithridate.core.errors import ConfigError, DataError
from mithridate.core.strict import Strict
from mithridate.core.types import Document
from mithridate.retrieval.measuring.records import (
    AttackRow,
    CleanRow,
    Cost,
    Count,
    Text,
    load_result,
    save_result,
)

_log = logging.getLogger("mithridate.retrieval")

R = TypeVar("R", bound=Strict)


class PlantedText(Strict):
    """A document that an attack wrote for a query."""

    id: Text
    query: Text
    text: Text


class PlantedTexts(Strict):
    """All that an attack wrote; of each query, in the order of its copies."""

    documents: list[PlantedText]

    @classmethod
    def of(cls, documents: Sequence[Document], attack: str, taken: Set[str]) -> PlantedTexts:
        """What an attack wrote; identifiers that are `taken` by the corpus are numbered on.

        Raises ConfigError for a document that does not say for which query it is.
        """
        for document in documents:
            if "query" not in document.meta:
                raise ConfigError(
                    f"attack {attack!r} wrote {document.id!r} without naming its query; expected "
                    "its identifier in meta['query']"
                )
        used = {*taken, *(one.id for one in documents)}
        planted = []
        for one in documents:
            name = _numbered_on(one.id, used) if one.id in taken else one.id
            used.add(name)
            planted.append(PlantedText(id=name, query=one.meta["query"], text=one.text))
        return cls(documents=planted)

    def by_query(self) -> dict[str, list[Document]]:
        """The documents of each query."""
        found: dict[str, list[Document]] = {}
        for one in self.documents:
            found.setdefault(one.query, []).append(Document(one.id, one.text))
        return found


def _numbered_on(name: str, used: Set[str]) -> str:
    return next(one for one in (f"{name}:{number}" for number in count(1)) if one not in used)


class CleanCell(Strict):
    """One defence on the clean corpus."""

    rows: list[CleanRow]
    cost: Cost


class AttackCell(Strict):
    """One defence under one attack; `planted` counts the documents."""

    planted: Count
    rows: list[AttackRow]


class Notes(Strict):
    """What is to be said of a corpus."""

    warnings: list[Text]


class Cells:
    """Measured parts by what they depend on, in `folder`, or nowhere where it is None.

    `common` is what all of them depend on. A part that depends on something else than what is kept is another
    part: a benchmark that is widened measures what is new.
    """

    def __init__(self, folder: Path | None, common: Mapping[str, Any]) -> None:
        self._folder, self._common = folder, dict(common)

    def find(self, kind: type[R], depends: Mapping[str, Any]) -> R | None:
        """The part of that kind that depends on this, if it was measured; a damaged one was not."""
        path = self._path(kind, depends)
        if path is None or not path.exists():
            return None
        try:
            return load_result(path, kind)
        except DataError as error:
            _log.warning("%s", error)
            return None

    def keep(self, part: Strict, depends: Mapping[str, Any]) -> None:
        """Keep what was measured; StorageError where that cannot be."""
        if (path := self._path(type(part), depends)) is not None:
            save_result(part, path)

    def _path(self, kind: type[Strict], depends: Mapping[str, Any]) -> Path | None:
        if self._folder is None:
            return None
        return self._folder / f"{kind.__name__.lower()}-{fingerprint({**self._common, **depends})}.json"
