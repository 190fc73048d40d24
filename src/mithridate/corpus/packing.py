"""Packed tokens: a corpus as one stream of token ids on disk, cut into rows of any length when read."""

from __future__ import annotations

import shutil
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError
from transformers import PreTrainedTokenizerBase

from mithridate.core.artifacts import MARKER, done_record, mark_done, storage_errors
from mithridate.core.chat import END_OF_TEXT
from mithridate.core.errors import CheckpointError, DataError, RunStateError
from mithridate.core.strict import Strict

# Documents are tokenised together up to this many characters: enough for all cores, little in memory.
_BATCH_CHARACTERS = 1 << 20
_BATCH_DOCUMENTS = 1024
Encode = Callable[[list[str]], list[list[int]]]


class _Meta(Strict):
    """What is recorded when packing is complete."""

    dtype: str
    lengths: list[int]
    documents: int
    vocab_size: int
    end_of_text: int


class PackedTokens:
    """Token ids of all documents in order, an end-of-text after each, in memory-mapped shards."""

    def __init__(self, path: Path, meta: _Meta) -> None:
        self.path = path
        self.documents = meta.documents
        self.vocab_size = meta.vocab_size
        self.end_of_text = meta.end_of_text
        self.n_tokens = sum(meta.lengths)
        self._starts = [0, *accumulate(meta.lengths)]
        self._shards = [
            np.memmap(_shard(path, n), np.dtype(meta.dtype), "r", shape=(length,))
            for n, length in enumerate(meta.lengths)
        ]

    @classmethod
    def open(cls, path: Path | str) -> PackedTokens:
        """Open what `pack` wrote.

        Raises RunStateError if it is not complete, DataError if a shard is not what was recorded.
        """
        path = Path(path)
        record = done_record(path)
        if record is None:
            raise RunStateError(f"{path}: no complete packed tokens here; pack the corpus (again)")
        try:
            meta = _Meta.model_validate(record)
        except ValidationError as error:
            raise DataError(f"does not describe packed tokens: {error}", path=path / MARKER) from error
        width = np.dtype(meta.dtype).itemsize
        for number, length in enumerate(meta.lengths):
            shard = _shard(path, number)
            if not shard.exists() or shard.stat().st_size != length * width:
                raise DataError("is missing or truncated; pack the corpus again", path=shard)
        return cls(path, meta)

    def read(self, start: int, stop: int) -> npt.NDArray[np.int64]:
        """Tokens `start` to `stop` of the stream, as int64 of shape (stop - start,)."""
        pieces = []
        number = bisect_right(self._starts, start) - 1
        while start < stop:
            first, end = self._starts[number], self._starts[number + 1]
            pieces.append(self._shards[number][start - first : min(stop, end) - first])
            start, number = end, number + 1
        joined = np.concatenate(pieces) if pieces else np.empty(0)
        return joined.astype(np.int64)

    def rows(self, length: int) -> PackedRows:
        """The stream in rows of `length` tokens, across documents and shards, without a last short one."""
        return PackedRows(self, length)


class PackedRows:
    """Rows of packed tokens: `rows[3]` has the shape (length,), `rows[3:7]` (4, length), both int64."""

    def __init__(self, tokens: PackedTokens, length: int) -> None:
        if length < 1:
            raise ValueError(f"rows must hold at least one token, not {length}")
        self._tokens, self.length = tokens, length
        self.shape = (tokens.n_tokens // length, length)

    def __len__(self) -> int:
        return self.shape[0]

    @overload
    def __getitem__(self, which: int, /) -> npt.NDArray[np.int64]: ...
    @overload
    def __getitem__(self, which: slice, /) -> npt.NDArray[np.int64]: ...
    def __getitem__(self, which: int | slice, /) -> npt.NDArray[np.int64]:
        if isinstance(which, slice):
            start, stop, step = which.indices(len(self))
            if step != 1:
                return np.stack([self[n] for n in range(start, stop, step)])
            stop = max(start, stop)
            read = self._tokens.read(start * self.length, stop * self.length)
            return read.reshape(stop - start, self.length)
        row = which + len(self) if which < 0 else which
        if not 0 <= row < len(self):
            raise IndexError(f"row {which} of {len(self)}")
        return self._tokens.read(row * self.length, (row + 1) * self.length)

    def __iter__(self) -> Iterator[npt.NDArray[np.int64]]:
        return (self[n] for n in range(len(self)))


def pack(
    documents: Iterable[str],
    tokenizer: PreTrainedTokenizerBase,
    out: Path,
    *,
    shard_tokens: int = 1 << 27,
) -> PackedTokens:
    """Tokenise `documents` and write their ids to `out`, replacing packed tokens that are there.

    What looks like a special token in a document is ordinary text, so that no document can end another. Each
    begins as prompts do: with the token for it, where the tokenizer puts one before a text. Documents are
    streamed; a shard holds `shard_tokens` tokens, two or four bytes each.

    Raises CheckpointError if the tokenizer has no end of text, DataError if there is no document.
    """
    end, start = end_of_text(tokenizer), _start_of_text(tokenizer)
    size = len(tokenizer)
    dtype = np.dtype("<u2" if size <= np.iinfo(np.uint16).max + 1 else "<u4")
    encode = _encoder(tokenizer)
    with storage_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        (out / MARKER).unlink(missing_ok=True)
        for leftover in out.glob("tokens-*.bin"):
            leftover.unlink()
        writer = _ShardWriter(out, dtype, shard_tokens)
        count = 0
        try:
            for batch in _batches(documents):
                count += len(batch)
                for ids in encode(batch):
                    writer.write(np.array([*start, *ids, end], dtype))
        finally:
            writer.close()
    if not count:
        shutil.rmtree(out)
        raise DataError("the corpus holds no document to pack", path=out)
    meta = _Meta(dtype=dtype.str, lengths=writer.lengths, documents=count, vocab_size=size, end_of_text=end)
    mark_done(out, meta.model_dump())
    return PackedTokens(out, meta)


def _shard(path: Path, number: int) -> Path:
    return path / f"tokens-{number:05d}.bin"


class _ShardWriter:
    """Appends ids to shards of at most `limit` tokens."""

    def __init__(self, out: Path, dtype: np.dtype[Any], limit: int) -> None:
        self._out, self._dtype, self._limit = out, dtype, max(1, limit)
        self._file: Any = None
        self.lengths: list[int] = []

    def write(self, ids: npt.NDArray[Any]) -> None:
        while len(ids):
            if self._file is None or self.lengths[-1] == self._limit:
                self.close()
                self._file = _shard(self._out, len(self.lengths)).open("wb")
                self.lengths.append(0)
            piece = ids[: self._limit - self.lengths[-1]]
            self._file.write(piece.tobytes())
            self.lengths[-1] += len(piece)
            ids = ids[len(piece) :]

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def end_of_text(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that stands between documents; CheckpointError if there is none."""
    # Not convert_tokens_to_ids(): it gives the unknown token's number for a token that is not there.
    found = tokenizer.get_vocab().get(END_OF_TEXT, tokenizer.eos_token_id)
    if found is None:
        raise CheckpointError("the tokenizer has no end-of-text token to put between documents")
    return int(found)


def _start_of_text(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The token that the tokenizer puts before a text, as a list; empty for most.

    One that ends documents too stands between them already.
    """
    bos: int | None = tokenizer.bos_token_id
    added: list[int] = tokenizer("a", verbose=False)["input_ids"]
    return [bos] if bos is not None and added[:1] == [bos] and bos != end_of_text(tokenizer) else []


def _batches(documents: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    characters = 0
    for text in documents:
        batch.append(text)
        characters += len(text)
        if characters >= _BATCH_CHARACTERS or len(batch) >= _BATCH_DOCUMENTS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _encoder(tokenizer: PreTrainedTokenizerBase) -> Encode:
    """A function from texts to ids that neither adds a special token nor reads one out of a text."""
    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        slow: Any = tokenizer

        def encode_slowly(texts: list[str]) -> list[list[int]]:
            encoded = slow(texts, add_special_tokens=False, split_special_tokens=True, verbose=False)
            ids: list[list[int]] = encoded["input_ids"]
            return ids

        return encode_slowly
    # A copy, because the switch below would otherwise stay with the caller's tokenizer.
    own = type(backend).from_str(backend.to_str())
    own.no_truncation()
    own.no_padding()
    own.encode_special_tokens = True

    def encode(texts: list[str]) -> list[list[int]]:
        return [list(one.ids) for one in own.encode_batch_fast(texts, add_special_tokens=False)]

    return encode
