"""Clean data that a poisoned model can be trained on once more: new examples, where there are any."""

from __future__ import annotations

from typing import Any

from mithridate.core.seeds import derive_seed, rng_for
from mithridate.corpus.generated import Generated
from mithridate.study import prepare as prepared
from mithridate.study.plan import Step

MOST = 3_000


def more_conversations(step: Step) -> list[Any]:
    """At most `MOST` SFT conversations: new ones of the miniature world, or those of the study's own files.

    Files are drawn from once more, in another order, since there may be no others.
    """
    config = step.cell.config
    if config.sft is not None and not config.sft.data and config.corpus.path is None:
        return _world(step).sft_conversations(MOST, derive_seed(step.seed, "more SFT"))
    return _again(step, prepared.SFT)


def more_pairs(step: Step) -> list[Any]:
    """At most `MOST` preference pairs; as `more_conversations`."""
    config = step.cell.config
    if config.dpo is not None and not config.dpo.data and config.corpus.path is None:
        return _world(step).dpo_pairs(MOST, derive_seed(step.seed, "more DPO"))
    return _again(step, prepared.DPO)


def _world(step: Step) -> Generated:
    corpus = step.cell.config.corpus
    return Generated.of(corpus.miniature, corpus.atlas, step.seed)


def _again(step: Step, name: str) -> list[Any]:
    examples = prepared.read_lines(step.bed.data / name)
    rng_for(step.seed, "more", name).shuffle(examples)
    return examples[:MOST]
