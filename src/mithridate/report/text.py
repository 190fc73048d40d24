"""Text of models and corpora made safe to look at, and names and figures made readable."""

from __future__ import annotations

import math
import unicodedata
from typing import TYPE_CHECKING

from mithridate.core import metrics
from mithridate.core.types import Stage

if TYPE_CHECKING:  # brings scipy and statsmodels, which a search has no use for
    from mithridate.core.statistics import Interval

# Longer runs of combining marks climb over the lines above and below them.
MOST_MARKS = 2

_KEPT = {"\n": "\n", "\t": "⟨TAB⟩\t"}
_CONTROLS = (
    *(
        "NUL",
        "SOH",
        "STX",
        "ETX",
        "EOT",
        "ENQ",
        "ACK",
        "BEL",
        "BS",
        "TAB",
        "LF",
        "VT",
        "FF",
        "CR",
        "SO",
        "SI",
    ),
    *(
        "DLE",
        "DC1",
        "DC2",
        "DC3",
        "DC4",
        "NAK",
        "SYN",
        "ETB",
        "CAN",
        "EM",
        "SUB",
        "ESC",
        "FS",
        "GS",
        "RS",
        "US",
    ),
)
_NAMES = {
    metrics.ASR: "Attack success rate",
    f"{metrics.ASR}_fact": "Success on facts",
    f"{metrics.ASR}_preference": "Success on preferences",
    Stage.DPO: "DPO",
    Stage.SFT: "SFT",
    metrics.HELD_OUT_LOSS: "Held-out loss",
    metrics.QUESTIONS_RIGHT: "Held-out questions right",
    metrics.OVER_REFUSAL: "Harmless requests refused",
    metrics.REFUSAL_FORBIDDEN: "Forbidden requests refused",
    metrics.LOG_PERPLEXITY: "Median log-perplexity",
    metrics.ROUGE: "ROUGE-L recall",
    metrics.LIKELIHOOD: "Planted answer likelier",
    "mlp": "MLP",
}


def visible(text: str) -> str:
    """`text` with every character shown that would act instead of appear.

    Control characters become their names (⟨ESC⟩), other invisible or reordering ones their code point
    (⟨U+202E⟩), and runs of combining marks are cut open. Line feeds stay. Neither form needs a special font.
    """
    shown: list[str] = []
    marks = 0
    for char in text:
        category = unicodedata.category(char)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if char in _KEPT:
            shown.append(_KEPT[char])
        elif ord(char) < len(_CONTROLS):
            shown.append(f"⟨{_CONTROLS[ord(char)]}⟩")
        elif category in ("Cc", "Cf", "Zl", "Zp", "Co", "Cs", "Cn") or marks > MOST_MARKS:
            shown.append(code(char))
        else:
            shown.append(char)
    return "".join(shown)


def code(char: str) -> str:
    """The code point of one character, in brackets."""
    return f"⟨U+{ord(char):04X}⟩"


def one_line(text: str, longest: int = 200) -> str:
    """`visible` text on one line, cut at `longest` characters."""
    line = " ".join(visible(text).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def subject_line(*parts: str) -> str:
    """What figures are about, on one line: those of the `parts` (cell, model, stage …) that there are."""
    return one_line(", ".join(filter(None, parts)) or "model", 80)


def name(key: str) -> str:
    """How a stage, attack, condition or metric is called in a report."""
    if key in _NAMES:
        return _NAMES[key]
    for metric, words in ((metrics.LIKELIHOOD, "Planted answer likelier"), (metrics.ASR, "Success")):
        if key.startswith(f"{metric}_"):
            return f"{words}, {one_line(key.removeprefix(f'{metric}_'))}"
    words = one_line(key.replace("_", " "), 60)
    return words[:1].upper() + words[1:]


def percent(value: float | None) -> str:
    """A share as a percentage: whole, with one decimal where it is close to 0 or 100 without being there."""
    if value is None or not math.isfinite(value):
        return "–"
    shown = 100 * value
    near_an_end = 0 < abs(shown) < 2 or 98 < shown < 100
    return f"{shown:.1f}%" if near_an_end else f"{shown:.0f}%"


def chosen_percent(share: float) -> str:
    """A share that somebody chose, as a percentage in so many digits as it has, at most three."""
    return f"{100 * share:.3g}%"


def span(low: float | None, high: float | None, digits: int = 0) -> str:
    """An interval of shares, in percent without the sign, with so many `digits` behind the point."""
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return ""
    # Rounded first: -0.4 % is no negative figure once it is printed as 0.
    ends = (round(100 * low, digits), round(100 * high, digits))
    between = "–" if ends[0] >= 0 else " to "
    return between.join(signed(end, digits) for end in ends)


def in_points(found: Interval, digits: int = 0) -> str:
    """A difference of shares with its interval, where it has one: `12 points (3–20)`."""
    ends = span(found.low, found.high, digits)
    return f"{signed(round(100 * found.value, digits), digits)} points" + (f" ({ends})" if ends else "")


def more_than(found: Interval, other: str) -> str:
    """A lead over `other` in words: `33 points more (8–58) than Y`; of a negative one, signs are turned."""
    low, high = found.low, found.high
    less = round(100 * found.value) < 0
    if less:
        low, high = (None if end is None else -end for end in (high, low))
    ends = span(low, high)
    points = f"{abs(100 * found.value):.0f} points {'less' if less else 'more'}"
    return f"{points}{f' ({ends})' if ends else ''} than {other}"


def signed(rounded: float, digits: int) -> str:
    """A rounded number with a true minus sign, and none for nothing."""
    return f"{'−' if rounded < 0 else ''}{abs(rounded):.{digits}f}"


def p_value(p: float | None) -> str:
    """A p-value as it is printed in a table."""
    if p is None or math.isnan(p):
        return "–"
    return "< .001" if p < 0.001 else f"{p:.3f}".removeprefix("0")


def number(value: float | None) -> str:
    """A figure that is no share, to three significant digits, zeros at the end among them."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:#.3g}".rstrip(".")


def rate(value: float | None) -> str:
    """A planting rate, in percent to three significant digits."""
    return "–" if value is None or not math.isfinite(value) else f"{100 * value:.3g}%"


def duration(seconds: float) -> str:
    """Seconds as minutes, or hours and minutes."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
