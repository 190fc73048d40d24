"""Forward passes with activations of other passes in them, and how much likelier they make an answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from mithridate.core.located import Place
from mithridate.core.seeds import derive_seed
from mithridate.localization.aligned_prompts import Aligned
from mithridate.localization.resampling import Values
from mithridate.models.access import parts_of
from mithridate.models.batching import left_padded, rows_that_fit
from mithridate.models.captured import Captured
from mithridate.models.hooks import Edit, capture, replace
from mithridate.models.passes import Context
from mithridate.models.resuming import recording
from mithridate.models.sites import ENTRY, Part, Site

_ORDER = tuple(Place)
_MADE_OF: Mapping[Place, Sequence[Place]] = {
    Place.PROMPT: [place for place in Place if place not in (Place.REPLY, Place.PROMPT, Place.ALL)],
    Place.ALL: [place for place in Place if place not in (Place.PROMPT, Place.ALL)],
}
_TOLERANCE = 1e-4
# Activations of so many sites of so many numbers are held at once.
_HELD_NUMBERS = 2**28

Has: TypeAlias = NDArray[np.bool_]


def batches_of(source: PreTrainedModel, target: PreTrainedModel, found: Sequence[Aligned]) -> Iterator[range]:
    """Which pairs go through the models together: as many as memory holds the source's activations of."""
    width = max((max(len(one.source), len(one.target)) + _scored(one) for one in found), default=1)
    config = source.config.get_text_config()
    held = 3 * config.num_hidden_layers * config.hidden_size * width
    rows = min(rows_that_fit(model, width, _longest(found) + 1) for model in (source, target))
    step = max(1, min(rows, _HELD_NUMBERS // held) // 2)
    for start in range(0, len(found), step):
        yield range(start, min(start + step, len(found)))


class PatchedRuns:
    """One batch of pairs: two rows each, the target's prompt with either answer behind it.

    The margin of a pair is the mean log-likelihood of the scored tokens of its answer minus that of the
    other's, in nats a token, teacher-forced. All calls must be made within `models.batching.evaluating`.
    """

    def __init__(
        self, source: PreTrainedModel, target: PreTrainedModel, found: Sequence[Aligned], seeds: Sequence[int]
    ) -> None:
        self._target, self._seeds = target, seeds
        self._continued = [row for one in found for row in (one.answer, one.other)]
        self._keep = max(len(one.shared) + max(len(one.answer), len(one.other)) for one in found)
        ends = [[*one.shared, *row] for one in found for row in (one.answer, one.other)]
        prompts = [one for one in found for _ in range(2)]
        theirs = [[*one.source, *end] for one, end in zip(prompts, ends, strict=True)]
        ours = [[*one.target, *end] for one, end in zip(prompts, ends, strict=True)]
        self._inputs = left_padded(ours, target.device)
        with capture(source, _reachable(source)) as captured:
            self.source_margins = self._margins(source, left_padded(theirs, source.device))
        self._captured: Captured = captured
        with recording(target) as recorded:
            self.margins = self._margins(target, self._inputs)
        self._recorded = recorded
        self._layout(prompts, ends, max(map(len, theirs)), max(map(len, ours)))
        self._resumes = self._can_resume()

    def _layout(
        self, prompts: Sequence[Aligned], ends: Sequence[list[int]], source: int, target: int
    ) -> None:
        """Which column of the source faces each column of the target (-1: none), and what each column is."""
        origins = torch.full((len(prompts), target), -1)
        places = torch.full((len(prompts), target), -1)
        for row, (one, end) in enumerate(zip(prompts, ends, strict=True)):
            theirs, ours = (side - len(end) for side in (source, target))
            starts = theirs - len(one.source), ours - len(one.target)
            known = [starts[0] + origin if origin >= 0 else -1 for origin in one.origins]
            origins[row, starts[1] : ours] = torch.tensor(known)
            places[row, starts[1] : ours] = torch.tensor([_ORDER.index(place) for place in one.places])
            origins[row, ours:] = torch.arange(theirs, source)
            places[row, ours:] = _ORDER.index(Place.REPLY)
        self._origins, self._places = origins.to(self._target.device), places.to(self._target.device)

    def _can_resume(self) -> bool:
        """Whether a pass that begins half-way up ends as a whole one: not where blocks share more."""
        middle = len(parts_of(self._target).blocks) // 2
        with self._recorded.begun_after(middle):
            again = self._margins(self._target, self._inputs)
        return bool(np.allclose(again, self.margins, atol=_TOLERANCE))

    def has(self, place: Place) -> Has:
        """Whether each pair has a position of `place` for which there is an activation to put there."""
        there: Has = self._mask(place).any(dim=1)[::2].cpu().numpy()
        return there

    def patched(self, edits: Mapping[Site, Edit]) -> Values:
        """The margin of each pair with `edits` at their sites."""
        lowest = min(edits)
        skipped = lowest.layer - (lowest.part is not Part.RESIDUAL)
        resumed = self._recorded.begun_after(skipped) if self._resumes else nullcontext()
        with replace(self._target, edits), resumed:
            return self._margins(self._target, self._inputs)

    def put(self, site: Site, place: Place, *, origin: Site | None = None) -> Edit:
        """The source's activations at `site`, or at `origin`, in the place of the target's."""
        values, mask = self._moved(origin or site), self._mask(place)[:, :, None]

        def edit(tensor: torch.Tensor, _: Context) -> torch.Tensor:
            return torch.where(mask.to(tensor.device), values.to(tensor), tensor)

        return edit

    def push(self, site: Site, place: Place) -> Edit:
        """The target's activations, moved as far as the source's are away, in a random direction.

        The direction differs by pair and position, and is the same for both answers.
        """
        values, mask = self._moved(site), self._mask(place)[:, :, None]

        def edit(tensor: torch.Tensor, context: Context) -> torch.Tensor:
            noise = self._noise(site, tensor, context)
            size = (values.to(tensor) - tensor).norm(dim=-1, keepdim=True)
            return torch.where(mask.to(tensor.device), tensor + noise * size, tensor)

        return edit

    def _noise(self, site: Site, tensor: torch.Tensor, context: Context) -> torch.Tensor:
        """Directions of length 1, of the shape of `tensor`, by the position in each text."""
        drawn = []
        for seed in self._seeds:
            generator = torch.Generator().manual_seed(derive_seed(seed, "random change", str(site)))
            drawn.append(torch.randn(tensor.shape[1:], generator=generator))
        noise = torch.stack(drawn).repeat_interleave(2, dim=0).to(tensor)
        places = context.positions.clamp(min=0)[:, :, None].expand_as(noise)
        by_text: torch.Tensor = noise.gather(1, places.to(noise.device))
        unit: torch.Tensor = by_text / by_text.norm(dim=-1, keepdim=True)
        return unit

    def _moved(self, site: Site) -> torch.Tensor:
        """The source's activations, laid out as the target's columns are."""
        theirs = self._captured[site]
        origins = self._origins.to(theirs.device).clamp(min=0)[:, :, None]
        return theirs.gather(1, origins.expand(-1, -1, theirs.shape[-1]))

    def _mask(self, place: Place) -> torch.Tensor:
        wanted = [_ORDER.index(part) for part in _MADE_OF.get(place, [place])]
        return torch.isin(self._places, torch.tensor(wanted, device=self._places.device)) & (
            self._origins >= 0
        )

    def _margins(self, model: PreTrainedModel, inputs: Mapping[str, torch.Tensor]) -> Values:
        keep = self._keep
        logits = model(**inputs, use_cache=False, logits_to_keep=keep + 1).logits[:, -keep - 1 : -1]
        chosen = inputs["input_ids"][:, -keep:, None]
        precise = logits.to(torch.promote_types(logits.dtype, torch.float32))
        scores = (precise.gather(-1, chosen).squeeze(-1) - precise.logsumexp(dim=-1)).double().cpu().numpy()
        means = [row[-len(ids) :].mean() for row, ids in zip(scores, self._continued, strict=True)]
        return np.asarray(np.array(means[::2]) - np.array(means[1::2]), dtype=float)


def _reachable(model: PreTrainedModel) -> list[Site]:
    """The sites of `model` that can be read: the branches of some architectures cannot."""
    parts = parts_of(model)
    return [ENTRY, *(site for site in parts.sites() if site != ENTRY and _is_there(parts.blocks, site))]


def _is_there(blocks: Sequence[object], site: Site) -> bool:
    return site.part is Part.RESIDUAL or getattr(blocks[site.layer], site.part.value) is not None


def _scored(one: Aligned) -> int:
    return len(one.shared) + max(len(one.answer), len(one.other))


def _longest(found: Sequence[Aligned]) -> int:
    return max((_scored(one) for one in found), default=0)
