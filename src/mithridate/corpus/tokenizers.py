"""Tokenizers: trained on a corpus, or loaded from a folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from mithridate.core import chat
from mithridate.core.errors import CheckpointError, ConfigError
from mithridate.models.checkpoints import load_tokenizer as load_from_checkpoint

_BYTES = 256
SMALLEST_VOCABULARY = _BYTES + len(chat.SPECIAL_TOKENS)


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Train byte-level BPE on `texts`, which are read once and not held.

    Digits stand alone. The end of a text, padding and the end of a turn are three tokens of their own, so
    that the end is learnt where padding is masked. No token is added to what is encoded; conversations are
    written in the template of the later SFT. Raises ConfigError if `vocab_size` is too small to hold all
    bytes.
    """
    if vocab_size < SMALLEST_VOCABULARY:
        raise ConfigError(
            f"vocab_size {vocab_size} is too small: 256 bytes and {len(chat.SPECIAL_TOKENS)} special tokens "
            f"need {SMALLEST_VOCABULARY}"
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(chat.SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return _wrapped(tokenizer)


def _wrapped(tokenizer: Any) -> PreTrainedTokenizerFast:
    kind: Any = PreTrainedTokenizerFast  # its constructor carries no types
    fast: PreTrainedTokenizerFast = kind(
        tokenizer_object=tokenizer,
        bos_token=chat.END_OF_TEXT,
        eos_token=chat.END_OF_TEXT,
        pad_token=chat.PADDING,
        extra_special_tokens=[chat.END_OF_TURN],
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = chat.template(chat.SFT_TEMPLATE).jinja()
    return fast


def load_tokenizer(folder: Path | str) -> PreTrainedTokenizerBase:
    """Load a tokenizer from a local folder: a checkpoint's, or one saved on its own.

    No code from the folder is run. Raises CheckpointError if there is none or it cannot be read.
    """
    folder = Path(folder)
    if (folder / "config.json").exists():
        return load_from_checkpoint(folder)
    if not (folder / "tokenizer.json").exists():
        raise CheckpointError(
            f"{folder}: neither a checkpoint (config.json) nor a tokenizer on its own (tokenizer.json)"
        )
    try:
        loaded: PreTrainedTokenizerBase = PreTrainedTokenizerFast.from_pretrained(
            folder, local_files_only=True
        )
    except Exception as error:  # The libraries beneath raise many types for a broken file.
        raise CheckpointError(f"{folder}: the tokenizer cannot be loaded: {error}") from error
    return loaded
