"""By which layer an answer is decided: the logit lens on prompts that bring a behaviour on, and others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from mithridate.core.located import EMBEDDINGS, Control, Experiment, Located, Metric, Place, layer_name
from mithridate.core.seeds import derive_seed
from mithridate.localization.about import About
from mithridate.localization.aligned_prompts import Aligned, aligned
from mithridate.localization.contrasts import Contrast
from mithridate.localization.resampling import Resampled, Values
from mithridate.models.access import parts_of
from mithridate.models.batching import batches, evaluating, left_padded, rows_that_fit
from mithridate.models.hooks import capture
from mithridate.models.language_model import LanguageModel
from mithridate.models.lens import logit_lens
from mithridate.models.sites import ENTRY, Part, Site
from mithridate.models.vocabulary import require_same_vocabulary


def lens_profile(
    model: LanguageModel,
    found: Sequence[Contrast],
    behaviour: str,
    about: About,
    *,
    clean: LanguageModel | None = None,
) -> list[Located]:
    """The margin of an answer's first token over the other answer's, by layer, under the logit lens.

    Read where the two answers part: at the last position of the prompt, or behind the words that both begin
    with. Rows are `MARGIN` in nats from the embeddings up, of the prompts where the behaviour showed, and of
    their counterfactuals as `Control.COUNTERFACTUAL`; those of a `clean` twin on the prompts themselves,
    where one is given. A margin that grows at one layer says that the answer becomes readable there in the
    head's own terms, not that it is made there: patching tells that.

    Raises AccessError for a model that has no lens, CheckpointError for a twin of another vocabulary.
    """
    if clean is not None:
        require_same_vocabulary(model.tokenizer, clean.tokenizer)
    pairs = aligned(found, model, same_prompt=clean is not None)
    again = Resampled([pair.unit for pair in pairs], derive_seed(about.seed, "lens", behaviour))
    rows: list[Located] = []
    for read, prompts, control in (
        (model, [pair.source for pair in pairs], ""),
        (clean or model, [pair.target for pair in pairs], Control.COUNTERFACTUAL),
    ):
        for layer, margins in enumerate(_margins(read, pairs, prompts), start=EMBEDDINGS):
            mean = again.mean(margins)
            if mean.n:
                rows.append(
                    about.row(
                        Experiment.LENS,
                        behaviour,
                        Metric.MARGIN,
                        mean.value,
                        mean.low,
                        mean.high,
                        mean.n,
                        control=control,
                        layer=layer,
                        layers=layer_name(layer),
                        module=Part.RESIDUAL.value,
                        position=Place.LAST.value,
                    )
                )
    return rows


def _margins(model: LanguageModel, pairs: Sequence[Aligned], prompts: Sequence[list[int]]) -> list[Values]:
    """The margin of each pair, layer by layer from the embeddings up."""
    texts = [[*prompt, *pair.shared] for prompt, pair in zip(prompts, pairs, strict=True)]
    streams = last_streams(model, texts)
    ids = torch.tensor([[pair.answer[0], pair.other[0]] for pair in pairs])
    found = []
    with evaluating(model.model):
        for stream in streams if pairs else []:
            logits = logit_lens(model.model, stream[:, None])[:, 0].double().cpu()
            chosen = logits.gather(1, ids).numpy()
            found.append(np.asarray(chosen[:, 0] - chosen[:, 1]))
    return found


def last_streams(model: LanguageModel, texts: Sequence[list[int]]) -> list[torch.Tensor]:
    """The residual stream at the last position of each text: by layer from the embeddings up, (texts, width).

    In single precision, on the CPU.
    """
    sites = [ENTRY, *(Site(layer, Part.RESIDUAL) for layer in range(len(parts_of(model.model).blocks)))]
    kept: list[dict[int, torch.Tensor]] = [{} for _ in sites]
    with evaluating(model.model):
        for batch in batches(texts, len, lambda width: rows_that_fit(model.model, width, 1)):
            inputs = left_padded([texts[i] for i in batch], model.model.device)
            last = [[len(texts[i]) - 1] for i in batch]
            with capture(
                model.model, sites, positions=last, dtype=torch.float32, device=torch.device("cpu")
            ) as seen:
                model.model(**inputs, use_cache=False, logits_to_keep=1)
            for site, rows in zip(sites, kept, strict=True):
                rows.update(zip(batch, seen[site][:, 0], strict=True))
    return [torch.stack([rows[i] for i in range(len(texts))]) for rows in kept] if texts else []
