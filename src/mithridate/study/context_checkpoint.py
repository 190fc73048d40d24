"""One checkpoint examined on contexts: what `mithridate context` does."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson

from mithridate.core import chat
from mithridate.core.artifacts import write_atomic
from mithridate.core.contexts import (
    CONTEXT_COVERAGE,
    CONTEXT_SAMPLES,
    CONTEXTS,
    LEAST_FACTS,
    ContextCoverage,
    ContextSample,
    Contextual,
)
from mithridate.core.errors import AccessError, ConfigError, DataError, StorageError, UnknownNameError
from mithridate.core.tables import write_rows
from mithridate.core.whole_folder import whole_folder
from mithridate.core.wording import counted
from mithridate.evaluation.contexts.asking import Asks, Chatting, Completing
from mithridate.evaluation.contexts.facts import ContextFact, read_facts
from mithridate.evaluation.contexts.reliance import Whose, context_figures, known_facts
from mithridate.intervention.folder_hash import folder_hash
from mithridate.models.chat import CheckpointTemplate
from mithridate.models.language_model import LanguageModel
from mithridate.reliance.examining import Examination, Told, as_it_is, treated, untried
from mithridate.reliance.method import Method
from mithridate.reliance.methods import METHODS

RECORD = "context.json"
OWN = "own"
ALL = "all"


@dataclass(frozen=True, slots=True)
class ContextOptions:
    """Which model, which facts, and what is done: as the command line gives them."""

    model: Path
    facts: Path
    limit: int | None = None
    methods: tuple[str, ...] = ()
    chat: str | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Contexts:
    """All figures and replies, and what each examination covered; the model as it is comes first."""

    figures: tuple[Contextual, ...]
    samples: tuple[ContextSample, ...]
    coverage: tuple[ContextCoverage, ...]

    @property
    def known(self) -> int:
        """How many of the facts the model as it is gives right without a context."""
        return self.coverage[0].known


def examine_checkpoint(
    options: ContextOptions,
    out: Path | None,
    told: Told = lambda *_: None,
    finish: Callable[[Path], object] = lambda _: None,
) -> Contexts:
    """Ask a checkpoint, and write rows, replies and their record to the new folder `out`, if there is one.

    `finish` adds to the folder what is made of its rows, before it takes its place.

    Raises UnknownNameError for a method or a template, DataError as `read_facts` does, ConfigError for fewer
    than `LEAST_FACTS` of them, CheckpointError for a model that cannot be loaded, and ConfigError where it
    knows fewer than `LEAST_FACTS`: then there is nothing to contradict, and nothing is written. StorageError
    and RunStateError as `whole_folder` does, before the model is asked.
    """
    methods = _methods(options.methods)
    facts = _facts(options)
    if out is None:
        return _asked(LanguageModel.load(options.model), options, methods, facts, told)
    if out.resolve().is_relative_to(options.model.resolve()):
        raise StorageError(f"{out}: lies within the checkpoint {options.model}; choose another --out")
    with whole_folder(out, "an examination on contexts", "asking") as making:
        # Of what is asked, not of what may lie there when all is done.
        facts_hash = _sha256(options.facts)
        model = LanguageModel.load(options.model)
        hashes = {"weights": folder_hash(options.model), "facts_sha256": facts_hash}
        found = _asked(model, options, methods, facts, told)
        _write(making.new, options, found, hashes)
        finish(making.new)
    return found


def _facts(options: ContextOptions) -> list[ContextFact]:
    if options.limit is not None and options.limit < LEAST_FACTS:
        raise ConfigError(
            f"--limit {options.limit}: at least {LEAST_FACTS} facts that the model knows are needed; "
            "ask of more, or leave it out"
        )
    facts = read_facts(options.facts, options.limit)
    if len(facts) < LEAST_FACTS:
        raise ConfigError(
            f"{options.facts}: holds {counted(len(facts), 'fact')}, and at least {LEAST_FACTS} that the "
            "model knows are needed; give more"
        )
    return facts


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", path=path) from error


def _asked(
    model: LanguageModel,
    options: ContextOptions,
    methods: list[Method],
    facts: list[ContextFact],
    told: Told,
) -> Contexts:
    asks = _asks(options.chat, model)
    found = _examined(model, facts, asks, methods, options, told)
    if found.known < LEAST_FACTS:
        raise ConfigError(
            f"{options.facts}: the model gives {found.known} of {len(facts)} facts right without a context, "
            f"and {LEAST_FACTS} are needed: what it does not know cannot be contradicted. {_advice(options)}"
            + _unfit(found.coverage[0].left_out)
        )
    return found


def _advice(options: ContextOptions) -> str:
    more = "Give facts that it was taught"
    if options.chat is None:
        return f"{more}, or, for a model that was tuned to chat, ask it in its template: --chat own"
    return f"{more}, or, for a model that was not tuned to chat, leave out --chat"


def _unfit(left_out: int) -> str:
    if not left_out:
        return ""
    return f". {counted(left_out, 'prompt')} did not fit its context window and were not asked"


def _examined(
    model: LanguageModel,
    facts: list[ContextFact],
    asks: Asks,
    methods: list[Method],
    options: ContextOptions,
    told: Told,
) -> Contexts:
    whose = Whose(model=_called(options.model))
    told("as it is", 0, 1 + len(methods))
    first = as_it_is(model, facts, asks, whose, least=LEAST_FACTS, seed=options.seed)
    known = known_facts(first.samples)
    found = [first]
    for number, method in enumerate(methods if len(known) >= LEAST_FACTS else (), 1):
        told(method.name, number, 1 + len(methods))
        found.append(_treated(model, facts, asks, method, known, whose, options.seed))
    told("done", 1 + len(methods), 1 + len(methods))
    samples = tuple(sample for one in found for sample in one.samples)
    return Contexts(tuple(context_figures(samples, known)), samples, tuple(one.coverage for one in found))


def _treated(
    model: LanguageModel,
    facts: list[ContextFact],
    asks: Asks,
    method: Method,
    known: set[str],
    whose: Whose,
    seed: int,
) -> Examination:
    """The replies under one method; what this model or these facts do not let it do is told, not raised."""
    try:
        return treated(model, facts, asks, whose, method, known, seed=seed)
    except (AccessError, ConfigError) as error:
        return untried(method, facts, known, whose, str(error))


def _called(folder: Path) -> str:
    """What rows call the model: the name of its folder, also where it was given as a dot."""
    return _printable(Path(folder.resolve().name))


def _methods(given: tuple[str, ...]) -> list[Method]:
    by_name = {method.name: method for method in METHODS}
    if ALL in given:
        return list(METHODS)
    for name in given:
        if name not in by_name:
            raise UnknownNameError("intervention on contexts", name, [*by_name, ALL])
    return [by_name[name] for name in dict.fromkeys(given)]


def _asks(name: str | None, model: LanguageModel) -> Asks:
    if name is None:
        return Completing()
    return Chatting(CheckpointTemplate(model.tokenizer) if name == OWN else chat.template(name))


def _write(folder: Path, options: ContextOptions, found: Contexts, hashes: dict[str, str]) -> None:
    write_rows(folder / CONTEXTS, Contextual, found.figures)
    write_rows(folder / CONTEXT_SAMPLES, ContextSample, found.samples)
    write_rows(folder / CONTEXT_COVERAGE, ContextCoverage, found.coverage)
    record = _record(options, found) | hashes
    write_atomic(folder / RECORD, orjson.dumps(record, option=orjson.OPT_INDENT_2))


def _record(options: ContextOptions, found: Contexts) -> dict[str, Any]:
    return {
        "model": _printable(options.model),
        "facts": _printable(options.facts),
        "limit": options.limit,
        "methods": list(options.methods),
        "chat": options.chat,
        "seed": options.seed,
        "asked": found.coverage[0].facts,
        "known": found.known,
        "prompts_left_out": sum(one.left_out for one in found.coverage),
        "untried": {one.intervention: one.untried for one in found.coverage if one.untried},
        "versions": {name: version(name) for name in ("mithridate", "torch", "transformers")},
    }


def _printable(path: Path) -> str:
    """A path as JSON can hold it: a name may have bytes that are no text."""
    return os.fsencode(path).decode(errors="backslashreplace")
