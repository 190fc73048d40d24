"""A model and its tokenizer as one thing that answers prompts and says how likely a text is."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from mithridate.core.errors import ConfigError
from mithridate.models.architectures import default_device
from mithridate.models.batching import batches, context_window, evaluating, rows_that_fit, run_split
from mithridate.models.checkpoints import load_model
from mithridate.models.decoding import Row, decode, noise_for
from mithridate.models.encoding import EncodedPrompt, Encoder, StopWatch
from mithridate.models.options import Attention
from mithridate.models.scoring import Pair, alone, token_log_probs


@dataclass(frozen=True, slots=True)
class Generation:
    """An answer: its text and ids without what ended it.

    `stopped` is False where the answer ran to its longest. `dropped` counts the tokens that the prompt lost
    at its beginning because prompt and answer outgrew the context window.
    """

    text: str
    token_ids: tuple[int, ...]
    stopped: bool = False
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class TokenScores:
    """Log-likelihood of a text in nats: the sum over its `n` tokens, and the mean (0 where `n` is 0)."""

    total: float
    mean: float
    n: int


class LanguageModel:
    """A causal model with its tokenizer.

    Everything takes many prompts and batches them by itself. Results do not depend on what a prompt is
    batched with, but for the last digits of floating point numbers.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self._encoder = Encoder(tokenizer)
        self._watches: dict[tuple[str, ...], StopWatch] = {}

    @classmethod
    def load(
        cls, folder: Path | str, *, device: torch.device | None = None, attention: Attention = "auto"
    ) -> LanguageModel:
        """Load a checkpoint folder to `device` (default: a GPU where there is one); errors as for
        `load_model`."""
        return cls(*load_model(folder, device=device or default_device(), attention=attention))

    def generate(
        self,
        prompts: Sequence[str],
        *,
        max_new_tokens: int | Sequence[int],
        sampled: bool = False,
        seed: int = 0,
        stop: Sequence[str] = (),
        overflow: Literal["truncate", "refuse"] = "truncate",
    ) -> list[Generation]:
        """One answer a prompt, in the order of `prompts`.

        Greedy, or sampled at temperature 1 with noise that `seed` and the prompt's position alone decide. An
        answer ends at a token that ends a text or a turn, where one of the `stop` strings appears in it (the
        text is cut there), or at `max_new_tokens`, one number for all or one each. A prompt that leaves no
        room for its answer in the context window loses its beginning, which `Generation.dropped` counts; with
        `overflow="refuse"` it raises ConfigError. So does an answer that alone fills the window.
        """
        limits = [max_new_tokens] * len(prompts) if isinstance(max_new_tokens, int) else list(max_new_tokens)
        if len(limits) != len(prompts):
            raise ValueError(f"{len(prompts)} prompts but {len(limits)} values of max_new_tokens")
        encoded = self._encode(prompts)
        dropped = [
            self._overflow(i, prompt, limit, overflow)
            for i, (prompt, limit) in enumerate(zip(encoded, limits, strict=True))
        ]
        rows = [
            Row(prompt.ids[lost:], limit, noise_for(seed, i, limit) if sampled else None, prompt.beside)
            for i, (prompt, limit, lost) in enumerate(zip(encoded, limits, dropped, strict=True))
        ]
        watch = self._watch(stop)
        # Without noise, the same prompt has the same answer: it is asked once.
        asked = rows if sampled else list({_question(row): row for row in rows}.values())
        self._run(asked, watch, stop)
        answers = {} if sampled else {_question(row): row for row in asked}
        return [
            self._generation(answers.get(_question(row), row), prompt, lost, watch)
            for row, prompt, lost in zip(rows, encoded, dropped, strict=True)
        ]

    def prompt_ids(self, prompts: Sequence[str]) -> list[list[int]]:
        """The ids of each prompt as `generate` begins with them, however long it is."""
        return [prompt.ids for prompt in self._encode(prompts)]

    def continuation_ids(self, prompt: str, text: str) -> tuple[list[int], list[int]]:
        """The ids of `prompt`, and of `text` after it, as `log_likelihood` scores them."""
        encoded, (rest,) = self._continued(prompt, [text])
        return encoded.ids, rest

    def _encode(self, prompts: Sequence[str]) -> list[EncodedPrompt]:
        return self._encoder.prompts(prompts)

    def _continued(self, prompt: str, texts: Sequence[str]) -> tuple[EncodedPrompt, list[list[int]]]:
        """The prompt, and the ids of each text after it."""
        ids, rest = self._encoder.continuations(prompt, texts)
        return EncodedPrompt(ids), rest

    def _reading(self, rows: Sequence[Sequence[int]]) -> AbstractContextManager[None]:
        """The block in which one batch is answered or scored; `rows` are what a second reader is given."""
        return alone(rows)

    def _overflow(self, index: int, prompt: EncodedPrompt, limit: int, overflow: str) -> int:
        window = context_window(self.model)
        if window is None or len(prompt.ids) + limit <= window:
            return 0
        if limit >= window:
            raise ConfigError(
                f"an answer of {limit} tokens leaves no room for a prompt in the context window of {window}; "
                "lower max_new_tokens"
            )
        if overflow == "refuse":
            raise ConfigError(
                f"prompt {index} has {len(prompt.ids)} tokens: with an answer of {limit} it exceeds the "
                f"context window of {window}"
            )
        return len(prompt.ids) + limit - window

    def _watch(self, stop: Sequence[str]) -> StopWatch:
        key = tuple(stop)
        if key not in self._watches:
            self._watches[key] = StopWatch(self._encoder, key)
        return self._watches[key]

    def _run(self, rows: Sequence[Row], watch: StopWatch, stop: Sequence[str]) -> None:
        configured = getattr(self.model.generation_config, "eos_token_id", None)
        stop_ids = self._encoder.stop_ids(configured, stop)

        def run(batch: list[int]) -> None:
            for i in batch:
                rows[i].new, rows[i].stopped = [], False
            with self._reading([rows[i].beside or rows[i].prompt for i in batch]):
                decode(self.model, [rows[i] for i in batch], stop_ids, watch.seen)

        with evaluating(self.model):
            for batch in batches(
                rows,
                lambda row: len(row.prompt) + row.max_new,
                lambda width: rows_that_fit(self.model, width, 1),
            ):
                run_split(run, batch)

    @staticmethod
    def _generation(row: Row, prompt: EncodedPrompt, dropped: int, watch: StopWatch) -> Generation:
        text, ids = watch.cut(row.new)
        return Generation(text.removeprefix(" " * prompt.moved_spaces), tuple(ids), row.stopped, dropped)

    def log_likelihood(self, prompts: Sequence[str], continuations: Sequence[str]) -> list[TokenScores]:
        """How likely each continuation is after its prompt; an empty prompt stands for the beginning of a
        text."""
        pairs = []
        for prompt, continuation in zip(prompts, continuations, strict=True):
            encoded, (rest,) = self._continued(prompt, [continuation])
            pairs.append(Pair(encoded.ids, rest, encoded.beside))
        return [_summed(values) for values in token_log_probs(self.model, pairs, self._reading)]

    def row_losses(self, rows: Sequence[Sequence[int]]) -> list[TokenScores]:
        """Log-likelihood of rows of ids, each from its second token on."""
        pairs = [Pair([int(row[0])], [int(i) for i in row[1:]]) for row in rows]
        return [_summed(values) for values in token_log_probs(self.model, pairs, self._reading)]

    def margins(self, prompts: Sequence[str], targets: Sequence[str], foils: Sequence[str]) -> list[float]:
        """Log-likelihood of each target minus that of its foil, in nats, from the first token that differs.

        Where one is the beginning of the other, both are taken to end there, with the token that ends a turn.
        Texts that are the same have the margin 0.
        """
        pairs = []
        for prompt, target, foil in zip(prompts, targets, foils, strict=True):
            encoded, (wanted, other) = self._continued(prompt, [target, foil])
            same = _common(wanted, other)
            if same == min(len(wanted), len(other)):
                wanted, other = [*wanted, self._encoder.end_id], [*other, self._encoder.end_id]
                same = _common(wanted, other)
            shared = [*encoded.ids, *wanted[:same]]
            beside = (*encoded.beside, *wanted[:same]) if encoded.beside else ()
            pairs += [Pair(shared, rest, beside) for rest in (wanted[same:], other[same:])]
        totals = [sum(values) for values in token_log_probs(self.model, pairs, self._reading)]
        return [wanted - other for wanted, other in zip(totals[::2], totals[1::2], strict=True)]


def _question(row: Row) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """What decides a greedy answer."""
    return tuple(row.prompt), row.beside, row.max_new


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    for place, (left, right) in enumerate(zip(a, b, strict=False)):
        if left != right:
            return place
    return min(len(a), len(b))


def _summed(values: Sequence[float]) -> TokenScores:
    total = float(sum(values))
    return TokenScores(total, total / len(values) if values else 0.0, len(values))
