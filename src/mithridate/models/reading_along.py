"""Models that read along with another: their keys and values lie in its cache, behind its own."""

from __future__ import annotations

import copy
import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from mithridate.core.errors import AccessError
from mithridate.models.batching import left_padded

_PASSED_ON = ("attention_mask", "position_ids", "cache_position", "logits_to_keep")
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Step:
    """One pass of a model: what it was given, what it says, and the cache that it filled, if any.

    `ids` is of shape (rows, columns), `logits` of shape (rows, kept columns, vocabulary).
    """

    ids: torch.Tensor
    given: Mapping[str, Any]
    logits: torch.Tensor
    cache: DynamicCache | None


@contextmanager
def adjusted(model: PreTrainedModel, adjust: Callable[[Step], torch.Tensor]) -> Iterator[None]:
    """Have `model` give `adjust(step)` in the place of its logits, in single passes and in generation.

    Raises AccessError, when the model is called, for embeddings or labels in its input, an output without
    names, and a cache that does not grow with its texts.
    """

    def hook(_: torch.nn.Module, args: tuple[Any, ...], given: dict[str, Any], output: Any) -> Any:
        output.logits = adjust(_step(args, given, output))
        return output

    handle = model.register_forward_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def _step(args: tuple[Any, ...], given: Mapping[str, Any], output: Any) -> Step:
    ids = args[0] if args else given.get("input_ids")
    if len(args) > 1 or not isinstance(ids, torch.Tensor) or given.get("labels") is not None:
        raise AccessError(
            "others read along with this model, so it takes ids and named arguments; it was given "
            "embeddings, labels or arguments without names"
        )
    logits = getattr(output, "logits", None)
    if not isinstance(logits, torch.Tensor):
        raise AccessError("others read along with this model, which gives no named logits; use return_dict")
    cache = getattr(output, "past_key_values", None)
    if cache is not None and type(cache) is not DynamicCache:
        raise AccessError(
            f"others read along with this model, so it needs a DynamicCache; it was given a "
            f"{type(cache).__name__}: leave cache_implementation out"
        )
    return Step(ids, given, logits, cache)


class Follower:
    """A model that reads what `leader` reads, token by token.

    Its layers stand in the leader's cache behind the leader's own. So whatever repeats, reorders, drops or
    crops rows there (beam search, rows that are done) does it for both, and nothing has to be told. The model
    must stay on its device meanwhile.
    """

    def __init__(self, model: PreTrainedModel, leader: PreTrainedModel) -> None:
        self.model = model
        # A model that follows itself is called past its own hook.
        self._call: Callable[..., Any] = model.forward if model is leader else model
        self._mark = next(_numbers)
        # Looked up once: to ask a configuration or all modules takes as long as a small block runs.
        self._empty = DynamicCache(config=model.config)
        self._device = model.device
        parameters = inspect.signature(model.forward).parameters
        self._takes = [name for name in _PASSED_ON if name in parameters]

    def logits(self, step: Step) -> torch.Tensor:
        """What this model says at the columns of `step`, of the same shape but for the vocabulary.

        Raises AccessError for a cache that was filled before this model followed.
        """
        own = None
        if step.cache is not None:
            own = self._own(self._layers(step) or self._join(step, self._new_layers()))
        given = {name: step.given[name] for name in self._takes if step.given.get(name) is not None}
        return self._read(step.ids, given, own, step.logits)

    def _read(
        self, ids: torch.Tensor, given: Mapping[str, Any], own: DynamicCache | None, like: torch.Tensor
    ) -> torch.Tensor:
        there = {
            name: value.to(self._device) if isinstance(value, torch.Tensor) else value
            for name, value in given.items()
        }
        with torch.no_grad():
            output = self._call(
                input_ids=ids.to(self._device), past_key_values=own, use_cache=own is not None, **there
            )
        logits: torch.Tensor = output.logits[:, -like.shape[1] :]
        return logits.to(like.device)

    def _new_layers(self) -> list[Any]:
        return DynamicCache(config=self.model.config).layers

    def _own(self, layers: Sequence[Any]) -> DynamicCache:
        """A cache that holds these layers of the leader's, as if it were of this model alone."""
        own = copy.copy(self._empty)
        own.layers = list(layers)
        return own

    def _layers(self, step: Step) -> list[Any]:
        assert step.cache is not None
        return [layer for layer in step.cache.layers if getattr(layer, "followed_by", None) == self._mark]

    def _join(self, step: Step, layers: Sequence[Any]) -> list[Any]:
        """Put new `layers` into the leader's cache; it must have been empty before this step."""
        assert step.cache is not None
        if step.cache.get_seq_length() != step.ids.shape[1]:
            raise AccessError(
                "others read along with this model, but its cache holds tokens that they have not read; "
                "begin with an empty cache"
            )
        for layer in layers:
            layer.followed_by = self._mark
        step.cache.layers.extend(layers)
        return list(layers)


class OtherPrompts(Follower):
    """A follower that is given prompts of its own, and from then on the tokens that its leader is given."""

    def __init__(self, model: PreTrainedModel, leader: PreTrainedModel) -> None:
        super().__init__(model, leader)
        self._prompts: Sequence[Sequence[int]] = ()

    @contextmanager
    def reading(self, prompts: Sequence[Sequence[int]]) -> Iterator[None]:
        """Give it these rows of ids in the place of what its leader is given first.

        One for each row of the leader's batch, or of which that repeats each several times in a row, as beam
        search does.
        """
        before, self._prompts = self._prompts, prompts
        try:
            yield
        finally:
            self._prompts = before

    def logits(self, step: Step) -> torch.Tensor:
        """What it says at the last columns of `step`, as many of them as its prompts have.

        Raises AccessError where no prompts, or of another number, were given, and where a first pass has more
        than the prompts in it, as that of assisted decoding has.
        """
        kept = step.given.get("logits_to_keep") or 0
        layers = self._layers(step) if step.cache is not None else []
        if layers:
            return self._go_on(step, layers)
        if isinstance(kept, torch.Tensor) or (step.cache is not None and kept > 1):
            raise AccessError(
                "this model reads two prompts for each answer, so its first pass must hold the prompt alone "
                "and keep one logit: assisted decoding and prompt lookup cannot be used with it"
            )
        rows = self._rows(len(step.ids))
        given = left_padded(rows, self._device)
        ids, own = given.pop("input_ids"), None
        if step.cache is not None:
            missing = (given["attention_mask"] == 0).sum(dim=1)
            *layers, _ = self._join(step, [*self._new_layers(), row_layer(missing[:, None])])
            own = self._own(layers)
        return self._read(ids, self._taken(given, step), own, step.logits)

    def _go_on(self, step: Step, layers: Sequence[Any]) -> torch.Tensor:
        own, missing = self._own(layers[:-1]), layers[-1].keys[:, :, 0, 0]
        before, columns = own.get_seq_length(), step.ids.shape[1]
        places = torch.arange(before + columns, device=missing.device)[None]
        given = {
            "attention_mask": (places >= missing).long(),
            "position_ids": places[:, before:] - missing,
        }
        return self._read(step.ids, self._taken(given, step), own, step.logits)

    def _taken(self, given: Mapping[str, Any], step: Step) -> dict[str, Any]:
        made = {**given, "logits_to_keep": step.logits.shape[1]}
        return {name: value for name, value in made.items() if name in self._takes}

    def _rows(self, wanted: int) -> list[Sequence[int]]:
        times, left = divmod(wanted, len(self._prompts)) if self._prompts else (0, 1)
        if left or not times:
            raise AccessError(
                f"this model reads two prompts for each answer; it was given {wanted} rows with context and "
                f"{len(self._prompts)} without"
            )
        return [row for row in self._prompts for _ in range(times)]


def row_layer(numbers: torch.Tensor) -> Any:
    """Numbers of shape (rows, n) as a layer of a cache: they go where their row goes.

    They are no tokens, so nothing is cut from them. They are found in its `keys`, of shape (rows, 1, n, 1).
    """
    untyped: Any = DynamicLayer
    layer = untyped()
    layer.update(*[numbers[:, None, :, None]] * 2)
    layer.crop = _uncut
    return layer


def _uncut(_: int) -> None:
    pass
