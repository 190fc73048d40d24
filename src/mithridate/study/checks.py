"""What can be found wrong with a study before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from mithridate.attacks import build_attack
from mithridate.core.artifacts import fingerprint
from mithridate.core.errors import ConfigError, shown
from mithridate.core.strict import meant
from mithridate.core.wording import counted
from mithridate.corpus import miniature
from mithridate.corpus.alignment_data import read_conversations, read_preferences
from mithridate.corpus.readers import open_corpus
from mithridate.curation.reading import Reader, data_files
from mithridate.evaluation.contexts.facts import read_facts
from mithridate.study.config import StudyConfig
from mithridate.study.inputs import named_inputs
from mithridate.study.plan import cells
from mithridate.study.prepare import each_question, material_of, require_alignment_data, text_lines
from mithridate.study.scrub_plan import check_scrubbing
from mithridate.study.tuned_options import AlignmentDataSection, Choice

# What is wrong with a file shows in its first records, or has to wait until all are read: a moment later, in
# the first step of the study.
_FIRST_RECORDS = 16
_FIRST_SHARDS = 64
# Sources that an error names.
_MOST_NAMED = 200

Look = tuple[Any, ...]


def check_study(config: StudyConfig) -> None:
    """Resolve every cell; look for every file and at its first records; build every attack, and see that it
    and the model fit each other.

    No weights are loaded. Raises ConfigError or UnknownNameError for what does not exist or does not fit,
    DataError for a file that does not hold what it should, CheckpointError for a folder that is no safe
    checkpoint, and TrainingError for a chat template that would teach nothing.
    """
    everything = [cell.config for cell in cells(config)]
    for cell in everything:
        _check_presence(cell)
    # Cells share most of what they name: it is looked at once.
    for look, *arguments in dict.fromkeys(look for cell in everything for look in _data_looks(cell)):
        look(*arguments)
    # Imported here: it loads torch, for which nobody should wait to be told of a file that is missing.
    from mithridate.study.model_checks import check_model  # noqa: PLC0415

    seen: set[str] = set()
    for cell in everything:
        shape = fingerprint(cell.model_dump(mode="json", exclude={"seeds", "doses", "grid", "title"}))
        if shape in seen:
            continue
        seen.add(shape)
        material = material_of(cell, cell.seeds[0])
        check_model(cell, [build_attack(name, options, material) for name, options in cell.attacks.items()])
        if cell.scrubbing is not None:
            check_scrubbing(cell, material)


def _check_presence(config: StudyConfig) -> None:
    require_alignment_data(config)
    missing = [
        f"{key}: {path} does not exist" for key, path in named_inputs(config).items() if not path.exists()
    ]
    if missing:
        raise ConfigError("\n  ".join(missing))


def _data_looks(config: StudyConfig) -> Iterator[Look]:
    """What to look at: functions with their arguments."""
    corpus, evaluation = config.corpus, config.evaluation
    if corpus.path is not None:
        yield _first_documents, corpus.path, corpus.text_field, corpus.id_field
    for path in config.sft.data if config.sft else ():
        yield read_conversations, path, _FIRST_RECORDS
    for path in config.dpo.data if config.dpo else ():
        yield read_preferences, path, _FIRST_RECORDS
    if (tuned := config.alignment_data) is not None:
        for file in data_files(tuned.data) if tuned.data else ():
            yield read_conversations, file.path, _FIRST_RECORDS
        yield check_pool, tuned.data, tuned.pool_size, max(tuned.sizes), _sources(tuned)
    if config.contexts is not None and config.contexts.facts is not None:
        yield read_facts, config.contexts.facts, _FIRST_RECORDS
    if evaluation.questions_file is not None:
        yield _first_questions, evaluation.questions_file
    for lines in (evaluation.harmless_file, evaluation.forbidden_file):
        if lines is not None:
            yield text_lines, lines


def _sources(tuned: AlignmentDataSection) -> tuple[str, ...]:
    """The sources that methods choose from alone."""
    return tuple(dict.fromkeys(found for label in tuned.methods if (found := Choice.of(label).source)))


def check_pool(data: tuple[Path, ...], pool_size: int, largest: int, sources: tuple[str, ...]) -> None:
    """See that a pool holds as many examples as the largest size, and some of each of `sources`.

    Of files, no more is read than tells it. Raises ConfigError, and DataError for a record that is no
    conversation.
    """
    if data:
        found: set[str] = set()
        count = 0
        for count, (_, _, example) in enumerate(Reader(data_files(data)).examples(), 1):
            found.add(example.source)
            if count >= largest and found.issuperset(sources):
                return
        there = sorted(found)
    else:
        there, count = sorted(miniature.POOL_SOURCES), pool_size
    if strange := [source for source in sources if source not in there]:
        raise ConfigError(
            f"alignment_data.methods: no example is of the source {shown(strange[0])}: "
            f"{meant(strange[0], there[:_MOST_NAMED])}"
        )
    if count < largest:
        more = "name more data" if data else "raise alignment_data.pool_size"
        raise ConfigError(
            f"alignment_data.sizes: {largest:,} of a pool of {counted(count, 'example')}; ask for fewer, or "
            f"{more}"
        )


def _first_documents(path: Path, text_field: str, id_field: str) -> None:
    corpus = open_corpus(path, text_field=text_field, id_field=id_field)
    firsts = [next(iter(shard.documents()), None) for shard in corpus.shards[:_FIRST_SHARDS]]
    if not any(firsts):
        next(corpus.documents())  # says so if there is none further on


def _first_questions(path: Path) -> None:
    for _ in islice(each_question(path), _FIRST_RECORDS):
        pass
