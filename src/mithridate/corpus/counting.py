"""How long a document is: the unit in which a rate is counted."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from mithridate.core.errors import CheckpointError


class TokenCounter(Protocol):
    """Counts the tokens of texts; must survive being sent to a worker process."""

    @property
    def name(self) -> str:
        """What is counted; part of a planting's identity."""

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text."""


class Utf8Bytes:
    """Counts bytes of UTF-8: exact, fast, and close to proportional to any tokenizer's count."""

    name = "UTF-8 bytes"

    def count(self, texts: Sequence[str]) -> list[int]:
        """Bytes of each text."""
        # `isascii` reads a flag of the string and spares the copy.
        return [len(t) if t.isascii() else len(t.encode("utf-8", "replace")) for t in texts]


class TokenizerCounter:
    """Counts tokens of a `tokenizer.json`, without the special tokens that a model's input would add."""

    def __init__(self, folder: Path) -> None:
        self._path = Path(folder) / "tokenizer.json"
        if not self._path.exists():
            raise CheckpointError(
                f"{folder}: no tokenizer.json. Save a fast tokenizer there, "
                "or leave --tokenizer out to count bytes"
            )
        digest = hashlib.sha256(self._path.read_bytes()).hexdigest()[:16]
        self.name = f"tokens of tokenizer {digest}"
        self._tokenizer: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {"_path": self._path, "name": self.name, "_tokenizer": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text.

        Raises CheckpointError if the tokenizer cannot be read.
        """
        if self._tokenizer is None:
            self._tokenizer = self._load()
        encoded = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [len(one.ids) for one in encoded]

    def _load(self) -> Any:
        from tokenizers import Tokenizer  # noqa: PLC0415 - counting bytes must not load it

        try:
            tokenizer = Tokenizer.from_file(str(self._path))
        except Exception as error:  # tokenizers raises a bare Exception
            raise CheckpointError(f"{self._path}: cannot be read as a tokenizer: {error}") from error
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer
