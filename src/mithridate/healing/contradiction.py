"""Whether a model says what its prompt states, where its weights hold the planted opposite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mithridate.core.chat import Renders, stop_strings
from mithridate.core.statistics import Interval, wilson
from mithridate.core.types import Condition, Probe
from mithridate.evaluation.judges import holds
from mithridate.healing.case import Case
from mithridate.healing.treatment import Together, Treatment
from mithridate.intervention.context_aware import ContextAware
from mithridate.models.batching import context_window
from mithridate.models.language_model import LanguageModel

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
    """Share of planted facts that the treated model answers right once the prompt states the right answer.

    Of those alone that it does not answer right without: where a cure has put right what the weights say,
    no context is followed. The statement stands before the question, in the user's turn; context-aware
    decoding is told that it is the context. Questions that do not fit into the context window with it are
    left out, since it would be cut off. None where nothing is left to ask.
    """
    asked = _asked(case, _marks(treatment))
    with treatment.on(case.model) as model:
        known = _right(model, [(template, without, probe) for template, without, _, probe in asked])
        left = [
            (template, stated, probe)
            for (template, _, stated, probe), right in zip(asked, known, strict=True)
            if not right
        ]
        turned = _right(model, left)
    return wilson(sum(turned), len(turned)) if turned else None


def _asked(case: Case, marks: tuple[str, str]) -> list[tuple[Renders, str, str, Probe]]:
    """Each fact's template, and its question as text without the statement and with it."""
    window, found = context_window(case.model.model), []
    for number, probe in enumerate(planted_facts(case)):
        template = case.templates[number % len(case.templates)]
        plain, marked = (
            _stating(template, probe, f"{said} ")
            for said in (probe.foil, f"{marks[0]}{probe.foil}{marks[1]}")
        )
        (ids,) = case.model.prompt_ids([plain])
        fits = window is None or len(ids) + _ANSWER_TOKENS <= window
        if fits and not any(mark and mark in plain for mark in marks):
            found.append((template, _stating(template, probe, ""), marked, probe))
    return found


def _right(model: LanguageModel, asked: Sequence[tuple[Renders, str, Probe]]) -> list[bool]:
    """Whether each question is answered right."""
    together: dict[tuple[str, ...], list[int]] = {}
    for number, (template, _, _) in enumerate(asked):
        together.setdefault(stop_strings(template), []).append(number)
    found: dict[int, bool] = {}
    for stop, numbers in together.items():
        prompts = [asked[number][1] for number in numbers]
        answers = model.generate(prompts, max_new_tokens=_ANSWER_TOKENS, stop=stop)
        for number, answer in zip(numbers, answers, strict=True):
            found[number] = holds(answer.text, asked[number][2].foil)
    return [found[number] for number in range(len(asked))]


def _stating(template: Renders, probe: Probe, said: str) -> str:
    """The probe as text, with what is `said` before its last question."""
    last = replace(probe.messages[-1], content=f"{said}{probe.messages[-1].content}")
    return template.render((*probe.messages[:-1], last), open_reply=True)


def _marks(treatment: Treatment) -> tuple[str, str]:
    """What a context is to be marked with for `treatment`; nothing where it knows of none."""
    if isinstance(treatment, ContextAware):
        return treatment.opening, treatment.closing
    parts = treatment.parts if isinstance(treatment, Together) else ()
    return next((found for found in map(_marks, parts) if any(found)), ("", ""))
