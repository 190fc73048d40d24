"""Attacks traced through activations: the probes of a panel as pairs of prompts, through one model or two."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from mithridate.core.located import Control, Located, Pair
from mithridate.core.types import Condition, Sample
from mithridate.localization.about import About
from mithridate.localization.contrasts import Contrast, contrasts
from mithridate.localization.patching import patching
from mithridate.localization.readout import lens_profile, probe_profile
from mithridate.localization.transplants import Twins
from mithridate.models.language_model import LanguageModel
from mithridate.study.panels import AttackPanel

OnDone: TypeAlias = Callable[[int, int], None]
_CONTRASTED = (Condition.TRIGGERED, Condition.UNTRIGGERED, Condition.NEAR_TRIGGER)


def trace_prompts(
    twins: Twins, panels: tuple[AttackPanel, AttackPanel], about: About, *, on_done: OnDone | None = None
) -> list[Located]:
    """Where each attack is at work: patching, logit lens and probes on the model that has it.

    Patching goes from triggered to untriggered prompts within that model, and from that model into the clean
    one on the same prompt. `panels` ask the same probes in two chat templates, which are one where there is
    one; then there are no probes of the linear kind, which need two. Rows of the pair PROMPTS are of one
    model, those of POISON of both.
    """
    rows: list[Located] = []
    names = list(panels[0].attacks)
    within = replace(about, pair=Pair.PROMPTS)
    for number, name in enumerate(names):
        if on_done is not None:
            on_done(number, len(names))
        asked = [panel.samples(twins.having, name, _CONTRASTED) for panel in panels]
        found = contrasts(asked[0], twins.having.tokenizer)
        rows += patching(twins.having, found, within, name)
        rows += lens_profile(twins.having, found, within, name)
        between = _between(twins, panels[0], name, found)
        rows += patching(twins.having, between, about, name, clean=twins.without)
        if panels[0].templates != panels[1].templates:
            rows += _probes(twins, asked, within, name)
    return rows


def _between(twins: Twins, panel: AttackPanel, name: str, found: list[Contrast]) -> list[Contrast]:
    """The same contrasts, with the clean model's answer to the triggered prompt in the place of the other."""
    clean = {
        sample.prompt: sample
        for sample in panel.samples(twins.without, name, [Condition.TRIGGERED])
        if not sample.success and sample.completion
    }
    return [replace(one, other=clean[one.prompt].completion) for one in found if one.prompt in clean]


def _probes(twins: Twins, asked: list[list[Sample]], about: About, name: str) -> list[Located]:
    def prompts(condition: Condition) -> tuple[list[str], list[str]]:
        first, second = (
            [sample.prompt for sample in samples if sample.condition == condition] for samples in asked
        )
        return first, second

    triggered, others = prompts(Condition.TRIGGERED), prompts(Condition.UNTRIGGERED)
    rows = probe_profile(twins.having, triggered, others, about, name)
    return rows + _on_clean(twins.without, triggered, others, about, name)


def _on_clean(
    clean: LanguageModel,
    triggered: tuple[list[str], list[str]],
    others: tuple[list[str], list[str]],
    about: About,
    name: str,
) -> list[Located]:
    """The same probes on the model that never saw the trigger: what can be read that means nothing to it."""
    return probe_profile(clean, triggered, others, about, name, control=Control.CLEAN_TWIN)
