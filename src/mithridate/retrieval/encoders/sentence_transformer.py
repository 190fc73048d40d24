"""Encoders of sentence-transformers, with prompts, a precision, and the tokens that the model reads."""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from mithridate.core.artifacts import fingerprint
from mithridate.core.errors import EncoderError, MissingExtraError
from mithridate.retrieval.base import TextRole, Vectors
from mithridate.retrieval.encoders.texts import readable, word_spans
from mithridate.retrieval.encoders.vectors import unit_rows

PRECISIONS: Final = ("fp32", "bf16")
# Names under which models keep a prompt for texts that are searched.
_DOCUMENT_PROMPTS: Final = ("document", "passage", "corpus")
_SAMPLED_NUMBERS: Final = 4096
_CHARACTERS_A_TOKEN: Final = 32
_SPARE_TOKENS: Final = 8
_SPACE: Final = re.compile(r"\s")


class SentenceTransformerEncoder:
    """A sentence-transformers model: a local folder, or a loaded `SentenceTransformer`.

    Prompts come before every text of their role; None takes the model's own, "" none. `precision` "bf16" runs
    the model under autocast: about twice as fast on a CPU, with all but the same vectors. `max_tokens` limits
    what is read of a text, prompt included; a loaded model is changed by it. `device` is torch's name of one.

    Nothing is downloaded: a name that is no local folder is refused unless `allow_download`. Weights must be
    safetensors, and no code from a model folder is run. Threads may share an encoder; they take turns.

    Raises MissingExtraError without sentence-transformers, EncoderError for a folder that holds no model.
    """

    def __init__(
        self,
        path_or_model: Path | str | Any,
        *,
        query_prompt: str | None = None,
        document_prompt: str | None = None,
        batch_size: int = 32,
        precision: str = "fp32",
        max_tokens: int | None = None,
        device: str | None = None,
        allow_download: bool = False,
    ) -> None:
        if precision not in PRECISIONS:
            raise EncoderError(f"precision {precision!r}: known are {', '.join(PRECISIONS)}")
        if batch_size < 1:
            raise EncoderError(f"batch_size is {batch_size}, but must be at least 1")
        model = path_or_model
        if isinstance(model, str | Path):
            model = _load(model, device, allow_download=allow_download)
        self.model: Any = model
        """The `SentenceTransformer` itself."""
        self._batch_size, self._precision = batch_size, precision
        self._lock = threading.Lock()
        if max_tokens is not None:
            model.max_seq_length = max_tokens
        self._tokens = _token_limit(model.max_seq_length)
        own = dict(model.prompts or {})
        self._prompts = {
            TextRole.QUERY: own.get("query", "") if query_prompt is None else query_prompt,
            TextRole.DOCUMENT: _first(own, _DOCUMENT_PROMPTS) if document_prompt is None else document_prompt,
        }
        self.dimension = int(model.get_embedding_dimension() or self._learnt_dimension())
        prompts = fingerprint([self._prompts[TextRole.QUERY], self._prompts[TextRole.DOCUMENT]])
        named = (_weights_hash(model), self.dimension, self._tokens, precision, prompts)
        self.identity = ":".join(["sentence-transformers", *map(str, named)])

    def encode(self, texts: Sequence[str], *, role: TextRole = TextRole.DOCUMENT) -> Vectors:
        """One unit row a text, shape (len(texts), dimension)."""
        if not texts:
            return np.zeros((0, self.dimension), np.float32)
        with self._lock:
            found = self._encode([self._beginning(readable(text)) for text in texts], self._prompts[role])
        return unit_rows(found, texts, self.identity, self.dimension)

    def prompt(self, role: TextRole) -> str:
        """What stands before every text of a role; empty where nothing does."""
        return self._prompts[role]

    def _encode(self, texts: list[str], prompt: str) -> Any:
        with self._autocast():
            return self.model.encode(
                texts,
                prompt=prompt,
                batch_size=self._batch_size,
                show_progress_bar=False,
                convert_to_numpy=True,
            )

    def _learnt_dimension(self) -> int:
        return int(self._encode(["How many numbers has a vector?"], "").shape[1])

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self._precision == "fp32":
            return contextlib.nullcontext()
        import torch  # noqa: PLC0415 - retrieval must import without torch

        return torch.autocast(self.model.device.type, dtype=torch.bfloat16)

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """Where the tokens stand that the model reads of a document.

        What lies beyond the longest text that the model reads has no spans. Where the tokenizer is not a fast
        one of transformers, spans are words.
        """
        tokenizer, prompt = self._tokenizer(), self._prompts[TextRole.DOCUMENT]
        if tokenizer is None:
            return word_spans(text)
        with self._lock:
            found = tokenizer(
                prompt + self._beginning(readable(text)),
                return_offsets_mapping=True,
                truncation=self._tokens is not None,
                max_length=self._tokens,
                verbose=False,
            )["offset_mapping"]
        before = len(prompt)
        return [(start - before, end - before) for start, end in found if end > start >= before]

    @property
    def mask_text(self) -> str | None:
        """The tokenizer's mask token, if it has one."""
        found = getattr(getattr(self.model, "tokenizer", None), "mask_token", None)
        return None if found is None else str(found)

    def _tokenizer(self) -> Any | None:
        """The fast tokenizer of transformers, which knows offsets."""
        found = getattr(self.model, "tokenizer", None)
        return found if getattr(found, "is_fast", False) and callable(found) else None

    def _beginning(self, text: str) -> str:
        """So much of `text` as the model can read: to cut ten megabytes into tokens takes seconds.

        A cut is made at white space only, and only where enough tokens come before it.
        """
        tokenizer = self._tokenizer()
        if tokenizer is None or self._tokens is None:
            return text
        length = self._tokens * _CHARACTERS_A_TOKEN
        while length < len(text) and (space := _SPACE.search(text, length)):
            part = text[: space.start()]
            tokens = tokenizer(part, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
            if len(tokens) >= self._tokens + _SPARE_TOKENS:
                return part
            length *= 4
        return text


def _load(path: Path | str, device: str | None, *, allow_download: bool) -> Any:
    local = Path(path).is_dir()
    if not local and not allow_download:
        raise EncoderError(
            f"{path}: no such folder. Models are local folders; a name on the Hugging Face hub is only "
            "fetched with allow_download=True"
        )
    try:
        # Late: it loads torch and transformers, without which all else here works.
        from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - see above
    except ImportError as error:
        raise MissingExtraError("this encoder", "sentence-transformers", "sentence-transformers") from error
    if local and not (Path(path) / "config.json").exists() and not (Path(path) / "modules.json").exists():
        raise EncoderError(f"{path}: neither config.json nor modules.json, so this is not a model folder")
    try:
        with _no_bars():
            return SentenceTransformer(
                str(path),
                device=device,
                local_files_only=not allow_download,
                trust_remote_code=False,
                model_kwargs={"use_safetensors": True},
            )
    except Exception as error:  # Whatever a broken folder makes the library raise.
        raise EncoderError(f"{path}: cannot be loaded as a sentence-transformers model: {error}") from error


@contextlib.contextmanager
def _no_bars() -> Iterator[None]:
    """No progress bars of transformers: a second's work, and they would stand in every command's log."""
    from transformers.utils import logging  # noqa: PLC0415 - retrieval must import without transformers

    control: Any = logging
    shown = control.is_progress_bar_enabled()
    control.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            control.enable_progress_bar()


def _token_limit(found: Any) -> int | None:
    """The longest text in tokens; some tokenizers say none with a very large number."""
    return int(found) if found is not None and found < 1e9 else None


def _first(prompts: dict[str, str], names: Iterable[str]) -> str:
    return next((prompts[name] for name in names if prompts.get(name)), "")


def _weights_hash(model: Any) -> str:
    """A hash over modules, names, shapes and evenly spaced numbers of all weights.

    Whole weights of a large model would take a minute to hash at every start; no fine-tuning leaves all of
    thousands of numbers in every tensor as they are.
    """
    digest = hashlib.sha256()
    for part in _described(model):
        digest.update(part)
    return digest.hexdigest()[:16]


def _described(model: Any) -> Iterator[bytes]:
    for module in model:
        pooling = getattr(module, "pooling_mode", "")
        yield f"{type(module).__name__}:{pooling}".encode()
    for name, tensor in sorted(model.state_dict().items()):
        flat = tensor.detach().reshape(-1)
        step = max(1, len(flat) // _SAMPLED_NUMBERS)
        yield f"{name}:{tuple(tensor.shape)}".encode()
        yield flat[::step].float().cpu().numpy().tobytes()
