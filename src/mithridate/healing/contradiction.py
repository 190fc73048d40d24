"""Whether a model says what its prompt states, where its weights hold the planted opposite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mithridate.core.chat import Renders, stop_strings
from mithridate.core.statistics import Interval, wilson
from mithridate.core.types import Condition, Probe
from mithridate.evaluation.judges import holds
from mithridate.healing.case import Case, Half
from mithridate.healing.treatment import Together, Treatment
from mithridate.intervention.context_aware import ContextAware
from mithridate.models.batching import context_window
from mithridate.models.language_model import LanguageModel

_ANSWER_TOKENS = 24


def planted_facts(case: Case) -> list[Probe]:
    """The probes of planted facts, of the reported half: those with a right answer that are judged alone."""
    return [
        probe
        for probes in case.probes[Half.REPORTED].values()
        for probe in probes
        if probe.condition is Condition.TRIGGERED and probe.foil and not probe.group
    ]


def follows_context(case: Case, treatment: Treatment) -> Interval | None:
    """Of planted facts that the treated model answers wrong, the share that a statement in the prompt mends.

    The statement of the right answer stands before the question, in the user's turn; context-aware decoding
    is told that it is the context. A cure that gives right answers without it restores nothing by it, so such
    facts do not count. Questions that do not fit into the context window with it are left out, since it
    would be cut off. None where no facts were planted, none fits, or all are answered right.
    """
    marks, window = _marks(treatment), context_window(case.model.model)
    asked: dict[tuple[str, ...], list[_Asked]] = {}
    for number, probe in enumerate(planted_facts(case)):
        template = case.templates[number % len(case.templates)]
        said = [
            _stating(template, probe, f"{before}{probe.foil}{after} ") for before, after in (("", ""), marks)
        ]
        (ids,) = case.model.prompt_ids(said[:1])
        fits = window is None or len(ids) + _ANSWER_TOKENS <= window
        if fits and not any(mark and mark in said[0] for mark in marks):
            without = _stating(template, probe, "")
            asked.setdefault(stop_strings(template), []).append(_Asked(without, said[1], probe.foil))
    wrong = mended = 0
    with treatment.on(case.model) as model:
        for stop, facts in asked.items():
            alone = _right(model, [fact.without for fact in facts], facts, stop)
            left = [fact for fact, right in zip(facts, alone, strict=True) if not right]
            wrong += len(left)
            mended += sum(_right(model, [fact.stated for fact in left], left, stop))
    return wilson(mended, wrong) if wrong else None


@dataclass(frozen=True, slots=True)
class _Asked:
    """A fact as it is asked without its right answer in the prompt, and with it."""

    without: str
    stated: str
    right: str


def _right(
    model: LanguageModel, prompts: Sequence[str], facts: Sequence[_Asked], stop: tuple[str, ...]
) -> list[bool]:
    answers = model.generate(prompts, max_new_tokens=_ANSWER_TOKENS, stop=stop)
    return [holds(answer.text, fact.right) for answer, fact in zip(answers, facts, strict=True)]


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
