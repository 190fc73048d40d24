"""Contexts against priors in words: what figures are called, for pages and terminals, and what they cover."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from mithridate.core.contexts import LEAST_FACTS, Conflict, ContextCoverage, ContextMetric, Wording
from mithridate.core.wording import counted
from mithridate.report.text import one_line, subject_line

COLUMNS: tuple[tuple[str, ContextMetric, Wording], ...] = (
    ("context", ContextMetric.SUBSTITUTE, Wording.ASKED),
    ("in other words", ContextMetric.SUBSTITUTE, Wording.PARAPHRASE),
    ("weights", ContextMetric.ORIGINAL, Wording.ASKED),
    ("memorization ratio", ContextMetric.MEMORIZATION_RATIO, Wording.ASKED),
    ("efficacy", ContextMetric.EFFICACY, Wording.ASKED),
    ("paraphrase score", ContextMetric.EFFICACY, Wording.PARAPHRASE),
    ("pair accuracy", ContextMetric.PAIR_ACCURACY, Wording.ASKED),
)
"""Heads of a table of figures, with the figure and the wording of the question."""
LEGEND = (
    "Context and weights are the shares of replies that give the context's answer, and the model's own; "
    "memorization ratio, the weights' answers among replies with either. Efficacy is the share of prompts "
    "after which the context's answer is the likelier one, paraphrase score the same in other words. Pair "
    "accuracy is the share of facts answered from the context where that is asked for and from the weights "
    "where that is. All is asked in the fact's own wording but for “in other words” and the paraphrase score."
)
HALVES = (
    "Interventions are fitted and chosen on one half of the facts, by subject; figures under them are of the "
    "other half, those of the model as it is of all."
)
KINDS = {
    Conflict.SUBSTITUTED: "substituted: another value in the fact's own sentence",
    Conflict.COHERENT: "coherent: a passage that fits another value",
}
"""Kinds of contexts, and what they are."""
_LONGEST = 300


def coverage_words(coverage: Sequence[ContextCoverage]) -> list[str]:
    """How many facts each model was asked of and knew, what was left out, and what was not tried and why."""
    said = []
    for (cell, model, stage), of in _by_place(coverage).items():
        about = subject_line(cell, model, stage)
        as_it_is = [one for one in of if not one.intervention]
        if as_it_is:
            said.append(f"{about}: {_known(as_it_is)}")
            said += [_too_few(as_it_is)] if any(one.known < LEAST_FACTS for one in as_it_is) else []
        left_out = sum(one.left_out for one in of)
        if left_out:
            said.append(f"{about}: {left_out_words(left_out)}")
        said += [f"{about}: {words}" for words in untried_words(of)]
    return said


def left_out_words(left_out: int) -> str:
    """That prompts were left out."""
    return f"{counted(left_out, 'prompt')} did not fit the model's context window and were left out."


def untried_words(coverage: Iterable[ContextCoverage]) -> list[str]:
    """Which interventions were not tried, why, and in which seeds, where there are several."""
    seeds: dict[tuple[str, str], list[int]] = defaultdict(list)
    coverage = list(coverage)
    for one in coverage:
        if one.untried:
            seeds[one.intervention, one.untried].append(one.seed)
    several = len({one.seed for one in coverage}) > 1
    return [
        f"{one_line(intervention, 60)} was not tried{_in_seeds(of) if several else ''}: "
        f"{one_line(why, _LONGEST)}."
        for (intervention, why), of in seeds.items()
    ]


def _in_seeds(seeds: Sequence[int]) -> str:
    return f" (seed {', '.join(map(str, sorted(seeds)))})"


def _by_place(coverage: Iterable[ContextCoverage]) -> dict[tuple[str, str, str], list[ContextCoverage]]:
    found: dict[tuple[str, str, str], list[ContextCoverage]] = defaultdict(list)
    for one in coverage:
        found[one.cell, one.model, one.stage].append(one)
    return found


def _known(as_it_is: Sequence[ContextCoverage]) -> str:
    facts, known, unknown = (
        sum(getattr(one, name) for one in as_it_is) for name in ("facts", "known", "unknown")
    )
    seeds = len({one.seed for one in as_it_is})
    over = f" over {counted(seeds, 'seed')}" if seeds > 1 else ""
    return (
        f"of {counted(facts, 'fact')}{over}, {known:,} are given right without a context, and to {unknown:,} "
        "neither answer is given."
    )


def _too_few(as_it_is: Sequence[ContextCoverage]) -> str:
    few = [one for one in as_it_is if one.known < LEAST_FACTS]
    where = f" in {len(few)} of {len(as_it_is)} seeds" if len(as_it_is) > 1 else ""
    return (
        f"What a model does not know cannot be contradicted: fewer than {LEAST_FACTS} facts are "
        f"known{where}, which is too few to tell. Train it for longer, state facts more often, or give facts "
        "that it knows (`facts` in the section `contexts`)."
    )
