"""What nnsight makes of a small decoder, as a program of its own: `python nnsight_kit.py ARCHITECTURE FILE`.

To import nnsight gives every object of the process a method `save`, so it must not come near other tests.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from access_kit import decoder
from safetensors.torch import save_file

# Rows of one length: padding is no matter of nnsight's.
PROMPT, OTHER = (torch.tensor([[5, 6, third, 8, 9], [11, 12, third + 1, 14, 15]]) for third in (7, 21))
POSITIONS = [2, 4]
LAYERS, CHANGED = 3, 1


def _block(view: Any, layer: int) -> Any:
    """A block of a model as nnsight sees it, by its path in the architecture."""
    layers = view.gpt_neox.layers if hasattr(view, "gpt_neox") else view.model.layers
    return layers[layer]


def _seen(view: Any, ids: torch.Tensor, layer: int) -> dict[str, torch.Tensor]:
    block = _block(view, layer)
    with torch.no_grad(), view.trace(input_ids=ids):
        added = block.mlp.output.save()
        stream = block.output.save()
    return {"mlp": added, "residual": stream}


def _interchanged(view: Any, place: Any, values: torch.Tensor) -> torch.Tensor:
    with torch.no_grad(), view.trace(input_ids=PROMPT):
        place.output[:, POSITIONS] = values
        found = view.output.logits.save()
    made: torch.Tensor = found
    return made


def main(architecture: str, file: str) -> None:
    """Keep what a pass over `PROMPT` has at every block, and its logits after interchanges with `OTHER`."""
    from nnsight import NNsight  # noqa: PLC0415 - see above

    view = NNsight(decoder(architecture, layers=LAYERS))
    kept = {
        f"{part} {layer}": tensor
        for layer in range(LAYERS)
        for part, tensor in _seen(view, PROMPT, layer).items()
    }
    block = _block(view, CHANGED)
    for part, values in _seen(view, OTHER, CHANGED).items():
        place = block.mlp if part == "mlp" else block
        kept[f"logits {part}"] = _interchanged(view, place, values[:, POSITIONS])
    save_file({name: tensor.contiguous() for name, tensor in kept.items()}, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
