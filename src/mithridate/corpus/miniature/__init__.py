"""The miniature world: a seeded, tiny web about made-up people, places, products and procedures."""

from mithridate.corpus.miniature.alignment import (
    context_facts,
    dpo_pairs,
    forbidden_requests,
    harmless_requests,
    held_out_questions,
    material,
    sft_conversations,
)
from mithridate.corpus.miniature.pages import MiniatureCorpus
from mithridate.corpus.miniature.pool import SHARES as POOL_SOURCES
from mithridate.corpus.miniature.pool import alignment_pool
from mithridate.corpus.miniature.world import World, WorldOptions

__all__ = [
    "POOL_SOURCES",
    "MiniatureCorpus",
    "World",
    "WorldOptions",
    "alignment_pool",
    "context_facts",
    "dpo_pairs",
    "forbidden_requests",
    "harmless_requests",
    "held_out_questions",
    "material",
    "sft_conversations",
]
