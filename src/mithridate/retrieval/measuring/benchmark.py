"""The grid: every attack against every chain of defences, over one corpus that is encoded once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import numpy as np

from mithridate import __version__
from mithridate.core.artifacts import exclusive
from mithridate.core.seeds import derive_seed
from mithridate.core.types import Document
from mithridate.retrieval.attacks.base import RetrievalAttack
from mithridate.retrieval.base import Encoder, Query, TextRole
from mithridate.retrieval.encoders.batches import encode_in_batches
from mithridate.retrieval.encoders.cache import CachedEncoder
from mithridate.retrieval.measuring.cells import (
    AttackCell,
    Cells,
    CleanCell,
    Notes,
    PlantedTexts,
)
from mithridate.retrieval.measuring.corpus_vectors import CorpusVectors
from mithridate.retrieval.measuring.digests import (
    digest_of_documents,
    digest_of_task,
    digests_of_files,
)
from mithridate.retrieval.measuring.metrics import check_installed
from mithridate.retrieval.measuring.notes import corpus_warnings, versions
from mithridate.retrieval.measuring.options import BenchOptions, Plan
from mithridate.retrieval.measuring.records import (
    FORMAT_VERSION,
    AttackRecord,
    AttackResult,
    BenchResult,
    Settings,
)
from mithridate.retrieval.measuring.results import attack_record, attack_result, clean_result
from mithridate.retrieval.measuring.rows import attack_rows, clean_rows, found_by
from mithridate.retrieval.measuring.searching import Searcher, WatchedMasks, cost_of
from mithridate.retrieval.measuring.written import Call, Chain
from mithridate.retrieval.task import RetrievalTask

BenchProgress: TypeAlias = Callable[[str, int, int | None], object]
"""Called with what is done now (one of the three below), how much of it is done, and of how much."""

ENCODING, PLANTING, ASKING = "encoding the corpus", "writing poison", "asking"
CELLS = "cells"
"""Where the measured parts lie in the folder of a benchmark."""


def run_benchmark(
    task: RetrievalTask,
    encoder: Encoder,
    options: BenchOptions | None = None,
    *,
    name: str = "corpus",
    folder: Path | str | None = None,
    cache: Path | str | None = None,
    progress: BenchProgress | None = None,
) -> BenchResult:
    """Measure a grid of attacks and defences over a task.

    The corpus is encoded once for all defences. For each attack and number of copies, the texts for all
    queries are planted into it together; then each chain of defences is asked each attacked query, once for
    each k. On the clean corpus it is asked for quality, false drops and cost. `encoder` is the bare one: give
    a folder `cache` to keep its vectors from run to run. Times are taken without it.

    In `folder`, each part is kept as soon as it is measured, so that a run that was killed goes on, and a
    wider grid measures only what is new. `name` is what the corpus is called in the result.

    Raises ConfigError for what cannot be measured, UnknownNameError for an unknown attack or defence,
    MissingExtraError without ir-measures, RunStateError if another process uses `folder`.
    """
    options = BenchOptions() if options is None else options
    plan = Plan.of(task, options)
    check_installed()
    kept = None if folder is None else Path(folder) / CELLS
    cached = encoder if cache is None else CachedEncoder(encoder, cache)
    with exclusive(kept) if kept is not None else nullcontext():
        try:
            return _Bench(task, encoder, cached, options, plan, kept, progress).run(name)
        finally:
            if isinstance(cached, CachedEncoder):
                cached.close()


class _Bench:
    """One run: what its parts share, made when the first part that is not kept needs it."""

    def __init__(
        self,
        task: RetrievalTask,
        bare: Encoder,
        encoder: Encoder,
        options: BenchOptions,
        plan: Plan,
        folder: Path | None,
        progress: BenchProgress | None,
    ) -> None:
        self.task, self.bare, self.encoder, self.options, self.plan = task, bare, encoder, options, plan
        self.masks = WatchedMasks(encoder)
        self.digest = digest_of_task(task)
        common = {
            "format": FORMAT_VERSION,
            "release": __version__,
            "corpus": self.digest,
            "encoder": encoder.identity,
            "queries": plan.queries,
            "top_ks": plan.top_ks,
            "seed": options.seed,
        }
        self.cells = Cells(folder, common)
        self._progress, self._asked = progress, 0

    def run(self, name: str) -> BenchResult:
        """Measure all, and put it together."""
        seed, asked = self.options.seed, len(self.plan.queries)
        warnings = self._notes()
        clean = [(chain.text, self._clean(chain)) for chain in self.plan.chains]
        attacks: list[AttackRecord] = []
        attacked: list[AttackResult] = []
        for call, attack in self.plan.attacks:
            texts = self._written(call, attack)
            attacks.append(attack_record(call.text, texts, self.task, asked))
            if len(texts) < asked:
                warnings.append(
                    f"{call.text} has no text for {asked - len(texts)} of {asked} queries: its figures are "
                    "those of the others"
                )
            for copies in self.plan.copies if texts else ():
                planted = {query: documents[:copies] for query, documents in texts.items()}
                for defense, cell in self._attacked(call, copies, planted).items():
                    attacked.append(attack_result(call.text, copies, defense, cell, seed))
        plain = clean[0][1].rows
        return BenchResult(
            settings=self._settings(name),
            attacks=attacks,
            clean=[clean_result(defense, cell, plain, seed) for defense, cell in clean],
            attacked=attacked,
            warnings=warnings,
        )

    @cached_property
    def corpus(self) -> CorpusVectors:
        """The clean corpus in all layouts that the chains need."""
        corpus = CorpusVectors(self.task.documents, self.encoder)
        layouts = [chain.layout for chain in self.plan.chains]
        corpus.prepare(layouts, lambda done, total: self._tell(ENCODING, done, total))
        return corpus

    @cached_property
    def queries(self) -> dict[str, Query]:
        """The queries with their vectors."""
        texts = [self.task.queries[query] for query in self.plan.queries]
        vectors = encode_in_batches(self.encoder, texts, role=TextRole.QUERY)
        return {
            query: Query(text, vector)
            for query, text, vector in zip(self.plan.queries, texts, vectors, strict=True)
        }

    @cached_property
    def undefended(self) -> dict[str, list[str]]:
        """The plain search's hits for each query on the clean corpus, for all chains to be held against."""
        plain = Searcher(self.plan.chains[0], self.corpus, self.encoder, self.masks)
        return found_by(plain, self.queries, max(self.plan.top_ks))

    def _notes(self) -> list[str]:
        layouts = [chain.layout for chain in self.plan.chains]
        depends = {"fragments": sorted({layout.fragments for layout in layouts})}
        notes = self.cells.find(Notes, depends)
        if notes is None:
            notes = Notes(warnings=corpus_warnings(self.corpus, layouts))
            self.cells.keep(notes, depends)
        found = list(notes.warnings)
        if unjudged := len(self.plan.queries) - self._judged():
            found.append(
                f"{unjudged} of {len(self.plan.queries)} queries have no relevant document: SR, nDCG and "
                "recall leave them out"
            )
        return found

    def _clean(self, chain: Chain) -> CleanCell:
        """One chain on the clean corpus."""
        depends = {"defense": chain.text, "timed": self.options.timed_queries}
        cell = self.cells.find(CleanCell, depends)
        if cell is not None:
            self._step(len(self.plan.queries))
            return cell
        searcher = Searcher(chain, self.corpus, self.encoder, self.masks)
        rows = clean_rows(searcher, self.undefended, self.task, self.queries, self.plan.top_ks, self._step)
        timed = list(self.queries.values())[: self.options.timed_queries]
        cost = cost_of(
            chain, self.corpus, timed, self.plan.timed_k, warm=searcher, encoder=self.bare, masks=self.masks
        )
        cell = CleanCell(rows=rows, cost=cost)
        self.cells.keep(cell, depends)
        return cell

    def _written(self, call: Call, attack: RetrievalAttack) -> dict[str, list[Document]]:
        """What the attack plants for each query that it has texts for, as many copies as are ever needed."""
        copies = max(self.plan.copies)
        files = digests_of_files(call.options)
        depends = {"attack": call.text, "copies": copies, "files": files}
        texts = self.cells.find(PlantedTexts, depends)
        if texts is None:
            self._tell(PLANTING, 0, None)
            rng = np.random.default_rng(derive_seed(self.options.seed, "retrieval attack", call.text))
            # The bare encoder: attacks by gradients need its model, which a cache hides.
            documents = attack.poison(self.task, self.plan.queries, rng, copies=copies, encoder=self.bare)
            taken = {document.id for document in self.task.documents}
            texts = PlantedTexts.of(documents, call.text, taken)
            self.cells.keep(texts, depends)
        found = texts.by_query()
        return {query: found[query] for query in self.plan.queries if query in found}

    def _attacked(
        self, call: Call, copies: int, planted: Mapping[str, Sequence[Document]]
    ) -> dict[str, AttackCell]:
        """All chains under one attack; its poison is encoded once, if one of them has to be measured."""
        asked, documents = len(self.plan.queries), [one for some in planted.values() for one in some]
        depends = {"attack": call.text, "copies": copies, "poison": digest_of_documents(documents)}
        found: dict[str, AttackCell] = {}
        for chain in self.plan.chains:
            if cell := self.cells.find(AttackCell, {**depends, "defense": chain.text}):
                found[chain.text] = cell
        self._step(asked * len(found))
        missing = [chain for chain in self.plan.chains if chain.text not in found]
        with self.corpus.planted(documents) if missing else nullcontext():
            for chain in missing:
                searcher = Searcher(chain, self.corpus, self.encoder, self.masks)
                rows = attack_rows(searcher, self.task, self.queries, planted, self.plan.top_ks, self._step)
                self._step(asked - len(rows))
                found[chain.text] = AttackCell(planted=len(documents), rows=rows)
                self.cells.keep(found[chain.text], {**depends, "defense": chain.text})
        return {chain.text: found[chain.text] for chain in self.plan.chains}

    def _settings(self, name: str) -> Settings:
        plan, options = self.plan, self.options
        return Settings(
            corpus=name,
            corpus_digest=self.digest,
            documents=len(self.task.documents),
            queries=len(plan.queries),
            judged=self._judged(),
            split=self.task.split,
            encoder=self.encoder.identity,
            dimension=self.encoder.dimension,
            top_ks=list(plan.top_ks),
            copies=list(plan.copies),
            attacks=[call.text for call, _ in plan.attacks],
            defenses=[chain.text for chain in plan.chains],
            seed=options.seed,
            timed_queries=min(options.timed_queries, len(plan.queries)),
            timed_k=plan.timed_k,
            versions=versions(),
        )

    def _judged(self) -> int:
        return sum(bool(self.task.relevant(query)) for query in self.plan.queries)

    def _step(self, queries: int = 1) -> None:
        """So many queries more have been put to a chain, or had been."""
        self._asked += queries
        cells = len(self.plan.chains) * (1 + len(self.plan.attacks) * len(self.plan.copies))
        self._tell(ASKING, self._asked, len(self.plan.queries) * cells)

    def _tell(self, what: str, done: int, total: int | None) -> None:
        if self._progress is not None:
            self._progress(what, done, total)
