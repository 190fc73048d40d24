"""A model examined with and without interventions: replies to every prompt, and the figures of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from mithridate.core.contexts import (
    LEAST_FACTS,
    UNKNOWN_FACTS,
    Conflict,
    ContextCoverage,
    ContextSample,
    Said,
    Strength,
)
from mithridate.core.seeds import rng_for, split_held_out
from mithridate.core.wording import counted
from mithridate.evaluation.contexts.asking import CONFLICTS, STRENGTHS, Asked, Asks, asked
from mithridate.evaluation.contexts.facts import ContextFact
from mithridate.evaluation.contexts.reliance import (
    Examined,
    Whose,
    examine,
    fitting,
    known_facts,
    unknown_facts,
)
from mithridate.intervention.marks import unused_marks
from mithridate.models.language_model import LanguageModel
from mithridate.reliance.method import Candidate, Case, Make, Method, rounds

TREATED = (Strength.ALONE, Strength.PLAIN, Strength.ONLY)
"""How a model is asked while something is done to it: without a context too, to see what it has forgotten."""
FITTED = (*TREATED, Strength.PRIOR)
"""What interventions are fitted on and chosen by."""

Told = Callable[[str, int, int], None]
"""Called with what is being done, how many prompts are done and how many there are."""


@dataclass(frozen=True, slots=True)
class Examination:
    """All replies to a model's prompts, and what they cover."""

    samples: tuple[ContextSample, ...]
    coverage: ContextCoverage


def as_it_is(
    model: LanguageModel,
    facts: Sequence[ContextFact],
    asks: Asks,
    whose: Whose,
    *,
    strengths: Iterable[Strength] = STRENGTHS,
    unknown: int = UNKNOWN_FACTS,
    least: int = 0,
    seed: int = 0,
) -> Examination:
    """The model's replies without a context, then, where it is right, at every strength against one.

    Where it knows nothing it is asked too, of at most `unknown` facts: what it does with a text that nothing
    stands against tells a strong prior from a model that does not read. With fewer than `least` known facts
    it is asked nothing more.
    """
    alone = examine(model, list(asked(facts, asks, strengths=[Strength.ALONE], seed=seed)), asks.stop, whose)
    known, strange = known_facts(alone.samples), unknown_facts(alone.samples)
    covers = _coverage(whose, facts, known, strange)
    if len(known) < least:
        return Examination(tuple(alone.samples), replace(covers, left_out=alone.left_out))
    against = [strength for strength in strengths if strength is not Strength.ALONE]
    kept = [fact for fact in facts if fact.id in known]
    prompts = list(asked(kept, asks, strengths=against, seed=seed, shown_from=facts))
    forward = [strength for strength in against if strength is not Strength.PRIOR]
    strangers = _drawn(facts, strange, unknown, seed)
    prompts += asked(strangers, asks, strengths=forward, seed=seed, shown_from=facts)
    found = examine(model, prompts, asks.stop, whose)
    covers = replace(covers, left_out=alone.left_out + found.left_out)
    return Examination((*alone.samples, *found.samples), covers)


def _coverage(
    whose: Whose, facts: Sequence[ContextFact], known: set[str], unknown: set[str] | frozenset[str]
) -> ContextCoverage:
    ids = {fact.id for fact in facts}
    return ContextCoverage(
        facts=len(facts),
        known=len(ids & known),
        unknown=len(ids & unknown),
        left_out=0,
        intervention=whose.intervention,
        stage=whose.stage,
        arm=whose.arm,
        dose=whose.dose,
        model=whose.model,
        seed=whose.seed,
        cell=whose.cell,
    )


def _drawn(facts: Sequence[ContextFact], unknown: set[str], most: int, seed: int) -> list[ContextFact]:
    kept = sorted((fact for fact in facts if fact.id in unknown), key=lambda fact: fact.id)
    return rng_for(seed, "unknown facts").sample(kept, min(most, len(kept)))


def halves(facts: Sequence[ContextFact]) -> tuple[list[ContextFact], list[ContextFact]]:
    """The facts that interventions are fitted on, and those that they are told of; by a hash of the subject.

    All facts about one subject are on one side, whatever else is in the list.
    """
    by_subject = {fact.subject for fact in facts}
    fitting, _ = split_held_out(sorted(by_subject), 0.5, key="contexts")
    return (
        [fact for fact in facts if fact.subject in fitting],
        [fact for fact in facts if fact.subject not in fitting],
    )


def treated(
    model: LanguageModel,
    facts: Sequence[ContextFact],
    asks: Asks,
    whose: Whose,
    method: Method,
    known: set[str],
    *,
    seed: int = 0,
    told: Told = lambda *_: None,
) -> Examination:
    """The replies under one method: its best setting on one half of the `known` facts, told of by the other.

    The best is the one under which most replies give the context's answer where only that is asked for. Its
    control is asked the same. Where too few facts are known to fit anything on, or there is no setting for
    them, nothing is asked, and what is covered says why. Raises what the intervention raises.
    """
    learnt_from, other_half = halves(facts)
    whose = replace(whose, intervention=method.name)
    learnt_from = _with_room(model, [fact for fact in learnt_from if fact.id in known], asks, seed)
    if len(learnt_from) < LEAST_FACTS:
        few = (
            f"the model knows {counted(len(learnt_from), 'fact')} of the half that interventions are fitted "
            f"on, those that outgrow its context window aside, and {LEAST_FACTS} are needed; give more facts "
            "that it knows"
        )
        return untried(method, facts, known, whose, few)
    # Figures are of known facts alone: what it makes of the others is not told, so they are not asked of.
    reported = [fact for fact in other_half if fact.id in known]
    if not reported:
        none = "the model knows no fact of the half that figures are of; give more facts that it knows"
        return untried(method, facts, known, whose, none)
    case = Case(model, asks, tuple(learnt_from), seed, unused_marks(list(_texts(facts))))
    chosen = _chosen(case, method, whose, told)
    if chosen is None:
        none = "there is no setting of it for these facts, or for a model of so few layers"
        return untried(method, facts, known, whose, none)
    samples: list[ContextSample] = []
    left_out = 0
    for control, make in (("", chosen.make), *chosen.controls):
        said_of = replace(whose, variant=chosen.variant, control=control)
        found = _replies(case, method, make, reported, TREATED, CONFLICTS, said_of)
        samples += found.samples
        left_out += found.left_out
    covers = _coverage(whose, other_half, known, frozenset())
    return Examination(tuple(samples), replace(covers, left_out=left_out))


def _with_room(
    model: LanguageModel, facts: Sequence[ContextFact], asks: Asks, seed: int
) -> list[ContextFact]:
    """The facts of which every prompt that something is fitted on fits the context window."""
    prompts = list(asked(facts, asks, strengths=FITTED, conflicts=[Conflict.SUBSTITUTED], seed=seed))
    without = {one.fact.id for one, fits in zip(prompts, fitting(model, prompts), strict=True) if not fits}
    return [fact for fact in facts if fact.id not in without]


def untried(
    method: Method, facts: Sequence[ContextFact], known: set[str], whose: Whose, why: str
) -> Examination:
    """No replies under a method, and why there are none."""
    covers = _coverage(replace(whose, intervention=method.name), halves(facts)[1], known, frozenset())
    return Examination((), replace(covers, untried=why))


def _texts(facts: Iterable[ContextFact]) -> Iterator[str]:
    """All that prompts about `facts` are made of, and what few-shot prompts answer."""
    for fact in facts:
        yield from (fact.asked, *fact.paraphrases, fact.substituted, fact.coherent, fact.substitute)


def _chosen(case: Case, method: Method, whose: Whose, told: Told) -> Candidate | None:
    """The setting under which most replies give the context's answer, of the half that it is fitted on."""
    best: tuple[float, Candidate] | None = None
    for candidate in method.candidates(case):
        told(f"{method.name}, {candidate.variant}", 0, 1)
        tried = _replies(
            case, method, candidate.make, case.fitting, [Strength.ONLY], [Conflict.SUBSTITUTED], whose
        )
        share = sum(one.said is Said.SUBSTITUTE for one in tried.samples) / max(1, len(tried.samples))
        if best is None or share > best[0]:
            best = share, candidate
    return best[1] if best else None


def _replies(
    case: Case,
    method: Method,
    make: Make,
    facts: Sequence[ContextFact],
    strengths: Sequence[Strength],
    conflicts: Sequence[Conflict],
    whose: Whose,
) -> Examined:
    samples: list[ContextSample] = []
    left_out = 0
    for group in rounds(facts) if method.one_subject else [list(facts)]:
        plain = list(_asked(case, group, strengths, conflicts, ("", "")))
        marks = case.marks if method.marked else ("", "")
        marked = list(_asked(case, group, strengths, conflicts, marks))
        with make(group).on(case.model) as model:
            found = examine(model, marked, case.asks.stop, whose, shown=[one.prompt for one in plain])
        samples += found.samples
        left_out += found.left_out
    return Examined(samples, left_out)


def _asked(
    case: Case,
    facts: Sequence[ContextFact],
    strengths: Sequence[Strength],
    conflicts: Sequence[Conflict],
    marks: tuple[str, str],
) -> Iterator[Asked]:
    return asked(facts, case.asks, strengths=strengths, conflicts=conflicts, marks=marks, seed=case.seed)
