"""Where behaviours live as tables of text: the numbers of all charts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mithridate.core.located import Control, Direction, Experiment, Family, Metric, Pair
from mithridate.report.estimates import Estimate
from mithridate.report.located import LocatedView, Subject, layer_name, over_seeds
from mithridate.report.locating_drawing import fine_percent, nats
from mithridate.report.locating_figures import TOKEN_SHARES, by_position, restored
from mithridate.report.locations import carried, transplanted
from mithridate.report.look import CLEAN_COLOUR
from mithridate.report.tables import Entry, Group, Row, Table
from mithridate.report.text import name, one_line, percent, span

_CONTROL_COLUMNS = (
    (Control.RANDOM_CHANGE, Direction.IN),
    (Control.RANDOM_CHANGE, Direction.OUT),
    (Control.WRONG_LAYER, Direction.IN),
    (Control.SECOND_CLEAN_SEED, Direction.IN),
)


@dataclass(frozen=True, slots=True)
class _Line:
    """A row of a table that is no model: it has a name and no mark."""

    label: str
    colour: str = CLEAN_COLOUR
    glyph: str = ""


def singles(view: LocatedView, subject: Subject) -> Table:
    """What each single layer carries of each behaviour, both ways: a group a behaviour, a row a layer."""

    def columns(pair: Pair, behaviour: str) -> list[Mapping[int, Estimate]]:
        return [carried(view, subject, pair, behaviour, way) for way in Direction]

    groups = _layer_groups(view, subject, columns, _shown)
    return Table("Share of the effect that single layers carry", ("In", "Out"), groups)


def controls(view: LocatedView, subject: Subject) -> Table:
    """The same of what stands in the place of the real thing."""

    def columns(pair: Pair, behaviour: str) -> list[Mapping[int, Estimate]]:
        return [carried(view, subject, pair, behaviour, way, control) for control, way in _CONTROL_COLUMNS]

    groups = _layer_groups(view, subject, columns, _bare)
    names = ("Random, in", "Random, out", "Wrong layer, in", "Second clean seed, in")
    return Table("Controls: what single layers carry that should carry nothing", names, groups)


def sets(view: LocatedView, subject: Subject) -> Table:
    """What sets of layers carry: a group a behaviour, a row a set."""
    groups = []
    for title, pair, behaviour in _behaviours(view, subject):
        rows = transplanted(view, subject, pair, behaviour, metric=Metric.CARRIED, control="")
        wanted = (Family.PREFIX.value, Family.SUFFIX.value, Family.WINDOW.value)
        found = over_seeds((r for r in rows if r.family in wanted), "family", "layers", "direction")
        lines = dict.fromkeys((family, layers) for family, layers, _ in found)
        groups.append(
            Group(
                title,
                tuple(
                    Row(
                        _Line(one_line(layers, 24)),
                        tuple(_shown(found.get((family, layers, way.value))) for way in Direction),
                        family,
                    )
                    for family, layers in lines
                ),
            )
        )
    return Table(
        "Share of the effect that sets of layers carry", ("In", "Out"), tuple(g for g in groups if g.rows)
    )


def weights(view: LocatedView, subject: Subject, pair: Pair) -> Table:
    """How far weights moved: a group a module, a row a layer."""
    rows = view.at(subject, experiment=Experiment.WEIGHTS, pair=pair)
    found = over_seeds((row for row in rows if row.layer is not None), "module", "layer", "metric")
    metrics = (Metric.RELATIVE_NORM, Metric.CHANGED)
    names = view.layer_names(subject)
    groups = [
        Group(
            name(module),
            tuple(
                Row(
                    _Line(one_line(names.get(layer, layer_name(layer)), 24)),
                    tuple(_shown(found.get((module, layer, metric)), fine_percent) for metric in metrics),
                )
                for layer in sorted({at for of, at, _ in found if of == module})
            ),
        )
        for module in dict.fromkeys(module for module, _, _ in found)
    ]
    return Table("How far weights moved", ("Of their own size", "Changed at all"), tuple(groups))


def tokens(view: LocatedView, subject: Subject, template: str) -> Table:
    """Shifted tokens by place in the reply: a row a place."""
    shares = [by_position(view, subject, metric, template) for metric, _, _ in TOKEN_SHARES]
    kl = by_position(view, subject, Metric.KL_ALIGNED_BASE, template)
    places = sorted({place for found in (*shares, kl) for place in found})
    rows = tuple(
        Row(
            _Line(str(place)),
            (*(_bare(found.get(place)) for found in shares), _shown(kl.get(place), nats)),
        )
        for place in places
    )
    columns = ("Un\u00adshifted", "Marginal", "Shifted", "KL in nats")
    return Table(
        "Tokens of the aligned model's replies",
        columns,
        (Group("By place in the reply", rows),) if rows else (),
    )


def patching(view: LocatedView, subject: Subject, pair: Pair, attack: str, modules: Sequence[str]) -> Table:
    """What patched activations bring back of an attack: a group a place, a row a layer, a column a module."""
    found = [restored(view, subject, pair, attack, module) for module in modules]
    names = view.layer_names(subject)
    groups = []
    for role in dict.fromkeys(role for of in found for _, role in of):
        layers = sorted({layer for of in found for layer, at in of if at == role})
        rows = tuple(
            Row(
                _Line(one_line(names.get(layer, layer_name(layer)), 24)),
                tuple(_bare(of.get((layer, role))) for of in found),
            )
            for layer in layers
        )
        groups.append(Group(name(role), rows))
    caption = f"{name(attack)}: share of the effect restored"
    return Table(caption, tuple(_breakable(name(module)) for module in modules), tuple(groups))


def _breakable(module: str) -> str:
    return module.replace("Attention", "Atten\u00adtion")


def reading(view: LocatedView, subject: Subject) -> Table:
    """Logit lens and probes: a group an attack, a row a layer."""
    wanted = (
        (Experiment.LENS, Metric.MARGIN, "", nats),
        (Experiment.LENS, Metric.MARGIN, Control.COUNTERFACTUAL.value, nats),
        (Experiment.PROBE, Metric.ACCURACY, "", percent),
        (Experiment.PROBE, Metric.ACCURACY, Control.CLEAN_TWIN.value, percent),
        (Experiment.PROBE, Metric.CONTROL_ACCURACY, "", percent),
    )
    names = view.layer_names(subject)
    groups = []
    for attack in view.attacks(subject):
        columns = []
        for experiment, metric, control, said in wanted:
            rows = view.at(subject, experiment=experiment, behaviour=attack, metric=metric, control=control)
            columns.append((over_seeds((r for r in rows if r.layer is not None), "layer"), said))
        layers = sorted({layer for found, _ in columns for layer in found})
        rows_ = tuple(
            Row(
                _Line(one_line(names.get(layer, layer_name(layer)), 24)),
                tuple(_shown(found.get(layer), said) for found, said in columns),
            )
            for layer in layers
        )
        groups.append(Group(name(attack), rows_))
    heads = ("Lens, triggered", "Lens, counter\u00adfactual", "Probe", "Probe, clean twin", "Control task")
    return Table("What layers say, and what can be read in them", heads, tuple(g for g in groups if g.rows))


def _behaviours(view: LocatedView, subject: Subject) -> list[tuple[str, Pair, str]]:
    """What was transplanted, with what it is called: attacks, what alignment taught, what it took away."""
    attacks = view.attacks(subject)
    return [
        *((name(attack), Pair.POISON, attack) for attack in attacks),
        *((name(found), Pair.ALIGNMENT, found) for found in view.behaviours(subject)),
        *((f"{name(attack)}, taken away by alignment", Pair.ALIGNMENT, attack) for attack in attacks),
    ]


def _layer_groups(
    view: LocatedView,
    subject: Subject,
    columns: Callable[[Pair, str], list[Mapping[int, Estimate]]],
    shown: Callable[[Estimate | None], Entry],
) -> tuple[Group, ...]:
    names = view.layer_names(subject)
    groups = []
    for title, pair, behaviour in _behaviours(view, subject):
        found = columns(pair, behaviour)
        layers = sorted({layer for column in found for layer in column})
        rows = tuple(
            Row(
                _Line(one_line(names.get(layer, layer_name(layer)), 24)),
                tuple(shown(column.get(layer)) for column in found),
            )
            for layer in layers
        )
        if rows:
            groups.append(Group(title, rows))
    return tuple(groups)


def _shown(estimate: Estimate | None, said: Callable[[float | None], str] = percent) -> Entry:
    if estimate is None:
        return Entry("–")
    ends = span(estimate.low, estimate.high)
    if said is not percent:
        known = estimate.low is not None and estimate.high is not None
        ends = f"{said(estimate.low)} to {said(estimate.high)}" if known else ""
    return Entry(said(estimate.value).replace("-", "−"), ends, _rests_on(estimate))


def _bare(estimate: Estimate | None) -> Entry:
    """A share without its interval, which stands in the note."""
    if estimate is None:
        return Entry("–")
    note = ", ".join(filter(None, (span(estimate.low, estimate.high), _rests_on(estimate))))
    return Entry(percent(estimate.value).replace("-", "−"), "", note)


def _rests_on(estimate: Estimate) -> str:
    seeds = len(estimate.runs)
    return f"n = {estimate.n:,}" + (f" over {seeds} seeds" if seeds > 1 else "")
