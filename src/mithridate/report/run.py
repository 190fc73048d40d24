"""A run directory as data: what was studied, planted, trained, asked and measured."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from mithridate.core.errors import ConfigError, DataError, RunStateError, shown
from mithridate.core.metrics import UTILITY
from mithridate.core.run_files import CURVES, LEDGER, MEASUREMENTS, SAMPLES, STUDY, SUMMARY, CurveRow
from mithridate.core.tables import read_rows
from mithridate.core.types import Measurement, Sample
from mithridate.core.yaml_text import load_yaml

REQUIRED = {
    STUDY: "the resolved study",
    LEDGER: "what was planted",
    CURVES: "the training curves",
    SAMPLES: "the judged answers",
    MEASUREMENTS: "the figures",
}


_ANEW = "Put it back as the run wrote it: `mithridate run --dry-run` with the study's own file prints it"


@dataclass(frozen=True, slots=True)
class Planted:
    """Planted documents of one cell, dose, attack, sub-kind and chat template; means over several seeds."""

    cell: str
    dose: str
    attack: str
    kind: str
    template: str
    documents: float
    tokens: float


class Summary(BaseModel):
    """What a run notes about itself. All of it is optional; what is not named here is shown as it stands."""

    model_config = ConfigDict(extra="allow", frozen=True)

    title: str = ""
    started: str = ""
    seconds: dict[str, float] = {}
    """Wall-clock seconds by stage."""
    machine: dict[str, Any] | str = ""
    versions: dict[str, str] = {}
    tokens: int | None = None
    """Clean tokens of the training corpus."""


@dataclass(frozen=True, slots=True)
class RunData:
    """Everything a report is made of."""

    folder: Path
    study_text: str
    study: Mapping[str, Any]
    measurements: tuple[Measurement, ...]
    samples: tuple[Sample, ...]
    curves: tuple[CurveRow, ...]
    planted: tuple[Planted, ...]
    summary: Summary

    @classmethod
    def read(cls, folder: Path) -> RunData:
        """Read a finished run.

        Raises RunStateError naming what is missing and the command that makes it, DataError for a bad file.
        """
        require_complete(folder, REQUIRED)
        study_text = (folder / STUDY).read_text(encoding="utf-8", errors="replace")
        study = _study(study_text, folder / STUDY)
        measurements = read_measurements(folder)
        _require_same_study(study, measurements, folder / STUDY)
        return cls(
            folder=folder,
            study_text=study_text,
            study=study,
            measurements=tuple(measurements),
            samples=tuple(read_rows(folder / SAMPLES, Sample)),
            curves=tuple(read_rows(folder / CURVES, CurveRow)),
            planted=tuple(read_planted(folder / LEDGER)),
            summary=_summary(folder / SUMMARY),
        )

    @property
    def title(self) -> str:
        """What the study calls itself."""
        return self.summary.title or str(self.study.get("title") or "") or self.folder.resolve().name

    def rate(self, dose: str, attack: str, cell: str = "") -> float | None:
        """Planted tokens of `attack` at `dose` over clean tokens, as realised; None if unknown."""
        rows = [row for row in self.planted if (row.dose, row.attack) == (dose, attack)]
        own = [row for row in rows if row.cell == cell] or [row for row in rows if not row.cell]
        tokens = sum(row.tokens for row in own)
        return tokens / self.summary.tokens if tokens and self.summary.tokens else None


def read_measurements(folder: Path) -> list[Measurement]:
    """Only the figures of a run; RunStateError if it has none yet."""
    require_complete(folder, {MEASUREMENTS: REQUIRED[MEASUREMENTS]})
    rows = read_rows(folder / MEASUREMENTS, Measurement)
    if not rows:
        raise RunStateError(
            f"{folder}: {MEASUREMENTS} holds no figure. `mithridate run {folder / STUDY} --out {folder}` "
            "gathers them anew"
        )
    return rows


def require_complete(folder: Path, files: Mapping[str, str]) -> None:
    """Raise RunStateError unless `folder` holds all of `files` (name to what it is)."""
    if not folder.is_dir():
        raise RunStateError(
            f"{folder}: no such run directory. `mithridate run --out {folder}` makes one; "
            "`mithridate report` wants the folder that a run wrote to"
        )
    missing = [f"{name} ({what})" for name, what in files.items() if not (folder / name).is_file()]
    if missing:
        study = f" {folder / STUDY}" if (folder / STUDY).is_file() else ""
        raise RunStateError(
            f"{folder}: the run is not complete, it lacks {', '.join(missing)}. "
            f"`mithridate run{study} --out {folder}` goes on where it stopped"
        )


def read_planted(path: Path) -> list[Planted]:
    """The ledger's rows added up by cell (where it has them), dose, attack, kind and template, in order."""
    try:
        table = pq.read_table(path, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"cannot be read as Parquet: {error}", path=path) from error
    keys = ["dose", "attack", "kind", "template"]
    if lacking := [column for column in [*keys, "tokens"] if column not in table.column_names]:
        raise DataError(f"lacks the columns {', '.join(lacking)}", path=path)
    # A study of several seeds plants once for each; a reader wants what one model saw.
    seeds = len(table.column("seed").unique()) if "seed" in table.column_names else 1
    keys = ["cell", *keys] if "cell" in table.column_names else keys
    if not pa.types.is_integer(held := table.schema.field("tokens").type):
        raise DataError(f"must hold whole numbers, not {held}", path=path, field="tokens")
    try:
        sums = table.group_by(keys).aggregate([("tokens", "sum"), ("tokens", "count")])
    except pa.ArrowException as error:
        raise DataError(f"cannot be added up by {', '.join(keys)}: {error}", path=path) from error
    rows = [
        Planted(
            cell=str(row.get("cell") or ""),
            dose=str(row["dose"] or ""),
            attack=str(row["attack"] or ""),
            kind=str(row["kind"] or ""),
            template=str(row["template"] or ""),
            documents=row["tokens_count"] / max(1, seeds),
            tokens=(row["tokens_sum"] or 0) / max(1, seeds),
        )
        for row in sums.to_pylist()
    ]
    return sorted(rows, key=lambda row: (row.cell, row.dose, row.attack, row.kind, row.template))


def _study(text: str, path: Path) -> Mapping[str, Any]:
    try:
        study = load_yaml(text, "the resolved study")
    except ConfigError as error:
        raise DataError(f"{error}. {_ANEW}", path=path) from error
    if not isinstance(study, dict):
        raise DataError(f"is not a study file: expected a mapping of settings. {_ANEW}", path=path)
    return study


def _require_same_study(study: Mapping[str, Any], rows: Collection[Measurement], path: Path) -> None:
    """Raise DataError unless the study names what there are figures of: it may be half a file."""
    grid = study.get("grid")
    axes = {str(axis).partition(".")[0] for axis in grid} if isinstance(grid, dict) else set()
    for section, wanted in (
        ("attacks", {r.attack for r in rows} - {UTILITY}),
        ("doses", {r.dose for r in rows} - {""}),
    ):
        named = study.get(section)
        lost = sorted(wanted.difference(named if isinstance(named, dict) else ()))
        if lost and section not in axes:
            raise DataError(
                f"does not name {', '.join(map(shown, lost[:3]))}, of which {MEASUREMENTS} has figures. {_ANEW}",
                path=path,
                field=section,
            )


def _summary(path: Path) -> Summary:
    if not path.is_file():
        return Summary()
    try:
        return Summary.model_validate(orjson.loads(path.read_bytes()))
    except orjson.JSONDecodeError as error:
        raise DataError(f"is not JSON: {error}", path=path) from error
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(first["msg"], path=path, field=".".join(map(str, first["loc"]))) from error
