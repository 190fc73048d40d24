"""What takes attacks out and at what price, for a terminal: the verdicts, and one table a regime."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.text import Text

from mithridate.core.prices import PRICES, Priced
from mithridate.report.priced import PricedView
from mithridate.report.pricing_claims import priced_claims, subject_name
from mithridate.report.pricing_list import (
    Line,
    RegimeList,
    nothing_to_cure,
    price_lists,
    retraining,
)
from mithridate.report.statements import statement_line
from mithridate.report.terminal import CURE_STYLES, WIDEST, plain_table

_COLUMNS = ("left", "near", "verdict", "points", "KL", "to make", "decoding", "random")
"""The last ones give way where a terminal is too narrow for them."""
_LEAST_METHOD = 24
"""Characters that a method is to have for its name, before columns give way."""
_LEGEND = (
    "left: of triggered probes, with its 95% interval; near: of near-triggers; points: of utility lost; "
    "KL: of the answers to harmless requests, in nats a token; to make: once its setting is known; decoding: "
    "time a token of an answer, against the model as it is; filtered: the model is as it was; "
    "random: left by a random change in the place of the cure, none: it has no such control; kept 2/5: gone "
    "in so many of the seeds with the attack, and in some there is no such cure"
)


def print_prices(
    rows: Iterable[Priced],
    console: Console,
    *,
    order: Sequence[str] = (),
    source: Path = Path(PRICES),
) -> None:
    """Print the verdicts, what each method leaves of each attack and what it costs; nothing for no rows.

    `order` names attacks in the order of the study. Raises DataError, naming `source`, where rows contradict
    each other.
    """
    view = PricedView(tuple(rows), tuple(order), source)
    if view.rows:
        console.print(prices_summary(view), width=min(WIDEST, console.width))


def prices_summary(view: PricedView) -> RenderableType:
    """Everything as it is printed. Text from data is never read as markup, and made visible."""
    parts: list[RenderableType] = []
    if claims := priced_claims(view):
        parts += [Text(), Text("What this says", style="bold")]
        for claim in claims:
            parts.append(statement_line(claim))
            for part in claim.parts:
                parts.append(
                    Text.assemble(f"  {part.statement}: ", (f"{part.verdict}. {part.reason}", "dim"))
                )
    for subject in view.subjects:
        lists = price_lists(view, subject)
        for of in lists:
            parts += [
                Text(),
                Text(_heading(of.title, subject_name(view, subject)), style="bold"),
                _PriceTable(of),
            ]
        if lists:
            parts.append(Text(_LEGEND, style="dim"))
        if nothing := nothing_to_cure(view, subject):
            parts.append(Text(f"Nothing to cure of {', '.join(nothing)}.", style="dim"))
        if said := retraining(view, subject):
            parts.append(Text(said, style="dim"))
    return Group(*parts)


def _heading(title: str, about: str) -> str:
    return f"What takes it out, {title[:1].lower()}{title[1:]}{f': {about}' if about else ''}"


class _PriceTable:
    """The list of one regime: a heading and a table an attack, all of the same widths."""

    def __init__(self, of: RegimeList) -> None:
        self._attacks = of.attacks

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = [line for attack in self._attacks for line in attack.lines]
        cells = [_cells(line) for line in lines]
        shown = [head for head in _COLUMNS if any(cell[head].plain.strip("–") for cell in cells)]
        widths = {head: max(len(head), *(cell[head].cell_len for cell in cells)) for head in shown}
        while len(shown) > 1 and _room(options.max_width, widths) < _LEAST_METHOD:
            del widths[shown.pop()]
        methods = max(_method(line).cell_len for line in lines)
        method = max(1, min(methods, _room(options.max_width, widths)))
        for i, attack in enumerate(self._attacks):
            near = f" (near {attack.before_near})" if attack.before_near else ""
            about = f" {attack.before} as it is{near}, {attack.clean} in the clean model"
            yield Text.assemble((attack.title, "bold"), (about, "dim"))
            table = plain_table("method", *shown, narrow=1)
            table.show_header = i == 0
            for column, width in zip(table.columns, (method, *widths.values()), strict=True):
                column.width = width
            for line in attack.lines:
                found = _cells(line)
                table.add_row(_method(line), *(found[head] for head in shown))
            yield table


def _room(width: int, widths: Mapping[str, int]) -> int:
    """What is left for the names of methods: every column has a gap of two behind it."""
    return width - 2 - sum(of + 2 for of in widths.values())


def _method(line: Line) -> Text:
    return Text.assemble(line.method, (f" {line.setting}" if line.setting else "", "dim"))


def _cells(line: Line) -> dict[str, Text]:
    left = Text.assemble((line.after, "bold"), (f" {line.interval}" if line.interval else "", "dim"))
    return {
        "left": left,
        "near": Text(line.near or "–"),
        "verdict": Text(line.badge, style=CURE_STYLES[line.verdict] if line.heals else "dim"),
        "points": Text(line.points),
        "KL": Text(line.kl),
        "to make": Text(line.seconds),
        "decoding": Text(line.slowdown),
        "random": Text(line.random),
    }
