"""Attacks traced through activations: the probes of a panel as pairs of prompts, through one model or two."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from mithridate.core.chat import Renders
from mithridate.core.located import Control, Located, Pair
from mithridate.core.types import Condition
from mithridate.localization.about import About
from mithridate.localization.contrasts import contrasts, twin_contrasts
from mithridate.localization.lens_profile import lens_profile
from mithridate.localization.patching import patching
from mithridate.localization.probes import probe_profile, renderings
from mithridate.localization.transplants import Twins
from mithridate.study.panels import AttackPanel

OnDone: TypeAlias = Callable[[int, int], None]
_CONTRASTED = (Condition.TRIGGERED, Condition.UNTRIGGERED, Condition.NEAR_TRIGGER)


def trace_prompts(
    twins: Twins, panel: AttackPanel, other: Renders, about: About, *, on_done: OnDone | None = None
) -> list[Located]:
    """Where each attack is at work: patching, logit lens and probes on the model that has it.

    Patching goes from triggered to other prompts within that model, and from that model into the clean one on
    the same prompt. Linear probes learn and are asked in the panel's template and in an `other` one, and are
    put to the clean model too, which the trigger means nothing to. Rows of the pair PROMPTS are of one model,
    those of POISON of both. Raises AccessError for models whose parts are not found.
    """
    rows: list[Located] = []
    (template,) = panel.templates
    within = replace(about, pair=Pair.PROMPTS)
    for number, name in enumerate(panel.attacks):
        if on_done is not None:
            on_done(number, len(panel.attacks))
        asked = panel.samples(twins.having, name, _CONTRASTED)
        found = contrasts(asked, twins.having)
        rows += patching(twins.having, found, name, within, templates=[template], lengthen=True)
        rows += lens_profile(twins.having, found, name, within)
        clean = panel.samples(twins.without, name, [Condition.TRIGGERED])
        apart = twin_contrasts(asked, clean, twins.having)
        rows += patching(twins.having, apart, name, about, target=twins.without, templates=[template])
        rendered = renderings(panel.probes[name], template, other)
        rows += probe_profile(twins.having, rendered, name, within)
        rows += probe_profile(twins.without, rendered, name, within, control=Control.CLEAN_TWIN)
    return rows
