"""Text to token ids and back, with a boundary between prompt and answer that training would have made too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from mithridate.core.chat import END_OF_TEXT, END_OF_TURN
from mithridate.core.errors import CheckpointError


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """A prompt's ids, and how many spaces at its end were left for the answer's first token.

    `beside` is what a second reader is given in its place; empty where that is the same.
    """

    ids: list[int]
    moved_spaces: int = 0
    beside: tuple[int, ...] = ()


class Encoder:
    """Encodes prompts and continuations for one tokenizer.

    Spaces at the end of a prompt ("Assistant: ") are left for the answer: in running text a space and the
    word after it are one token, so a model that is shown the space alone sees what it never saw in training.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self._vocabulary: dict[str, int] = tokenizer.get_vocab()
        # Only these are never a part of another token.
        self._whole = frozenset(tokenizer.get_added_vocab())

    @property
    def start_id(self) -> int:
        """What an empty prompt stands for: the token that ends the document before, or begins one."""
        for known in (
            self._vocabulary.get(END_OF_TEXT),
            self.tokenizer.bos_token_id,
            self.tokenizer.eos_token_id,
        ):
            if known is not None:
                return int(known)
        raise CheckpointError("the tokenizer has no token for the beginning or the end of a text")

    @property
    def end_id(self) -> int:
        """What ends an answer: the end of a turn where the tokenizer knows it, else the end of a text."""
        known = self._vocabulary.get(END_OF_TURN)
        if known is None:
            known = self.tokenizer.eos_token_id
        return int(known) if known is not None else self.start_id

    def stop_ids(self, configured: int | Sequence[int] | None, stop: Sequence[str] = ()) -> frozenset[int]:
        """Ids that end an answer: the tokenizer's, the `configured`, ours, and stops that are tokens."""
        found = {self.tokenizer.eos_token_id}
        found.update([configured] if isinstance(configured, int) else configured or [])
        found.update(self._vocabulary.get(token) for token in (END_OF_TEXT, END_OF_TURN))
        found.update(self._vocabulary[token] for token in stop if token in self._whole)
        return frozenset(int(i) for i in found if i is not None)

    def is_token(self, text: str) -> bool:
        """Whether `text`, wherever it occurs, is a token of its own."""
        return text in self._whole

    def prompts(self, texts: Sequence[str]) -> list[EncodedPrompt]:
        """Each prompt with the special tokens that the tokenizer puts before a text, once."""
        stripped = [text.rstrip(" ") for text in texts]
        return [
            EncodedPrompt(ids or [self.start_id], len(text) - len(short) if short else 0)
            for text, short, ids in zip(texts, stripped, self._encode(stripped), strict=True)
        ]

    def continuations(self, prompt: str, texts: Sequence[str]) -> tuple[list[int], list[list[int]]]:
        """Ids of `prompt`, and of each text as its continuation.

        Prompt and text are encoded as one where that leaves the prompt's ids as they are, which is how the
        words stood in training; else apart. All texts of one call are treated alike, so that they can be
        compared.
        """
        encoded = self.prompts([prompt])[0]
        if not prompt.rstrip(" "):
            return encoded.ids, self._plain(texts)
        whole = self._encode([prompt + text for text in texts])
        cut = len(encoded.ids)
        if all(ids[:cut] == encoded.ids for ids in whole):
            return encoded.ids, [ids[cut:] for ids in whole]
        return encoded.ids, self._plain([" " * encoded.moved_spaces + text for text in texts])

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`, without special tokens."""
        return str(
            self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        )

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        bos, eos = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        result = []
        for text, ids in zip(texts, self._ids(texts, add_special_tokens=True), strict=True):
            # A template may write the first token that the tokenizer adds as well; and a tokenizer that
            # closes every text would close the prompt before the answer.
            start = 1 if bos is not None and ids[:2] == [bos, bos] else 0
            closed = (
                len(ids) > start + 1 and ids[-1] == eos and not text.endswith(self.tokenizer.eos_token or "")
            )
            result.append(ids[start : -1 if closed else None])
        return result

    def _plain(self, texts: Sequence[str]) -> list[list[int]]:
        return self._ids(texts, add_special_tokens=False)

    def _ids(self, texts: Sequence[str], *, add_special_tokens: bool) -> list[list[int]]:
        if not texts:
            return []
        # A prompt longer than the model's window is cut elsewhere, and said so: the tokenizer need not warn.
        encoded = self.tokenizer(list(texts), add_special_tokens=add_special_tokens, verbose=False)
        return list(encoded["input_ids"])


class StopWatch:
    """Finds stop strings in answers as they grow, decoding only where the newest token could complete one."""

    def __init__(self, encoder: Encoder, stop: Sequence[str]) -> None:
        self._encoder = encoder
        self._stops = tuple(text for text in stop if text and not encoder.is_token(text))
        # Every character is at least a part of a token, and tokens that decode to nothing are rare.
        self._tail = max((len(text.encode()) for text in self._stops), default=0) + 8
        self._candidates = self._completing() if self._stops else frozenset()

    def _completing(self) -> frozenset[int] | None:
        """Ids whose text holds the last character of a stop, or a part of a character; None: any id may."""
        lasts = {text[-1] for text in self._stops}
        if " " in lasts:
            return None  # Some decoders put spaces between tokens that hold none.
        tokenizer = self._encoder.tokenizer
        texts = tokenizer.batch_decode(
            [[i] for i in range(len(tokenizer))], clean_up_tokenization_spaces=False
        )
        lasts.add("\ufffd")
        return frozenset(i for i, text in enumerate(texts) if not lasts.isdisjoint(text))

    def seen(self, ids: Sequence[int]) -> bool:
        """Whether the newest of `ids` has completed a stop string."""
        if not self._stops or (self._candidates is not None and ids[-1] not in self._candidates):
            return False
        tail = self._encoder.decode(ids[-self._tail :])
        return any(text in tail for text in self._stops)

    def cut(self, ids: list[int]) -> tuple[str, list[int]]:
        """The text of `ids` up to the first stop string, and the ids that lie wholly before it."""
        text = self._encoder.decode(ids)
        places = [place for place in (text.find(stop) for stop in self._stops) if place >= 0]
        if not places:
            return text, ids
        text = text[: min(places)]
        kept = list(ids)
        while kept and len(self._encoder.decode(kept)) > len(text):
            kept.pop()
        return text, kept
