"""Folders of text files: a document a file, a shard a folder, planted documents new files."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from mithridate.core.artifacts import fingerprint, storage_errors
from mithridate.core.errors import DataError
from mithridate.core.types import Document
from mithridate.corpus.counting import TokenCounter
from mithridate.corpus.shards import (
    Insertions,
    Placed,
    Record,
    Shard,
    Surveyed,
    sha256_bytes,
    stamp_of,
    tokens_of,
)

SUFFIX = ".txt"
# In bytes, as file systems have it; a head leaves room for a number.
_LONGEST_NAME = 255
_LONGEST_HEAD = 200


@dataclass(frozen=True)
class TextFolder(Shard):
    """The `.txt` files directly in one folder, in the order of their names; or the file `only`.

    Its hash is that of the names and the hashes of its files. Names of all files are held in memory, their
    contents one at a time.
    """

    only: str = ""

    format: ClassVar[str] = "txt"
    reversible: ClassVar[bool] = True

    def names(self) -> list[str]:
        """Names of the files, sorted."""
        return [self.only] if self.only else text_names(self.path)

    def documents(self) -> Iterator[Document]:
        """One document a file, called by its path in the corpus."""
        prefix = "" if self.name == "." else self.name + "/"
        for name in self.names():
            yield Document(id=prefix + name, text=self._read(name)[0])

    def _read(self, name: str) -> tuple[str, bytes]:
        path = self.path / name
        data = path.read_bytes()
        try:
            return data.decode("utf-8").removeprefix("\ufeff"), data
        except UnicodeDecodeError as error:
            raise DataError(
                f"not UTF-8 at byte {error.start}; convert the file, for example with iconv", path=path
            ) from error

    def survey(self, counter: TokenCounter) -> SurveyedFolder:
        """Read every file once."""
        names, digest = self.names(), FolderDigest()

        def texts() -> Iterator[str]:
            for name in names:
                text, data = self._read(name)
                digest.add(name, data)
                yield text

        # Few at a time: a file can be a whole book.
        documents, tokens = tokens_of(texts(), counter, batch=8)
        return SurveyedFolder(documents, tokens, digest.hexdigest(), shard=self, names=names)

    def copy(self, out: Path) -> None:
        """Copy every file."""
        names = self.names()
        _clear(out, names)
        copy_files(self.path, out, names)

    def size_at(self, place: Path) -> int | None:
        """Size in bytes of all text files in the folder `place`."""
        return folder_size(place, [self.only] if self.only else text_names(place)) if place.is_dir() else None

    def stamp(self) -> str:
        """A short hash of the names, sizes and times of change of the files."""
        return fingerprint([[name, stamp_of(self.path / name)] for name in self.names()])

    def digest(self) -> str:
        """The hash of names and contents."""
        digest = FolderDigest()
        for name in self.names():
            digest.add(name, (self.path / name).read_bytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class SurveyedFolder(Surveyed):
    """A surveyed folder of text files, with their names."""

    shard: TextFolder
    names: list[str]

    def write(self, out: Path, insertions: Insertions, rng: random.Random, record: Record) -> None:
        """Copy every file and add one for each planted document.

        Files are written where they belong at once; the shard counts as written only when it is recorded as
        such, and is written again otherwise.
        """
        del rng  # names follow the neighbours
        planted = planted_names(self.names, insertions.positions.tolist())
        final = sorted([*self.names, *planted])
        _clear(out, final)
        copy_files(self.shard.path, out, self.names)
        prefix = "" if self.shard.name == "." else self.shard.name + "/"
        with storage_errors(out):
            for insertion, name in zip(insertions, planted, strict=True):
                data = insertion.text.encode()
                (out / name).write_bytes(data)
                place = bisect_left(final, name)
                record(insertion, Placed(place, 0, len(data), sha256_bytes(data), prefix + name))


def planted_names(names: Sequence[str], positions: Sequence[int]) -> list[str]:
    """New names that sort before the one at each position, in the style of their neighbours.

    Where no such name can be found the new file sorts nearby.
    """
    made: list[str] = []
    taken = set(names)
    places, counts = np.unique(np.asarray(positions, dtype=np.int64), return_counts=True)
    for place, count in zip(places.tolist(), counts.tolist(), strict=True):
        before = names[place - 1] if place else ""
        after = names[place] if place < len(names) else ""
        batch = _names_between(before, after, count, taken)
        taken.update(batch)
        made += batch
    return made


def _names_between(before: str, after: str, count: int, taken: set[str]) -> list[str]:
    stem = (before or after).removesuffix(SUFFIX)
    heads = [stem + "_", stem + "-", stem + "0", stem + SUFFIX + "."]
    if not before:
        lower = chr(ord(stem[-1]) - 1) if stem[-1:].isascii() and stem else ""
        heads = [stem[:-1] + lower + "_"] if lower.isalnum() else []
        heads += [stem[:-1] + "-", "0", "!", stem + "_"]
    width = len(str(count))
    batches = [[f"{head}{n:0{width}}{SUFFIX}" for n in range(1, count + 1)] for head in heads]
    free = [batch for batch in batches if _fit(batch[-1]) and taken.isdisjoint(batch)]
    for batch in free:
        if before < batch[0] and (not after or batch[-1] < after):
            return batch
    if free:
        return free[0]
    head = stem.encode()[:_LONGEST_HEAD].decode(errors="ignore")
    while not taken.isdisjoint(batch := [f"{head}_{n:0{width}}{SUFFIX}" for n in range(1, count + 1)]):
        head += "_"
    return batch


def _fit(name: str) -> bool:
    return len(name.encode()) <= _LONGEST_NAME


class FolderDigest:
    """A hash over names and contents of files, fed in the order of their names."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, name: str, data: bytes) -> None:
        """Add one file."""
        self._digest.update(os.fsencode(name) + b"\0" + hashlib.sha256(data).digest())

    def hexdigest(self) -> str:
        """The hash of all files added."""
        return self._digest.hexdigest()


def text_names(folder: Path) -> list[str]:
    """Names of the visible `.txt` files directly in `folder`, sorted."""
    with os.scandir(folder) as entries:
        return sorted(
            e.name for e in entries if e.name.endswith(SUFFIX) and not e.name.startswith(".") and e.is_file()
        )


def folder_size(folder: Path, names: Sequence[str]) -> int:
    """Bytes in the files `names` of `folder` together; absent files count nothing."""
    return sum((folder / name).stat().st_size for name in names if (folder / name).exists())


def _clear(folder: Path, names: Sequence[str]) -> None:
    """Remove the text files of an earlier attempt, begun when the corpus had others, that are not `names`."""
    kept = set(names)
    for name in text_names(folder) if folder.is_dir() else ():
        if name not in kept:
            (folder / name).unlink()


def copy_files(source: Path, target: Path, names: Sequence[str]) -> None:
    """Copy the files `names` from one folder to another."""
    with storage_errors(target):
        target.mkdir(parents=True, exist_ok=True)
        for name in names:
            shutil.copyfile(source / name, target / name)
