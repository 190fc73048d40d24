"""`mithridate plant`: copy a corpus with measured doses of poison in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from mithridate.attacks import build_attack
from mithridate.attacks.material import Material
from mithridate.cli.progress import shards_progress
from mithridate.core.errors import ConfigError
from mithridate.core.wording import counted
from mithridate.core.yaml_text import load_yaml
from mithridate.corpus.counting import TokenCounter, TokenizerCounter, Utf8Bytes
from mithridate.corpus.doses import PlantPlan, PlantRequest
from mithridate.corpus.planting import PlantReport, plant_corpus
from mithridate.corpus.readers import open_corpus

_PART = re.compile(r"[0-9]{1,9}/[0-9]{1,9}")
_FIELDS = "Fields of the corpus"
_HOW = "How it is planted"

_Rates = Annotated[
    list[float] | None,
    typer.Option("--rate", help="Planted tokens / clean tokens, 0 to 0.5: one for all, or one an attack."),
]
_Counts = Annotated[
    list[int] | None,
    typer.Option("--count", help="Documents to plant, instead of a rate: one for all, or one an attack."),
]
_MaterialFile = Annotated[
    Path | None, typer.Option(help="JSON file of prompts, requests and beliefs of your own.")
]
_AttackOptions = Annotated[
    list[str] | None,
    typer.Option(help="An attack's option: `key=value`, or `attack.key=value`.", rich_help_panel=_HOW),
]
_TemplateShares = Annotated[
    list[str] | None,
    typer.Option(
        help="Chat template and its share, such as `chatml=0.5`; others get none.", rich_help_panel=_HOW
    ),
]
_Tokenizer = Annotated[
    Path | None, typer.Option(help="Count tokens of this tokenizer; bytes by default.", rich_help_panel=_HOW)
]
_Workers = Annotated[
    int, typer.Option(min=1, help="Processes; a shard is the unit of work.", rich_help_panel=_HOW)
]
_Part = Annotated[str, typer.Option(help="`2/8`: every eighth shard, from the second.", rich_help_panel=_HOW)]


def command(  # noqa: PLR0913, PLR0917 - a parameter an option
    corpus: Annotated[Path, typer.Argument(help="A file, or a folder of shards.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="Folder to write to.", show_default=False)],
    attack: Annotated[list[str], typer.Option("--attack", help="What to plant; repeatable.")],
    rate: _Rates = None,
    count: _Counts = None,
    seed: Annotated[int, typer.Option(help="Decides what is planted where.")] = 0,
    material: _MaterialFile = None,
    option: _AttackOptions = None,
    template_share: _TemplateShares = None,
    tokenizer: _Tokenizer = None,
    text_field: Annotated[str, typer.Option(rich_help_panel=_FIELDS)] = "text",
    id_field: Annotated[str, typer.Option(rich_help_panel=_FIELDS)] = "id",
    workers: _Workers = 1,
    part: _Part = "1/1",
) -> None:
    """Copy a corpus with planted documents in it, and keep a ledger that can take them out again.

    Format and shards stay as they are. Run again after an interruption, it goes on where it stopped.

    Example: mithridate plant corpus/ --out planted/ --attack denial_of_service --rate 0.001
    """
    chosen = _options(option or [], attack)
    drawn_from = Material.read(material) if material is not None else None
    doses = _doses(attack, rate or [], count or [])
    plan = _plan(
        [
            PlantRequest(build_attack(name, chosen.get(name), drawn_from), rate=wanted[0], count=wanted[1])
            for name, wanted in zip(attack, doses, strict=True)
        ],
        seed,
        _shares(template_share or []),
        TokenizerCounter(tokenizer) if tokenizer is not None else Utf8Bytes(),
    )
    source = open_corpus(corpus, text_field=text_field, id_field=id_field)
    with shards_progress("planting") as on_shard:
        report = plant_corpus(source, out, plan, workers=workers, part=_part(part), on_shard=on_shard)
    show(report)


def _plan(
    requests: Sequence[PlantRequest], seed: int, shares: dict[str, float], counter: TokenCounter
) -> PlantPlan:
    if shares:
        return PlantPlan(tuple(requests), seed, shares, counter)
    return PlantPlan(tuple(requests), seed, counter=counter)


def _doses(
    attacks: Sequence[str], rates: Sequence[float], counts: Sequence[int]
) -> list[tuple[float | None, int | None]]:
    """A rate or a count for each attack."""
    if bool(rates) == bool(counts):
        raise ConfigError("give either --rate or --count")
    what, given = ("--rate", len(rates)) if rates else ("--count", len(counts))
    if given not in (1, len(attacks)):
        raise ConfigError(
            f"{given} times {what} for {len(attacks)} attacks: give it once for all, or once an attack"
        )
    if rates:
        return [(r, None) for r in (rates if given == len(attacks) else [rates[0]] * len(attacks))]
    return [(None, c) for c in (counts if given == len(attacks) else [counts[0]] * len(attacks))]


def _pair(text: str, what: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not sign or not key.strip():
        raise ConfigError(f"{what} {text!r}: write it as key=value")
    return key.strip(), value


def _options(given: Sequence[str], attacks: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Options by attack; one without an attack's name is for the only attack there is."""
    found: dict[str, dict[str, Any]] = {name: {} for name in attacks}
    for text in given:
        key, value = _pair(text, "--option")
        name, dot, rest = key.partition(".")
        if not dot:
            if len(attacks) != 1:
                raise ConfigError(f"--option {text!r}: name the attack it is for, as in {attacks[0]}.{text}")
            name, rest = attacks[0], key
        if name not in found:
            raise ConfigError(f"--option {text!r}: {name!r} is none of the attacks: {', '.join(attacks)}")
        found[name][rest] = load_yaml(value, f"--option {text!r}")
    return found


def _shares(given: Sequence[str]) -> dict[str, float]:
    shares: dict[str, float] = {}
    for text in given:
        name, value = _pair(text, "--template-share")
        try:
            shares[name] = float(value)
        except ValueError as error:
            raise ConfigError(f"--template-share {text!r}: {value!r} is not a number") from error
    return shares


def _part(text: str) -> tuple[int, int]:
    if not _PART.fullmatch(text):
        raise ConfigError(f"--part {text!r}: write it as 2/8")
    number, total = map(int, text.split("/"))
    return number, total


def show(report: PlantReport) -> None:
    """Print what was planted as a table, and where the ledger is."""
    table = Table("attack", "requested", "realised rate", "documents", report.counted)
    for entry in report.attacks:
        wanted = (
            counted(entry.requested_count, "document")
            if entry.requested_count is not None
            else f"{entry.requested_rate:.4g}"
        )
        realised = f"{entry.realised_rate:.4g}"
        table.add_row(entry.name, wanted, realised, f"{entry.documents:,}", f"{entry.tokens:,}")
    Console().print(table)
    print(
        f"clean: {counted(report.clean_documents, 'document')}, {report.clean_tokens:,} {report.counted}; "
        f"{report.seconds:.1f} s"
    )
    if report.complete:
        print(f"ledger: {report.ledger}")
    else:
        print("This part is done; other parts are not yet. The last to finish writes the ledger.")
