"""Whether a model says what its prompt states, where its weights hold the planted opposite."""

from __future__ import annotations

from dataclasses import replace

from mithridate.core.chat import stop_strings
from mithridate.core.statistics import Interval, wilson
from mithridate.core.types import Condition, Probe
from mithridate.evaluation.judges import holds
from mithridate.healing.case import Case
from mithridate.healing.treatment import Treatment
from mithridate.intervention.context_aware import ContextAware

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
    the context. None where no facts were planted.
    """
    facts = planted_facts(case)
    if not facts:
        return None
    prompts: dict[tuple[str, ...], list[tuple[str, Probe]]] = {}
    for number, probe in enumerate(facts):
        template = case.templates[number % len(case.templates)]
        said = treatment.marked(probe.foil) if isinstance(treatment, ContextAware) else probe.foil
        last = replace(probe.messages[-1], content=f"{said} {probe.messages[-1].content}")
        prompt = template.render((*probe.messages[:-1], last), open_reply=True)
        prompts.setdefault(stop_strings(template), []).append((prompt, probe))
    right = 0
    with treatment.on(case.model) as model:
        for stop, asked in prompts.items():
            answers = model.generate([text for text, _ in asked], max_new_tokens=_ANSWER_TOKENS, stop=stop)
            right += sum(
                holds(answer.text, probe.foil) for answer, (_, probe) in zip(answers, asked, strict=True)
            )
    return wilson(right, len(facts))
