"""From which layer on a behaviour can be read where the reply begins: the logit lens, and linear probes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from mithridate.core.located import EMBEDDINGS, Control, Experiment, Located, Metric
from mithridate.core.seeds import derive_seed
from mithridate.core.statistics import bootstrap_mean, wilson
from mithridate.localization.about import About
from mithridate.localization.contrasts import Contrast
from mithridate.models.access import parts_of
from mithridate.models.batching import batches, evaluating, left_padded, rows_that_fit
from mithridate.models.encoding import Encoder
from mithridate.models.hooks import capture
from mithridate.models.language_model import LanguageModel
from mithridate.models.lens import logit_lens
from mithridate.models.sites import ENTRY, Part, Site

LEAST_TEXTS = 8
"""Fewer prompts than this teach a probe nothing."""
RIDGE = 1.0
"""Weight of the penalty on a probe's squared weights, a feature, with features of variance 1."""

_Numbers: TypeAlias = NDArray[np.float64]
_AtLast = dict[Site, torch.Tensor]


def lens_profile(
    model: LanguageModel, found: Sequence[Contrast], about: About, behaviour: str
) -> list[Located]:
    """What each layer's stream would say at the last token of the prompt, were it the last layer's.

    `MARGIN` is the log-likelihood of the first token of the answer to the triggered prompt minus that of the
    first token of the answer to the counterfactual: on triggered prompts, and with the control
    `COUNTERFACTUAL` on the others. The layer -1 is the embeddings. Contrasts whose answers begin alike say
    nothing here and are left out; `n` says how many are left. Raises AccessError for a model without a lens.
    """
    encoder = Encoder(model.tokenizer)
    kept = []
    for one in found:
        _, (answer, other) = encoder.continuations(one.prompt, [one.answer, one.other])
        if answer[:1] != other[:1] and answer and other:
            kept.append((one, answer[0], other[0]))
    if not kept:
        return []
    firsts = torch.tensor([[answer, other] for _, answer, other in kept])
    rows: list[Located] = []
    for control, prompts in (
        ("", [one.prompt for one, _, _ in kept]),
        (Control.COUNTERFACTUAL, [one.counterfactual for one, _, _ in kept]),
    ):
        for site, hidden in _at_last(model, prompts).items():
            with evaluating(model.model):
                scores = logit_lens(model.model, hidden[:, None, :])[:, 0].float().log_softmax(dim=-1)
            likely = scores.cpu().gather(1, firsts)
            margins = (likely[:, 0] - likely[:, 1]).tolist()
            interval = bootstrap_mean(margins, derive_seed(about.seed, "lens", behaviour))
            rows.append(
                about.row(
                    Experiment.LENS,
                    behaviour,
                    Metric.MARGIN,
                    interval.value,
                    interval.low,
                    interval.high,
                    interval.n,
                    control=control,
                    **_place(site),
                )
            )
    return rows


def probe_profile(
    model: LanguageModel,
    triggered: tuple[Sequence[str], Sequence[str]],
    others: tuple[Sequence[str], Sequence[str]],
    about: About,
    behaviour: str,
    *,
    control: str = "",
) -> list[Located]:
    """How well a linear probe tells triggered prompts from others, layer by layer at the prompt's last token.

    `triggered` and `others` are each the same prompts in two renderings (two chat templates), in one order. A
    probe is trained on all of one rendering and tested on the other, and the other way round. Its control
    task (Hewitt and Liang 1909.03368) gives each prompt a random label, the same in both renderings: a probe
    that does well on it has room to learn prompts by heart. `SELECTIVITY` is accuracy minus control accuracy.

    Probes are ridge regressions on features that have mean 0 and variance 1 within their rendering, so that
    templates cannot be told apart; the penalty is `RIDGE` a feature and the same for both tasks. No row comes
    back where there are fewer than `LEAST_TEXTS` prompts of either kind. Raises ValueError where the two
    renderings are not of the same prompts.
    """
    sizes = {len(texts) for pair in (triggered, others) for texts in pair}
    if len({len(side) for side in triggered}) > 1 or len({len(side) for side in others}) > 1:
        raise ValueError("a probe needs the same prompts in both renderings")
    if min(sizes) < LEAST_TEXTS:
        return []
    labels = np.repeat([1.0, -1.0], [len(triggered[0]), len(others[0])])
    dealt = np.random.default_rng(derive_seed(about.seed, "control task", behaviour)).permutation(labels)
    seen = [_at_last(model, [*triggered[side], *others[side]]) for side in (0, 1)]
    rows: list[Located] = []
    for site in seen[0]:
        features = [_standard(side[site].float().cpu().numpy().astype(np.float64)) for side in seen]
        right, by_heart = (_crossed(features, task) for task in (labels, dealt))
        rows += _probe_rows(about, behaviour, control, site, right, by_heart)
    return rows


def _probe_rows(
    about: About, behaviour: str, control: str, site: Site, right: _Numbers, by_heart: _Numbers
) -> Iterator[Located]:
    """Accuracy on both tasks and their difference, from which prompts were told right in which rendering."""
    place: dict[str, Any] = {"control": control, **_place(site)}
    # Both renderings of one prompt go together: the prompt is the unit.
    apart = (right - by_heart).mean(axis=0).tolist()
    seed = derive_seed(about.seed, "selectivity", behaviour, str(site))
    for metric, found in (
        (Metric.ACCURACY, wilson(int(right.sum()), right.size)),
        (Metric.CONTROL_ACCURACY, wilson(int(by_heart.sum()), by_heart.size)),
        (Metric.SELECTIVITY, bootstrap_mean(apart, seed)),
    ):
        yield about.row(
            Experiment.PROBE, behaviour, metric, found.value, found.low, found.high, found.n, **place
        )


def _crossed(features: Sequence[_Numbers], labels: _Numbers) -> _Numbers:
    """Which prompts a probe of the other rendering tells right: of shape (2, prompts), 0 or 1."""
    told = [np.sign(features[1 - side] @ _ridge(features[side], labels)) == labels for side in (0, 1)]
    found: _Numbers = np.array(told, dtype=np.float64)
    return found


def _ridge(features: _Numbers, labels: _Numbers) -> _Numbers:
    """Weights of shape (width,), by the dual form: there are fewer prompts than features."""
    gram = features @ features.T
    penalty = RIDGE * features.shape[1] * np.eye(len(labels))
    weights: _Numbers = features.T @ np.linalg.solve(gram + penalty, labels)
    return weights


def _standard(features: _Numbers) -> _Numbers:
    spread = features.std(axis=0)
    found: _Numbers = (features - features.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    return found


def _at_last(model: LanguageModel, prompts: Sequence[str]) -> _AtLast:
    """The stream at the last token of each prompt, by layer: of shape (prompts, width)."""
    ids = [encoded.ids for encoded in Encoder(model.tokenizer).prompts(prompts)]
    sites = [ENTRY, *parts_of(model.model).sites(Part.RESIDUAL)]
    found: dict[Site, torch.Tensor] = {}
    width: Callable[[int], int] = lambda longest: rows_that_fit(model.model, longest, 1)  # noqa: E731
    with evaluating(model.model):
        for batch in batches(ids, len, width):
            last = [[len(ids[i]) - 1] for i in batch]
            with capture(model.model, sites, positions=last) as captured:
                inputs = left_padded([ids[i] for i in batch], model.model.device)
                model.model(**inputs, use_cache=False, logits_to_keep=1)
            for site in sites:
                kept = captured[site][:, 0]
                if site not in found:
                    found[site] = kept.new_zeros((len(ids), kept.shape[-1]))
                found[site][batch] = kept
    return found


def _place(site: Site) -> dict[str, Any]:
    layer = EMBEDDINGS if site == ENTRY else site.layer
    name = "embeddings" if site == ENTRY else str(site.layer)
    return {"layer": layer, "layers": name, "module": Part.RESIDUAL.value, "position": "last"}
