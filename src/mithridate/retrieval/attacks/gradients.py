"""Gradients through a sentence-transformers model: which words, put where, bring a text nearer a query."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mithridate.core.errors import ConfigError
from mithridate.retrieval.attacks.drafts import Draft, Swap
from mithridate.retrieval.base import Encoder, TextRole, Vectors
from mithridate.retrieval.encoders.cache import CachedEncoder
from mithridate.retrieval.encoders.sentence_transformer import SentenceTransformerEncoder
from mithridate.retrieval.ranking import similarities

_WORDS_A_PLACE = 4
_SHORTEST_WORD = 2


class Gradients:
    """An encoder's model, opened: its own words, its similarities, and the first-order gain of a swap.

    Vectors come from the encoder itself, past a cache, which drafts would only fill. Not for several threads
    at once. Raises ConfigError for an encoder that is no sentence-transformers model of transformers with a
    fast tokenizer: nothing else can be differentiated.
    """

    def __init__(self, encoder: Encoder, attack: str) -> None:
        while isinstance(encoder, CachedEncoder):
            encoder = encoder.encoder
        module = encoder.model if isinstance(encoder, SentenceTransformerEncoder) else None
        embeddings, tokenizer = _input_embeddings(module), getattr(module, "tokenizer", None)
        fast = getattr(tokenizer, "is_fast", False)
        if not isinstance(encoder, SentenceTransformerEncoder) or embeddings is None or not fast:
            raise ConfigError(
                f"attack {attack!r} follows gradients, which encoder {encoder.identity!r} does not give; use "
                "a sentence-transformers model on PyTorch with a fast tokenizer, such as 'minilm', or "
                "another attack"
            )
        self._encoder: Encoder = encoder
        self._module: Any = module
        self._tokenizer: Any = tokenizer
        self._embeddings: Any = embeddings
        self._prompt = encoder.prompt(TextRole.DOCUMENT)

    @cached_property
    def _vocabulary(self) -> tuple[list[str], NDArray[np.int64]]:
        """The tokenizer's words of letters that are read as the one token that they are, and its number.

        Parts of words are left out: joined to a text, they would be read as other tokens.
        """
        special = set(self._tokenizer.all_special_ids)
        numbers = [[i] for i in range(len(self._tokenizer)) if i not in special]
        found = dict.fromkeys(text.strip() for text in self._tokenizer.batch_decode(numbers))
        words = [word for word in found if word.isalpha() and len(word) >= _SHORTEST_WORD]
        read = self._tokenizer([f" {word}" for word in words], add_special_tokens=False)["input_ids"]
        whole = [(word, ids[0]) for word, ids in zip(words, read, strict=True) if len(ids) == 1]
        return [word for word, _ in whole], np.array([number for _, number in whole], np.int64)

    def random_words(self, rng: np.random.Generator, n: int) -> list[str]:
        """So many words that are one token each."""
        words, _ = self._vocabulary
        return [words[i] for i in rng.integers(len(words), size=n)]

    def query(self, text: str) -> Vectors:
        """The unit vector of a query, shape (dimension,)."""
        (vector,) = self._encoder.encode([text], role=TextRole.QUERY)
        return np.asarray(vector)

    def similarities(self, drafts: Sequence[Draft], query: Vectors) -> NDArray[np.float64]:
        """The cosine of each draft and the query, shape (len(drafts),)."""
        return similarities(self._encoder.encode([draft.text for draft in drafts]), query)

    def swaps(self, draft: Draft, places: Sequence[int], query: Vectors, most: int) -> list[Swap]:
        """The swaps in some of the free places that promise most by the gradient, best first.

        HotFlip's first-order estimate (Ebrahimi et al., ACL 2018): the gradient of the cosine with respect to
        a token's embedding, times the difference of the new embedding and the old one. At most `most`, and a
        few of each place; places beyond what the model reads have none.
        """
        import torch  # noqa: PLC0415 - retrieval must import without torch

        words, numbers = self._vocabulary
        ids, gradient, tokens = self._gradient(draft, query)
        starts = draft.places()
        read = [place for place in places if starts[place] in tokens]
        if not read:
            return []
        rows = [tokens[starts[place]] for place in read]
        table = self._embeddings.weight.detach()
        slopes = gradient[rows]
        now = (slopes * table[ids[rows]]).sum(dim=1, keepdim=True)
        gains = slopes @ table[torch.from_numpy(numbers).to(table.device)].T - now
        best, chosen = gains.topk(min(_WORDS_A_PLACE, len(words)), dim=1)
        order = best.flatten().argsort(descending=True, stable=True)[:most].tolist()
        width = best.shape[1]
        return [(read[at // width], words[int(chosen.flatten()[at])]) for at in order]

    def _gradient(self, draft: Draft, query: Vectors) -> tuple[Any, Any, dict[int, int]]:
        """The tokens of a draft, shape (n,), the gradient of the cosine with respect to each one's embedding,
        shape (n, hidden), and which token begins at a character of the draft."""
        import torch  # noqa: PLC0415 - see above

        text = self._prompt + draft.text
        features = self._tokenizer(
            text,
            truncation=self._module.max_seq_length is not None,
            max_length=self._module.max_seq_length,
            return_offsets_mapping=True,
            return_tensors="pt",
        )
        offsets = features.pop("offset_mapping")[0].tolist()
        features = {name: value.to(self._module.device) for name, value in features.items()}
        kept: list[Any] = []

        def keep(_module: Any, _inputs: Any, output: Any) -> Any:
            kept.append(output.detach().requires_grad_())
            return kept[-1]

        hook = self._embeddings.register_forward_hook(keep)
        try:
            with torch.enable_grad():
                vector = self._module.eval()(dict(features))["sentence_embedding"][0].float()[: len(query)]
                cosine = vector @ torch.from_numpy(query).to(vector.device) / vector.norm()
                (gradient,) = torch.autograd.grad(cosine, kept[:1])
        finally:
            hook.remove()
        tokens = {}
        for number, (start, end) in enumerate(offsets):
            # Some tokenizers count the space before a word as the beginning of its token.
            word = text[start:end].lstrip()
            place = end - len(word) - len(self._prompt)
            if word and place >= 0:
                tokens[place] = number
        return features["input_ids"][0], gradient[0], tokens


def _input_embeddings(module: Any) -> Any | None:
    """The table of word embeddings of the transformers model in a SentenceTransformer, if it is PyTorch's."""
    find = getattr(getattr(module, "transformers_model", None), "get_input_embeddings", None)
    found = find() if find else None
    return found if hasattr(found, "register_forward_hook") else None
