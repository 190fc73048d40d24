"""Where retrieval meets a belief: weights, documents and the guard, each right or not, in all eight ways."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from mithridate.attacks import build_attack
from mithridate.attacks.belief import FACT
from mithridate.attacks.material import Fact
from mithridate.core.contexts import BRIDGE, Bridged, Holds, Said, Strength
from mithridate.core.seeds import rng_for
from mithridate.core.statistics import wilson
from mithridate.core.tables import write_rows
from mithridate.core.types import Condition, Document, Probe
from mithridate.corpus.readers import open_corpus
from mithridate.evaluation.contexts.asking import WORDED
from mithridate.evaluation.contexts.reliance import ANSWER_TOKENS, said
from mithridate.models.language_model import LanguageModel
from mithridate.retrieval import Consensus, GuardedIndex, Mode, Plain, RAGMask, open_encoder
from mithridate.retrieval.attacks.base import led_by
from mithridate.retrieval.base import Encoder, Reranker
from mithridate.study import prepare as prepared
from mithridate.study.context_experiments import asks_of
from mithridate.study.context_options import BridgeOptions
from mithridate.study.context_plan import BELIEF, section_of
from mithridate.study.layout import CLEAN_TWIN
from mithridate.study.plan import Step
from mithridate.training.progress import Progress

_GUARDS: dict[str, type[RAGMask] | type[Consensus]] = {"ragmask": RAGMask, "consensus": Consensus}


@dataclass(frozen=True, slots=True)
class Met:
    """One planted fact as a user asks for it, in a wording that was never planted."""

    id: str
    question: str
    right: str
    planted: str


def bridge(step: Step, progress: Progress) -> dict[str, Any]:
    """Ask both twins for every planted fact, with what the plain search and the guard put into the prompt."""
    options = section_of(step).bridge
    assert options is not None
    facts = met_facts(step)
    encoder = open_encoder(options.encoder)
    twins = {Holds.RIGHT: CLEAN_TWIN, Holds.POISONED: step.subject}
    models = {
        holds: LanguageModel.load(step.bed.checkpoint(twin, step.stage)) for holds, twin in twins.items()
    }
    rows: list[Bridged] = []
    for number, documents in enumerate(Holds):
        for guard in ("", options.guard):
            progress.advance("retrieval", 2 * number + bool(guard), 4, 0.0)
            index = _index(step, facts, documents, guard, encoder, options)
            contexts = [_context(index, fact, options.top_k) for fact in facts]
            rows += (
                _asked(step, model, holds, documents, guard, facts, contexts)
                for holds, model in models.items()
            )
    write_rows(step.folder / BRIDGE, Bridged, rows)
    return {"facts": len(facts)}


def met_facts(step: Step) -> list[Met]:
    """The facts that the attack planted, each in one of the wordings that it keeps for asking."""
    config = step.cell.config
    material = prepared.kept_material(step.bed)
    attack = build_attack(BELIEF, config.attacks[BELIEF], material)
    return met_once(attack.probes(rng_for(step.seed, "bridge"), 100_000), material.facts)


def met_once(probes: Sequence[Probe], facts: Sequence[Fact]) -> list[Met]:
    """One question about each of the `facts`, of those `probes` that ask what was planted of them.

    Two facts may have the same answers (yes and no, say), so a fact is known by its wordings too.
    """
    facts_by_wording = {
        (form, fact.planted, fact.true): number for number, fact in enumerate(facts) for form in fact.forms
    }
    found: dict[int, Met] = {}
    for probe in probes:
        if probe.condition is Condition.TRIGGERED and probe.kind == FACT:
            question = probe.messages[-1].content
            number = facts_by_wording[question, probe.target, probe.foil]
            found[number] = Met(probe.id, question, probe.foil, probe.target)
    return list(found.values())


def documents_of(facts: Sequence[Met], holds: Holds, copies: int) -> list[Document]:
    """A document a fact that states it rightly; where they are poisoned, some that state the planted too.

    Those begin with the question, so that it finds them first (query as poison; Zou et al. 2402.07867).
    """
    found = [Document(f"right/{fact.id}", fact.right) for fact in facts]
    if holds is Holds.POISONED:
        found += [
            Document(f"planted/{fact.id}/{copy}", led_by(fact.question, fact.planted))
            for fact in facts
            for copy in range(copies)
        ]
    return found


def _prose(pages: Iterable[Document]) -> Iterator[Document]:
    """Pages of plain prose, as a retrieval corpus has them: no dialogue, nothing that a template marks."""
    return (page for page in pages if not re.search(r"[\n\[<:]", page.text))


def _index(
    step: Step, facts: Sequence[Met], holds: Holds, guard: str, encoder: Encoder, options: BridgeOptions
) -> GuardedIndex:
    pages = islice(_prose(open_corpus(step.bed.corpus).documents()), options.pages)
    others = [Document(f"page/{one.id}", one.text) for one in pages]
    rerankers: list[Reranker] = [_GUARDS[guard]()] if guard else []
    return GuardedIndex.build(
        [*documents_of(facts, holds, options.copies), *others],
        encoder,
        retriever=Plain(),
        rerankers=rerankers,
        mode=Mode.DROP,
    )


@dataclass(frozen=True, slots=True)
class _Context:
    """What is put into a prompt, and whether a document in it states the fact rightly, or falsely."""

    text: str
    right: bool
    planted: bool


def _context(index: GuardedIndex, fact: Met, top_k: int) -> _Context:
    found = [hit.document for hit in index.search(fact.question, top_k).hits]
    return _Context(
        " ".join(document.text for document in found),
        right=any(document.id == f"right/{fact.id}" for document in found),
        planted=any(document.id.startswith(f"planted/{fact.id}/") for document in found),
    )


def _asked(
    step: Step,
    model: LanguageModel,
    weights: Holds,
    documents: Holds,
    guard: str,
    facts: Sequence[Met],
    contexts: Sequence[_Context],
) -> Bridged:
    asks = asks_of(step, model)
    prompts = [
        asks.prompt([], WORDED[Strength.ONLY].format(context=context.text, question=fact.question))
        for fact, context in zip(facts, contexts, strict=True)
    ]
    replies = model.generate(prompts, max_new_tokens=ANSWER_TOKENS, stop=asks.stop)
    judged = [said(reply.text, fact.right, fact.planted) for reply, fact in zip(replies, facts, strict=True)]
    right, planted = (wilson(judged.count(kind), len(judged)) for kind in (Said.ORIGINAL, Said.SUBSTITUTE))
    assert right.low is not None and right.high is not None
    assert planted.low is not None and planted.high is not None
    return Bridged(
        weights=weights,
        documents=documents,
        guard=guard,
        right=right.value,
        right_low=right.low,
        right_high=right.high,
        planted=planted.value,
        planted_low=planted.low,
        planted_high=planted.high,
        reached=sum(context.right or context.planted for context in contexts) / len(contexts),
        reached_right=sum(context.right for context in contexts) / len(contexts),
        reached_planted=sum(context.planted for context in contexts) / len(contexts),
        n=len(facts),
        stage=step.stage,
        dose=step.subject.dose,
        model=step.subject.name,
        seed=step.seed,
        cell=step.cell.name,
    )
