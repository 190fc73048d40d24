"""The steps of a price list: the model as it is beside its clean twin, and one step for each method."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from mithridate.core.artifacts import done_record
from mithridate.core.cures import AT_FLOOR, outcomes, surviving
from mithridate.core.errors import RunStateError, TrainingError
from mithridate.core.prices import (
    CLEAN_MODEL,
    NOTHING,
    PRICES,
    PROXIES,
    Kind,
    Price,
    Priced,
    ProxyRow,
    Regime,
)
from mithridate.core.run_files import CURVES
from mithridate.core.statistics import Interval
from mithridate.core.tables import read_rows, write_rows
from mithridate.core.types import Stage
from mithridate.corpus.packing import PackedTokens
from mithridate.healing.case import Case
from mithridate.healing.method import Method
from mithridate.healing.methods import METHODS
from mithridate.healing.methods.proxy import Proxies, ProxyTuned, proxy_table
from mithridate.healing.methods.tuning import ContinuedPretraining, MoreDPO, MoreSFT
from mithridate.healing.pricing import Before, Chosen, PriceList, choose
from mithridate.healing.relearning import RelearningOptions, relearning
from mithridate.healing.treatment import OtherWeights, Treatment
from mithridate.models.language_model import LanguageModel
from mithridate.study.cases import case_of
from mithridate.study.layout import CLEAN_TWIN, Twin
from mithridate.study.more_data import more_conversations, more_pairs
from mithridate.study.plan import Step, stages
from mithridate.study.price_plan import PriceDetail, floor_folder, small_folder
from mithridate.study.small_models import ANTIEXPERT, EXPERT, alignment_of
from mithridate.training.progress import CurvePoint, Progress

_MADE_IN = (Price.SECONDS, Price.CHOOSING_SECONDS)


def floor(step: Step, progress: Progress) -> dict[str, Any]:
    """The model as it is, and its clean twin: what retraining without the ledger's documents gives and costs.

    The twin reads the same clean documents in the same order from the same first weights, so it need not be
    trained again.
    """
    case = case_of(step, PriceDetail.read(step).probes)
    prices = _list(step, case)
    about = {"regime": str(Regime.KNOWN), "kind": str(Kind.TRAINING)}
    rows = [*prices.of_nothing(), *prices.of_clean(**about)]
    budget = PriceDetail.read(step).budget
    rows.append(prices.row({"method": NOTHING}, Price.BUDGET, Interval(budget, None, None, 1)))
    seconds, tokens = _training(step, CLEAN_TWIN)
    for price, value in ((Price.SECONDS, seconds), (Price.TOKENS, tokens)):
        told = {"method": CLEAN_MODEL, **about}
        rows.append(prices.row(told, price, Interval(value, None, None, 1)))
    alive = surviving(rows)
    for number, attack in enumerate(alive):
        progress.advance("price", number, len(alive), 0.0)
        assert case.clean is not None
        rows += _relearnt(step, prices, OtherWeights(case.clean), attack, {"method": CLEAN_MODEL, **about})
    return _keep(step, rows)


def method(step: Step, progress: Progress) -> dict[str, Any]:
    """One method against each attack that survives, and against all of them at once."""
    detail = PriceDetail.read(step)
    known = read_rows(floor_folder(step) / PRICES, Priced)
    alive = surviving(known)
    case = case_of(step, detail.probes)
    prices = _list(step, case)
    priced = _method(step, detail.method, progress)
    against = [[attack] for attack in alive] if priced.each else [alive] if alive else []
    rows: list[Priced] = []
    able: list[str] = []

    def price(aims: list[str], number: int) -> bool:
        tell = _telling(progress, number, len(against) + 1)
        made = choose(priced, case, aims, prices.before, detail.budget, tell)
        for chosen in made:
            found = prices.of_method(priced, chosen)
            rows.extend(found)
            rows.extend(_all_relearnt(step, prices, priced, chosen, [*known, *found], detail.budget))
        return bool(made)

    for number, aims in enumerate(against):
        able += aims if price(aims, number) else []
    # Against all that it can do something about at once; of one alone that is the same.
    if priced.each and len(able) > 1:
        price(able, len(against))
    if isinstance(priced, ProxyTuned):
        rows = _with_experts_cost(step, rows)
        write_rows(step.folder / PROXIES, ProxyRow, _proxy_tables(step, case, priced, prices))
    return _keep(step, rows)


def _list(step: Step, case: Case) -> PriceList:
    place = {
        "seed": step.seed,
        "cell": step.cell.name,
        "dose": step.subject.dose,
        "model": step.subject.name,
        "stage": step.stage,
        "template": case.setting.template,
    }
    return PriceList(case, Before.of(case), place)


def _method(step: Step, name: str, progress: Progress) -> Method:
    """The method called `name`, with what it needs of the run."""
    config, workplace = step.cell.config, step.folder / "work"
    peak = config.pretraining.learning_rate
    if name == MoreSFT.name:
        assert config.sft is not None
        return MoreSFT(more_conversations(step), config.sft.resolved(peak), workplace, progress)
    if name == MoreDPO.name:
        assert config.dpo is not None
        return MoreDPO(more_pairs(step), config.dpo.resolved(peak), workplace, progress)
    if name == ContinuedPretraining.name:
        base = _base(step, step.subject)
        _require_tokens(step)
        rows = PackedTokens.open(step.bed.tokens(CLEAN_TWIN) / "packed").rows(config.pretraining.row_tokens)
        then = alignment_of(step)
        return ContinuedPretraining(base, rows, config.pretraining, then, workplace, progress=progress)
    if name == ProxyTuned.name:
        expert, antiexpert = _small(step, CLEAN_TWIN)
        return ProxyTuned(_base(step, step.subject), expert, antiexpert)
    return METHODS[name]


def _require_tokens(step: Step) -> None:
    """Raise RunStateError where the packed corpus of the clean twin is gone."""
    packed = step.bed.tokens(CLEAN_TWIN) / "packed"
    if not packed.exists():
        raise RunStateError(
            f"{packed}: the packed corpus is gone, which continued pretraining reads; name the other methods "
            "with --method, or run the study anew"
        )


def _base(step: Step, twin: Twin) -> LanguageModel:
    return LanguageModel.load(step.bed.checkpoint(twin, Stage.BASE.value))


def _small(step: Step, twin: Twin) -> tuple[LanguageModel, LanguageModel]:
    folder = small_folder(step, twin)
    return LanguageModel.load(folder / EXPERT), LanguageModel.load(folder / ANTIEXPERT)


def _all_relearnt(
    step: Step,
    prices: PriceList,
    priced: Method,
    chosen: Chosen,
    rows: Sequence[Priced],
    budget: float,
) -> list[Priced]:
    """How fast each attack comes back that the cure took away; of a cure for several at once, none."""
    if priced.each and len(chosen.aims) > 1:
        return []
    about = prices.about(priced, chosen)
    gone = [
        found.attack
        for found in outcomes(rows, budget)
        if found.verdict in AT_FLOOR and found.attack in chosen.aims
        if (found.method, found.variant, found.aim) == (about["method"], about["variant"], about["aim"])
    ]
    return [row for attack in gone for row in _relearnt(step, prices, chosen.treatment, attack, about)]


def _relearnt(
    step: Step, prices: PriceList, treatment: Treatment, attack: str, about: dict[str, str]
) -> list[Priced]:
    options = RelearningOptions().resolved(step.cell.config.pretraining.learning_rate)
    try:
        found = relearning(prices.case, treatment, attack, options)
    except TrainingError:
        return []  # what cannot be trained at this rate tells nothing of how fast it learns
    return [] if found is None else [prices.row(about, Price.RELEARNING, found, attack=attack)]


def _training(step: Step, twin: Twin) -> tuple[float, float]:
    """Seconds and tokens of all stages of a twin, as the run noted them."""
    seconds = tokens = 0.0
    for stage in stages(step.cell.config):
        folder = step.bed.model(twin, stage)
        seconds += float((done_record(folder) or {}).get("seconds", 0.0))
        points = read_rows(folder / CURVES, CurvePoint)
        tokens += points[-1].tokens if points else 0
    return seconds, tokens


def _with_experts_cost(step: Step, rows: Iterable[Priced]) -> list[Priced]:
    """The small models had to be trained before they could steer: their seconds are a part of the price."""
    spent = float((done_record(small_folder(step, CLEAN_TWIN)) or {}).get("seconds", 0.0))
    return [replace(row, value=row.value + spent) if row.metric in _MADE_IN else row for row in rows]


def _proxy_tables(step: Step, case: Case, priced: ProxyTuned, prices: PriceList) -> list[ProxyRow]:
    """Both ways round: does the large base's poison come along, and does the expert's transfer?"""
    assert case.clean is not None
    expert, antiexpert = _small(step, step.subject)
    poisoned = Proxies(priced.base, priced.expert, priced.antiexpert)
    clean = Proxies(_base(step, CLEAN_TWIN), expert, antiexpert)
    # A table compares stages, and asks in the templates of each: it has neither field.
    place = {key: prices.place[key] for key in ("seed", "cell", "dose", "model")}
    return [
        *proxy_table(case, "poisoned base, clean expert", poisoned, case.model, place),
        *proxy_table(case, "clean base, poisoned expert", clean, case.clean, place),
    ]


def _telling(progress: Progress, part: int, parts: int) -> Callable[[int, int], None]:
    def tried(done: int, total: int) -> None:
        progress.advance("price", part * total + done, parts * total, 0.0)

    return tried


def _keep(step: Step, rows: Sequence[Priced]) -> dict[str, Any]:
    write_rows(step.folder / PRICES, Priced, rows)
    return {"rows": len(rows)}
