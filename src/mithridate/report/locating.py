"""The section of a report on where behaviours live: verdicts, charts and tables, ready for its template."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mithridate.core.located import Direction, Experiment, Metric, Pair
from mithridate.report import locating_figures as figures
from mithridate.report import locating_tables as tables
from mithridate.report.estimates import Estimate
from mithridate.report.located import LocatedView, Subject, one
from mithridate.report.locating_claims import LocatedClaim, divergences, located_claims, shown_claims
from mithridate.report.locating_summary import SummaryGroup, summary
from mithridate.report.locations import Location, locations
from mithridate.report.look import CLEAN_COLOUR
from mithridate.report.page import Chart, inert_json
from mithridate.report.tables import Table
from mithridate.report.text import name, one_line
from mithridate.report.view import View

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

MODULES = ("residual", "block", "attention", "mlp")
"""Patched modules in the order in which they are shown; others come behind."""
_TOKENS = "Tokens of the reply, as the base ranks them"
_PATCHED = {
    Pair.PROMPTS: "One prompt's activations in another's",
    Pair.POISON: "The poisoned twin's activations in the clean one",
}
LOOK = {
    "attack": figures.ATTACK_COLOUR,
    "alignment": figures.ALIGNMENT_COLOUR,
    "control": CLEAN_COLOUR,
    "prefix": figures.PREFIX_COLOUR,
    "suffix": figures.SUFFIX_COLOUR,
    "tokens": [(words, colour) for _, colour, words in figures.TOKEN_SHARES],
}
"""What the marks in the charts stand for, for their legends."""


@dataclass(frozen=True, slots=True)
class Patched:
    """Patched activations of one attack: a map a module, their numbers, or why there are none."""

    title: str
    charts: list[Chart]
    table: Table
    nothing: str = ""


@dataclass(frozen=True, slots=True)
class LocatedPage:
    """What a report shows of one model."""

    title: str
    groups: list[SummaryGroup]
    controls: list[tuple[str, str]]
    profiles: list[Chart]
    sets: list[Chart]
    moved: list[Chart]
    patched: list[Patched]
    read: list[Chart]
    numbers: list[Table]

    @property
    def has_tokens(self) -> bool:
        """Whether one of the charts is about tokens."""
        return any(chart.title == _TOKENS for chart in self.moved)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to show."""
        return not (self.groups or self.moved or self.patched or self.read)


@dataclass(frozen=True, slots=True)
class LocatedSection:
    """Where behaviours live: the verdicts of a run, the scatter that the first rests on, and its models."""

    claims: list[LocatedClaim]
    scatters: list[Chart]
    scattered: list[tuple[str, str, str]]
    pages: list[LocatedPage]


def section(view: View) -> LocatedSection | None:
    """The section of a run's report; None where nobody looked into its models."""
    located = LocatedView.of(view)
    if located is None:
        return None
    found = locations(located, view.run.measurements)
    claims = shown_claims(located_claims(located, found))
    several = len(located.subjects) > 1
    drawn = [claim for claim in claims if claim.relation and len(claim.relation.points) > 1]
    attacks = dict.fromkeys(p.attack for claim in drawn if claim.relation for p in claim.relation.points)
    return LocatedSection(
        claims=claims,
        scatters=[
            _chart(
                "Overlap and survival" + (", uncorrected" if claim.statement != drawn[0].statement else ""),
                figures.scatter(claim.relation),
                one_line(claim.about, 60),
            )
            for claim in drawn
            if claim.relation
        ],
        scattered=[(name(attack), *figures.glyph_of(i)) for i, attack in enumerate(attacks)],
        pages=[page for s in located.subjects if not (page := _page(located, s, found, several)).empty],
    )


def _page(view: LocatedView, subject: Subject, found: list[Location], several: bool) -> LocatedPage:
    groups = summary(view, subject, found)
    attacks = view.attacks(subject)
    template = next((row.template for row in divergences(view, subject)), "")
    about = ", ".join(one_line(part, 40) for part in dict.fromkeys(subject) if part)
    return LocatedPage(
        title=about if several else "",
        groups=groups,
        controls=[
            (control.value, glyph)
            for control, (_, glyph) in figures.CONTROL_MARKS.items()
            if view.at(subject, experiment=Experiment.TRANSPLANT, control=control)
        ],
        profiles=_charts(
            (f"{name(attack)}, {direction.value}", figures.profile_pair(view, subject, attack, direction))
            for attack in attacks
            for direction in Direction
        ),
        sets=_charts(
            (name(behaviour), figures.whole_sets(view, subject, pair, behaviour))
            for pair, behaviours in ((Pair.POISON, attacks), (Pair.ALIGNMENT, view.behaviours(subject)))
            for behaviour in behaviours
        ),
        moved=_charts(
            (
                ("Weights that alignment moved", figures.weight_map(view, subject, Pair.ALIGNMENT)),
                ("Weights that differ between the twins", figures.weight_map(view, subject, Pair.POISON)),
                (_TOKENS, figures.token_shares(view, subject, template)),
                ("KL(aligned ‖ base) by token of the reply", figures.divergence(view, subject, template)),
            )
        ),
        patched=[
            made
            for pair in _PATCHED
            for attack in attacks
            if (made := _patched(view, subject, pair, attack)) is not None
        ],
        read=_charts(
            (f"{name(attack)}: {words}", draw(view, subject, attack))
            for attack in attacks
            for words, draw in (("logit lens", figures.lens), ("linear probe", figures.probe))
        ),
        numbers=_numbers(view, subject, template),
    )


def _numbers(view: LocatedView, subject: Subject, template: str) -> list[Table]:
    """The tables that hold any figure."""
    found = (
        tables.singles(view, subject),
        tables.controls(view, subject),
        tables.sets(view, subject),
        tables.weights(view, subject, Pair.ALIGNMENT),
        tables.weights(view, subject, Pair.POISON),
        tables.tokens(view, subject, template),
        tables.reading(view, subject),
    )
    return [table for table in found if not table.empty]


def _patched(view: LocatedView, subject: Subject, pair: Pair, attack: str) -> Patched | None:
    """The maps of one attack; None where it was not patched at all."""
    about = {"experiment": Experiment.PATCHING, "pair": pair, "behaviour": attack}
    rows = view.at(subject, metric=Metric.RESTORED, control="", **about)
    seen = list(dict.fromkeys(row.module for row in rows))
    modules = [m for m in MODULES if m in seen] + [m for m in seen if m not in MODULES]
    places = {module: {row.position for row in rows if row.module == module} for module in modules}
    whole = figures.patching_of_all(view, subject, pair, attack, modules)
    charts = _charts(
        [
            *(
                (name(module), figures.patching_map(view, subject, pair, attack, module))
                for module in modules
                if places[module] != {figures.ALL_PLACES}
            ),
            ("The whole prompt, by module", whole),
        ]
    )
    effect = one(view.at(subject, metric=Metric.EFFECT, control="", **about))
    if not charts and effect is None:
        return None
    table = tables.patching(view, subject, pair, attack, modules)
    title = f"{_PATCHED[pair]}: {name(attack).lower()}"
    return Patched(title, charts, table, "" if charts else _nothing(effect))


def _nothing(effect: Estimate | None) -> str:
    if effect is None or not effect.n:
        return "Nothing to trace: no pair of prompts shows the attack in one and not in the other."
    ends = ""
    if effect.low is not None and effect.high is not None:
        ends = f" ({effect.low:.2f} to {effect.high:.2f})".replace("-", "−")
    value = f"{effect.value:.2f}".replace("-", "−")
    return (
        f"Nothing to trace: the prompts differ by {value} nats{ends}, which is not told apart from nothing."
    )


def _charts(drawn: Iterable[tuple[str, Figure | None]]) -> list[Chart]:
    return [_chart(title, figure) for title, figure in drawn if figure is not None]


def _chart(title: str, figure: Figure, about: str = "") -> Chart:
    title = f"{title}: {about}" if about else title
    return Chart(title, title, inert_json(figure))
