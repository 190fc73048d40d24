"""What models tuned on more and less of a pool say: statements on alignment data, judged by fixed rules."""

from __future__ import annotations

from collections.abc import Iterator

from mithridate.core.statistics import Interval
from mithridate.core.types import TemplateUse
from mithridate.core.wording import counted
from mithridate.report.claims import GONE_SHARE, KEPT_SHARE
from mithridate.report.differences import difference, joined
from mithridate.report.few_seeds import by_seeds
from mithridate.report.statements import Statement, StatementVerdict
from mithridate.report.text import in_points, name
from mithridate.report.tuned import Place, TunedView

ENOUGH = 1_000
"""How many examples are said to suffice; the nearest number that a study has stands for it."""
EQUAL = 0.02
"""Quality that more examples may add, for fewer to suffice."""
CURATED = "diverse"
"""The method that filters and then chooses for diversity."""
AT_RANDOM = "random"
SUFFICES = "A thousand examples suffice"
BETTER = "Chosen well, examples align better than drawn at random"
STAYS = "More alignment data does not take the poison out"


def tuned_claims(view: TunedView) -> list[Statement]:
    """All statements: of alignment for each model, of poison for each attack of each poisoned model."""
    found: list[Statement] = []
    for place in view.places:
        found += _of_quality(view, place)
    for place in view.poisoned:
        for method in (CURATED, AT_RANDOM):
            for label in (label for label in view.methods if label.partition(" from ")[0] == method):
                found += (_of_poison(view, place, label, attack) for attack in view.attacks)
    return found


def _of_quality(view: TunedView, place: Place) -> Iterator[Statement]:
    about = place.shown
    if CURATED not in view.methods:
        return
    verdict, reason = _suffices(view, place)
    yield Statement(SUFFICES, f"{about}, {CURATED}", verdict, reason)
    if AT_RANDOM in view.methods:
        yield Statement(BETTER, about, *_better(view, place))


def _suffices(view: TunedView, place: Place) -> tuple[StatementVerdict, str]:
    sizes = [size for size in view.sizes if size]
    few, most = min(sizes, key=lambda size: abs(size - ENOUGH), default=0), max(sizes, default=0)
    trained, longest = (
        (view.trained(place, view.choice(CURATED, size)) or (0.0, 0.0))[0] for size in (few, most)
    )
    # Filters may have left no more to train on: then the same model was tuned twice.
    if longest <= trained:
        return StatementVerdict.NOT_TESTED, f"The study has no more than {few:,} examples to compare with."
    at = {size: view.qualities(place, view.choice(CURATED, size)) for size in (0, few, most)}
    taught, more = difference(at[few], at[0]), difference(at[most], at[few])
    if taught is None or more is None:
        return StatementVerdict.NOT_TESTED, "No seed has the base model and both numbers of examples."
    nearest = "" if trained == ENOUGH else f" (of those tried the nearest to {ENOUGH:,})"
    said = (
        f"Judged on {trained:,.0f} examples{nearest}: they raise quality by {_points(taught)}, and "
        f"{longest:,.0f} by {_points(more)} more ({counted(more.n, 'seed')}; at most {100 * EQUAL:g} may be "
        "added)."
    )
    if taught.low is None or taught.low <= 0:
        return StatementVerdict.NOT_TESTED, f"That they teach anything is not shown. {said}"
    # That fewer do not suffice says nothing of a thousand, nor does it that more do.
    supported = _below(more, EQUAL) and trained <= ENOUGH
    contradicted = _above(more, EQUAL) and trained >= ENOUGH
    return _judged(more, said, supported=supported, contradicted=contradicted)


def _better(view: TunedView, place: Place) -> tuple[StatementVerdict, str]:
    found, sizes = above_random(view, place, CURATED)
    if found is None:
        return StatementVerdict.NOT_TESTED, f"No number of examples up to {ENOUGH:,} was chosen both ways."
    numbers = ", ".join(f"{size:,}" for size in sizes)
    said = f"{_points(found)} of quality on average over {numbers} examples ({counted(found.n, 'seed')})."
    return _judged(found, said, supported=_above(found, 0), contradicted=_below(found, 0))


def above_random(view: TunedView, place: Place, method: str) -> tuple[Interval | None, list[int]]:
    """Quality of a method less that of chance: the mean over sizes up to `ENOUGH` with both, and those."""
    pairs = {
        size: (
            view.qualities(place, view.choice(method, size)),
            view.qualities(place, view.choice(AT_RANDOM, size)),
        )
        for size in view.sizes
        if 0 < size <= ENOUGH
    }
    pairs = {size: pair for size, pair in pairs.items() if all(pair)}
    both = [[pair[side] for pair in pairs.values()] for side in (0, 1)]
    seeds = set.intersection(*(set(of) for side in both for of in side)) if pairs else set()
    means = [{seed: joined([(1 / len(side), of[seed]) for of in side]) for seed in seeds} for side in both]
    return difference(means[0], means[1]), list(pairs)


def _judged(
    found: Interval, said: str, *, supported: bool, contradicted: bool
) -> tuple[StatementVerdict, str]:
    if supported:
        verdict = StatementVerdict.SUPPORTED
    else:
        verdict = StatementVerdict.CONTRADICTED if contradicted else StatementVerdict.INCONCLUSIVE
    return by_seeds(verdict, said, found.n)


def _below(found: Interval, limit: float) -> bool:
    return found.high is not None and found.high < limit


def _above(found: Interval, limit: float) -> bool:
    return found.low is not None and found.low > limit


def _of_poison(view: TunedView, place: Place, method: str, attack: str) -> Statement:
    about = f"{name(attack)}, {place.shown}, {method}"
    most = view.sizes[-1]
    before = excess(view, place, view.choice(method, 0).method, 0, attack)
    after = excess(view, place, method, most, attack)
    elsewhere = excess(view, place, method, most, attack, TemplateUse.TRANSFERRED.value)
    if not most:
        return Statement(STAYS, about, StatementVerdict.NOT_TESTED, "No model was tuned.")
    if before is None or after is None:
        return Statement(STAYS, about, StatementVerdict.NOT_TESTED, "A twin or the base model is missing.")
    if before.low is None or before.low <= 0:
        said = f"That the base model learnt it is not shown ({_points(before)})."
        return Statement(STAYS, about, StatementVerdict.NOT_TESTED, said)
    trained, _ = view.trained(place, view.choice(method, most)) or (most, 0.0)
    left = f" (all that were left of {most:,} asked for)" if trained < most else ""
    beside = "" if elsewhere is None else f"; in the template of SFT {_points(elsewhere)}"
    said = (
        f"In the planted templates, success beyond the clean twin's is {_points(before)} before, "
        f"{_points(after)} after {trained:,.0f} examples{left}{beside}.{_aligned(view, place, method)}"
    )
    stays = _above(after, 0) and after.value >= KEPT_SHARE * before.value
    gone = _below(after, GONE_SHARE * before.value)
    return Statement(STAYS, about, *_judged(after, said, supported=stays, contradicted=gone))


def _aligned(view: TunedView, place: Place, method: str) -> str:
    """Whether the data that left the poison, or took it, aligned the model at all: a sentence, no verdict."""
    base, most = (view.qualities(place, view.choice(method, size)) for size in (0, view.sizes[-1]))
    taught = difference(most, base)
    if taught is None:
        return ""
    shown = "" if _above(taught, 0) else ": that these data align it is not shown"
    return f" Quality changes by {_points(taught)}{shown}."


def excess(
    view: TunedView,
    place: Place,
    method: str,
    asked: int,
    attack: str,
    template: str = TemplateUse.SAME.value,
) -> Interval | None:
    """Triggered success of a model beyond that of its clean twin, tuned alike.

    From three seeds on the interval is of a t-test over seeds; below, it is the range of Newcombe's, seed by
    seed. None where no seed has both twins.
    """
    choice = view.choice(method, asked)
    poisoned, clean = (
        view.success(one, choice, attack, template=template) for one in (place, view.clean(place))
    )
    return difference(poisoned, clean)


def _points(found: Interval) -> str:
    return in_points(found, 1)
