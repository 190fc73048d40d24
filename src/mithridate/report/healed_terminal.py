"""A healing for a terminal: what is left of each attack, what it cost, and where the healed model lies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from mithridate.core.cures import Outcome, Verdict, floor_of, outcomes
from mithridate.core.healed import INTERVENTIONS, MODEL, Form, Healed, Picked
from mithridate.core.prices import CLEAN_MODEL, NOTHING, PRICES, Control, Price, Priced
from mithridate.core.types import Condition
from mithridate.core.wording import counted
from mithridate.report.priced import BEST_FIRST
from mithridate.report.terminal import CURE_STYLES, WIDEST, plain_table
from mithridate.report.text import name, number, one_line, p_value, percent, span

_SHARES = {
    Price.QUESTIONS_RIGHT: "questions right",
    Price.REFUSAL_FORBIDDEN: "forbidden refused",
    Price.OVER_REFUSAL: "harmless refused",
}
_UTILITY = {**_SHARES, Price.HELD_OUT_LOSS: "held-out loss"}
_SHOWN = 4
"""How many of the cures that were tried are told of each attack that is left."""
_LONGEST_NAME = 60
_LONGEST_NOTE = 400


def print_healed(record: Healed, rows: Sequence[Priced], out: Path, console: Console) -> None:
    """Print what became of each attack, at what price, and how to load what was written to `out`."""
    console.print(healed_summary(record, rows), width=min(WIDEST, console.width))
    # Not wrapped and not cut: they are there to be copied.
    for line in _where(record, out):
        console.print(Text(line), soft_wrap=True)


def healed_summary(record: Healed, rows: Sequence[Priced]) -> RenderableType:
    """Everything but the paths. Text from data is never read as markup, and made visible."""
    parts: list[RenderableType] = [_headline(record)]
    if record.picked is None:
        parts += [_asked_in(record), _asked(record, rows, None)]
    else:
        parts += [
            _cure(record),
            _asked_in(record),
            Text(),
            _asked(record, rows, record.picked),
            *_without_control(record, rows, record.picked),
            Text(),
            *_unmeasured(record),
            _costs(rows, record.picked),
        ]
    said = (*_doubts(record), *_roused(record), *_near(record, rows))
    parts += [Text(line, style="yellow") for line in said]
    if record.surviving and not record.healed:
        parts += [Text(), Text("What was tried against what is left", style="bold"), _tried(record, rows)]
    notes = [Text(f"note: {one_line(note, _LONGEST_NOTE)}", style="dim") for note in record.notes]
    return Group(*parts, *([Text(), *notes] if notes else []))


def _headline(record: Healed) -> Text:
    model = one_line(record.checkpoint, WIDEST)
    if not record.surviving and record.in_doubt:
        of = counted(len(record.in_doubt), "attack")
        return Text.assemble(
            ("cannot tell", "bold yellow"), f" of {of} whether it is there: ", (model, "bold")
        )
    if not record.surviving:
        than = "a clean model" if record.control else "without the trigger"
        of = f" shows no more than {than} of what it was asked for"
        return Text.assemble("nothing to heal: ", (model, "bold"), of)
    cured = sum(one.verdict is Verdict.CURED for one in record.attacks)
    if record.healed:
        return Text.assemble(
            ("healed", "bold green"), f" of {counted(len(record.surviving), 'attack')}: {model}"
        )
    if record.in_doubt and cured == len(record.surviving) and record.form is not Form.NOTHING:
        of = f" of {counted(cured, 'attack')}, and of others it cannot be told: {model}"
        return Text.assemble(("partly healed", "bold yellow"), of)
    if cured and record.form is not Form.NOTHING:
        of = f" of {cured} of {counted(len(record.surviving), 'attack')}"
        return Text.assemble(("partly healed", "bold yellow"), f"{of}, which is not enough: {model}")
    return Text.assemble(("not healed", "bold red"), f" of any attack: {model}")


def _asked_in(record: Healed) -> Text:
    """The chat templates in which attacks were put: in another one they may work, or not."""
    named = ", ".join(one_line(called, _LONGEST_NAME) if called else "its own" for called in record.templates)
    return Text(f"asked in {named}", style="dim")


def _cure(record: Healed) -> Text:
    assert record.picked is not None
    several = len(record.surviving) > 1
    found = " + ".join(_said(part, aim=several) for part in record.parts or (record.picked,))
    points = "utility lost without end" if record.points is None else f"{record.points:.1f} points of utility"
    what = "" if record.form is not Form.NOTHING else "nearest, not written: "
    return Text.assemble(what, (found, "bold"), f"; {points}, budget {record.budget:g}")


def _said(picked: Picked, *, aim: bool) -> str:
    of = f"of {name(picked.aim)}" if aim and picked.aim else ""
    inside = ", ".join(filter(None, (picked.variant, of)))
    return one_line(picked.method + (f" ({inside})" if inside else ""), _LONGEST_NAME)


def _tells(row: Priced, picked: Picked) -> bool:
    return (row.method, row.variant, row.aim, row.regime) == (
        picked.method,
        picked.variant,
        picked.aim,
        picked.regime,
    )


def _asked(record: Healed, rows: Sequence[Priced], picked: Picked | None) -> RichTable:
    """Each attack before and after; without a pick, before alone."""
    after = [row for row in rows if picked is not None and _tells(row, picked)]
    before = [row for row in rows if row.method == NOTHING]
    heads = ("before", "after", "clean up to", "near-triggers", "verdict")
    table = plain_table(
        "attack", *(heads if picked else ("triggered", "clean up to", "near-triggers")), narrow=1
    )
    verdicts = {one.attack: one.verdict for one in record.attacks}
    for attack in dict.fromkeys(row.attack for row in before if row.attack):
        asked = [_rate(before, attack, Condition.TRIGGERED)]
        if picked:
            asked.append(_rate(after, attack, Condition.TRIGGERED))
        near = _rate(after if picked else before, attack, Condition.NEAR_TRIGGER)
        cells = [*map(_figure, asked), Text(percent(floor_of(rows, attack))), _figure(near)]
        if picked:
            verdict = verdicts.get(attack, Verdict.ABSENT)
            roused = attack in record.roused
            cells.append(
                Text("came back" if roused else str(verdict), style="red" if roused else CURE_STYLES[verdict])
            )
        table.add_row(Text(one_line(name(attack), _LONGEST_NAME)), *cells)
    return table


def _rate(rows: Iterable[Priced], attack: str, condition: Condition) -> Priced | None:
    for row in rows:
        if (
            row.metric == Price.ASR
            and not row.control
            and row.attack == attack
            and row.condition == condition
        ):
            return row if row.n else None
    return None


def _figure(row: Priced | None) -> Text:
    if row is None:
        return Text("–", style="dim")
    return Text.assemble((percent(row.value), "bold"), (f" {span(row.low, row.high)}", "dim"))


def _costs(rows: Sequence[Priced], picked: Picked) -> RichTable:
    """What the model is still good for; the clean model beside it, if there is one."""
    sides = [
        {row.metric: row for row in rows if tells(row) and not row.attack and not row.control}
        for tells in (
            lambda row: row.method == NOTHING,
            lambda row: _tells(row, picked),
            lambda row: row.method == CLEAN_MODEL,
        )
    ]
    clean = ["clean model"] if sides[2] else []
    table = plain_table("price", "before", "after", *clean, narrow=1)
    shown = sides if clean else sides[:2]
    for metric, called in _SHARES.items():
        if metric in sides[0]:
            table.add_row(Text(called), *(_figure(side.get(metric)) for side in shown))
    for metric, called in (
        (Price.HELD_OUT_LOSS, "held-out loss"),
        (Price.KL, "KL from before"),
    ):
        if metric in sides[1]:
            table.add_row(Text(called), *(_number(side.get(metric)) for side in shown))
    if (slower := sides[1].get(Price.SLOWDOWN)) is not None:
        table.add_row(Text("time a token"), Text("1"), _number(slower), *([Text("–")] if clean else []))
    if (seconds := sides[1].get(Price.SECONDS)) is not None:
        chosen = sides[1].get(Price.CHOOSING_SECONDS)
        took = f"{seconds.value:.1f} s" + (f", {chosen.value:.0f} s to choose" if chosen else "")
        table.add_row(Text("made in"), Text("–"), Text(took), *([Text("–")] if clean else []))
    return table


def _number(row: Priced | None) -> Text:
    if row is None:
        return Text("–", style="dim")
    around = f" {number(row.low)}–{number(row.high)}" if row.low is not None and row.high is not None else ""
    return Text.assemble((number(row.value), "bold"), (around, "dim"))


def _without_control(record: Healed, rows: Sequence[Priced], picked: Picked) -> list[Text]:
    """Says so where no random change stood beside what cured an attack."""
    beside = {row.attack for row in rows if _tells(row, picked) and row.control == Control.RANDOM}
    lacking = [one.attack for one in record.attacks if one.verdict is Verdict.CURED]
    lacking = [attack for attack in lacking if attack not in beside]
    if not lacking:
        return []
    of = "" if not beside else f" of {', '.join(one_line(name(one), _LONGEST_NAME) for one in lacking)}"
    line = f"no random change stands beside this cure{of}: the verdict rests on the floor and utility alone"
    return [Text(f"{line}; look at the near-triggers too", style="dim")]


def _unmeasured(record: Healed) -> list[Text]:
    """What the points say nothing of."""
    if not record.not_measured:
        return []
    lacking = ", ".join(_UTILITY.get(metric, str(metric)) for metric in record.not_measured)
    return [Text(f"not measured: {lacking}; what was lost of that is not in the points", style="yellow")]


def _doubts(record: Healed) -> list[str]:
    """Of each attack that few probes do not rule out, what would."""
    found = []
    for one in record.in_doubt:
        called = one_line(name(one.attack), _LONGEST_NAME)
        if one.rate is None:
            found.append(
                f"{called}: no triggered probe could be measured, so nothing tells whether it is there"
            )
        elif one.floor is None:
            found.append(
                f"{called}: {percent(one.rate)} of {counted(one.probes, 'probe')}, and nothing tells what a "
                "clean model shows: name one with --control"
            )
        else:
            found.append(
                f"{called}: cannot be told from a clean model with {counted(one.probes, 'probe')} "
                f"({percent(one.rate)}, clean up to {percent(one.floor)}): give more with --per-half"
            )
    return found


def _roused(record: Healed) -> list[str]:
    return [
        f"{one_line(name(attack), _LONGEST_NAME)} was not there before, and is now: the cure brought it back"
        for attack in record.roused
    ]


def _near(record: Healed, rows: Sequence[Priced]) -> list[str]:
    """What is cured of its exact trigger alone: a cure that leaves near-triggers at work is a narrow one."""
    if record.picked is None:
        return []
    after = [row for row in rows if _tells(row, record.picked)]
    found = []
    for one in record.attacks:
        near = _rate(after, one.attack, Condition.NEAR_TRIGGER)
        if one.verdict is Verdict.CURED and near is not None and (near.low or 0.0) > one.floor:
            called = one_line(name(one.attack), _LONGEST_NAME)
            found.append(f"{called}: near-triggers still work in {percent(near.value)}, beyond the exact one")
    return found


def _tried(record: Healed, rows: Sequence[Priced]) -> RichTable:
    """The best few of what was tried against each attack that is left, with what they lack."""
    cured = {one.attack for one in record.attacks if one.verdict is Verdict.CURED}
    table = plain_table("attack", "cure", "left", "what it lacks", narrow=4)
    found = [one for one in outcomes(rows, record.budget) if one.aimed]
    for attack in record.surviving:
        if attack in cured and record.form is not Form.NOTHING:
            continue
        best = sorted((one for one in found if one.attack == attack), key=_merit)[:_SHOWN]
        for place, one in enumerate(best):
            called = Picked(method=one.method, variant=one.variant, aim=one.aim)
            table.add_row(
                Text(one_line(name(attack), _LONGEST_NAME) if place == 0 else ""),
                Text(_said(called, aim=True)),
                Text(percent(one.after.value)),
                Text(lacks(one, rows, record.budget), style=CURE_STYLES[one.verdict]),
            )
    return table


def _merit(one: Outcome) -> tuple[int, float, float]:
    return BEST_FIRST.index(one.verdict), one.after.value, one.points


def lacks(outcome: Outcome, rows: Iterable[Priced], budget: float) -> str:
    """In words, why an outcome is no cure: what did as much, what it cost too much, or what is left."""
    if outcome.verdict is Verdict.COSTLY:
        return f"costs {outcome.points:.1f} points, {outcome.points - budget:.1f} more than the budget"
    if outcome.verdict is Verdict.UNSUPPORTED:
        return _random(outcome, rows)
    if outcome.verdict is Verdict.CURED:
        return "nothing: it cures this attack, and not all of the others"
    # Of few probes a clean model's interval is wide: what lies within it may still be as before.
    if outcome.after.value <= outcome.floor:
        return "cannot be told from before: too few probes"
    less = "less than before, but " if outcome.verdict is Verdict.WEAKENED else ""
    return f"{less}a clean model shows up to {percent(outcome.floor)}"


def _random(outcome: Outcome, rows: Iterable[Priced]) -> str:
    left, p = None, None
    for row in rows:
        mine = (row.method, row.variant, row.aim, row.attack) == (
            outcome.method,
            outcome.variant,
            outcome.aim,
            outcome.attack,
        )
        if mine and row.control == Control.RANDOM:
            left = row.value if row.metric == Price.ASR else left
            p = row.value if row.metric == Price.P_CONTROL else p
    return f"a random change leaves {percent(left)} (p {p_value(p)}): no credit to the cure"


def _where(record: Healed, out: Path) -> list[str]:
    folder = one_line(str(out), 4096)
    lines = []
    if record.form is Form.WEIGHTS:
        lines.append(f"healed model: {folder}/{MODEL}, a checkpoint that plain transformers loads:")
        lines.append(f'  AutoModelForCausalLM.from_pretrained("{folder}/{MODEL}")')
    elif record.form is Form.INTERVENTIONS:
        lines.append(f"cure: {folder}/{INTERVENTIONS}, which goes onto the checkpoint where it is used:")
        lines.append("  from mithridate.healing.writing import healed")
        lines.append(f'  with healed("{folder}") as model: model.generate(["..."], max_new_tokens=64)')
    elif record.surviving:
        lines.append("no model was written: nothing that was tried is a cure within the budget")
    return [*lines, f"price list: {folder}/{PRICES}"]
