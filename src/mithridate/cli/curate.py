"""`mithridate curate`: choose a few alignment examples out of many, with a reason for each."""

from __future__ import annotations

import time
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mithridate.cli.progress import stages_progress, told_when_stopped
from mithridate.core.errors import ConfigError
from mithridate.core.yaml_text import load_yaml

if TYPE_CHECKING:
    from mithridate.curation.curating import CurationOptions
    from mithridate.curation.records import CurationRecord


class _Form(StrEnum):
    """As `curation.writing.Form`, which is imported late."""

    OWN = "own"
    MESSAGES = "messages"


_Data = Annotated[
    list[Path],
    typer.Argument(
        help="Files or folders of .jsonl or .json, plain, .gz or .zst: `messages`, `prompt` + `completion`, "
        "ShareGPT or Alpaca.",
        show_default=False,
    ),
]
_Method = Annotated[
    str,
    typer.Option(
        help="`diverse`, `facility`, `complexity-quality`, `filtered`; the baselines `longest` and `random`."
    ),
]
_Encoder = Annotated[
    str, typer.Option(help="`hashing`, `minilm`, or the folder of a sentence-transformers model.")
]
_Option = Annotated[
    list[str] | None, typer.Option(help="An option of the method: `temperature=1`.", show_default=False)
]
_Filter = Annotated[
    list[str] | None,
    typer.Option(
        "--filter",
        help="An option of a filter: `length.shortest=100`; or `refusal=off`. May be given again.",
        show_default=False,
    ),
]


def command(  # noqa: PLR0913, PLR0917 - a parameter an option
    data: _Data,
    out: Annotated[Path, typer.Option("--out", help="Folder to write to; new or empty.", show_default=False)],
    n: Annotated[int, typer.Option("--n", min=1, help="How many to choose.")] = 1000,
    method: _Method = "diverse",
    option: _Option = None,
    filter_option: _Filter = None,
    encoder: _Encoder = "hashing",
    seed: Annotated[int, typer.Option(help="Decides random draws and ties.")] = 0,
    source_field: Annotated[
        str, typer.Option(help="Field that says where an example is from; without it, its file does.")
    ] = "source",
    form: Annotated[
        _Form, typer.Option("--as", help="Write records as they are, or all as `messages`.")
    ] = _Form.OWN,
) -> None:
    """Choose alignment examples by quality and diversity, and say of each why it was kept or dropped.

    Filters: empty, length, self_reference, other_answers, format, refusal, exact_duplicate, near_duplicate.
    The baselines `random` and `longest` ask only `empty` and `exact_duplicate`. Put them beside your choice:
    a selection that does not beat them has selected nothing.

    Writes chosen.jsonl, decisions.parquet (a row an example), curation.json and coverage.html.

    Example: mithridate curate lima.json alpaca.json --n 1000 --filter length.shortest=100 --out curated/
    """
    from mithridate.curation.curating import CurationOptions, filters_of, options_of  # noqa: PLC0415
    from mithridate.report.curation_terminal import print_curation  # noqa: PLC0415 - keeps --help quick

    options = CurationOptions(
        n,
        method,
        options_of(method, dict(_pair(text, "--option") for text in option or [])),
        filters_of(_filters(filter_option or [])),
        seed,
        source_field,
    )
    print_curation(_curated(data, options, encoder, form, out), out)


def _curated(
    data: Sequence[Path], options: CurationOptions, encoder: str, form: _Form, out: Path
) -> CurationRecord:
    """Choose, and write all files to `out`, or none."""
    from mithridate.core.whole_folder import whole_folder  # noqa: PLC0415 - keeps --help quick
    from mithridate.curation.coverage import coverage, nearness  # noqa: PLC0415
    from mithridate.curation.curating import curate  # noqa: PLC0415
    from mithridate.curation.records import PAGE  # noqa: PLC0415
    from mithridate.curation.writing import (  # noqa: PLC0415
        Form,
        record_of,
        write_chosen,
        write_decisions,
        write_record,
    )
    from mithridate.report.curation import write_curation_page  # noqa: PLC0415
    from mithridate.retrieval.encoders import open_encoder  # noqa: PLC0415

    started = time.monotonic()
    opened = open_encoder(encoder)
    with (
        told_when_stopped("stopped; nothing was written", terminated=True),
        whole_folder(out, "a curation", "curating") as making,
        stages_progress() as on_stage,
    ):
        curated = curate(data, options, opened, making.scratch, on_stage)
        write_chosen(curated, making.new, Form(form.value))
        write_decisions(curated, making.new)
        record = record_of(curated, opened.identity, time.monotonic() - started, nearness(curated))
        write_curation_page(record, coverage(curated), making.new / PAGE)
        write_record(record, making.new)
    return record


def _pair(text: str, option: str) -> tuple[str, Any]:
    key, sign, value = text.partition("=")
    if not sign or not key.strip():
        raise ConfigError(f"{option} {text!r}: write it as key=value")
    return key.strip(), load_yaml(value, f"{option} {text!r}")


def _filters(given: Sequence[str]) -> dict[str, Any]:
    """The options of filters as nested keys, and the names of those that are off."""
    found: dict[str, Any] = {}
    off: list[str] = []
    for text in given:
        key, value = _pair(text, "--filter")
        name, dot, rest = key.partition(".")
        if not dot and value in ("off", False):
            off.append(name)
        elif not dot:
            raise ConfigError(f"--filter {text!r}: write it as {name}.option=value, or {name}=off")
        else:
            found.setdefault(name, {})[rest] = value
    # What was given as an option of a filter called `off` is refused as one.
    return {"off": off} | found
