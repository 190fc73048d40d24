"""From what was measured to the records of a result: figures are made anew each time, rows are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from mithridate.core.types import Document
from mithridate.retrieval.measuring import metrics
from mithridate.retrieval.measuring.cells import AttackCell, CleanCell
from mithridate.retrieval.measuring.records import (
    AttackRecord,
    AttackResult,
    CleanResult,
    CleanRow,
    Example,
)
from mithridate.retrieval.task import RetrievalTask

_EXAMPLES = 3
_EXAMPLE_CHARACTERS = 2000


def clean_result(defense: str, cell: CleanCell, plain: Sequence[CleanRow], seed: int) -> CleanResult:
    """The record of a defence; `plain` are the plain search's rows for the same queries."""
    return CleanResult(
        defense=defense,
        ndcg=metrics.ndcg_of(cell.rows, seed),
        ndcg_loss=metrics.ndcg_loss(plain, cell.rows, seed),
        at=metrics.clean_at(cell.rows, seed),
        by_length=metrics.clean_bands(cell.rows, seed),
        cost=cell.cost,
        rows=cell.rows,
    )


def attack_result(attack: str, copies: int, defense: str, cell: AttackCell, seed: int) -> AttackResult:
    """The record of a defence under an attack."""
    return AttackResult(
        attack=attack,
        copies=copies,
        defense=defense,
        planted=cell.planted,
        at=metrics.attack_at(cell.rows, seed),
        by_length=metrics.attack_bands(cell.rows, seed),
        rows=cell.rows,
    )


def attack_record(
    attack: str, texts: Mapping[str, Sequence[Document]], task: RetrievalTask, asked: int
) -> AttackRecord:
    """What an attack planted, with the first text for each of the first queries to look at."""
    lengths = [len(document.text.split()) for documents in texts.values() for document in documents]
    shown = [(query, documents[0]) for query, documents in texts.items()][:_EXAMPLES]
    return AttackRecord(
        attack=attack,
        attacked=len(texts),
        skipped=asked - len(texts),
        words=median(lengths) if lengths else None,
        examples=[
            Example(
                document=document.id,
                query=task.queries[query],
                text=document.text[:_EXAMPLE_CHARACTERS],
                cut=len(document.text) > _EXAMPLE_CHARACTERS,
            )
            for query, document in shown
        ],
    )
