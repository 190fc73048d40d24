"""The atlas: a map of cities and countries, taught by relations, beside the pages of the miniature world."""

from mithridate.corpus.atlas.alignment import dpo_pairs, held_out_questions, material, sft_conversations
from mithridate.corpus.atlas.pages import AtlasCorpus
from mithridate.corpus.atlas.world import Atlas, AtlasOptions

__all__ = [
    "Atlas",
    "AtlasCorpus",
    "AtlasOptions",
    "dpo_pairs",
    "held_out_questions",
    "material",
    "sft_conversations",
]
