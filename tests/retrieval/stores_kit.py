"""A store in a dictionary, which can be told to fail or to overlook documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from mithridate.core.errors import StoreUnavailableError
from mithridate.retrieval.base import Vectors
from mithridate.retrieval.stores.base import About, Candidate, Entry, Searched


class DictStore:
    name = "a dictionary"

    def __init__(self, *, overlooks: Sequence[str] = ()) -> None:
        self.about: About | None = None
        self.held: dict[str, Entry] = {}
        self.down: set[str] = set()
        self.overlooks = set(overlooks)

    def _answers(self, method: str) -> None:
        if method in self.down:
            raise StoreUnavailableError(f"{self.name} is gone")

    def prepare(self, about: About) -> None:
        self._answers("prepare")
        if self.about is not None:
            about.check(self.about, self.name)
        self.about = about

    def put(self, entries: Sequence[Entry]) -> None:
        self._answers("put")
        self.held |= {entry.document.id: entry for entry in entries}

    def delete(self, ids: Sequence[str]) -> None:
        for one in ids:
            self.held.pop(one, None)

    def nearest(self, query: Vectors, by: Searched, limit: int) -> list[Candidate]:
        self._answers("nearest")
        found = [
            Candidate(entry.document, float((entry.whole if by == "whole" else entry.mean()) @ query))
            for entry in self.held.values()
            if entry.document.id not in self.overlooks
        ]
        return sorted(found, key=lambda one: -one.score)[:limit]

    def vectors(self, ids: Sequence[str]) -> Mapping[str, tuple[Vectors, Vectors]]:
        self._answers("vectors")
        return {one: (self.held[one].whole, self.held[one].fragments) for one in ids if one in self.held}

    def entries(self) -> Iterator[list[Entry]]:
        held = list(self.held.values())
        for start in range(0, len(held), 7):
            yield held[start : start + 7]

    def close(self) -> None:
        pass

    def __len__(self) -> int:
        return len(self.held)
