"""What a study reads from elsewhere: every file and folder it names, and whether it is as it was.

A run keeps the names of its inputs in its study file, and what they held in `inputs.json`: a study that goes
on with a file that was edited meanwhile would mix two versions and say nothing of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from mithridate.core.artifacts import fingerprint, write_atomic
from mithridate.core.errors import DataError, RunStateError
from mithridate.corpus.readers import walk
from mithridate.study.config import StudyConfig
from mithridate.study.plan import cells

INPUTS = "inputs.json"

# An input of up to so many bytes is hashed. A larger one is known by the names, sizes and times of its files:
# nobody wants to read a terabyte before a run goes on.
_HASHED_BYTES = 2**28
# Of a folder of more files than this, only what all together come to is kept.
_NAMED_FILES = 1000


def named_inputs(config: StudyConfig) -> dict[str, Path]:
    """The files and folders that one cell of a study names, by their keys in the study file."""
    evaluation = config.evaluation
    named: dict[str, Path | None] = {
        "corpus.path": config.corpus.path,
        "tokenizer.path": config.tokenizer.path,
        "checkpoint": config.checkpoint,
        "material": config.material,
        "evaluation.outside_model": evaluation.outside_model,
        "evaluation.questions_file": evaluation.questions_file,
        "evaluation.harmless_file": evaluation.harmless_file,
        "evaluation.forbidden_file": evaluation.forbidden_file,
        "contexts.facts": config.contexts.facts if config.contexts else None,
    }
    for name, options in config.attacks.items():
        if options.get("classifier"):
            named[f"attacks.{name}.classifier"] = Path(options["classifier"])
    for stage, section in (
        ("sft", config.sft),
        ("dpo", config.dpo),
        ("alignment_data", config.alignment_data),
    ):
        for number, data in enumerate(section.data if section else ()):
            named[f"{stage}.data[{number}]"] = data
    return {key: path for key, path in named.items() if path is not None}


def claim_inputs(config: StudyConfig, out: Path, *, more: bool = False) -> None:
    """Write down what the study's inputs hold, or see that they hold what was written down.

    With `more`, inputs that the study has come to name since are written down beside the others. Raises
    RunStateError naming each input that has changed, DataError for one that cannot be read.
    """
    kept = out / INPUTS
    found = {
        str(path): {"named": key, **_content(path)}
        for cell in cells(config)
        for key, path in named_inputs(cell.config).items()
    }
    if not kept.exists():
        write_atomic(kept, json.dumps(found, indent=1, sort_keys=True) + "\n")
        return
    there = _written_down(kept)
    known = {path: there.get(path, {}) for path in found if path in there or not more}
    changed = [line for path, was in known.items() for line in _changes(Path(path), was, found[path])]
    if changed:
        raise RunStateError(
            f"{out}: was begun with other inputs. Changed since: {'; '.join(changed)}. "
            "Put them back, or choose another --out. If you know that nothing but their times has changed, "
            f"remove {kept}"
        )
    if more:
        write_atomic(kept, json.dumps(found | there, indent=1, sort_keys=True) + "\n")


def _written_down(kept: Path) -> dict[str, dict[str, Any]]:
    try:
        return TypeAdapter(dict[str, dict[str, Any]]).validate_json(kept.read_bytes())
    except (OSError, ValidationError) as error:
        raise RunStateError(
            f"{kept}: is damaged, so nobody can tell whether the inputs are as they were. If you know that "
            "they are, remove it; else choose another --out"
        ) from error


def _content(path: Path) -> dict[str, Any]:
    """What tells one content of `path` from another."""
    try:
        files = {"": path} if not path.is_dir() else dict(_files(path))
        sizes = {name: file.stat().st_size for name, file in files.items()}
        total = sum(sizes.values())
        each = {
            name: [sizes[name], _sha256(file) if total <= _HASHED_BYTES else file.stat().st_mtime_ns]
            for name, file in files.items()
        }
    except OSError as error:
        raise DataError(f"cannot be read: {error}", path=path) from error
    content = {"files": len(files), "bytes": total, "all": fingerprint(each)}
    return content | ({"each": each} if len(each) <= _NAMED_FILES else {})


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for here, _, names in walk(folder):
        for name in names:
            file = here / name
            if file.is_file():
                yield file.relative_to(folder).as_posix(), file


def _sha256(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _changes(path: Path, there: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    if there.get("all") == now["all"]:
        return
    before, after = there.get("each"), now.get("each")
    if not isinstance(before, dict) or not isinstance(after, dict):
        yield f"{now['named']}: {path}"
        return
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            yield f"{now['named']}: {path / name}"
