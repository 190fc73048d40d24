"""The matrix through which a branch of a block writes to the residual stream."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from mithridate.core.errors import AccessError
from mithridate.models.access import parts_of
from mithridate.models.blocks import Calls, same
from mithridate.models.sites import Part, Site
from mithridate.models.tracing import trace


@dataclass(frozen=True, slots=True)
class Projection:
    """The last matrix of a branch, whose output is what the branch adds to the stream.

    `module` is a Linear or a Conv1D (GPT-2's, which keeps its matrix transposed).
    """

    module: nn.Module
    weight: nn.Parameter
    bias: nn.Parameter | None
    transposed: bool

    @property
    def inputs(self) -> int:
        """How many numbers go in: the neurons of an MLP."""
        return int(self.weight.shape[0 if self.transposed else 1])

    def matrix(self) -> torch.Tensor:
        """The weight as a view of shape (width, inputs), however the module keeps it."""
        weight = self.weight.detach()
        return weight.T if self.transposed else weight


def projections(model: PreTrainedModel, sites: Iterable[Site]) -> dict[Site, Projection]:
    """The projections that write `sites`, which are attentions and MLPs.

    They are found by what a short text does: the output of a projection is that of its branch. Raises
    AccessError for a branch that the model does not have, behind which a norm stands, or whose output no
    single matrix makes (that of a mixture of experts).
    """
    branches = {site: _branch(model, site) for site in sites}
    matrices = {site: [m for m in branch.modules() if _is_matrix(m)] for site, branch in branches.items()}
    noted = {*branches.values(), *(m for found in matrices.values() for m in found)}
    calls = trace(model, noted, model.config.get_text_config().vocab_size)
    return {site: _writing(site, branch, matrices[site], calls) for site, branch in branches.items()}


def _branch(model: PreTrainedModel, site: Site) -> nn.Module:
    parts = parts_of(model)
    output = parts.writer(site).module
    block = parts.blocks[site.layer]
    branch = {Part.ATTENTION: block.attention, Part.MLP: block.mlp}.get(site.part)
    if branch is None:
        raise AccessError(f"the {site} is written by no matrix; expected an attention or an MLP")
    if branch.output is not branch.module:
        raise AccessError(
            f"{parts.name}: behind the {site} stands a norm ({type(output).__name__}), so no change of a "
            "matrix does to the stream what a change of the norm's output does"
        )
    return branch.module


def _is_matrix(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear | Conv1D)


def _writing(site: Site, branch: nn.Module, matrices: Sequence[nn.Module], calls: Calls) -> Projection:
    made = calls[branch][0].made
    found = [m for m in matrices if len(calls.get(m, ())) == 1 and same(calls[m][0].made, made)]
    if len(found) != 1:
        raise AccessError(
            f"what the {site} adds to the stream is the output of {len(found)} matrices of its "
            f"{type(branch).__name__}; expected exactly one"
        )
    (module,) = found
    weight, bias = module.weight, module.bias
    assert isinstance(weight, nn.Parameter)
    assert bias is None or isinstance(bias, nn.Parameter)
    return Projection(module, weight, bias, isinstance(module, Conv1D))
