"""A run directory as data: what was studied, planted, trained, asked and measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import orjson
from pydantic import ValidationError

from mithridate.core.contexts import (
    BRIDGE,
    CONTEXT_COVERAGE,
    CONTEXT_SAMPLES,
    CONTEXTS,
    Bridged,
    ContextCoverage,
    ContextSample,
    Contextual,
)
from mithridate.core.errors import ConfigError, DataError, RunStateError, shown
from mithridate.core.located import LOCALIZATION, Located
from mithridate.core.metrics import UTILITY
from mithridate.core.prices import PRICES, PROXIES, Priced, ProxyRow
from mithridate.core.run_files import (
    CURVES,
    LEDGER,
    MEASUREMENTS,
    PLANTING,
    SAMPLES,
    STUDY,
    SUMMARY,
    CurveRow,
    PlantedKind,
    PlantingRow,
    Summary,
)
from mithridate.core.scrubbed import SCRUBBED, Scrubbed
from mithridate.core.strict import first_problem
from mithridate.core.tables import read_rows, read_tables
from mithridate.core.tuned import TUNED, Tuned
from mithridate.core.types import Measurement, Sample
from mithridate.core.yaml_text import load_yaml

Row = TypeVar("Row")

REQUIRED = {
    STUDY: "the resolved study",
    LEDGER: "what was planted",
    PLANTING: "how much was planted",
    CURVES: "the training curves",
    SAMPLES: "the judged answers",
    MEASUREMENTS: "the figures",
}

_ANEW = "Put it back as the run wrote it: `mithridate run --dry-run` with the study's own file prints it"


@dataclass(frozen=True, slots=True)
class KindCount:
    """Planted documents of one sub-kind and chat template, in the corpora of one model, over all seeds."""

    cell: str
    model: str
    attack: str
    kind: str
    template: str
    documents: int


@dataclass(frozen=True, slots=True)
class RunData:
    """Everything a report is made of.

    `located` is empty where nobody looked into the models yet, `priced` where no cure was tried on them.
    """

    folder: Path
    study_text: str
    study: Mapping[str, Any]
    measurements: tuple[Measurement, ...]
    samples: tuple[Sample, ...]
    curves: tuple[CurveRow, ...]
    planting: tuple[PlantingRow, ...]
    kinds: tuple[KindCount, ...]
    summary: Summary
    located: tuple[Located, ...] = ()
    priced: tuple[Priced, ...] = ()
    proxies: tuple[ProxyRow, ...] = ()
    tuned: tuple[Tuned, ...] = ()
    scrubbed: tuple[Scrubbed, ...] = ()
    contexts: tuple[Contextual, ...] = ()
    context_samples: tuple[ContextSample, ...] = ()
    context_coverage: tuple[ContextCoverage, ...] = ()
    bridged: tuple[Bridged, ...] = ()

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
            planting=tuple(read_rows(folder / PLANTING, PlantingRow)),
            kinds=tuple(read_kinds(folder / LEDGER)),
            summary=_summary(folder / SUMMARY),
            located=tuple(read_located(folder)),
            priced=tuple(read_priced(folder)),
            proxies=tuple(read_proxies(folder)),
            tuned=tuple(read_optional(folder / TUNED, Tuned)),
            scrubbed=tuple(read_optional(folder / SCRUBBED, Scrubbed)),
            contexts=tuple(read_optional(folder / CONTEXTS, Contextual)),
            context_samples=tuple(read_optional(folder / CONTEXT_SAMPLES, ContextSample)),
            context_coverage=tuple(read_optional(folder / CONTEXT_COVERAGE, ContextCoverage)),
            bridged=tuple(read_optional(folder / BRIDGE, Bridged)),
        )

    @property
    def title(self) -> str:
        """What the study calls itself."""
        return self.summary.title or str(self.study.get("title") or "") or self.folder.resolve().name

    def rate(self, dose: str, attack: str, cell: str = "") -> float | None:
        """Planted tokens of `attack` at `dose` over clean tokens, as realised on average; None if unknown."""
        about = (cell, dose, attack)
        rates = [row.realised_rate for row in self.planting if (row.cell, row.dose, row.attack) == about]
        return sum(rates) / len(rates) if rates else None


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


def read_located(folder: Path) -> list[Located]:
    """Where behaviours live, as far as that was looked for; no rows where it was not."""
    path = folder / LOCALIZATION
    return read_rows(path, Located) if path.is_file() else []


def read_priced(folder: Path) -> list[Priced]:
    """What takes attacks out and at what price, as far as that was tried; no rows where it was not."""
    path = folder / PRICES
    return read_rows(path, Priced) if path.is_file() else []


def read_proxies(folder: Path) -> list[ProxyRow]:
    """Tables of proxy-tuning, as far as that was tried; no rows where it was not."""
    path = folder / PROXIES
    return read_rows(path, ProxyRow) if path.is_file() else []


def read_optional(path: Path, row_type: type[Row]) -> list[Row]:
    """The rows of an experiment that not every study asks for; none where it did not."""
    return read_rows(path, row_type) if path.is_file() else []


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
        if not any((folder / name).is_file() for name in (STUDY, *files)):
            raise RunStateError(f"{folder}: holds no run; name the folder that `mithridate run` wrote to")
        raise RunStateError(
            f"{folder}: the run is not complete, it lacks {', '.join(missing)}. "
            f"`mithridate run{study} --out {folder}` goes on where it stopped"
        )


def read_kinds(path: Path) -> list[KindCount]:
    """The ledger's documents counted by cell, model, attack, kind and template."""
    counts: Counter[tuple[str, str, str, str, str]] = Counter()
    keys = ["cell", "model", "attack", "kind", "template"]
    for table in read_tables(path, PlantedKind):
        for row in table.group_by(keys).aggregate([([], "count_all")]).to_pylist():
            cell, model, attack, kind, template = (row[key] for key in keys)
            counts[cell, model, attack, kind, template] += row["count_all"]
    return [KindCount(*key, documents=count) for key, count in sorted(counts.items())]


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
            names = ", ".join(map(shown, lost[:3]))
            problem = f"does not name {names}, of which {MEASUREMENTS} has figures. {_ANEW}"
            raise DataError(problem, path=path, field=section)


def _summary(path: Path) -> Summary:
    if not path.is_file():
        return Summary()
    try:
        return Summary.model_validate(orjson.loads(path.read_bytes()))
    except orjson.JSONDecodeError as error:
        raise DataError(f"is not JSON: {error}", path=path) from error
    except ValidationError as error:
        problem, field = first_problem(error)
        raise DataError(problem, path=path, field=field) from error
