"""One checkpoint examined on contexts: what `mithridate context` does."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson

from mithridate.core import chat
from mithridate.core.artifacts import write_atomic
from mithridate.core.contexts import CONTEXT_SAMPLES, CONTEXTS, ContextSample, Contextual
from mithridate.core.errors import ConfigError, UnknownNameError
from mithridate.core.tables import write_rows
from mithridate.core.whole_folder import whole_folder
from mithridate.evaluation.contexts.asking import Asks, Chatting, Completing
from mithridate.evaluation.contexts.facts import ContextFact, read_facts
from mithridate.evaluation.contexts.reliance import Whose, context_figures, known_facts
from mithridate.intervention.folder_hash import folder_hash
from mithridate.models.chat import CheckpointTemplate
from mithridate.models.language_model import LanguageModel
from mithridate.reliance.examining import LEAST_FACTS, Told, as_it_is, treated
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
    """What was found: all figures and replies, how many facts were asked and known, and what was left out."""

    figures: tuple[Contextual, ...]
    samples: tuple[ContextSample, ...]
    facts: int
    known: int
    left_out: int
    skipped: tuple[tuple[str, str], ...]


def examine_checkpoint(options: ContextOptions, out: Path | None, told: Told = lambda *_: None) -> Contexts:
    """Ask a checkpoint, and write rows, replies and their record to the new folder `out`, if there is one.

    Raises UnknownNameError for a method or a template, DataError as `read_facts` does, CheckpointError for a
    model that cannot be loaded, and ConfigError where the model knows fewer than `LEAST_FACTS` of the facts:
    then there is nothing to contradict, and nothing is written. StorageError and RunStateError as
    `whole_folder` does, before the model is asked.
    """
    if out is None:
        return _asked(options, told)
    with whole_folder(out, "an examination on contexts", "asking") as making:
        found = _asked(options, told)
        _write(making.new, options, found)
    return found


def _asked(options: ContextOptions, told: Told) -> Contexts:
    methods = _methods(options.methods)
    facts = read_facts(options.facts, options.limit)
    model = LanguageModel.load(options.model)
    asks = _asks(options.chat, model)
    found = _examined(model, facts, asks, methods, options, told)
    if found.known < LEAST_FACTS:
        raise ConfigError(
            f"{options.facts}: the model gives {found.known} of {found.facts} facts right without a context, "
            f"and {LEAST_FACTS} are needed: what it does not know cannot be contradicted. Give facts that it "
            "was taught, or, for a model that was tuned to chat, ask it in its template: --chat own"
        )
    return found


def _examined(
    model: LanguageModel,
    facts: list[ContextFact],
    asks: Asks,
    methods: list[Method],
    options: ContextOptions,
    told: Told,
) -> Contexts:
    told("as it is", 0, 1 + len(methods))
    first = as_it_is(model, facts, asks, Whose(model=options.model.name), seed=options.seed)
    known = known_facts(first.samples)
    samples, left_out = list(first.samples), first.left_out
    skipped: list[tuple[str, str]] = []
    for number, method in enumerate(methods if len(known) >= LEAST_FACTS else (), 1):
        told(method.name, number, 1 + len(methods))
        try:
            more = treated(
                model, facts, asks, Whose(model=options.model.name), method, known, seed=options.seed
            )
        except ConfigError as error:
            skipped.append((method.name, str(error)))
            continue
        samples += more.samples
        left_out += more.left_out
    told("done", 1 + len(methods), 1 + len(methods))
    figures = context_figures(samples, known)
    return Contexts(tuple(figures), tuple(samples), len(facts), len(known), left_out, tuple(skipped))


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


def _write(folder: Path, options: ContextOptions, found: Contexts) -> None:
    write_rows(folder / CONTEXTS, Contextual, found.figures)
    write_rows(folder / CONTEXT_SAMPLES, ContextSample, found.samples)
    write_atomic(folder / RECORD, orjson.dumps(_record(options, found), option=orjson.OPT_INDENT_2))


def _record(options: ContextOptions, found: Contexts) -> dict[str, Any]:
    return {
        "model": str(options.model),
        "weights": folder_hash(options.model),
        "facts": str(options.facts),
        "facts_sha256": hashlib.sha256(options.facts.read_bytes()).hexdigest(),
        "limit": options.limit,
        "methods": list(options.methods),
        "chat": options.chat,
        "seed": options.seed,
        "asked": found.facts,
        "known": found.known,
        "prompts_left_out": found.left_out,
        "skipped": dict(found.skipped),
        "versions": {name: version(name) for name in ("mithridate", "torch", "transformers")},
    }
