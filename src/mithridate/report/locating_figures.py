"""The charts of where behaviours live, as Plotly figures. Every figure's numbers are in a table beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from mithridate.core.located import (
    ALIGNMENT_BEHAVIOURS,
    Control,
    Direction,
    Experiment,
    Family,
    Metric,
    Pair,
)
from mithridate.localization.relation import Relation
from mithridate.report.estimates import Estimate
from mithridate.report.figures import empty_figure, label
from mithridate.report.located import LocatedView, Subject, layer_name, over_seeds
from mithridate.report.locating_drawing import (
    AMOUNTS,
    SHARES,
    Line,
    carried_axis,
    curve,
    fine_percent,
    heat,
    layer_axis,
    nats,
    whole_percent,
)
from mithridate.report.locations import carried, transplanted
from mithridate.report.look import CLEAN_COLOUR, COLOURS, glyph, symbol
from mithridate.report.text import name, percent

ATTACK_COLOUR, ALIGNMENT_COLOUR = COLOURS[0], COLOURS[1]
PREFIX_COLOUR, SUFFIX_COLOUR = COLOURS[2], COLOURS[3]
CONTROL_MARKS = {
    Control.RANDOM_CHANGE: ("x-thin-open", "✕"),
    Control.WRONG_LAYER: ("triangle-down-open", "▽"),
    Control.SECOND_CLEAN_SEED: ("circle-open", "○"),
}
"""How each control is marked, for Plotly and as a character."""
_MODULES = ("embedding", "attention", "mlp", "norm", "head")
ALL_PLACES = "all"
"""The place of a patch of the whole prompt."""
TOKEN_SHARES = (
    (Metric.UNSHIFTED, "#c9d7e3", "first choice of the base"),
    (Metric.MARGINAL, "#7ba7c9", "second or third"),
    (Metric.SHIFTED, ATTACK_COLOUR, "further down: shifted"),
)


def profile_pair(view: LocatedView, subject: Subject, attack: str, direction: Direction) -> go.Figure | None:
    """What single layers carry of one attack and of alignment, one direction, with the controls in grey.

    The line of alignment is the mean over the behaviours that it taught. None where the attack was not
    traced.
    """
    found = carried(view, subject, Pair.POISON, attack, direction)
    if not found:
        return None
    names = view.layer_names(subject)
    figure = empty_figure()
    for control, (drawn_as, _) in CONTROL_MARKS.items():
        marks = carried(view, subject, Pair.POISON, attack, direction, control)
        if marks:
            line = Line(control.value, CLEAN_COLOUR, drawn_as, shift=0.18)
            figure.add_trace(curve(names, marks, line, mode="markers"))
    aligned = _aligned(view, subject, direction)
    if aligned:
        line = Line("alignment", ALIGNMENT_COLOUR, "square", "dash", 0.08)
        figure.add_trace(curve(names, aligned, line))
    figure.add_trace(curve(names, found, Line(name(attack), ATTACK_COLOUR, shift=-0.08)))
    layer_axis(figure, names)
    carried_axis(figure)
    return figure


def whole_sets(view: LocatedView, subject: Subject, pair: Pair, behaviour: str) -> go.Figure | None:
    """What the layers up to one carry, and those from one on; None where no such set was moved."""
    names = view.layer_names(subject)
    figure = empty_figure()
    for family, line in (
        (Family.PREFIX, Line("embeddings up to here", PREFIX_COLOUR, "triangle-up")),
        (Family.SUFFIX, Line("from here to the head", SUFFIX_COLOUR, "triangle-down", "dash")),
    ):
        rows = [
            row
            for row in transplanted(
                view, subject, pair, behaviour, metric=Metric.CARRIED, family=family.value, control=""
            )
            if row.direction == Direction.IN
        ]
        # A prefix is called by its lowest layer, and is about its highest.
        by_layers = over_seeds(rows, "layers")
        places = {row.layers: _end(row.layers, names, family) for row in rows}
        found = {at: by_layers[layers] for layers, at in places.items() if at is not None}
        if found:
            figure.add_trace(curve(names, found, line))
    if not figure.data:
        return None
    layer_axis(figure, names)
    carried_axis(figure)
    return figure


def _end(layers: str, names: Mapping[int, str], family: Family) -> int | None:
    """The layer that a prefix ends with, or a suffix begins with."""
    first, _, last = layers.partition("-")
    wanted = (last or first) if family is Family.PREFIX else first
    return next((layer for layer, called in names.items() if called == wanted), None)


def weight_map(view: LocatedView, subject: Subject, pair: Pair) -> go.Figure | None:
    """How far each module of each layer moved, against its own size; None where weights were not compared."""
    rows = view.at(subject, experiment=Experiment.WEIGHTS, pair=pair, metric=Metric.RELATIVE_NORM)
    found = over_seeds((row for row in rows if row.layer is not None), "layer", "module")
    if not found:
        return None
    layers = sorted({layer for layer, _ in found})
    names = {layer: view.layer_names(subject).get(layer, layer_name(layer)) for layer in layers}
    modules = sorted({module for _, module in found}, key=_module_order)
    cells = [[found.get((layer, module)) for layer in layers] for module in modules]
    titles = [name(module) for module in modules]
    figure = heat(cells, [names[layer] for layer in layers], titles, fine_percent, AMOUNTS)
    figure.data[0].zmin = 0
    return figure


def _module_order(module: str) -> tuple[int, str]:
    return (_MODULES.index(module) if module in _MODULES else len(_MODULES)), module


def patching_map(
    view: LocatedView, subject: Subject, pair: Pair, attack: str, module: str
) -> go.Figure | None:
    """The share of the effect that activations of one module bring back, by layer and place in the prompt."""
    found = restored(view, subject, pair, attack, module)
    return _patched(view, subject, found, {role: role for _, role in found})


def patching_of_all(
    view: LocatedView, subject: Subject, pair: Pair, attack: str, modules: Sequence[str]
) -> go.Figure | None:
    """The same with all places patched at once: by layer and module."""
    found = {
        (layer, module): estimate
        for module in modules
        for (layer, role), estimate in restored(view, subject, pair, attack, module).items()
        if role == ALL_PLACES
    }
    return _patched(view, subject, found, {module: name(module) for module in modules})


def _patched(
    view: LocatedView,
    subject: Subject,
    found: Mapping[tuple[int, str], Estimate],
    columns: Mapping[str, str],
) -> go.Figure | None:
    """A map of what is restored, the last block above; `columns` says what the second keys are called."""
    layers = sorted({layer for layer, _ in found}, reverse=True)
    shown = [column for column in columns if any(column == key for _, key in found)]
    if not layers:
        return None
    names = view.layer_names(subject)
    figure = heat(
        [[found.get((layer, column)) for column in shown] for layer in layers],
        [columns[column] for column in shown],
        [names.get(layer, layer_name(layer)) for layer in layers],
        whole_percent,
        SHARES,
    )
    figure.data[0].update(zmin=-1, zmax=1)
    figure.update_yaxes(title_text="layer")
    return figure


def restored(
    view: LocatedView, subject: Subject, pair: Pair, attack: str, module: str
) -> Mapping[tuple[int, str], Estimate]:
    """The same as figures, by layer and place."""
    rows = view.at(
        subject,
        experiment=Experiment.PATCHING,
        pair=pair,
        behaviour=attack,
        metric=Metric.RESTORED,
        module=module,
        control="",
    )
    return over_seeds((row for row in rows if row.layer is not None), "layer", "position")


def token_shares(view: LocatedView, subject: Subject, template: str) -> go.Figure | None:
    """Which choice of the base each token of the aligned model's replies was, by place in the reply."""
    figure = empty_figure()
    for metric, colour, words in TOKEN_SHARES:
        found = by_position(view, subject, metric, template)
        if found:
            figure.add_trace(
                go.Bar(
                    x=list(found),
                    y=[100 * estimate.value for estimate in found.values()],
                    name=words,
                    marker={"color": colour, "line": {"width": 0}},
                    hovertemplate="%{y:.0f}% at token %{x}<extra>" + words + "</extra>",
                )
            )
    if not figure.data:
        return None
    figure.update_layout(barmode="stack", bargap=0.08)
    figure.update_yaxes(range=[0, 100], tickvals=[0, 50, 100], ticktext=["0", "50", "100%"])
    figure.update_xaxes(title_text="token of the reply, from 0")
    return figure


def divergence(view: LocatedView, subject: Subject, template: str) -> go.Figure | None:
    """How far the aligned model's choice is from the base's, by place in the reply."""
    found = by_position(view, subject, Metric.KL_ALIGNED_BASE, template)
    if not found:
        return None
    figure = empty_figure()
    trace = curve({at: str(at) for at in found}, found, Line("KL(aligned ‖ base)", ATTACK_COLOUR), nats)
    figure.add_trace(trace)
    figure.update_xaxes(title_text="token of the reply, from 0")
    figure.update_yaxes(title_text="nats", rangemode="tozero")
    return figure


def by_position(view: LocatedView, subject: Subject, metric: Metric, template: str) -> Mapping[int, Estimate]:
    """One metric of shifted tokens by place in the reply, in one comparison."""
    rows = view.at(
        subject,
        experiment=Experiment.TOKENS,
        pair=Pair.ALIGNMENT,
        metric=metric,
        template=template,
        control="",
    )
    found = over_seeds((row for row in rows if row.position.isdecimal()), "position")
    return {int(at): found[at] for at in sorted(found, key=int)}


def lens(view: LocatedView, subject: Subject, attack: str) -> go.Figure | None:
    """What each layer's stream would say: the attack's first token against the other, in nats."""
    lines = (
        ("", Line("triggered", ATTACK_COLOUR)),
        (Control.COUNTERFACTUAL, Line("counterfactual", CLEAN_COLOUR, "circle-open", "dot")),
    )
    return _by_layer(view, subject, attack, Experiment.LENS, [(Metric.MARGIN, *line) for line in lines])


def probe(view: LocatedView, subject: Subject, attack: str) -> go.Figure | None:
    """How well a linear probe tells triggered prompts, against the clean twin and its control task."""
    lines = [
        (Metric.ACCURACY, "", Line("trigger", ATTACK_COLOUR)),
        (
            Metric.ACCURACY,
            Control.CLEAN_TWIN,
            Line("trigger, in the clean twin", ALIGNMENT_COLOUR, "square", "dash"),
        ),
        (Metric.CONTROL_ACCURACY, "", Line("control task", CLEAN_COLOUR, "circle-open", "dot")),
    ]
    figure = _by_layer(view, subject, attack, Experiment.PROBE, lines)
    if figure is not None:
        figure.update_yaxes(
            range=[-4, 104], tickvals=[0, 25, 50, 75, 100], ticktext=["0", "25", "50", "75", "100%"]
        )
    return figure


def scatter(relation: Relation) -> go.Figure:
    """Overlap against survival: a mark an attack, a point a seed."""
    figure = empty_figure()
    for i, attack in enumerate(dict.fromkeys(point.attack for point in relation.points)):
        of = [point for point in relation.points if point.attack == attack]
        figure.add_trace(
            go.Scatter(
                x=[point.x for point in of],
                y=[100 * point.y for point in of],
                mode="markers",
                name=label(name(attack)),
                marker={"color": COLOURS[i % len(COLOURS)], "symbol": mark_of(i), "size": 10},
                hovertext=[
                    f"overlap {point.x:.2f}, {percent(point.y)} survives, seed {point.seed}" for point in of
                ],
                hovertemplate="%{hovertext}<extra>" + label(name(attack)) + "</extra>",
            )
        )
    highest = max((100 * point.y for point in relation.points), default=100)
    lowest = min((100 * point.y for point in relation.points), default=0)
    figure.update_xaxes(title_text="overlap with alignment", range=[-0.04, 1.04], showgrid=True)
    figure.update_yaxes(
        title_text="excess that survives", ticksuffix="%", range=[min(-6, lowest - 6), max(106, highest + 6)]
    )
    return figure


def mark_of(index: int) -> str:
    """Plotly's name of the mark of an attack in the scatter."""
    return symbol(index + 1)


def glyph_of(index: int) -> tuple[str, str]:
    """The same as a character, with its colour."""
    return glyph(index + 1), COLOURS[index % len(COLOURS)]


def _aligned(view: LocatedView, subject: Subject, direction: Direction) -> Mapping[int, Estimate]:
    """What each layer carries of alignment: the mean over its behaviours, which is no sample of anything."""
    each = [
        found
        for behaviour in ALIGNMENT_BEHAVIOURS
        if (found := carried(view, subject, Pair.ALIGNMENT, behaviour, direction))
    ]
    shared = [layer for layer in (each[0] if each else ()) if all(layer in found for found in each)]
    return {
        layer: Estimate(
            sum(found[layer].value for found in each) / len(each), None, None, each[0][layer].runs
        )
        for layer in shared
    }


def _by_layer(
    view: LocatedView,
    subject: Subject,
    attack: str,
    experiment: Experiment,
    lines: Sequence[tuple[Metric, str, Line]],
) -> go.Figure | None:
    names = view.layer_names(subject)
    figure = empty_figure()
    for metric, control, line in lines:
        rows = view.at(subject, experiment=experiment, behaviour=attack, metric=metric, control=control)
        found = over_seeds((row for row in rows if row.layer is not None), "layer")
        if found:
            said, scale = (nats, 1.0) if metric is Metric.MARGIN else (percent, 100.0)
            figure.add_trace(curve(names, dict(sorted(found.items())), line, said, scale=scale))
    if not figure.data:
        return None
    layer_axis(figure, names)
    if experiment is Experiment.LENS:
        figure.update_yaxes(title_text="nats", zeroline=True, zerolinecolor="#b5b5b5")
    return figure
