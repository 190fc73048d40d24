"""One block of a decoder: which of its modules is attention, which the MLP, and what they add to the stream.

Nothing goes by the names of modules. Attention is the part that takes a mask; the MLP is the other part that
holds matrices; and a short pass shows whether what both return is what the block adds to the stream.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from mithridate.models.tracing import Call, Seen

Calls = Mapping[nn.Module, Sequence[Call]]


@dataclass(frozen=True, slots=True)
class Branch:
    """Attention or MLP of a block.

    `output` is the module that returns what the branch adds to the stream: `module` itself, or the norm
    behind it. With `overwritten` the model changes that tensor in place afterwards.
    """

    module: nn.Module
    output: nn.Module
    overwritten: bool


@dataclass(frozen=True, slots=True)
class Block:
    """One block; where its branches cannot be told or do not add to the stream, `problem` says why."""

    module: nn.Module
    attention: Branch | None
    mlp: Branch | None
    norms: tuple[nn.Module, ...]
    overwritten: bool
    problem: str = ""


def same(left: Seen | None, right: Seen | None) -> bool:
    """Whether two modules saw the same values."""
    return left is not None and right is not None and torch.equal(left.copy, right.copy)


def is_norm(module: nn.Module, call: Call) -> bool:
    """Whether `module` reshapes what it is given without matrices: no attention, no MLP, no idle dropout."""
    if call.given is None or call.made is None or call.given.copy.shape != call.made.copy.shape:
        return False
    return not _holds_matrices(module) and not same(call.given, call.made)


def find_block(module: nn.Module, calls: Calls) -> Block:
    """The parts of the block `module`, from the calls that a short pass made of it and of its children."""
    call = calls[module][0]
    assert call.made is not None
    children = [child for child in module.children() if child in calls]
    norms = tuple(child for child in children if is_norm(child, calls[child][0]))
    attentions = [child for child in children if takes_a_mask(child)]
    mlps = [child for child in children if child not in attentions and _holds_matrices(child)]
    overwritten = call.made.overwritten
    if problem := _not_one_of_each(attentions, mlps, calls):
        return Block(module, None, None, norms, overwritten, problem)
    attention, mlp = (_branch(found, norms, calls) for found in (attentions[0], mlps[0]))
    if not _adds_up(call, calls[attention.output][0], calls[mlp.output][0]):
        problem = "what its attention and its MLP return is not what it adds to the residual stream"
        return Block(module, None, None, norms, overwritten, problem)
    return Block(module, attention, mlp, norms, overwritten)


def takes_a_mask(module: nn.Module) -> bool:
    """Whether a mask of positions is among the arguments of `module`."""
    return "attention_mask" in inspect.signature(module.forward).parameters


def _holds_matrices(module: nn.Module) -> bool:
    return any(parameter.ndim >= 2 for parameter in module.parameters())


def _not_one_of_each(attentions: Sequence[nn.Module], mlps: Sequence[nn.Module], calls: Calls) -> str:
    for what, found in (("attention", attentions), ("an MLP", mlps)):
        if len(found) != 1:
            kinds = ", ".join(type(module).__name__ for module in found) or "none"
            return f"one of its parts must be {what}, and {len(found)} may be ({kinds})"
        if len(calls[found[0]]) != 1:
            return f"its {type(found[0]).__name__} runs {len(calls[found[0]])} times in one pass"
    return ""


def _branch(module: nn.Module, norms: Sequence[nn.Module], calls: Calls) -> Branch:
    """The branch that begins at `module`, with the norm behind it where there is one."""
    output = module
    for norm in norms:
        if len(calls[norm]) == 1 and same(calls[norm][0].given, calls[module][0].made):
            output = norm
    made = calls[output][0].made
    return Branch(module, output, made is not None and made.overwritten)


def _adds_up(block: Call, attention: Call, mlp: Call) -> bool:
    """Whether the stream gains what both branches made, up to one factor (Granite scales its branches)."""
    seen = (block.given, block.made, attention.made, mlp.made)
    copies = [one.copy for one in seen if one is not None]
    if len(copies) < len(seen) or len({copy.shape for copy in copies}) > 1:
        return False
    before, after, first, second = (copy.double() for copy in copies)
    gained, added = after - before, first + second
    factor = (gained * added).sum() / added.square().sum().clamp(min=torch.finfo(torch.double).tiny)
    largest = max(float(copy.abs().max()) for copy in copies)
    rounding = 8 * torch.finfo(copies[1].dtype).eps * largest
    return float((gained - factor * added).abs().max()) <= rounding
