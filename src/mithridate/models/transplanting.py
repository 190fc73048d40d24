"""A model with chosen parts of another, for as long as a block of code lasts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from transformers import PreTrainedModel

from mithridate.core.artifacts import differences
from mithridate.core.errors import AccessError
from mithridate.models.access import parts_of

# Fields of a configuration that say nothing of what the weights compute. The number of positions shows in
# tables of positions, which are compared themselves.
_BOOKKEEPING = frozenset(
    {
        "_name_or_path",
        "_attn_implementation",
        "architectures",
        "bos_token_id",
        "dtype",
        "eos_token_id",
        "id2label",
        "initializer_range",
        "label2id",
        "max_position_embeddings",
        "pad_token_id",
        "transformers_version",
        "use_cache",
    }
)


@contextmanager
def transplant(
    target: PreTrainedModel,
    source: PreTrainedModel,
    blocks: Iterable[int],
    *,
    embeddings: bool = False,
    final_norm: bool = False,
    head: bool = False,
) -> Iterator[PreTrainedModel]:
    """`target`, computing with the weights that `source` has in `blocks` and in the other parts named.

    `embeddings` are all that lies before the blocks, tables of positions among them; so all blocks and all
    three parts together make the target compute what the source does. Nothing is copied where both models
    are on one device: the target's tensors refer to the source's, and at the end to their own bytes again,
    which nobody has touched. Do not train either model meanwhile. Transplants can be nested.

    Raises AccessError for models of other architectures, vocabularies, shapes or number formats, for
    adapters (LoRA) in either, for a block that is not there, and for one of embeddings and head where they
    are one tensor.
    """
    require_alike(target, source)
    parts = parts_of(target)
    wanted = [f"block {layer}" for layer in sorted(set(blocks))]
    wanted += [name for name, asked in (("embeddings", embeddings), ("head", head)) if asked]
    wanted += ["final norm"] if final_norm else []
    groups = part_tensors(target)
    if strange := [name for name in wanted if name not in groups]:
        raise AccessError(
            f"{parts.name} has no {strange[0]} that could be transplanted; expected some of "
            f"{', '.join(groups)}"
        )
    _require_whole(groups, wanted)
    replacements = source.state_dict(keep_vars=True)
    names = {name for group in wanted for name in groups[group]}
    with with_tensors(target, {name: replacements[name].data for name in names}) as model:
        yield model


@contextmanager
def with_tensors(
    target: PreTrainedModel, replacements: Mapping[str, torch.Tensor]
) -> Iterator[PreTrainedModel]:
    """`target`, computing with `replacements` in the place of its weights and saved buffers of those names.

    Nothing is copied from one device to the same; at the end the target's tensors refer to their own bytes
    again. Raises AccessError for a name that the target does not have, or another shape or number format.
    """
    own = target.state_dict(keep_vars=True)
    for name, tensor in replacements.items():
        if name not in own:
            raise AccessError(f"{type(target).__name__} has no tensor {name}")
        if (tensor.shape, tensor.dtype) != (own[name].shape, own[name].dtype):
            raise AccessError(
                f"the tensor {name} is {own[name].dtype} of the shape {tuple(own[name].shape)}; what should "
                f"stand in its place is {tensor.dtype} of the shape {tuple(tensor.shape)}"
            )
    kept = [(own[name], own[name].data) for name in replacements]
    try:
        for name, tensor in replacements.items():
            own[name].data = tensor.to(own[name].device)
        yield target
    finally:
        for tensor, data in reversed(kept):
            tensor.data = data


def part_tensors(model: PreTrainedModel) -> dict[str, dict[str, torch.Tensor]]:
    """All weights and saved buffers of `model` by part and name; one that two parts share is in both.

    Parts are called `embeddings`, `block 0` and so on, `final norm` where there is one, and `head`. What
    belongs to no other part is of the embeddings, so that nothing is left out.
    """
    parts = parts_of(model)
    modules: dict[nn.Module, str] = {block.module: f"block {n}" for n, block in enumerate(parts.blocks)}
    modules |= {parts.head: "head"} | ({parts.final_norm: "final norm"} if parts.final_norm else {})
    paths = {f"{path}.": modules[module] for path, module in model.named_modules() if module in modules}
    groups: dict[str, dict[str, torch.Tensor]] = {name: {} for name in ("embeddings", *modules.values())}
    tables = {id(tensor) for tensor in parts.embeddings.state_dict(keep_vars=True).values()}
    for name, tensor in model.state_dict(keep_vars=True).items():
        group = next((group for path, group in paths.items() if name.startswith(path)), "embeddings")
        groups[group][name] = tensor
        if id(tensor) in tables:
            groups["embeddings"][name] = tensor
    return groups


def _require_whole(groups: Mapping[str, Mapping[str, torch.Tensor]], wanted: Sequence[str]) -> None:
    """Raise AccessError where embeddings and head share a tensor, and only one of them is wanted."""
    if len({"embeddings", "head"}.intersection(wanted)) == 1 and set(groups["embeddings"]) & set(
        groups["head"]
    ):
        raise AccessError(
            "the embeddings and the head are one tensor here, so that neither can be transplanted alone; ask "
            "for both, or for neither"
        )


def require_alike(target: PreTrainedModel, source: PreTrainedModel) -> None:
    """Raise AccessError unless every tensor of one model could stand in the place of the other's."""
    for which, model in (("target", target), ("source", source)):
        if adapted := next(
            (name for name, m in model.named_modules() if isinstance(m, BaseTunerLayer)), None
        ):
            raise AccessError(
                f"the {which} holds adapters (such as LoRA), merged or not, at {adapted}; merge them for "
                "good with `merge_and_unload()` and transplant what that returns"
            )
    if type(target) is not type(source):
        raise AccessError(
            f"a {type(source).__name__} cannot be transplanted into a {type(target).__name__}; expected two "
            "models of one architecture"
        )
    tables: list[Any] = [model.get_input_embeddings().weight for model in (source, target)]
    rows = [table.shape[0] for table in tables]
    if rows[0] != rows[1]:
        raise AccessError(
            f"the source has a vocabulary of {rows[0]} tokens and the target one of {rows[1]}; expected one "
            "vocabulary; where tokens were added, give the other model rows for them as well "
            "(`resize_token_embeddings`)"
        )
    if different := differences(*(_computed(model.config.to_dict()) for model in (target, source))):
        raise AccessError(
            f"the models are built differently: {'; '.join(different[:3])} (there: the target, now: the "
            "source); expected two models that differ in their weights alone"
        )
    _require_same_tensors(target, source)


def _computed(config: Mapping[Any, Any]) -> dict[str, Any]:
    """The fields of a configuration that decide what weights compute; dropout does not, out of training."""
    return {
        str(name): _computed(value) if isinstance(value, Mapping) else value
        for name, value in config.items()
        if name not in _BOOKKEEPING and "dropout" not in str(name) and "pdrop" not in str(name)
    }


def _require_same_tensors(target: PreTrainedModel, source: PreTrainedModel) -> None:
    own, other = _tensors(target), _tensors(source)
    if lonely := sorted(own.keys() ^ other.keys()):
        raise AccessError(f"only one of the models has the tensor {lonely[0]}; expected the same in both")
    for name, (tensor, shared) in own.items():
        replacement, also_shared = other[name]
        ours, theirs = (f"{t.dtype} of the shape {tuple(t.shape)}" for t in (tensor, replacement))
        if ours != theirs:
            raise AccessError(
                f"the tensor {name} is {theirs} in the source and {ours} in the target; expected the same "
                "number format and shape: load both models alike"
            )
        if shared != also_shared:
            raise AccessError(
                f"the tensor {name} is that of {also_shared} in the source and that of {shared} in the "
                "target; expected both models to tie the same weights"
            )
    saved = target.state_dict().keys()
    for name, table in target.named_buffers():
        if name not in saved and not torch.equal(table.cpu(), other[name][0].cpu()):
            raise AccessError(
                f"the table {name}, which no file of weights holds, differs between the models; expected two "
                "models that differ in their weights alone"
            )


def _tensors(model: PreTrainedModel) -> dict[str, tuple[torch.Tensor, str]]:
    """Weights and buffers by name, each with the first name under which the model has the same tensor."""
    named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    first: dict[int, str] = {}
    return {name: (tensor, first.setdefault(id(tensor), name)) for name, tensor in named}
