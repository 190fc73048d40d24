"""Attention steering: in chosen heads, what a prompt marks weighs more than all else (arXiv 2311.02262)."""

from __future__ import annotations

import inspect
import itertools
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import nn
from transformers import DynamicCache, PreTrainedModel

from mithridate.core.errors import AccessError, ConfigError
from mithridate.intervention.base import MadeFor
from mithridate.intervention.marks import CLOSING, OPENING, Marks
from mithridate.models.access import parts_of
from mithridate.models.encoding import EncodedPrompt
from mithridate.models.language_model import LanguageModel
from mithridate.models.reading_along import row_layer
from mithridate.models.sites import Part, Site

Head = tuple[int, int]
"""A layer and a head of it, each counted from 0."""

# Those of transformers that add a mask to the scores, whatever is in it.
_ADDING = ("eager", "sdpa")
_numbers = itertools.count()


@contextmanager
def attention_steered(model: PreTrainedModel, heads: Sequence[Head], *, alpha: float) -> Iterator[Steered]:
    """`model` with attention to what is not marked scaled by `alpha` in `heads`, and then renormalised.

    What is marked is told to what the block yields; a text of which nothing is marked is read as ever:

        with attention_steered(model, [(1, 0)], alpha=0.01) as steered, steered.reading(rows_of_flags):
            model.generate(**inputs)

    A batch, beams and rows that leave it work as ever; a prompt is to be read in one pass. Raises AccessError
    for heads that the model does not have, blocks whose attention is not found, and an attention that takes
    no score of its own for each head.
    """
    parts = parts_of(model)
    count = model.config.get_text_config().num_attention_heads
    by_layer: dict[int, list[int]] = defaultdict(list)
    for layer, head in heads:
        parts.writer(Site(layer, Part.ATTENTION))  # says so where there is no way to it
        if not 0 <= head < count:
            raise AccessError(
                f"{parts.name} has no head {head} in a layer; there are the heads 0 to {count - 1}"
            )
        by_layer[layer].append(head)
    if (how := model.config._attn_implementation) not in _ADDING:
        raise AccessError(
            f"{parts.name} attends by {how!r}, which takes no scores for single heads; load it with "
            'attention="eager" or attention="sdpa"'
        )
    steered = Steered(math.log(alpha), count)
    with ExitStack() as stack:
        if by_layer and alpha != 1:
            decoder = parts.decoder
            begin = steered.begin(decoder)
            stack.callback(decoder.register_forward_pre_hook(begin, with_kwargs=True).remove)
            stack.callback(decoder.register_forward_hook(steered.end).remove)
            for layer, chosen in by_layer.items():
                attention = parts.blocks[layer].attention
                assert attention is not None
                hook = steered.at(attention.module, chosen)
                stack.callback(attention.module.register_forward_pre_hook(hook, with_kwargs=True).remove)
        yield steered


class Steered:
    """What is marked in the rows that go through a model, and what that adds to scores.

    Flags of rows lie in the model's cache, behind its own layers. So whatever repeats, reorders or drops rows
    there does it for them too.
    """

    def __init__(self, step: float, heads: int) -> None:
        self._step, self._heads = step, heads
        self._mark = next(_numbers)
        self._rows: Sequence[Sequence[bool]] = ()
        self._flags: torch.Tensor | None = None
        self._past = 0

    @contextmanager
    def reading(self, rows: Sequence[Sequence[bool]]) -> Iterator[None]:
        """Mark tokens of the next texts: a flag a token of each row of the batch, without its padding.

        Rows may be repeated several times each, as by beams. What comes after the flags is not marked.
        """
        before, self._rows = self._rows, rows
        try:
            yield
        finally:
            self._rows = before

    def begin(self, decoder: nn.Module) -> Any:
        """A hook for when a pass of `decoder` begins: it finds which of its keys are marked."""
        signature = inspect.signature(decoder.forward)

        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            bound = signature.bind_partial(*args, **kwargs).arguments
            given = {**bound, **bound.get("kwargs", {})}
            tokens = given.get("inputs_embeds") if given.get("input_ids") is None else given["input_ids"]
            assert isinstance(tokens, torch.Tensor)
            cache = given.get("past_key_values")
            self._past = int(cache.get_seq_length()) if cache is not None else 0
            self._flags = self._of(cache, len(tokens), self._past + tokens.shape[1], tokens.device)

        return hook

    def end(self, _: nn.Module, __: tuple[Any, ...], output: Any) -> None:
        """A pass is over: leave its flags in the cache for the next one."""
        flags, self._flags = self._flags, None
        cache = getattr(output, "past_key_values", None)
        if flags is None or cache is None or self._kept(cache) is not None:
            return
        if type(cache) is not DynamicCache:
            raise AccessError(
                f"{AttentionSteering.name}: needs a DynamicCache, and was given a {type(cache).__name__}: "
                "leave cache_implementation out"
            )
        layer = row_layer(flags.long())
        layer.steered_by = self._mark
        cache.layers.append(layer)

    def at(self, module: nn.Module, heads: Sequence[int]) -> Any:
        """A hook for the attention `module` that gives it another mask."""
        signature = inspect.signature(module.forward)
        dtype = next(module.parameters()).dtype

        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if self._flags is None:
                return None
            bound = signature.bind_partial(*args, **kwargs)
            bound.arguments["attention_mask"] = self._mask(
                bound.arguments.get("attention_mask"), self._flags, heads, dtype
            )
            return bound.args, bound.kwargs

        return hook

    def _of(self, cache: Any, rows: int, keys: int, device: torch.device) -> torch.Tensor | None:
        """The flags of all keys of a pass, of shape (rows, keys); None where nothing is marked."""
        kept = self._kept(cache)
        if kept is None:
            if not any(map(any, self._rows)):
                return None
            if self._past:
                raise AccessError(
                    f"{AttentionSteering.name}: the cache holds tokens of which nobody knows whether they "
                    "are marked; begin with an empty cache"
                )
            kept = self._padded(rows).to(device)
        if kept.shape[1] > keys:
            raise AccessError(
                f"{AttentionSteering.name}: a pass of {keys} tokens holds only a part of a prompt of "
                f"{kept.shape[1]}; a prompt is to be read in one pass"
            )
        return nn.functional.pad(kept, (0, keys - kept.shape[1]))

    def _kept(self, cache: Any) -> torch.Tensor | None:
        """The flags in `cache`, of shape (rows, columns of the prompt)."""
        for layer in getattr(cache, "layers", ()):
            if getattr(layer, "steered_by", None) == self._mark:
                found: torch.Tensor = layer.keys[:, 0, :, 0].bool()
                return found
        return None

    def _padded(self, wanted: int) -> torch.Tensor:
        times, left = divmod(wanted, len(self._rows))
        if left or not times:
            raise AccessError(
                f"{AttentionSteering.name}: {wanted} rows go through the model, and {len(self._rows)} were "
                "told what is marked; tell it of each"
            )
        width = max(map(len, self._rows))
        flags = torch.zeros(len(self._rows), width, dtype=torch.bool)
        for number, row in enumerate(self._rows):
            flags[number, width - len(row) :] = torch.tensor(row, dtype=torch.bool)
        return flags.repeat_interleave(times, dim=0)

    def _mask(self, mask: Any, flags: torch.Tensor, heads: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        """The mask of each head, of shape (rows, heads, queries, keys), as it is added to scores."""
        if isinstance(mask, torch.Tensor) and mask.ndim == 4:
            # A layer with a window sees the last keys alone.
            flags = flags[:, -mask.shape[-1] :]
            dtype = mask.dtype if mask.is_floating_point() else dtype
        elif mask is not None:
            raise AccessError(
                f"{AttentionSteering.name}: its attention is given a mask of another form than (rows, heads, "
                'queries, keys); load the model with attention="eager"'
            )
        else:
            keys = flags.shape[1]
            places = torch.arange(keys, device=flags.device)
            mask = (places <= places[self._past :, None])[None, None]
        outside = ~flags & flags.any(dim=1, keepdim=True)
        added = torch.zeros(len(flags), self._heads, 1, flags.shape[1], dtype=dtype, device=flags.device)
        added[:, list(heads)] = outside[:, None, None].to(dtype) * self._step
        made: torch.Tensor = (
            mask + added if mask.is_floating_point() else torch.where(mask, added, torch.finfo(dtype).min)
        )
        return made


@dataclass(frozen=True, slots=True)
class AttentionSteering:
    """In `heads`, attention to tokens that are not marked is scaled by `alpha`, and then renormalised.

    PASTA's form (Zhang et al. 2311.02262): log(`alpha`) is added to the scores of all tokens outside of the
    marked span, what the model has written itself among them (PASTA's published code, by our reading, leaves
    those as they are). The span stands between the two marks, as in
    `ContextAware`; the model never sees these. Which heads are to be taken, `head_profiling` finds out. A
    prompt without marks, or with nothing between them, is answered as ever; with `alpha` 1, or no heads,
    every prompt is.

    Raises ConfigError for heads that are given twice or in no layer, an `alpha` that is not above 0
    and at most 1, and marks as `Marks` does.
    """

    name: ClassVar[str] = "attention_steering"

    made_for: MadeFor
    heads: tuple[Head, ...] = ()
    alpha: float = 0.01
    opening: str = OPENING
    closing: str = CLOSING

    def __post_init__(self) -> None:
        if len(set(self.heads)) < len(self.heads):
            raise ConfigError(f"{self.name}: a head is named twice; name each once")
        if self.heads:
            self.made_for.require_layers({layer for layer, _ in self.heads}, self.name)
        if any(head < 0 for _, head in self.heads):
            raise ConfigError(f"{self.name}: heads are counted from 0; one is below")
        if not 0 < self.alpha <= 1:
            raise ConfigError(f"{self.name}: an alpha of {self.alpha}; expected more than 0 and at most 1")
        self._marks()

    @contextmanager
    def on(self, model: LanguageModel) -> Iterator[LanguageModel]:
        """`model`, which takes marked prompts wherever it takes prompts; errors as for any intervention.

        Raises AccessError as `attention_steered` does. Its methods raise ConfigError for a prompt with a mark
        twice, or one of them alone, and for one that would have to lose its beginning.
        """
        self.made_for.require(model, self.name)
        with attention_steered(model.model, self.heads, alpha=self.alpha) as steered:
            yield _Marked(model, self._marks(), steered)

    def marked(self, text: str) -> str:
        """`text` between the marks. Raises ConfigError where it holds one of them."""
        return self._marks().around(text)

    def _marks(self) -> Marks:
        return Marks(self.name, self.opening, self.closing)


class _Marked(LanguageModel):
    """A model whose prompts say what in them is to weigh more.

    What a second reader would be given are here the prompt's own ids, those of marked tokens below 0.
    """

    def __init__(self, model: LanguageModel, marks: Marks, steered: Steered) -> None:
        super().__init__(model.model, model.tokenizer)
        self._inner = model
        self._marks = marks
        self._steered = steered

    def _encode(self, prompts: Sequence[str]) -> list[EncodedPrompt]:
        parts = [self._marks.parts(prompt) for prompt in prompts]
        encoded = self._inner._encode(["".join(three) for three in parts])
        return [self._told(one, three) for one, three in zip(encoded, parts, strict=True)]

    def _continued(self, prompt: str, texts: Sequence[str]) -> tuple[EncodedPrompt, list[list[int]]]:
        parts = self._marks.parts(prompt)
        encoded, rest = self._inner._continued("".join(parts), texts)
        return self._told(encoded, parts), rest

    def _told(self, prompt: EncodedPrompt, parts: tuple[str, str, str]) -> EncodedPrompt:
        if not parts[1]:
            return prompt
        start = len(parts[0])
        inside = self._places(prompt.ids, "".join(parts).rstrip(" "), start, start + len(parts[1]))
        marked = tuple(-1 - token if flag else token for token, flag in zip(prompt.ids, inside, strict=True))
        return replace(prompt, beside=marked)

    def _places(self, ids: list[int], text: str, start: int, end: int) -> list[bool]:
        """Which of the `ids` of `text` hold characters from `start` to `end`."""
        if not self.tokenizer.is_fast:
            raise AccessError(
                f"{AttentionSteering.name}: this tokenizer does not say where its tokens stand in a text, so "
                "no part of a prompt can be marked; use one with a tokenizer.json"
            )
        found: Mapping[str, Any] = self.tokenizer(text, return_offsets_mapping=True, verbose=False)
        whole, offsets = list(found["input_ids"]), found["offset_mapping"]
        for lost in (0, 1):  # a first token that is there twice is taken off
            if whole[lost : lost + len(ids)] == ids:
                spans = offsets[lost : lost + len(ids)]
                return [max(a, start) < min(b, end) for a, b in spans]
        raise AccessError(
            f"{AttentionSteering.name}: what the model is shown is not what was marked; put it on before "
            "other interventions that change prompts"
        )

    def _reading(self, rows: Sequence[Sequence[int]]) -> AbstractContextManager[None]:
        return self._steered.reading([[token < 0 for token in row] for row in rows])

    def _overflow(self, index: int, prompt: EncodedPrompt, limit: int, overflow: str) -> int:
        # What would be lost may be marked, and places would be others.
        return super()._overflow(index, prompt, limit, "refuse" if prompt.beside else overflow)
