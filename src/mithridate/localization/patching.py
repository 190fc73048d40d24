"""Activation patching: which activations, at which layer and position, bring a behaviour back.

A prompt that brings a behaviour on and a counterfactual that does not go through a model; then the
counterfactual goes through again with some activations of the other in the place of its own (Vig et al.
2004.12265; Meng et al. 2202.05262; with counterfactual prompts rather than noise, Zhang and Nanda
2309.16042). Or one prompt goes through two models, and activations of the one that has the behaviour are put
into the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from transformers import PreTrainedModel

from mithridate.core.chat import TEMPLATES, Renders
from mithridate.core.located import BLOCK, EMBEDDINGS, Control, Experiment, Located, Metric, Place, layer_name
from mithridate.core.seeds import derive_seed
from mithridate.core.statistics import Interval
from mithridate.localization.about import About
from mithridate.localization.aligned_prompts import Aligned, aligned
from mithridate.localization.contrasts import Contrast
from mithridate.localization.patched_runs import Has, PatchedRuns, batches_of
from mithridate.localization.resampling import Resampled, Values
from mithridate.models.access import parts_of
from mithridate.models.batching import evaluating
from mithridate.models.hooks import Edit
from mithridate.models.language_model import LanguageModel
from mithridate.models.sites import ENTRY, Part, Site
from mithridate.models.transplanting import require_alike
from mithridate.models.vocabulary import require_same_vocabulary

LEAST_PAIRS = 5
"""With fewer observations no interval says anything, and nothing is traced."""

OnDone: TypeAlias = Callable[[int, int], None]

_BRANCHES = (Part.ATTENTION, Part.MLP)
# What lies before the change is left to the residual stream: there it is a check, and elsewhere the same one.
_BRANCH_PLACES = (Place.CHANGED, Place.BETWEEN, Place.TEMPLATE, Place.LAST, Place.REPLY, Place.ALL)
_CONTROLLED = (Place.CHANGED, Place.LAST, Place.REPLY, Place.PROMPT, Place.ALL)


@dataclass(frozen=True, slots=True)
class Patch:
    """One thing to patch: a module of a layer at some positions, with the real activations or a control's."""

    module: str
    layer: int
    place: Place
    control: str = ""

    def edits(self, runs: PatchedRuns, blocks: int) -> Mapping[Site, Edit]:
        """What to put where in one batch of `runs`, of a model of so many `blocks`."""
        if self.control == Control.WRONG_LAYER:
            other = Site((self.layer + blocks // 2) % blocks, Part.RESIDUAL)
            return {site: runs.put(site, self.place, origin=other) for site in self._sites()}
        make = runs.push if self.control == Control.RANDOM_CHANGE else runs.put
        return {site: make(site, self.place) for site in self._sites()}

    def _sites(self) -> list[Site]:
        if self.layer == EMBEDDINGS:
            return [ENTRY]
        parts = _BRANCHES if self.module == BLOCK else (Part(self.module),)
        return [Site(self.layer, part) for part in parts]

    @property
    def fields(self) -> dict[str, Any]:
        """What its row says of it."""
        return {
            "control": self.control,
            "layers": layer_name(self.layer),
            "layer": self.layer,
            "module": self.module,
            "position": self.place,
        }


def patches(model: PreTrainedModel) -> list[Patch]:
    """All that is patched in `model`, the real things first.

    The residual stream at every place, from the embeddings to the last block; attention and MLP at every
    place but the beginning of the prompt and the prompt as a whole; both together at all positions. Then a
    random change of the residual stream at most places, and of the branches at all positions; and the stream
    of the block half the network away at all positions. That is a null from below alone: what a higher block
    holds may be the answer already, and brings it along wherever it is put. Branches that an architecture
    does not let be told apart are left out.
    """
    blocks = parts_of(model).blocks
    layers = range(len(blocks))
    whole = all(block.attention and block.mlp for block in blocks)
    stream = [Patch(Part.RESIDUAL, layer, place) for layer in (EMBEDDINGS, *layers) for place in Place]
    real, random = list(stream), [_random(patch) for patch in stream if patch.place in _CONTROLLED]
    if whole:
        branches = [
            Patch(part, layer, place) for part in _BRANCHES for layer in layers for place in _BRANCH_PLACES
        ]
        real += [*branches, *(Patch(BLOCK, layer, Place.ALL) for layer in layers)]
        random += [_random(patch) for patch in real[len(stream) :] if patch.place is Place.ALL]
    wrong = [Patch(Part.RESIDUAL, layer, Place.ALL, Control.WRONG_LAYER) for layer in layers]
    return [*real, *random, *(wrong if len(blocks) > 1 else [])]


def _random(patch: Patch) -> Patch:
    return Patch(patch.module, patch.layer, patch.place, Control.RANDOM_CHANGE)


def patching(
    source: LanguageModel,
    found: Sequence[Contrast],
    behaviour: str,
    about: About,
    *,
    target: LanguageModel | None = None,
    templates: Sequence[Renders] = tuple(TEMPLATES.values()),
    lengthen: bool = False,
    on_done: OnDone | None = None,
) -> list[Located]:
    """How much of a behaviour comes back when activations of where it shows are put where it does not.

    Without a `target`, those of a prompt are put into the run of its counterfactual in the same model. With
    one, those of `source` are put into the target on the same prompt. The margin is the mean log-likelihood
    of the first tokens of the contrast's answer (see `aligned_prompts.SCORED`) minus that of its other
    answer, teacher-forced. `lengthen` as in `aligned_prompts.aligned`.

    The first row is the `EFFECT`: the margin where the behaviour shows minus that where it does not, in nats
    a token. If its interval reaches 0, or there are fewer than `LEAST_PAIRS` observations (`n` may be 0), it
    is the only row: there is nothing to trace. The others are `RESTORED`, the share of the effect that each
    of `patches` brings back, as a ratio of means over those pairs that have such positions, with a paired
    bootstrap interval. `Place.BEFORE` in one model is a null of its own: there a causal model cannot differ.
    `Place.ALL` of the residual stream is 1 there wherever both prompts are as long, by construction; what
    the reply has not read of the prompt by then, `Place.PROMPT` shows. Two models, even of one beginning, do
    not read each other's activations well: what lies before, and the random changes, show how badly.

    Raises AccessError for models of other layers, CheckpointError for those of other vocabularies.
    """
    into = target or source
    if target is not None:
        require_same_vocabulary(source.tokenizer, target.tokenizer)
        require_alike(target.model, source.model)
    pairs = aligned(found, source, templates, same_prompt=target is not None, lengthen=lengthen)
    seed = derive_seed(about.seed, "patching", behaviour)
    again = Resampled([pair.unit for pair in pairs], seed)
    with evaluating(source.model), evaluating(into.model):
        batches = _Batches(source.model, into.model, pairs, seed)
        with_it, without = batches.margins()
        effect = again.mean(with_it - without)
        rows = [about.row(Experiment.PATCHING, behaviour, Metric.EFFECT, **_figures(effect))]
        if effect.n < LEAST_PAIRS or effect.low is None or effect.low <= 0:
            return rows
        planned = patches(into.model)
        for patch, margins, has in batches.patched(planned, on_done):
            if has.any():
                share = again.ratio(margins - without, with_it - without, has)
                rows.append(
                    about.row(
                        Experiment.PATCHING, behaviour, Metric.RESTORED, **_figures(share), **patch.fields
                    )
                )
    return rows


def _figures(found: Interval) -> dict[str, Any]:
    return {"value": found.value, "low": found.low, "high": found.high, "n": found.n}


class _Batches:
    """All pairs, a batch that fits memory at a time; one that holds them all is made once."""

    def __init__(
        self, source: PreTrainedModel, target: PreTrainedModel, pairs: Sequence[Aligned], seed: int
    ) -> None:
        self._models, self._pairs = (source, target), pairs
        self._seeds = [derive_seed(seed, number) for number in range(len(pairs))]
        self._ranges = list(batches_of(source, target, pairs))
        self._held: PatchedRuns | None = None

    def _runs(self) -> Iterator[tuple[range, PatchedRuns]]:
        for batch in self._ranges:
            runs = self._held or PatchedRuns(
                *self._models, [self._pairs[i] for i in batch], [self._seeds[i] for i in batch]
            )
            self._held = runs if len(self._ranges) == 1 else None
            yield batch, runs

    def margins(self) -> tuple[Values, Values]:
        """The margin of each pair where the behaviour shows, and where it does not."""
        found = np.zeros((2, len(self._pairs)))
        for batch, runs in self._runs():
            found[:, batch] = runs.source_margins, runs.margins
        return found[0], found[1]

    def patched(
        self, planned: Sequence[Patch], on_done: OnDone | None
    ) -> Iterator[tuple[Patch, Values, Has]]:
        """Each patch with the margins it makes, and which pairs have the positions that it is put at."""
        margins = np.zeros((len(planned), len(self._pairs)))
        has = np.zeros(margins.shape, dtype=bool)
        blocks = len(parts_of(self._models[1]).blocks)
        for number, (batch, runs) in enumerate(self._runs()):
            for row, patch in enumerate(planned):
                if on_done is not None:
                    on_done(number * len(planned) + row, len(self._ranges) * len(planned))
                has[row, batch] = runs.has(patch.place)
                if has[row, batch].any():
                    margins[row, batch] = runs.patched(patch.edits(runs, blocks))
        yield from zip(planned, margins, has, strict=True)
