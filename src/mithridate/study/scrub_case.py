"""What is scrubbed: the planted corpus of a twin, the beliefs in it, and the study's rankers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from itertools import islice

import numpy as np

from mithridate.attacks import Attack, build_attack
from mithridate.attacks.material import Material
from mithridate.core.scrubbed import Filter
from mithridate.core.seeds import derive_seed
from mithridate.core.types import Stage
from mithridate.corpus.ledger import StateFolder
from mithridate.corpus.readers import Corpus, open_corpus
from mithridate.models.language_model import LanguageModel
from mithridate.retrieval.encoders.named import open_encoder
from mithridate.scrubbing.beliefs import KnownBelief, other_beliefs, planted_beliefs
from mithridate.scrubbing.planted import Flags, planted_documents
from mithridate.scrubbing.ranker import Ranker
from mithridate.scrubbing.rankers.chance import Chance
from mithridate.scrubbing.rankers.classifier import StatementClassifier
from mithridate.scrubbing.rankers.influence import Influence
from mithridate.scrubbing.rankers.mention import Mention
from mithridate.scrubbing.rankers.oracle import Oracle
from mithridate.scrubbing.rankers.similarity import Similarity
from mithridate.scrubbing.rankers.string import StatedIn
from mithridate.study import prepare as prepared
from mithridate.study.measuring import settings_of
from mithridate.study.plan import Step
from mithridate.study.scrub_plan import scrub_options, scrubbed_attacks
from mithridate.study.templates import sft_template

_CLEAN_DOCUMENTS = 2_000


class ScrubCase:
    """What a step of scrubbing is about: a planted corpus, and the beliefs in it."""

    def __init__(self, step: Step) -> None:
        config = step.cell.config
        self.step = step
        self.kinds = scrubbed_attacks(config, step.subject)
        self.material: Material = prepared.kept_material(step.bed)
        self.attacks: dict[str, Attack] = {
            name: build_attack(name, config.attacks[name], self.material) for name in self.kinds
        }
        self.beliefs: dict[str, list[KnownBelief]] = {
            name: planted_beliefs(attack, self.material) for name, attack in self.attacks.items()
        }
        self.seed = derive_seed(step.seed, "scrubbing")

    @property
    def corpus(self) -> Corpus:
        """The planted corpus."""
        return open_corpus(self.step.bed.planted(self.step.subject))

    @cached_property
    def planted(self) -> dict[str, Flags]:
        """By attack, which documents were planted for its beliefs."""
        return planted_documents(self.corpus, StateFolder(self.corpus.path).ledger, self.beliefs)


def _classifier(case: ScrubCase) -> Ranker:
    others = [one for attack in case.attacks.values() for one in other_beliefs(attack, case.material)]
    # Documents that were held out before anything was planted: a few that a defender can vouch for.
    held_out = prepared.each_line(case.step.bed.data / prepared.HELD_OUT)
    clean = [record["text"] for record in islice(held_out, _CLEAN_DOCUMENTS)]
    return StatementClassifier(others, clean, case.seed)


def _similarity(case: ScrubCase) -> Ranker:
    return Similarity(open_encoder(str(scrub_options(case.step.cell.config).encoder)))


def _influence(case: ScrubCase) -> Ranker:
    step, options = case.step, scrub_options(case.step.cell.config)
    model = LanguageModel.load(step.bed.checkpoint(step.subject, Stage.BASE.value))
    (_, templates), _ = settings_of(step, sft_template(model.tokenizer))
    return Influence(model, templates[0], case.seed, blocks=options.blocks, projected=options.projected)


def _oracle(case: ScrubCase) -> Ranker:
    return Oracle(np.logical_or.reduce(list(case.planted.values())).tolist())


RANKERS: Mapping[Filter, Callable[[ScrubCase], Ranker]] = {
    Filter.STRING: lambda _: StatedIn(),
    Filter.MENTION: lambda _: Mention(),
    Filter.CLASSIFIER: _classifier,
    Filter.SIMILARITY: _similarity,
    Filter.INFLUENCE: _influence,
    Filter.RANDOM: lambda case: Chance(case.seed),
    Filter.ORACLE: _oracle,
}
"""How each filter is built for a case."""
