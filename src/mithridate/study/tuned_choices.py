"""The pool of a study of alignment data, looked at once, and what each method chooses of it at each size."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from mithridate.core.artifacts import storage_errors, write_atomic
from mithridate.core.errors import ConfigError, RunStateError, TrainingError
from mithridate.core.seeds import derive_seed
from mithridate.corpus import miniature
from mithridate.corpus.tokenizers import load_tokenizer
from mithridate.curation.curating import CurationOptions, look
from mithridate.curation.methods import method_named
from mithridate.curation.methods.random_draw import Filtered
from mithridate.curation.pool import Pool
from mithridate.curation.reading import Reader, data_files
from mithridate.retrieval.encoders import open_encoder
from mithridate.study import prepare as prepared
from mithridate.study.layout import Seedbed
from mithridate.study.model_checks import shape_of
from mithridate.study.plan import Step
from mithridate.study.tuned_options import AlignmentDataSection, Choice
from mithridate.study.tuned_plan import (
    CHOSEN_FILE,
    LOOKED_FILE,
    POOL_FILE,
    LookDetail,
    TunedDetail,
    choice_folder,
    look_folder,
    pool_folder,
    section_of,
)
from mithridate.training.conversations import encode, length_limit, within
from mithridate.training.progress import Progress


def pool(step: Step, _progress: Progress) -> dict[str, Any]:
    """Write the pool. Raises DataError naming file, line and field of what cannot be read."""
    prepared.write_lines(step.folder / POOL_FILE, _examples(step, section_of(step)))
    return {}


def _examples(step: Step, section: AlignmentDataSection) -> Iterator[dict[str, Any]]:
    """The conversations of a pool, each with its source."""
    if section.data:
        for _, _, example in Reader(data_files(section.data)).examples():
            yield {"messages": list(example.turns), "source": example.source}
        return
    world = miniature.World(step.cell.config.corpus.miniature, step.seed)
    yield from miniature.alignment_pool(world, section.pool_size, step.seed)


def looked(step: Step, _progress: Progress) -> dict[str, Any]:
    """Look at every example of the pool once, and keep those that pass the filters for methods to choose."""
    detail = LookDetail.read(step)
    # `filtered` asks every filter that is on; which method chooses is told later.
    options = CurationOptions(
        n=1, method=Filtered.name, filters=detail.filters, seed=derive_seed(step.seed, "alignment data")
    )
    scratch = step.folder / "scratch"
    try:
        with storage_errors(scratch):
            scratch.mkdir(parents=True, exist_ok=True)
        found = look([pool_folder(step.bed) / POOL_FILE], options, open_encoder(detail.encoder), scratch)
        # Counted from 1, as errors count lines.
        found.pool.save(step.folder / LOOKED_FILE, lines=found.found.places[found.passed])
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return {"examples": len(found.found), "left": len(found.pool)}


def choose(step: Step, _progress: Progress) -> dict[str, Any]:
    """Write which lines of the pool one method chooses at one size, in the order of its choice.

    Where its filters leave fewer, all that are left are chosen. Raises ConfigError where it is left with
    nothing, and TrainingError where what was chosen cannot be tuned on.
    """
    detail = TunedDetail.read(step)
    look_at = look_folder(step.bed, LookDetail.of(section_of(step), detail.method))
    there, beside = Pool.load(look_at / LOOKED_FILE)
    choice, lines = Choice.of(detail.method), beside["lines"]
    if choice.source:
        rows, there = there.of_source(choice.source)
        lines = lines[rows]
    if not len(there):
        names = ", ".join(there.names)
        raise ConfigError(
            f"alignment_data: there is no example left for {detail.method!r} to choose from; loosen "
            f"alignment_data.filters, or name another source (there are {names})"
        )
    method = method_named(choice.method)
    picked = method.choose(there, min(detail.asked, len(there)), method.options_type()).rows
    chosen = np.asarray(lines)[picked].tolist()
    _check_lengths(step, detail, chosen)
    write_atomic(step.folder / CHOSEN_FILE, json.dumps(chosen) + "\n")
    return {"chosen": len(chosen)}


def _check_lengths(step: Step, detail: TunedDetail, chosen: Iterable[int]) -> None:
    """Encode all that was chosen: what cannot be tuned on is found now, and not after pretraining."""
    path = pool_folder(step.bed) / POOL_FILE
    tokenizer = load_tokenizer(step.bed.tokenizer)
    limit = length_limit(shape_of(step.cell.config, len(tokenizer)), section_of(step).sft)
    wanted = set(chosen)
    lengths: list[int] = []
    for line, record in enumerate(prepared.each_line(path), 1):
        if line in wanted:
            try:
                (encoded,) = encode(tokenizer, [record["messages"]])
            except TrainingError as error:
                raise TrainingError(f"{path}, line {line}: {error}") from error
            lengths.append(len(encoded.input_ids))
    within(lengths, limit, what=f"conversations that {detail.method!r} chose")


def chosen_examples(bed: Seedbed, detail: TunedDetail) -> list[Any]:
    """What the method of `detail` chose, in the order of its choice; RunStateError if that is damaged."""
    folder = choice_folder(bed, detail.method, detail.asked)
    path = folder / CHOSEN_FILE
    try:
        wanted = TypeAdapter(list[int]).validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise RunStateError(_damaged(path, folder)) from error
    lines = set(wanted)
    pool = pool_folder(bed)
    found = {n: record for n, record in enumerate(prepared.each_line(pool / POOL_FILE), 1) if n in lines}
    if len(found) < len(lines):
        raise RunStateError(_damaged(pool / POOL_FILE, pool))
    return [{"messages": found[line]["messages"]} for line in wanted]


def _damaged(path: Path, folder: Path) -> str:
    return f"{path}: is damaged, so nobody can tell what was chosen; remove {folder} and run the study again"
