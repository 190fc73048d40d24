"""Our hooks beside those of nnsight, which many use for this: the same activations and interventions."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import nnsight_kit
import pytest
import torch
from access_kit import decoder, logits
from nnsight_kit import CHANGED, LAYERS, OTHER, POSITIONS, PROMPT
from safetensors.torch import load_file

from mithridate.models.access import parts_of
from mithridate.models.hooks import capture, replace
from mithridate.models.patches import interchange
from mithridate.models.sites import Part, Site

pytestmark = pytest.mark.skipif(find_spec("nnsight") is None, reason="nnsight is not installed")


def of_nnsight(architecture: str, folder: Path) -> dict[str, torch.Tensor]:
    kept, script = folder / "kept.safetensors", Path(nnsight_kit.__file__)
    # As many threads in both processes: sums in another order are other sums.
    there = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    there |= {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run([sys.executable, script, architecture, kept], check=True, env=there)
    return load_file(kept)


@pytest.mark.parametrize("architecture", ["llama", "gpt_neox"])
def test_both_see_the_same_and_an_interchange_by_either_does_the_same(
    architecture: str, tmp_path: Path
) -> None:
    theirs = of_nnsight(architecture, tmp_path)
    model = decoder(architecture, layers=LAYERS)
    sites = parts_of(model).sites(Part.RESIDUAL, Part.MLP)
    with capture(model, sites) as ours:
        before = logits(model, input_ids=PROMPT)
    assert len(theirs) == len(sites) + 2
    for site in sites:
        assert torch.equal(ours[site], theirs[f"{site.part} {site.layer}"]), site

    positions = torch.tensor(POSITIONS)
    for part in (Part.RESIDUAL, Part.MLP):
        site = Site(CHANGED, part)
        with capture(model, [site], positions=positions) as of_other:
            logits(model, input_ids=OTHER)
        with replace(model, {site: interchange(of_other[site], positions)}):
            after = logits(model, input_ids=PROMPT)
        assert torch.equal(after, theirs[f"logits {part}"]), part
        assert (after - before).abs().max() > 0.01
