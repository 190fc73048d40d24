"""Checkpoint folders: local, safetensors only, whole or absent."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from mithridate.core.artifacts import storage_errors
from mithridate.core.errors import CheckpointError, StorageError, UnknownNameError
from mithridate.models.architectures import resolve_attention
from mithridate.models.options import Attention

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "tokenizer_config.json")
_ADAPTER = re.compile(r"(^|\.)(lora_|base_layer\.)")
_HOW_TO_CONVERT = (
    "Pickle files can run any code when they are opened, so they are not. If you trust their source, convert "
    "them once, in a sandbox: `AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(NEW_FOLDER)` "
    "writes safetensors"
)


def load_model(
    folder: Path | str, *, device: torch.device | None = None, attention: Attention = "auto"
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a causal model and its tokenizer from a local folder, to `device` (default: the CPU).

    On a CPU the weights become float32, in which small models are fastest and exact; on a GPU they keep their
    type. No code from the folder is run. Raises CheckpointError naming what is missing, unsafe, truncated or
    does not fit.
    """
    folder = Path(folder)
    tokenizer = load_tokenizer(folder)
    model = _load_weights(AutoModelForCausalLM, folder, device or torch.device("cpu"), attention)
    require_fit(model, tokenizer, folder)
    return model, tokenizer


def load_classifier(
    folder: Path | str, *, device: torch.device | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a sequence classifier and its tokenizer from a local folder; errors as for `load_model`."""
    folder = Path(folder)
    tokenizer = load_tokenizer(folder)
    model = _load_weights(AutoModelForSequenceClassification, folder, device or torch.device("cpu"), "auto")
    return model, tokenizer


def look_at_model(folder: Path | str) -> PreTrainedModel:
    """A causal model without its weights: all that can be known of a folder in a moment.

    Raises CheckpointError as `load_model` does, but for tensors that are missing or misshapen.
    """
    return _without_weights(AutoModelForCausalLM, Path(folder))


def look_at_classifier(folder: Path | str) -> PreTrainedModel:
    """A sequence classifier without its weights; errors as for `look_at_model`."""
    return _without_weights(AutoModelForSequenceClassification, Path(folder))


def label_ids(classifier: PreTrainedModel, label: str, folder: Path | str) -> dict[str, int]:
    """The labels of a classifier with their numbers.

    Raises UnknownNameError if `label` is not among them.
    """
    labels = {str(name): int(number) for number, name in (classifier.config.id2label or {}).items()}
    if label not in labels:
        raise UnknownNameError(f"label of the classifier {folder}", label, labels)
    return labels


def look_at_files(folder: Path | str) -> dict[str, Any]:
    """The config.json of a checkpoint folder whose weights can be read without running anything.

    Raises CheckpointError where there is no checkpoint, none in safetensors, or a file of it is missing,
    truncated or broken.
    """
    folder = Path(folder)
    config = _check_config(folder)
    _check_weights(folder)
    return config


def has_tokenizer(folder: Path | str) -> bool:
    """Whether a checkpoint folder holds the files of a tokenizer."""
    return any((Path(folder) / name).exists() for name in _TOKENIZERS)


def load_tokenizer(folder: Path | str) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a checkpoint folder.

    Raises CheckpointError if there is none or it cannot be read.
    """
    folder = Path(folder)
    _check_config(folder)
    if not has_tokenizer(folder):
        raise CheckpointError(
            f"{folder}: no tokenizer (looked for {', '.join(_TOKENIZERS)}); save one beside the model"
        )
    try:
        with _quiet():
            tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
    except Exception as error:  # The libraries beneath raise many types for a broken file.
        raise CheckpointError(f"{folder}: the tokenizer cannot be loaded: {_cause(error)}") from error
    longest: Any = tokenizer.model_max_length
    if not isinstance(longest, int | float):
        raise CheckpointError(
            f"{folder}: the tokenizer cannot be loaded: its model_max_length is {longest!r}, not a number"
        )
    return tokenizer


def require_chat_template(tokenizer: PreTrainedTokenizerBase, folder: Path | str) -> None:
    """Raise CheckpointError unless the tokenizer of `folder` says how conversations are written."""
    if not tokenizer.chat_template:
        raise CheckpointError(
            f"{folder}: the tokenizer has no chat template. Name one of ours with `template=`, or add a "
            "`chat_template.jinja` to the folder"
        )


def require_fit(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path | str) -> None:
    """Raise CheckpointError unless `model` has an embedding for every token of `tokenizer`."""
    embeddings: Any = model.get_input_embeddings()
    rows = embeddings.weight.shape[0]
    if len(tokenizer) > rows:
        raise CheckpointError(
            f"{folder}: the tokenizer has {len(tokenizer)} tokens but the model embeds {rows}; "
            "they belong to different checkpoints"
        )


def save_checkpoint(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path | str) -> None:
    """Write model and tokenizer so that `folder` is never half written.

    Raises StorageError when the disk is full or may not be written to.
    """
    folder = Path(folder)
    with storage_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        for leftover in folder.parent.glob(f".{folder.name}.*.partial"):
            shutil.rmtree(leftover)
        beside = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
        try:
            with _quiet():
                model.save_pretrained(beside)
                tokenizer.save_pretrained(beside)
            for path in beside.iterdir():
                with path.open("rb") as handle:
                    os.fsync(handle.fileno())
            _replace(beside, folder)
            for old in folder.parent.glob(f".{folder.name}.*.old"):
                shutil.rmtree(old)  # what a process that was killed had put aside
        except SafetensorError as error:
            raise StorageError(
                f"{folder}: the weights cannot be written: {error}. Is the disk full?"
            ) from error
        except Exception as error:
            # The tokenizers library tells of a full disk by an exception of no class of its own.
            if type(error) is not Exception:
                raise
            raise StorageError(f"{folder}: the tokenizer cannot be written: {error}") from error
        finally:
            shutil.rmtree(beside, ignore_errors=True)


def _replace(beside: Path, folder: Path) -> None:
    if not folder.exists():
        beside.rename(folder)
        return
    # A folder cannot be renamed onto one that is not empty: the old one steps aside for an instant.
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    folder.rename(old)
    beside.rename(folder)
    shutil.rmtree(old)


def _check_config(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise CheckpointError(
            f"{folder}: no such folder; checkpoints are local folders and nothing is downloaded"
        )
    path = folder / "config.json"
    if not path.exists():
        hint = ""
        if _is_adapter(folder):
            hint = "; it holds an adapter: merge it into its base model and save that"
        elif inside := next(folder.glob("*/config.json"), None) or next(folder.glob("*/*/config.json"), None):
            hint = f"; did you mean {inside.parent}?"
        raise CheckpointError(f"{folder}: no config.json, so this is not a Hugging Face checkpoint{hint}")
    config = _read_json(path)
    if not isinstance(config, dict) or "model_type" not in config:
        raise CheckpointError(f"{path}: no field 'model_type', so the architecture is unknown")
    return config


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        raise CheckpointError(f"{path}: broken JSON: {error}") from error


def _is_adapter(folder: Path) -> bool:
    return (folder / "adapter_config.json").exists()


def _of_adapter(name: str) -> bool:
    """Whether a tensor belongs to a LoRA adapter that was not merged into the weights."""
    return bool(_ADAPTER.search(name))


def _check_weights(folder: Path) -> None:
    if _is_adapter(folder):
        # transformers would load it along with the weights, and those of another folder if it names one.
        raise CheckpointError(
            f"{folder}: holds a LoRA adapter (adapter_config.json) beside a model; merge it into the model "
            "(`merge_and_unload`) and save that, or take the adapter's files out of the folder"
        )
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        pickles = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
        if pickles:
            raise CheckpointError(f"{folder}: only pickle weights ({', '.join(pickles)}). {_HOW_TO_CONVERT}")
        raise CheckpointError(f"{folder}: no weights (*.safetensors)")
    index = folder / "model.safetensors.index.json"
    if index.exists():
        try:
            named = set(map(str, _read_json(index)["weight_map"].values()))
        except (KeyError, AttributeError, TypeError) as error:
            raise CheckpointError(f"{index}: not an index of weights: {error!r}") from error
        missing = sorted(named - {path.name for path in files})
        if missing:
            raise CheckpointError(
                f"{folder}: the index names {', '.join(missing)}, which are missing; copy them here too"
            )
    for path in files:
        try:
            with safe_open(path, framework="pt") as handle:
                adapted = next(filter(_of_adapter, sorted(handle.keys())), None)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"{path}: truncated or broken safetensors ({error}); copy it again"
            ) from error
        if adapted is not None:
            raise CheckpointError(
                f"{path}: holds a LoRA adapter that was not merged (tensor {adapted}); merge it "
                "(`merge_and_unload`), and save that"
            )


def weights_hash(model: PreTrainedModel) -> str:
    """A hash of every tensor of `model`, with its name, type and shape: 64 hexadecimal digits.

    Tied weights count once. Two models with one hash are equal to the bit.
    """
    hashed = hashlib.sha256()
    for name, tensor in sorted(model.named_parameters()):
        hashed.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        # As bytes: numpy knows no bf16.
        hashed.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return hashed.hexdigest()


def _without_weights(auto: Any, folder: Path) -> PreTrainedModel:
    _check_config(folder)
    _check_weights(folder)
    try:
        with _quiet(), torch.device("meta"):
            config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            model: PreTrainedModel = auto.from_config(config, attn_implementation="eager")
    except Exception as error:  # As in `_load_weights`.
        raise CheckpointError(f"{folder}: the model cannot be loaded: {_cause(error)}") from error
    _check_layers(model, folder)
    return model


def _load_weights(auto: Any, folder: Path, device: torch.device, attention: Attention) -> PreTrainedModel:
    _check_config(folder)
    _check_weights(folder)
    try:
        with _quiet():
            model, info = auto.from_pretrained(
                folder,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # to be refused below, by name
                attn_implementation=resolve_attention(attention),
                dtype=torch.float32 if device.type == "cpu" else "auto",
            )
    except Exception as error:  # Unknown types, remote code: each raises its own.
        raise CheckpointError(f"{folder}: the model cannot be loaded: {_cause(error)}") from error
    _check_tensors(model, info, folder)
    _check_layers(model, folder)
    loaded: PreTrainedModel = model.to(device).eval()
    return loaded


def _check_tensors(model: PreTrainedModel, info: Mapping[str, Any], folder: Path) -> None:
    """Raise CheckpointError unless every tensor was there, of the right shape, and of finite numbers."""
    if misshapen := sorted(info["mismatched_keys"]):
        name, found, wanted = misshapen[0]
        raise CheckpointError(
            f"{folder}: {len(misshapen)} of the tensors have other shapes than config.json asks for "
            f"({name} is {tuple(found)}, not {tuple(wanted)})"
        )
    if missing := sorted(info["missing_keys"]):
        raise CheckpointError(
            f"{folder}: the weights lack {len(missing)} of the tensors that config.json asks for "
            f"({', '.join(missing[:3])}{', …' if len(missing) > 3 else ''})"
        )
    for name, tensor in model.named_parameters():
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(
                f"{folder}: the tensor {name} holds numbers that are not finite, so nothing can be measured"
            )


def _check_layers(model: PreTrainedModel, folder: Path) -> None:
    if getattr(model.config.get_text_config(), "num_hidden_layers", None) == 0:
        raise CheckpointError(f"{folder}: config.json asks for a model of no layers")


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars and no advice from transformers: what matters here becomes an error."""
    control: Any = logging
    level, bars = control.get_verbosity(), control.is_progress_bar_enabled()
    control.set_verbosity_error()
    control.disable_progress_bar()
    try:
        yield
    finally:
        control.set_verbosity(level)
        if bars:
            control.enable_progress_bar()


def _cause(error: Exception) -> str:
    """The first line of a message, with the one that it announces."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    return " ".join(lines[: 2 if lines[0].endswith(":") else 1]) if lines else repr(error)
