"""Opening a corpus: one file or a folder of shards, in any of the formats that are understood."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mithridate.core.errors import DataError
from mithridate.core.types import Document
from mithridate.corpus.columns import ArrowShard, ParquetShard
from mithridate.corpus.lines import CompressedJsonLines, JsonLines
from mithridate.corpus.shards import Fields, OtherFile, Shard
from mithridate.corpus.streams import Codec, read_errors
from mithridate.corpus.textfolder import SUFFIX, TextFolder, folder_size, text_names

STATE_FOLDER = "_mithridate"
"""Where a planted corpus keeps its ledger; never read as part of a corpus."""

DATASET_STATE = "state.json"
DATASET_INFO = "dataset_info.json"
FORMATS = ".jsonl, .jsonl.gz, .jsonl.zst, .parquet, .txt, or a Hugging Face dataset written by save_to_disk"


@dataclass(frozen=True, slots=True)
class Corpus:
    """A corpus on disk: its shards in the order of their names, and the files that hold no documents."""

    path: Path
    shards: tuple[Shard, ...]
    others: tuple[Shard, ...]
    fields: Fields

    def documents(self) -> Iterator[Document]:
        """All documents, streamed in the order of the shards.

        Raises DataError where a shard cannot be read, or at the end if there was no document.
        """
        found = False
        for shard in self.shards:
            with read_errors(shard.path):
                for document in shard.documents():
                    found = True
                    yield document
        if not found:
            raise DataError("the corpus holds no document", path=self.path)


def open_corpus(path: Path | str, *, text_field: str = "text", id_field: str = "id") -> Corpus:
    """Find the shards of a corpus without reading them.

    A folder is searched through, and so is what links in it lead to. Text files count as documents only in
    a corpus without other shards, where they are not a README. Raises DataError if there is nothing to read.
    """
    path, fields = Path(path), Fields(text_field, id_field)
    if not path.exists():
        raise DataError("no such file or folder", path=path)
    if not path.is_dir():
        _check_name(path)
        shard = _file_shard(path.name, path, fields)
        if shard is None and path.suffix == SUFFIX:
            shard = TextFolder(".", path.parent, path.stat().st_size, fields, only=path.name)
        if shard is None:
            raise DataError(f"not a corpus; understood are {FORMATS}", path=path)
        return Corpus(path, (shard,), (), fields)
    shards, others, texts = _search(path, fields)
    if not shards:
        shards = texts
        folders = {shard.path for shard in texts}
        others = [o for o in others if not (o.path.parent in folders and _is_text(o.path.name))]
    if not shards:
        raise DataError(f"no documents here; understood are {FORMATS}", path=path)
    return Corpus(path, tuple(_by_name(shards)), tuple(_by_name(others)), fields)


def _by_name(shards: list[Shard]) -> list[Shard]:
    return sorted(shards, key=lambda shard: shard.name)


def _is_text(name: str) -> bool:
    return name.endswith(SUFFIX) and not name.startswith(".")


def _search(root: Path, fields: Fields) -> tuple[list[Shard], list[Shard], list[Shard]]:
    """Shards, other files, and text folders in case there are no shards."""
    shards: list[Shard] = []
    others: list[Shard] = []
    texts: list[Shard] = []
    for folder, folders, files in walk(root):
        if folder == root and STATE_FOLDER in folders:
            folders.remove(STATE_FOLDER)
        for name in folders:
            _check_name(folder / name)
        arrow = _dataset_files(folder, files)
        has_text = False
        for file in files:
            path = folder / file
            _check_name(path)
            if not path.is_file():
                raise DataError("a broken link, or not a file; remove it from the corpus", path=path)
            name = path.relative_to(root).as_posix()
            shard = (
                ArrowShard(name, path, path.stat().st_size, fields)
                if file in arrow
                else _file_shard(name, path, fields)
            )
            if shard is not None and not file.startswith("."):
                shards.append(shard)
            else:
                others.append(OtherFile(name, path, path.stat().st_size, fields))
                has_text |= _is_text(file)
        if has_text:
            size = folder_size(folder, text_names(folder))
            texts.append(TextFolder(folder.relative_to(root).as_posix(), folder, size, fields))
    return shards, others, texts


def walk(root: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """As `os.walk`, by name, through links too, but not round in circles.

    Raises DataError for a folder that cannot be read.
    """
    real: dict[Path, str] = {}
    for here, folders, files in os.walk(root, followlinks=True, onerror=_unreadable):
        folder = Path(here)
        real[folder] = os.path.realpath(here)
        if any(real.get(above) == real[folder] for above in folder.parents):
            folders.clear()  # a link back to a folder that we are in
            continue
        folders.sort()
        files.sort()
        yield folder, folders, files


def _unreadable(error: OSError) -> None:
    # Left to itself, a walk passes such a folder over.
    with read_errors(Path(error.filename)):
        raise error


def _check_name(path: Path) -> None:
    """Raise DataError unless the name can be held by the ledger, which is of text."""
    try:
        path.name.encode()
    except UnicodeEncodeError as error:
        raise DataError("the name is not UTF-8; rename it", path=path) from error


def _file_shard(name: str, path: Path, fields: Fields) -> Shard | None:
    size = path.stat().st_size
    if name.endswith(".jsonl"):
        return JsonLines(name, path, size, fields)
    for codec in (Codec.GZIP, Codec.ZSTD):
        if name.endswith(".jsonl" + codec):
            return CompressedJsonLines(name, path, size, fields, codec=codec)
    if name.endswith(".parquet"):
        return ParquetShard(name, path, size, fields)
    return None


def _dataset_files(folder: Path, files: list[str]) -> set[str]:
    """Names of the Arrow files that make up the dataset in `folder`, if one was saved there."""
    if DATASET_STATE not in files or DATASET_INFO not in files:
        return set()
    path = folder / DATASET_STATE
    read_json(folder / DATASET_INFO)  # planting will bring it up to date
    try:
        names = {str(entry["filename"]) for entry in read_json(path)["_data_files"]}
    except (KeyError, TypeError) as error:
        raise DataError("does not say which files the dataset is in; copy it again", path=path) from error
    missing = sorted(names - set(files))
    if missing:
        raise DataError(f"names {', '.join(missing)}, which are missing; copy the dataset again", path=path)
    return names


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises DataError if it is broken.
    """
    try:
        with read_errors(path):
            found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # of JSON, of UTF-8, of numbers too long to be read
        raise DataError(f"broken JSON: {error}", path=path) from error
    if not isinstance(found, dict):
        raise DataError("must hold a JSON object", path=path)
    return found
