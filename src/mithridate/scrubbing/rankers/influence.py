"""Documents that a model would have to unlearn: how alike their gradients and those of the belief are.

The score is the cosine between the gradient of a document's loss and that of the loss of the belief's own
answers, at the one checkpoint that is there: TracIn (2002.08484) with its last checkpoint alone, and the
cosine of LESS (2402.04333), without which short documents would come first. Two things are approximated.
Gradients are those of the linear layers of blocks, all or the last. And each layer's is projected from both
sides to `projected` rows and columns by random matrices of the seed (as 2405.13954 does), so that a document
is a few thousand numbers, and one pass serves all beliefs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from mithridate.core.chat import Renders
from mithridate.core.errors import AccessError
from mithridate.core.scrubbed import Filter
from mithridate.core.seeds import derive_seed
from mithridate.core.types import Document, Message, Role
from mithridate.corpus.packing import end_of_text
from mithridate.models.access import parts_of
from mithridate.models.batching import context_window
from mithridate.models.language_model import LanguageModel
from mithridate.scrubbing.beliefs import KnownBelief
from mithridate.scrubbing.ranker import Scores, batched

_AT_ONCE = 2048
_TOKENS_AT_ONCE = 8192
_LONGEST = 1024
# Of a row, its tokens and how many of them are given.
Row = tuple[list[int], int]


class Influence:
    """How far a step on a document would make the beliefs' answers likelier, by the model that learnt them.

    `blocks` are how many of the last blocks are looked at, all if there is none. Of a document that is longer
    than the context window the beginning counts. Raises AccessError where those blocks have no linear layer.
    """

    name: ClassVar[Filter] = Filter.INFLUENCE

    def __init__(
        self,
        model: LanguageModel,
        template: Renders,
        seed: int,
        *,
        blocks: int | None = None,
        projected: int = 16,
        at_once: int = _AT_ONCE,
    ) -> None:
        self._model, self._template, self._at_once = model, template, at_once
        self._layers = _linear_layers(model, blocks)
        self._sides = [
            (
                _projection(layer.in_features, projected, seed, 2 * n),
                _projection(layer.out_features, projected, seed, 2 * n + 1),
            )
            for n, layer in enumerate(self._layers)
        ]
        self._longest = min(context_window(model.model) or _LONGEST, _LONGEST)
        self._end = end_of_text(model.tokenizer)

    def scores(self, documents: Iterable[Document], beliefs: Sequence[KnownBelief]) -> Scores:
        """See `Ranker.scores`: the largest cosine to any belief's gradient."""
        wanted = torch.stack([self._of_belief(belief) for belief in beliefs])
        found: list[float] = []
        for batch in batched(documents, self._at_once):
            gradients = functional.normalize(self._gradients([self._row(one.text) for one in batch]), dim=1)
            found += (gradients @ wanted.T).max(dim=1).values.tolist()
        return np.array(found, np.float64)

    def _of_belief(self, belief: KnownBelief) -> torch.Tensor:
        """The mean gradient over the wordings in which the belief is asked, of length 1."""
        asked = [
            self._template.render([Message(Role.USER, question)], open_reply=True)
            for question in belief.questions
        ] or [""]
        rows = []
        for prompt in asked:
            given, said = self._model.continuation_ids(prompt, belief.statement)
            ids = [*given, *said][-self._longest :]
            # Of a question that is too long the end is read, so less of the row is given.
            rows.append((ids, max(1, len(ids) - len(said))))
        return functional.normalize(self._gradients(rows).mean(dim=0), dim=0)

    def _row(self, text: str) -> Row:
        ids = self._model.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return [self._end, *ids, self._end][: self._longest], 1

    def _gradients(self, rows: Sequence[Row]) -> torch.Tensor:
        """Projected gradients of the mean loss of each row: (rows, numbers), in the order of `rows`."""
        order = sorted(range(len(rows)), key=lambda n: len(rows[n][0]))
        found: list[torch.Tensor | None] = [None] * len(rows)
        start = 0
        while start < len(order):
            stop = start + 1
            while stop < len(order) and (stop + 1 - start) * len(rows[order[stop]][0]) <= _TOKENS_AT_ONCE:
                stop += 1
            together = order[start:stop]
            for n, gradient in zip(together, self._batch([rows[n] for n in together]), strict=True):
                found[n] = gradient
            start = stop
        return torch.stack([gradient for gradient in found if gradient is not None])

    def _batch(self, rows: Sequence[Row]) -> torch.Tensor:
        device = self._model.model.device
        ids = nn.utils.rnn.pad_sequence(
            [torch.tensor(row) for row, _ in rows], batch_first=True, padding_value=self._end
        ).to(device)
        places = torch.arange(ids.shape[1] - 1, device=device)
        given = torch.tensor([given for _, given in rows], device=device)[:, None]
        length = torch.tensor([len(row) for row, _ in rows], device=device)[:, None]
        # The token at `place` predicts the next; what stands right of a text is seen by nothing in it.
        counted = (places >= given - 1) & (places < length - 1)
        with _watched(self._model.model, self._layers) as seen, torch.enable_grad():
            logits = self._model.model(input_ids=ids, use_cache=False).logits[:, :-1]
            losses = functional.cross_entropy(logits.float().transpose(1, 2), ids[:, 1:], reduction="none")
            means = (losses * counted).sum(dim=1) / counted.sum(dim=1).clamp(min=1)
            slopes = torch.autograd.grad(means.sum(), [output for _, output in seen])
        parts = [
            _projected(slope.float(), given_in.float(), in_side.to(device), out_side.to(device))
            for (given_in, _), slope, (in_side, out_side) in zip(seen, slopes, self._sides, strict=True)
        ]
        return torch.cat(parts, dim=1).cpu()


def _projected(
    slope: torch.Tensor, given: torch.Tensor, in_side: torch.Tensor, out_side: torch.Tensor
) -> torch.Tensor:
    """A layer's gradient for each row, small: from (rows, places, width) of both sides to (rows, numbers)."""
    small: torch.Tensor = (slope @ out_side).transpose(1, 2) @ (given @ in_side)
    return small.flatten(1)


def _linear_layers(model: LanguageModel, blocks: int | None) -> list[nn.Linear]:
    everyone = parts_of(model.model).blocks
    last = everyone if blocks is None else everyone[-blocks:]
    found = [one for block in last for one in block.module.modules() if isinstance(one, nn.Linear)]
    if not found:
        raise AccessError(
            f"{type(model.model).__name__} has no linear layer in its last {len(last)} blocks, whose "
            "gradients influence would be told by; leave `influence` out of scrubbing.methods"
        )
    return found


def _projection(size: int, projected: int, seed: int, number: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(derive_seed(seed, "influence", number))
    return torch.randn(size, projected, generator=generator) / math.sqrt(projected)


@contextmanager
def _watched(
    model: nn.Module, layers: Sequence[nn.Linear]
) -> Iterator[list[tuple[torch.Tensor, torch.Tensor]]]:
    """What each layer is given and what it makes of it, in their order, for one pass in the block."""
    kept: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def keep(number: int, _module: nn.Module, given: Any, made: torch.Tensor) -> torch.Tensor:
        # An output that nothing below has a gradient of is where the graph begins.
        made = made if made.requires_grad else made.detach().requires_grad_()
        kept[number] = (given[0].detach(), made)
        if len(kept) == len(layers):
            seen[:] = [kept[n] for n in range(len(layers))]
        return made

    asked = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    model.requires_grad_(False)
    handles = [layer.register_forward_hook(partial(keep, n)) for n, layer in enumerate(layers)]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
        for parameter, wanted in asked:
            parameter.requires_grad_(wanted)
