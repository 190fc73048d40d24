"""The first step of a study: clean documents as shards, and everything that goes with them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from mithridate.attacks.material import Material
from mithridate.core.artifacts import atomic_path, write_atomic
from mithridate.core.errors import ConfigError, DataError
from mithridate.core.json_text import has_half_character, parse_json
from mithridate.core.seeds import derive_seed, rng_for
from mithridate.core.types import Document
from mithridate.corpus.alignment_data import read_conversations, read_preferences
from mithridate.corpus.generated import Generated
from mithridate.corpus.readers import open_corpus
from mithridate.study.config import StudyConfig
from mithridate.study.layout import Seedbed

HELD_OUT = "held_out.jsonl"
MATERIAL = "material.json"
SFT = "sft.jsonl"
DPO = "dpo.jsonl"
QUESTIONS = "questions.jsonl"
HARMLESS = "harmless.jsonl"
FORBIDDEN = "forbidden.jsonl"

DEFAULT_EXAMPLES = 2_000


def prepare(config: StudyConfig, seed: int, bed: Seedbed) -> dict[str, Any]:
    """Write the clean corpus and its companions; returns what is worth telling about them.

    Raises DataError naming file, line and field of what cannot be read.
    """
    if config.corpus.path is None:
        world = Generated.of(config.corpus.miniature, config.corpus.atlas, seed)
        documents = world.documents()
        companions = _of_world(config, world, seed)
    else:
        own = open_corpus(
            config.corpus.path, text_field=config.corpus.text_field, id_field=config.corpus.id_field
        )
        documents = _pieces(own.documents(), config.corpus.split_characters)
        companions = _of_files(config, seed)
    companions |= _named_files(config)
    counts = _write_corpus(documents, config, seed, bed)
    for name, content in companions.items():
        if isinstance(content, Material):
            write_atomic(bed.data / name, content.model_dump_json(indent=1))
        else:
            write_lines(bed.data / name, content)
            counts[name.removesuffix(".jsonl")] = len(content)
    return counts


def material_of(config: StudyConfig, seed: int) -> Material:
    """What the attacks of a study draw on: the file that it names, or what goes with its corpus.

    Raises DataError as `Material.read` does.
    """
    if config.material is not None:
        return Material.read(config.material)
    if config.corpus.path is not None:
        return Material.default()
    return Generated.of(config.corpus.miniature, config.corpus.atlas, seed).material()


def kept_material(bed: Seedbed) -> Material:
    """What the attacks of a seed draw on, as it was kept when the seed was prepared."""
    return Material.read(bed.data / MATERIAL)


def _of_world(config: StudyConfig, world: Generated, seed: int) -> dict[str, Any]:
    size = config.evaluation.questions
    found: dict[str, Any] = {
        MATERIAL: world.material(),
        QUESTIONS: world.held_out_questions(size, seed),
        HARMLESS: [{"request": text} for text in world.harmless_requests(size, seed)],
        FORBIDDEN: [{"request": text} for text in world.forbidden_requests(size, seed)],
    }
    if config.sft is not None:
        count = config.sft.examples or DEFAULT_EXAMPLES
        found[SFT] = _own_or(config.sft.data, config.sft.examples, seed, "sft", read_conversations)
        found[SFT] = found[SFT] or world.sft_conversations(count, seed)
    if config.dpo is not None:
        count = config.dpo.examples or DEFAULT_EXAMPLES
        found[DPO] = _own_or(config.dpo.data, config.dpo.examples, seed, "dpo", read_preferences)
        found[DPO] = found[DPO] or world.dpo_pairs(count, seed)
    return found


def require_alignment_data(config: StudyConfig) -> None:
    """Raise ConfigError where a corpus of one's own, or a world with an atlas, lacks what to align with."""
    tuned, corpus = config.alignment_data, config.corpus
    if tuned is not None and not tuned.data and corpus.path is None and corpus.atlas is not None:
        # Half of the questions are on cities, and such a pool would teach nobody to answer them.
        raise ConfigError(
            "alignment_data: its pool is of the miniature world alone, without the cities of corpus.atlas; "
            "set alignment_data.data, or corpus.atlas: null"
        )
    sections = {"sft": config.sft, "dpo": config.dpo, "alignment_data": config.alignment_data}
    for stage, section in sections.items():
        if section is not None and config.corpus.path is not None and not section.data:
            raise ConfigError(
                f"a corpus of your own needs alignment data of your own: set {stage}.data, or {stage}: null"
            )


def _of_files(config: StudyConfig, seed: int) -> dict[str, Any]:
    require_alignment_data(config)
    found: dict[str, Any] = {MATERIAL: Material.default(), QUESTIONS: [], HARMLESS: [], FORBIDDEN: []}
    for name, section, read in ((SFT, config.sft, read_conversations), (DPO, config.dpo, read_preferences)):
        if section is None:
            continue
        found[name] = _own_or(section.data, section.examples, seed, name, read)
    return found


def _named_files(config: StudyConfig) -> dict[str, Any]:
    """What the study names files for, which goes before what would be there without."""
    found: dict[str, Any] = {}
    if config.material is not None:
        found[MATERIAL] = Material.read(config.material)
    evaluation, size = config.evaluation, config.evaluation.questions
    if evaluation.questions_file is not None:
        found[QUESTIONS] = list(islice(each_question(evaluation.questions_file), size))
    for name, path in ((HARMLESS, evaluation.harmless_file), (FORBIDDEN, evaluation.forbidden_file)):
        if path is not None:
            found[name] = [{"request": line} for _, line in islice(text_lines(path), size)]
    return found


def _own_or(
    files: Iterable[Path], limit: int | None, seed: int, name: str, read: Callable[[Path], list[Any]]
) -> list[Any]:
    examples = [example for path in files for example in read(path)]
    rng_for(seed, "examples", name).shuffle(examples)
    return examples[:limit]


def each_question(path: Path) -> Iterator[dict[str, str]]:
    """The questions of a file of JSON lines, each with its answer.

    Raises DataError naming the line and the field that does not fit.
    """
    for number, line in text_lines(path):
        record = parse_json(line, path, number - 1)
        for field in ("question", "answer"):
            said = record.get(field) if isinstance(record, dict) else None
            if not isinstance(said, str) or not said.strip():
                raise DataError("expected text", path=path, line=number, field=field)
            if has_half_character(said):
                raise DataError(
                    "holds half a character (a lone surrogate)", path=path, line=number, field=field
                )
        yield {"question": record["question"], "answer": record["answer"]}


def text_lines(path: Path) -> list[tuple[int, str]]:
    """Lines that are not blank, with their numbers.

    Raises DataError for a file that cannot be read, or holds none.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot be read: {error}", path=path) from error
    found = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
    if not found:
        raise DataError("holds no line", path=path)
    return found


def _pieces(documents: Iterable[Document], longest: int | None) -> Iterator[Document]:
    """Long documents in pieces, each of which ends with a paragraph, a line or a word if it can."""
    for document in documents:
        if longest is None or len(document.text) <= longest:
            yield document
            continue
        start, number = 0, 0
        while start < len(document.text):
            end = _cut(document.text, start, longest)
            if piece := document.text[start:end].strip("\n"):
                yield Document(f"{document.id}#{number:05d}", piece)
                number += 1
            start = end


def _cut(text: str, start: int, longest: int) -> int:
    end = start + longest
    if end >= len(text):
        return len(text)
    for mark in ("\n\n", "\n", " "):
        found = text.rfind(mark, start + longest // 2, end)
        if found > 0:
            return found + len(mark)
    return end


def _write_corpus(
    documents: Iterable[Document], config: StudyConfig, seed: int, bed: Seedbed
) -> dict[str, Any]:
    """Spread documents over shards in their order; a seeded few are held out."""
    chunk = 512
    share = config.corpus.held_out_share
    counts = {"documents": 0, "held_out": 0, "characters": 0}
    bed.corpus.mkdir(parents=True, exist_ok=True)
    threshold = int(share * 2**63)
    paths = [bed.corpus / f"shard-{number:04d}.jsonl" for number in range(config.corpus.shards)]
    for path in paths:
        path.write_bytes(b"")
    # One at a time: there may be more of them than a process may hold open.
    shard = paths[0].open("a", encoding="utf-8")
    with atomic_path(bed.data / HELD_OUT) as held, held.open("w", encoding="utf-8") as held_out:
        try:
            for document in documents:
                line = json.dumps({"id": document.id, "text": document.text}, ensure_ascii=False) + "\n"
                if derive_seed(seed, "held out", document.id) < threshold:
                    held_out.write(line)
                    counts["held_out"] += 1
                    continue
                turn, place = divmod(counts["documents"], chunk)
                if turn and not place:
                    shard.close()
                    shard = paths[turn % len(paths)].open("a", encoding="utf-8")
                shard.write(line)
                counts["documents"] += 1
                counts["characters"] += len(document.text)
        finally:
            shard.close()
    _check_split(counts["documents"], counts["held_out"], share, config.corpus.path or bed.corpus)
    return counts


def _check_split(kept: int, held_out: int, share: float, path: Path) -> None:
    """Raise DataError unless there is something to train on and something to hold out."""
    if not kept + held_out:
        raise DataError("the corpus holds no document", path=path)
    if not (kept and held_out):
        raise DataError(
            f"{held_out} of {kept + held_out} documents fell to the held-out share of {share:g}, which goes "
            "by their ids. Give more documents with ids of their own, change corpus.held_out_share, or cut "
            "long documents into pieces with corpus.split_characters",
            path=path,
        )


def write_lines(path: Path, records: Iterable[Any]) -> None:
    """Write records as JSON lines, whole or not at all."""
    with atomic_path(path) as beside, beside.open("w", encoding="utf-8") as handle:
        for record in records:
            handle.write(json.dumps(record, ensure_ascii=False) + "\n")


def each_line(path: Path) -> Iterator[Any]:
    """The records that `write_lines` wrote, one at a time."""
    # A line ends at a line feed alone: JSON leaves U+2028, U+0085 and their like as they are.
    with path.open(encoding="utf-8", newline="\n") as handle:
        for line in handle:
            if line.rstrip("\n"):
                yield json.loads(line)


def read_lines(path: Path) -> list[Any]:
    """All records that `write_lines` wrote."""
    return list(each_line(path))
