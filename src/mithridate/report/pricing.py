"""The section of a report on cures and their prices: verdicts, price lists, charts and tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mithridate.core.prices import Kind, Regime
from mithridate.report import pricing_tables as tables
from mithridate.report.look import CLEAN_COLOUR
from mithridate.report.page import Chart, inert_json
from mithridate.report.priced import PricedView, Subject
from mithridate.report.pricing_claims import PricedClaim, priced_claims, subject_name
from mithridate.report.pricing_figures import pareto
from mithridate.report.pricing_list import (
    KIND_COLOURS,
    REGIME_MARKS,
    Best,
    RegimeList,
    best_cures,
    nothing_to_cure,
    points_of,
    points_text,
    price_lists,
    retraining,
    titled,
)
from mithridate.report.proxies import proxy_tables
from mithridate.report.tables import Table
from mithridate.report.text import name, percent
from mithridate.report.view import View


@dataclass(frozen=True, slots=True)
class Front:
    """A chart of one attack, and the cures on its fronts in words, numbered as in the chart."""

    chart: Chart
    cures: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PricedPage:
    """What a report shows of the cures of one model."""

    title: str
    best: list[Best]
    nothing: list[str]
    retraining: str
    lists: list[RegimeList]
    kinds: list[tuple[str, str]]
    regimes: list[tuple[str, str]]
    fronts: list[Front]
    numbers: list[Table]
    budget: float


@dataclass(frozen=True, slots=True)
class PricedSection:
    """What takes it out, and at what price: the verdicts of a run, and its models."""

    claims: list[PricedClaim]
    pages: list[PricedPage]
    proxies: list[Table]
    grey: str = CLEAN_COLOUR

    @property
    def budget(self) -> str:
        """Points of utility that a cure might cost, in words; models may have budgets of their own."""
        return " or ".join(points_of(budget) for budget in sorted({page.budget for page in self.pages}))


def priced_section(view: View) -> PricedSection | None:
    """The section of a run's report; None where no cure was tried on its models."""
    priced = PricedView.of(view)
    return None if priced is None else section_of(priced, proxy_tables(view.run.proxies))


def section_of(view: PricedView, proxies: Sequence[Table] = ()) -> PricedSection:
    """The same of a price list by itself, and of tables of proxy-tuning."""
    pages = [_page(view, subject) for subject in view.subjects]
    return PricedSection(priced_claims(view), pages, list(proxies))


def _page(view: PricedView, subject: Subject) -> PricedPage:
    lists = price_lists(view, subject)
    kinds = {setting.kind for setting in view.settings(subject)}
    regimes = {setting.regime for setting in view.settings(subject)}
    best = best_cures(lists)
    drawn = [
        (one.attack.attack, found) for one in best if (found := pareto(view, subject, one.attack.attack))
    ]
    made = (
        tables.on_every_attack(view, subject),
        tables.controls(view, subject),
        tables.usefulness(view, subject),
        tables.costs(view, subject),
    )
    return PricedPage(
        title=subject_name(view, subject) if len(view.subjects) > 1 else "",
        best=best,
        nothing=nothing_to_cure(view, subject),
        retraining=retraining(view, subject),
        lists=lists,
        kinds=[(kind.value, KIND_COLOURS[kind]) for kind in Kind if kind in kinds],
        regimes=[(regime.value, REGIME_MARKS[regime][1]) for regime in Regime if regime in regimes],
        fronts=[
            Front(
                Chart(
                    name(attack),
                    f"Share of the excess of {name(attack).lower()} that is gone by points of utility lost",
                    inert_json(found.figure),
                ),
                tuple(
                    f"{titled(one.setting)}: {percent(one.removed)} gone for {points_text(one.points)} points"
                    for of in found.fronts.values()
                    for one in of
                ),
            )
            for attack, found in drawn
        ],
        numbers=[table for table in made if not table.empty],
        budget=view.budget(subject),
    )
