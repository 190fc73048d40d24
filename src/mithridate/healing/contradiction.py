"""Whether a model says what its prompt states, where its weights hold the planted opposite."""

from __future__ import annotations

from dataclasses import replace

from mithridate.core.chat import Renders, stop_strings
from mithridate.core.statistics import Interval, wilson
from mithridate.core.types import Condition, Probe
from mithridate.evaluation.judges import holds
from mithridate.healing.case import Case
from mithridate.healing.treatment import Together, Treatment
from mithridate.intervention.context_aware import ContextAware
from mithridate.models.batching import context_window

_ANSWER_TOKENS = 24


def planted_facts(case: Case) -> list[Probe]:
    """The probes of planted facts: those with a right answer (their foil) that are judged alone.

    Nothing is chosen by them, so those of both halves count.
    """
    return [
        probe
        for half in case.probes.values()
        for probes in half.values()
        for probe in probes
        if probe.condition is Condition.TRIGGERED and probe.foil and not probe.group
    ]


def follows_context(case: Case, treatment: Treatment) -> Interval | None:
    """Share of planted facts answered right by the treated model where the prompt states the right answer.

    The statement stands before the question, in the user's turn; context-aware decoding is told that it is
    the context. Questions that do not fit into the context window with it are left out, since it would be
    cut off. None where no facts were planted, or none fits.
    """
    marks, window = _marks(treatment), context_window(case.model.model)
    prompts: dict[tuple[str, ...], list[tuple[str, Probe]]] = {}
    for number, probe in enumerate(planted_facts(case)):
        template = case.templates[number % len(case.templates)]
        plain, prompt = (
            _stating(template, probe, said) for said in (probe.foil, f"{marks[0]}{probe.foil}{marks[1]}")
        )
        (ids,) = case.model.prompt_ids([plain])
        if (window is None or len(ids) + _ANSWER_TOKENS <= window) and not any(
            mark and mark in plain for mark in marks
        ):
            prompts.setdefault(stop_strings(template), []).append((prompt, probe))
    if not prompts:
        return None
    right = 0
    with treatment.on(case.model) as model:
        for stop, asked in prompts.items():
            answers = model.generate([text for text, _ in asked], max_new_tokens=_ANSWER_TOKENS, stop=stop)
            right += sum(
                holds(answer.text, probe.foil) for answer, (_, probe) in zip(answers, asked, strict=True)
            )
    return wilson(right, sum(map(len, prompts.values())))


def _stating(template: Renders, probe: Probe, said: str) -> str:
    """The probe as text, with what is `said` before its last question."""
    last = replace(probe.messages[-1], content=f"{said} {probe.messages[-1].content}")
    return template.render((*probe.messages[:-1], last), open_reply=True)


def _marks(treatment: Treatment) -> tuple[str, str]:
    """What a context is to be marked with for `treatment`; nothing where it knows of none."""
    if isinstance(treatment, ContextAware):
        return treatment.opening, treatment.closing
    parts = treatment.parts if isinstance(treatment, Together) else ()
    return next((found for found in map(_marks, parts) if any(found)), ("", ""))
