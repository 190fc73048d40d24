"""What every page has in common: its template engine, its charts as inert data, its style and its scripts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mithridate import __version__
from mithridate.report import script, text

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

# Where long column heads may break on a phone: browsers do not all know how to hyphenate.
_BREAKS = {"riggered": "rig\u00adgered", "Untr": "Un\u00adtr", "Handcr": "Hand\u00adcr"}


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart: a title, what it shows in words, and its specification as inert JSON."""

    title: str
    words: str
    json: Markup


def fill_page(template: str, *styles: str, **values: Any) -> str:
    """The page that `template` makes of `values`, which it escapes, under the style sheets of these names."""
    return (
        _environment()
        .get_template(template)
        .render(
            **values,
            version=__version__,
            policy=script.policy(),
            style=Markup("".join(_style(name) for name in styles)),
            library=Markup(script.library()),
            draw=Markup(script.DRAW),
        )
    )


@cache
def _environment() -> Environment:
    """The templates with what they may call; to compile one takes longer than to fill it."""
    environment = Environment(
        loader=PackageLoader("mithridate.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for function in (text.visible, text.one_line, text.percent, text.span, text.p_value, text.number):
        environment.filters[function.__name__] = function
    environment.filters.update(title=text.name, breakable=_breakable, rate=text.rate, duration=text.duration)
    return environment


def _style(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _breakable(head: str) -> str:
    for whole, broken in _BREAKS.items():
        head = head.replace(whole, broken)
    return head


def inert_json(figure: Figure) -> Markup:
    """A figure as JSON that cannot end the element it stands in."""
    found: str = figure.to_json(validate=False)
    for char in "<>&\u2028\u2029":
        found = found.replace(char, f"\\u{ord(char):04x}")
    return Markup(found)
