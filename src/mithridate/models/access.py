"""Any Hugging Face decoder as its parts: embeddings, blocks with attention and MLP, norms and head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast
from weakref import WeakKeyDictionary

from torch import nn
from transformers import PreTrainedModel
from transformers.utils.generic import ModelOutput

from mithridate.core.errors import AccessError
from mithridate.models.blocks import Block, Calls, find_block, is_norm, same
from mithridate.models.sites import ENTRY, Part, Site
from mithridate.models.tracing import trace

__all__ = ["Block", "Parts", "Writer", "parts_of"]


@dataclass(frozen=True, slots=True)
class Writer:
    """The module that passes on the activation of a site.

    It is what `module` returns or, with `takes`, what it is given. With `overwritten` the model changes that
    tensor in place afterwards.
    """

    module: nn.Module
    takes: bool
    overwritten: bool


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a decoder.

    `decoder` is the module that holds the blocks and returns an `output_type`. `final_norm` is None where
    what the decoder returns is not the last block's output through one norm.
    """

    name: str
    decoder: nn.Module
    output_type: type
    embeddings: nn.Module
    blocks: tuple[Block, ...]
    final_norm: nn.Module | None
    head: nn.Module
    entry_overwritten: bool

    def sites(self, *parts: Part) -> list[Site]:
        """The sites of `parts` (default: the entry, and residual, attention and MLP of each block), from the
        bottom up."""
        wanted = parts or tuple(Part)
        branches = [part for part in (Part.ATTENTION, Part.MLP, Part.RESIDUAL) if part in wanted]
        found = [Site(layer, part) for layer in range(len(self.blocks)) for part in branches]
        return [ENTRY, *found] if Part.ENTRY in wanted else found

    def writer(self, site: Site) -> Writer:
        """The module that passes on the activation of `site`.

        Raises AccessError for a block that the model does not have, or a branch that cannot be told.
        """
        if site.layer >= len(self.blocks):
            raise AccessError(
                f"{self.name} has the blocks 0 to {len(self.blocks) - 1}, so there is no {site}"
            )
        block = self.blocks[site.layer]
        if site == ENTRY:
            return Writer(block.module, True, self.entry_overwritten)
        if site.part == Part.RESIDUAL:
            return Writer(block.module, False, block.overwritten)
        branch = block.attention if site.part == Part.ATTENTION else block.mlp
        if branch is None:
            raise AccessError(
                f"{self.name}: there is no way to the {site}: {block.problem} "
                f"({type(block.module).__name__}); its residual stream can be reached"
            )
        return Writer(branch.output, False, branch.overwritten)


@dataclass(frozen=True, slots=True)
class _Found:
    """Parts, and the names under which the model held them."""

    parts: Parts
    names: dict[str, nn.Module]

    def fits(self, model: nn.Module) -> bool:
        """Whether `model` is still made of these modules."""
        now = dict(model.named_modules())
        return all(now.get(name) is module for name, module in self.names.items())


_FOUND: WeakKeyDictionary[nn.Module, _Found] = WeakKeyDictionary()


def parts_of(model: PreTrainedModel) -> Parts:
    """The parts of `model`, found by its structure and by what a text of a few tokens does in it.

    That text goes through once a model, past any hooks that others have put there; a model that has got
    other modules since is looked at anew. Raises AccessError for a model whose blocks, embeddings or head are
    not found. A model whose attention or MLP is not found has parts all the same: `Parts.writer` raises for
    those sites.
    """
    known = _FOUND.get(model)
    if known is None or not known.fits(model):
        parts = _find(model)
        modules = {parts.decoder, parts.embeddings, parts.head, *(block.module for block in parts.blocks)}
        modules |= {
            branch.output for block in parts.blocks for branch in (block.attention, block.mlp) if branch
        }
        names = {name: module for name, module in model.named_modules() if module in modules}
        known = _FOUND[model] = _Found(parts, names)
    return known.parts


def _find(model: PreTrainedModel) -> Parts:
    name, untyped = type(model).__name__, cast(Any, model)
    embeddings, head = untyped.get_input_embeddings(), untyped.get_output_embeddings()
    if not isinstance(embeddings, nn.Module) or not isinstance(head, nn.Module):
        raise AccessError(f"{name} has no embeddings or no head; expected a causal language model, with both")
    stacks = _stacks(model)
    noted = {part for decoder, blocks in stacks for part in (decoder, *decoder.children(), *blocks)}
    noted |= {child for _, blocks in stacks for block in blocks for child in block.children()}
    calls = trace(model, noted, model.config.get_text_config().vocab_size)
    running = [(decoder, blocks) for decoder, blocks in stacks if _is_stream(decoder, blocks, calls)]
    if len(running) != 1:
        raise AccessError(
            f"{name}: its blocks cannot be found: {len(running)} of its lists of modules hand a tensor from "
            "each module to the next, once a pass; expected exactly one"
        )
    ((decoder, blocks),) = running
    first, (whole,) = calls[blocks[0]][0], calls[decoder]
    assert first.given is not None
    return Parts(
        name,
        decoder,
        whole.kind,
        embeddings,
        tuple(find_block(block, calls) for block in blocks),
        _final_norm(decoder, blocks[-1], calls),
        head,
        first.given.overwritten,
    )


def _stacks(model: PreTrainedModel) -> list[tuple[nn.Module, Sequence[nn.Module]]]:
    """Lists of as many modules as the configuration has layers, each with the module that holds it.

    Lists within lists are left out: experts of a layer may be as many as there are layers.
    """
    lists = {name: found for name, found in model.named_modules() if isinstance(found, nn.ModuleList)}
    layers = model.config.get_text_config().num_hidden_layers
    return [
        (model.get_submodule(name.rpartition(".")[0]), list(found))
        for name, found in lists.items()
        if "." in name and len(found) == layers and not any(name.startswith(f"{other}.") for other in lists)
    ]


def _is_stream(decoder: nn.Module, blocks: Sequence[nn.Module], calls: Calls) -> bool:
    """Whether decoder and blocks ran once, and each block was given what the one before had made."""
    if any(len(calls.get(module, ())) != 1 for module in (decoder, *blocks)):
        return False
    runs = [calls[block][0] for block in blocks]
    whole = all(run.given is not None and run.made is not None for run in runs)
    return whole and all(same(before.made, after.given) for before, after in pairwise(runs))


def _final_norm(decoder: nn.Module, last: nn.Module, calls: Calls) -> nn.Module | None:
    """The norm that makes of the last block's output what the decoder returns as its last hidden state."""
    if not issubclass(calls[decoder][0].kind, ModelOutput):
        return None
    for child in decoder.children():
        for call in calls.get(child, ()):
            if (
                child is not last
                and is_norm(child, call)
                and same(call.given, calls[last][0].made)
                and same(call.made, calls[decoder][0].made)
            ):
                return child
    return None
