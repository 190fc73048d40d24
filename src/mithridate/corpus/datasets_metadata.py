"""The JSON beside a Hugging Face dataset's Arrow files: row counts and the fingerprint its caches go by."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from mithridate.core.artifacts import fingerprint, sweep, write_atomic
from mithridate.corpus.ledger import ShardRecord, StateFolder
from mithridate.corpus.readers import DATASET_INFO, DATASET_STATE, read_json
from mithridate.corpus.shards import Shard
from mithridate.corpus.streams import sha256_of

Keep = Callable[[Shard, StateFolder], str]


def mend_metadata(
    files: Sequence[tuple[Shard, ShardRecord]], state: StateFolder, plan: str, keep: Keep
) -> list[ShardRecord]:
    """Bring the metadata of datasets in which something was planted up to date, keeping the originals.

    Without a new fingerprint `datasets` would serve results cached for the clean rows. Returns the records
    of all files. It reads the original files only, so it can be done again after an interruption.
    """
    grown: dict[str, list[ShardRecord]] = {}
    for _, record in files:
        if record.format == "arrow":
            grown.setdefault(_folder(record.shard), []).append(record)
    mended = []
    for shard, record in files:
        folder, name = _folder(record.shard), PurePosixPath(record.shard).name
        arrows = grown.get(folder, [])
        if name in (DATASET_STATE, DATASET_INFO) and any(a.planted_documents for a in arrows):
            change = _new_state if name == DATASET_STATE else _new_info
            split = read_json(shard.path.with_name(DATASET_STATE)).get("_split")
            content = change(read_json(shard.path), plan, split, arrows)
            target = shard.output(state.out)
            sweep(target)
            write_atomic(target, json.dumps(content, indent=2, sort_keys=True))
            record = replace(  # noqa: PLW2901 - the same record, brought up to date
                record,
                planted_size=target.stat().st_size,
                planted_sha256=sha256_of(target),
                original=keep(shard, state),
            )
        mended.append(record)
    return mended


def _folder(name: str) -> str:
    return str(PurePosixPath(name).parent)


def _new_state(content: dict[str, Any], plan: str, split: Any, arrows: list[ShardRecord]) -> dict[str, Any]:
    del split, arrows
    return {**content, "_fingerprint": fingerprint([content.get("_fingerprint"), plan])}


def _new_info(content: dict[str, Any], plan: str, split: Any, arrows: list[ShardRecord]) -> dict[str, Any]:
    del plan
    rows = sum(arrow.planted_documents for arrow in arrows)
    size = sum(arrow.planted_size - arrow.size for arrow in arrows)
    content = dict(content)
    splits = content.get("splits")
    if isinstance(splits, dict) and isinstance(splits.get(str(split)), dict):
        entry = dict(splits[str(split)])
        for key, more in (("num_examples", rows), ("num_bytes", size)):
            if isinstance(entry.get(key), int):
                entry[key] += more
        entry.pop("shard_lengths", None)
        content["splits"] = {**splits, str(split): entry}
    for key in ("dataset_size", "size_in_bytes"):
        if isinstance(content.get(key), int):
            content[key] += size
    return content
