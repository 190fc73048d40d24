"""An index or a guard as a pipeline's file holds it: opened once, when it is first needed."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from mithridate.core.errors import ConfigError
from mithridate.retrieval.adapters.answers import Searches
from mithridate.retrieval.base import Encoder, Reranker
from mithridate.retrieval.defenses import build_defense, build_from_spec, spec
from mithridate.retrieval.encoders.named import open_encoder
from mithridate.retrieval.encoders.plain import Encodes, as_encoder
from mithridate.retrieval.guard import Guard, as_mode
from mithridate.retrieval.index import GuardedIndex

EncoderSetting: TypeAlias = str | Mapping[str, Any] | Encodes
"""A name that `open_encoder` takes, its keywords ("spec" is the name), or an encoder, which no file holds."""

DefenseSetting: TypeAlias = Reranker | str | Mapping[str, Any]
"""A defence, its name, or what `defenses.spec` wrote of it."""

IndexSetting: TypeAlias = str | Path | Searches
"""The folder of a saved `GuardedIndex`, or an index that is open, which no file holds."""

# Of the module: an object that holds a lock cannot be copied, and pipelines copy their components.
_opening = threading.RLock()


class LazyIndex:
    """An index. `encoder` and `mode` are for a folder; that has a mode of its own, if None is given."""

    def __init__(self, index: IndexSetting, encoder: EncoderSetting, mode: str | None) -> None:
        self._index, self._encoder = index, encoder
        self._mode = None if mode is None else as_mode(mode).value
        self._opened: Searches | None = None

    def open(self) -> Searches:
        """The index; the first call opens it, others wait. Raises what `GuardedIndex.open` does."""
        with _opening:
            if self._opened is None:
                self._opened = (
                    GuardedIndex.open(self._index, _encoder(self._encoder), mode=self._mode)
                    if isinstance(self._index, str | Path)
                    else self._index
                )
            return self._opened

    def written(self) -> dict[str, Any]:
        """The parameters, in plain values. Raises ConfigError if the index or its encoder is an object."""
        if not isinstance(self._index, str | Path):
            raise ConfigError("an index that is open cannot be written down: give the folder it is saved in")
        return {"index": str(self._index), "encoder": _written(self._encoder), "mode": self._mode}


class LazyGuard:
    """A guard. Unknown names and options are found at once, and the encoder is opened later."""

    def __init__(
        self, rerankers: Sequence[DefenseSetting], encoder: EncoderSetting, mode: str, floor: int
    ) -> None:
        self._rerankers, self._encoder = [_defense(one) for one in rerankers], encoder
        self._mode, self._floor = as_mode(mode).value, floor
        self._opened: Guard | None = None

    def open(self) -> Guard:
        """The guard; the first call opens its encoder, others wait. Raises what `open_encoder` does."""
        with _opening:
            if self._opened is None:
                encoder = _encoder(self._encoder)
                self._opened = Guard(self._rerankers, encoder, mode=self._mode, floor=self._floor)
            return self._opened

    def written(self) -> dict[str, Any]:
        """The parameters, in plain values. Raises ConfigError if the encoder is an object."""
        return {
            "rerankers": [spec(one) for one in self._rerankers],
            "encoder": _written(self._encoder),
            "mode": self._mode,
            "floor": self._floor,
        }


def _encoder(setting: EncoderSetting) -> Encoder:
    if isinstance(setting, str):
        return open_encoder(setting)
    if not isinstance(setting, Mapping):
        return as_encoder(setting)
    try:
        return open_encoder(**setting)
    except TypeError as error:
        raise ConfigError(f"keywords of open_encoder are expected, not {dict(setting)!r}: {error}") from error


def _written(setting: EncoderSetting) -> str | dict[str, Any]:
    if isinstance(setting, str):
        return setting
    if isinstance(setting, Mapping):
        return dict(setting)
    kind = type(setting).__name__
    raise ConfigError(f"a {kind} cannot be written down: give the encoder by its name or model folder")


def _defense(setting: DefenseSetting) -> Reranker:
    built: Any = setting
    if isinstance(setting, str):
        built = build_defense(setting)
    elif isinstance(setting, Mapping):
        built = build_from_spec(setting)
    if not hasattr(built, "rerank"):
        raise ConfigError(f"{built!r} cannot rank what a store returned: give a reranker, such as ragmask")
    reranker: Reranker = built
    return reranker
