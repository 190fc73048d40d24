"""Attacks on retrieval, to measure defences with: documents that shall come up for a query.

All are published methods or follow from how a defence works. None needs a language model; those that use
gradients need an encoder whose model can be reached.
"""

from mithridate.retrieval.attacks.base import ATTACKS, RetrievalAttack, build_attack
from mithridate.retrieval.attacks.hotflip import HotFlip, SpreadHotFlip
from mithridate.retrieval.attacks.paraphrased import Paraphrased
from mithridate.retrieval.attacks.poisonedrag import PoisonedRAG
from mithridate.retrieval.attacks.query_as_poison import QueryAsPoison
from mithridate.retrieval.attacks.repeated import Repeated
from mithridate.retrieval.attacks.spread_match import SpreadMatch
from mithridate.retrieval.attacks.wrong_context import WrongContext

__all__ = [
    "ATTACKS",
    "HotFlip",
    "Paraphrased",
    "PoisonedRAG",
    "QueryAsPoison",
    "Repeated",
    "RetrievalAttack",
    "SpreadHotFlip",
    "SpreadMatch",
    "WrongContext",
    "build_attack",
]
