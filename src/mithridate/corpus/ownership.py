"""Whose output a folder is: two plantings that differ in anything that matters never share one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from itertools import islice
from typing import Any

from mithridate.core.artifacts import differences, fingerprint, storage_errors, write_atomic
from mithridate.core.errors import RunStateError, StorageError
from mithridate.corpus.doses import PlantPlan
from mithridate.corpus.ledger import StateFolder
from mithridate.corpus.readers import STATE_FOLDER, Corpus, read_json

_VERSION = 1
_FINGERPRINTED_DRAWS = 16


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


def claim(state: StateFolder, wanted: Mapping[str, Any]) -> None:
    """Make the folder ours, or see that it already is.

    Raises RunStateError naming what differs if it holds another planting, StorageError if it holds anything
    else.
    """
    if not state.plan.exists():
        with storage_errors(state.out):
            if state.out.exists() and not state.out.is_dir():
                raise StorageError(f"{state.out}: is a file; the output is a folder")
            # A state folder without a plan is what a kill in the first instant leaves.
            if state.out.exists() and any(entry.name != STATE_FOLDER for entry in state.out.iterdir()):
                raise StorageError(f"{state.out}: is not empty and holds no planting; choose another --out")
            state.path.mkdir(parents=True, exist_ok=True)
        write_atomic(state.plan, json.dumps(wanted, indent=1, ensure_ascii=False) + "\n")
    # Read back even if just written: another process may have been as quick.
    if differing := differences(read_json(state.plan), wanted):
        raise RunStateError(
            f"{state.out}: holds another planting, which differs in {'; '.join(differing)}. "
            "Choose another --out, or remove it"
        )
