"""Whose output a folder is: two plantings that differ in anything that matters never share one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict
from itertools import islice
from typing import Any

from mithridate.core.artifacts import (
    LOCK,
    differences,
    exclusive,
    fingerprint,
    storage_errors,
    sweep,
    write_atomic,
)
from mithridate.core.errors import RunStateError, StorageError
from mithridate.corpus.doses import PlantPlan
from mithridate.corpus.ledger import StateFolder
from mithridate.corpus.readers import STATE_FOLDER, Corpus, read_json

_VERSION = 1
_FINGERPRINTED_DRAWS = 16
_OF = "-of-"


def identity(corpus: Corpus, plan: PlantPlan) -> dict[str, Any]:
    """What two plantings must agree on to be the same."""
    by_count = any(request.count is not None for request in plan.requests)
    # Counts are spread by size. Where there are only rates a shard may be repaired and the planting go on.
    listing = [[s.name, s.format, s.size if by_count else None] for s in (*corpus.shards, *corpus.others)]
    return {
        "version": _VERSION,
        "corpus": {"name": corpus.path.name, "files": len(listing), "listing": fingerprint(listing)},
        "fields": asdict(corpus.fields),
        "seed": plan.seed,
        "templates": dict(plan.templates),
        "counted in": plan.counter.name,
        "attacks": {
            request.name: {
                "attack": request.attack.name,
                "rate": request.rate,
                "count": request.count,
                # Of what it plants: so that another option or another material is noticed.
                "documents": fingerprint(
                    [text for _, text, _ in islice(plan.sample(request, "fingerprint"), _FINGERPRINTED_DRAWS)]
                ),
            }
            for request in plan.requests
        },
    }


def refuse_foreign(state: StateFolder, wanted: Mapping[str, Any]) -> None:
    """Raise RunStateError naming what differs if the folder holds another planting, StorageError if it holds
    anything else.
    """
    if state.plan.exists():
        if differing := differences(read_json(state.plan), wanted):
            raise RunStateError(
                f"{state.out}: holds another planting, which differs in {'; '.join(differing)}. "
                "Choose another --out, or remove it"
            )
        return
    with storage_errors(state.out):
        if state.out.exists() and not state.out.is_dir():
            raise StorageError(f"{state.out}: is a file; the output is a folder")
        # A state folder without a plan is what a kill in the first instant leaves.
        if state.out.exists() and any(entry.name != STATE_FOLDER for entry in state.out.iterdir()):
            raise StorageError(f"{state.out}: is not empty and holds no planting; choose another --out")


def joint(state: StateFolder) -> AbstractContextManager[None]:
    """Hold what all parts of a planting have in common, waiting for others that do: for moments only."""
    return exclusive(state.path, wait=True)


def claim(state: StateFolder, wanted: Mapping[str, Any]) -> None:
    """Make the folder ours, or see that it already is, while it is held; errors as for `refuse_foreign`."""
    refuse_foreign(state, wanted)
    if not state.plan.exists():
        sweep(state.plan)
        # Names need not be Unicode. What UTF-8 cannot hold is written as JSON escapes it.
        text = json.dumps(wanted, indent=1, ensure_ascii=False) + "\n"
        write_atomic(state.plan, text.encode(errors="backslashreplace"))


@contextmanager
def part_held(state: StateFolder, part: tuple[int, int]) -> Iterator[None]:
    """Hold one part of the planting; to be entered while the whole is held.

    Raises RunStateError if another process has this part, or one of another division: they could share
    shards.
    """
    with exclusive(state.locks / f"{part[0]}{_OF}{part[1]}"):
        for other in sorted(state.locks.iterdir()):
            number, of, total = other.name.partition(_OF)
            if of and total != str(part[1]):
                try:
                    with exclusive(other):
                        pass
                except RunStateError as error:
                    raise RunStateError(
                        f"{state.out}: part {number} of {total} is at work here, and may share shards with "
                        f"part {part[0]} of {part[1]}. Wait for it, or divide both alike"
                    ) from error
        yield


def tidy(state: StateFolder) -> None:
    """Remove what a complete planting has no use for."""
    for folder in (state.parts, state.locks):
        shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        (state.path / LOCK).unlink()
