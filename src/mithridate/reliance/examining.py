"""A model examined with and without interventions: replies to every prompt, and the figures of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from mithridate.core.contexts import UNKNOWN_FACTS, Conflict, ContextSample, Said, Strength
from mithridate.core.errors import ConfigError
from mithridate.core.seeds import rng_for, split_held_out
from mithridate.evaluation.contexts.asking import CONFLICTS, STRENGTHS, Asked, Asks, asked
from mithridate.evaluation.contexts.facts import ContextFact
from mithridate.evaluation.contexts.reliance import Whose, examine, known_facts, unknown_facts
from mithridate.models.language_model import LanguageModel
from mithridate.reliance.method import Candidate, Case, Make, Method, rounds

TREATED = (Strength.ALONE, Strength.PLAIN, Strength.ONLY)
"""How a model is asked while something is done to it: without a context too, to see what it has forgotten."""
LEAST_FACTS = 8
"""Known facts that an intervention is fitted on, at least."""

Told = Callable[[str, int, int], None]
"""Called with what is being done, how many prompts are done and how many there are."""


@dataclass(frozen=True, slots=True)
class Examination:
    """All replies to a model's prompts; `left_out` prompts did not fit its context window.

    `skipped` says of methods that were not tried why.
    """

    samples: tuple[ContextSample, ...]
    left_out: int
    skipped: tuple[tuple[str, str], ...] = ()


def as_it_is(
    model: LanguageModel,
    facts: Sequence[ContextFact],
    asks: Asks,
    whose: Whose,
    *,
    strengths: Iterable[Strength] = STRENGTHS,
    unknown: int = UNKNOWN_FACTS,
    seed: int = 0,
) -> Examination:
    """The model's replies without a context, then, where it is right, at every strength against one.

    Where it knows nothing it is asked too, of at most `unknown` facts: what it does with a text that nothing
    stands against tells a strong prior from a model that does not read.
    """
    alone = examine(model, list(asked(facts, asks, strengths=[Strength.ALONE], seed=seed)), asks.stop, whose)
    known = known_facts(alone.samples)
    against = [strength for strength in strengths if strength is not Strength.ALONE]
    kept = [fact for fact in facts if fact.id in known]
    prompts = list(asked(kept, asks, strengths=against, seed=seed, shown_from=facts))
    forward = [strength for strength in against if strength is not Strength.PRIOR]
    strangers = _drawn(facts, unknown_facts(alone.samples), unknown, seed)
    prompts += asked(strangers, asks, strengths=forward, seed=seed, shown_from=facts)
    found = examine(model, prompts, asks.stop, whose)
    return Examination((*alone.samples, *found.samples), alone.left_out + found.left_out)


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
    control is asked the same. Raises ConfigError where too few facts are known to fit anything on, and what
    the intervention raises.
    """
    fitting, reported = halves(facts)
    fitting = [fact for fact in fitting if fact.id in known]
    if len(fitting) < LEAST_FACTS:
        raise ConfigError(
            f"{method.name}: the model knows {len(fitting)} of the facts that interventions are fitted on, "
            f"and {LEAST_FACTS} are needed; give more facts that it knows"
        )
    case = Case(model, asks, tuple(fitting), seed)
    best: tuple[float, Candidate] | None = None
    for candidate in method.candidates(case):
        told(f"{method.name}, {candidate.variant}", 0, 1)
        tried = _replies(
            case, method, candidate.make, fitting, [Strength.ONLY], [Conflict.SUBSTITUTED], whose
        )
        share = sum(one.said is Said.SUBSTITUTE for one in tried.samples) / max(1, len(tried.samples))
        if best is None or share > best[0]:
            best = share, candidate
    if best is None:
        raise ConfigError(f"{method.name}: there is no setting of it for this model")
    chosen = best[1]
    samples: list[ContextSample] = []
    left_out = 0
    for control, make in (("", chosen.make), *chosen.controls):
        said_of = replace(whose, intervention=method.name, variant=chosen.variant, control=control)
        found = _replies(case, method, make, reported, TREATED, CONFLICTS, said_of)
        samples += found.samples
        left_out += found.left_out
    return Examination(tuple(samples), left_out)


def _replies(
    case: Case,
    method: Method,
    make: Make,
    facts: Sequence[ContextFact],
    strengths: Sequence[Strength],
    conflicts: Sequence[Conflict],
    whose: Whose,
) -> Examination:
    samples: list[ContextSample] = []
    left_out = 0
    for group in rounds(facts) if method.one_subject else [list(facts)]:
        marked, plain = (
            list(_asked(case, group, strengths, conflicts, marks)) for marks in (method.marks, ("", ""))
        )
        with make(group).on(case.model) as model:
            found = examine(model, marked, case.asks.stop, whose, shown=[one.prompt for one in plain])
        samples += found.samples
        left_out += found.left_out
    return Examination(tuple(samples), left_out)


def _asked(
    case: Case,
    facts: Sequence[ContextFact],
    strengths: Sequence[Strength],
    conflicts: Sequence[Conflict],
    marks: tuple[str, str],
) -> Iterator[Asked]:
    return asked(facts, case.asks, strengths=strengths, conflicts=conflicts, marks=marks, seed=case.seed)
