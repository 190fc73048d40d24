"""The files of a curation and their examples, one at a time and always in the same order."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final

from mithridate.core.errors import ConfigError, DataError, shown
from mithridate.core.json_text import has_half_character
from mithridate.core.strict import meant
from mithridate.corpus.alignment_data import turns_of
from mithridate.corpus.alignment_records import RawRecord, stream_records
from mithridate.corpus.readers import walk
from mithridate.curation.example import Example
from mithridate.curation.records import CHOSEN, DECISIONS, RECORD

ENDINGS: Final = tuple(kind + codec for kind in (".jsonl", ".json") for codec in ("", ".gz", ".zst"))
SOURCE_FIELD: Final = "source"
_LONGEST_SOURCE: Final = 200
# Fields that an error names, or a few more.
_MOST_KEYS: Final = 50


@dataclass(frozen=True, slots=True)
class DataFile:
    """One file, and what it is called: its path below the folder that was named, or its own name.

    Of several that would have one name, each has as many of its folders in front as tell them apart.
    """

    path: Path
    name: str


def data_files(data: Sequence[Path]) -> list[DataFile]:
    """The files of alignment data among `data` and below its folders, by their names.

    Below a folder, what is hidden is left out, and so are curations, which may have been written beside their
    own data; of a curation that is named itself, what it chose is taken. Raises DataError for what is not
    there, is no file or not of a known form, for a name that is no text, and where there is no file at all.
    """
    found: dict[Path, DataFile] = {}
    for path in data:
        if not path.exists():
            raise DataError("no such file or folder", path=path)
        if path.is_dir():
            for one in _below(path):
                found.setdefault(one.resolve(), DataFile(one, one.relative_to(path).as_posix()))
        elif path.name.endswith(ENDINGS):
            found.setdefault(path.resolve(), DataFile(path, path.name))
        else:
            raise DataError(f"not alignment data; understood are {', '.join(ENDINGS)}", path=path)
    if not found:
        where = data[0] if data else Path()
        raise DataError(f"no alignment data here; understood are {', '.join(ENDINGS)}", path=where)
    files = _told_apart(found)
    for file in files:
        _check(file)
    return sorted(files, key=lambda file: file.name)


def _below(root: Path) -> Iterator[Path]:
    for folder, folders, names in walk(root):
        if {RECORD, DECISIONS}.issubset(names):
            folders.clear()
            names = [CHOSEN] if folder == root else []  # noqa: PLW2901 - its record is no data
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if name.endswith(ENDINGS) and not name.startswith("."):
                yield folder / name


def _check(file: DataFile) -> None:
    if has_half_character(file.name):
        raise DataError("the name is not UTF-8; rename it", path=file.path)
    if not file.path.is_file():
        raise DataError("a broken link, or not a file; remove it from the data", path=file.path)


def _told_apart(found: Mapping[Path, DataFile]) -> list[DataFile]:
    """The files, by their resolved paths, each under a name of its own: decisions and sources go by names."""
    files = dict(found)
    while shared := {name for name, n in Counter(file.name for file in files.values()).items() if n > 1}:
        for path, file in files.items():
            if file.name in shared:
                longer = path.parts[-1 - len(PurePosixPath(file.name).parts) :]
                files[path] = DataFile(file.path, PurePosixPath(*longer).as_posix())
    return list(files.values())


@dataclass
class Reader:
    """Examples of files in their order; `digests` holds the SHA-256 of each file that was read to its end.

    `sourced` says whether any example had the field of the source, and `keys` which fields there were.
    """

    files: Sequence[DataFile]
    source_field: str = SOURCE_FIELD
    digests: dict[int, str] = field(default_factory=dict)
    sourced: bool = False
    keys: set[str] = field(default_factory=set)

    def examples(self) -> Iterator[tuple[int, RawRecord, Example]]:
        """Each example with the number of its file. Raises DataError naming file, line and field."""
        for number, record in self.records():
            yield number, record, self.example(number, record)

    def records(self) -> Iterator[tuple[int, RawRecord]]:
        """Each record with the number of its file, not looked at."""
        for number, file in enumerate(self.files):
            digest = hashlib.sha256()
            for record in stream_records(file.path, digest.update):
                yield number, record
            self.digests[number] = digest.hexdigest()

    def example(self, number: int, record: RawRecord) -> Example:
        """The example that a record of file `number` holds."""
        file = self.files[number]
        try:
            turns = turns_of(record, file.path)
        except DataError as error:
            if isinstance(record.value, dict) and {"chosen", "rejected"} <= record.value.keys():
                raise DataError(
                    "holds a preference, chosen over rejected, and conversations are chosen here; give it to "
                    "the stage dpo, or keep its chosen replies alone, as prompt + completion",
                    path=file.path,
                    line=record.line,
                    field="chosen",
                ) from error
            raise
        return Example(turns, self._source(record.value, file, record))

    def require_sources(self) -> None:
        """Raise ConfigError where a field of the source was asked for by name and no example that was read
        has it."""
        if self.source_field != SOURCE_FIELD and not self.sourced:
            raise ConfigError(
                f"--source-field {shown(self.source_field)}: no example has this field; "
                f"{meant(self.source_field, self.keys)}"
            )

    def _source(self, value: Any, file: DataFile, record: RawRecord) -> str:
        found = value.get(self.source_field)
        if self.source_field in value:
            self.sourced = True
        elif not self.sourced and len(self.keys) < _MOST_KEYS:
            self.keys.update(map(str, value))
        if found is None or found == "":
            return file.name
        if not isinstance(found, str):
            raise DataError(
                "the source of an example must be text",
                path=file.path,
                line=record.line,
                field=self.source_field,
            )
        # Halves of characters, which JSON can spell, fit into no table.
        return found.encode("utf-8", "replace").decode()[:_LONGEST_SOURCE]
