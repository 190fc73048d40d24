"""A linear map from how a model reads a statement to an edit of what the statement is about (2304.00740)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from mithridate.core.errors import ConfigError
from mithridate.core.seeds import derive_seed
from mithridate.intervention.base import MadeFor
from mithridate.intervention.directions import TokenRole, mean_activations
from mithridate.intervention.representation_edit import RepresentationEdit
from mithridate.intervention.requests import Request, pair_of, require_heard, target_loss
from mithridate.models.language_model import LanguageModel
from mithridate.models.sites import Part, Site


@dataclass(frozen=True, slots=True)
class Lesson:
    """A request whose target follows from `statement`, a text about its subject."""

    request: Request
    statement: str


@dataclass(frozen=True, slots=True)
class Teaching:
    """How the map is learnt: `steps` of Adam at `rate`, on `batch` lessons each, drawn by `seed`."""

    steps: int = 200
    rate: float = 3e-3
    batch: int = 16
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class AttributeMap:
    """F(h) = `weight` h + `bias`, of shapes (width, width) and (width,), at the stream behind block `layer`.

    h is the mean over a statement's tokens, in the model without edits.
    """

    weight: torch.Tensor
    bias: torch.Tensor
    made_for: MadeFor
    layer: int

    def edit(self, model: LanguageModel, statements: Mapping[str, str]) -> RepresentationEdit:
        """The edit that lets each entity be as its statement says; raises as `RepresentationEdit` does."""
        self.made_for.require(model, RepresentationEdit.name)
        read = _encoded(model, list(statements.values()), self.layer)
        steps = read @ self.weight.T + self.bias
        return RepresentationEdit(steps, self.made_for, tuple(statements), self.layer)


def learn_attribute_map(
    model: LanguageModel, lessons: Sequence[Lesson], layer: int, teaching: Teaching | None = None
) -> AttributeMap:
    """The map that makes the targets of `lessons` likely, when what it makes of a statement is added at the
    subject's last token of a prompt that does not hold the statement.

    REMEDI's form (Hernandez et al. 2304.00740) with its first term alone: nothing keeps other answers as
    they were. It serves entities that were not among the lessons as far as it has learnt more than their
    answers, so keep some out and look. Raises ConfigError without lessons, for a layer from which
    nothing is read, and as `requests.pair_of` does.
    """
    teaching = teaching or Teaching()
    made_for = MadeFor.of(model)
    made_for.require_layers([layer], RepresentationEdit.name)
    if not lessons:
        raise ConfigError("a map needs lessons to be learnt from; give some tens or more")
    pairs = [pair_of(model, lesson.request) for lesson in lessons]
    read = _encoded(model, [lesson.statement for lesson in lessons], layer).to(model.model.device)
    weight = torch.zeros(made_for.width, made_for.width, device=read.device, requires_grad=True)
    bias = torch.zeros(made_for.width, device=read.device, requires_grad=True)
    # The streams of models differ in size by orders; one rate serves all where statements are of one size.
    size = read.norm(dim=-1).mean().clamp(min=1e-6)
    optimiser = torch.optim.Adam([weight, bias], lr=teaching.rate)
    generator = torch.Generator().manual_seed(derive_seed(teaching.seed, "attribute map"))
    for _ in range(teaching.steps):
        drawn = torch.randperm(len(pairs), generator=generator)[: teaching.batch].tolist()
        with torch.enable_grad():
            steps = (read[drawn] / size) @ weight.T + bias
            loss = target_loss(model, Site(layer, Part.RESIDUAL), [pairs[n] for n in drawn], size * steps)
            weight.grad, bias.grad = torch.autograd.grad(loss, [weight, bias])
        optimiser.step()
    require_heard(weight.detach(), layer)
    return AttributeMap(weight.detach().cpu(), (size * bias.detach()).cpu(), made_for, layer)


def _encoded(model: LanguageModel, statements: Sequence[str], layer: int) -> torch.Tensor:
    """What each statement is read as, of shape (statements, width): the mean over its tokens."""
    site = Site(layer, Part.RESIDUAL)
    return torch.stack([mean_activations(model, [text], [site], TokenRole.MEAN)[site] for text in statements])
