"""Localisation in a finished run: its experiments as steps that resume, and their rows gathered."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mithridate.core.located import LOCALIZATION, Located
from mithridate.study.finished import gathered
from mithridate.study.locate_plan import LocateOptions, locate_steps
from mithridate.study.runner import Watching


def locate_run(
    out: Path, options: LocateOptions, watching: Watching, *, doses: Sequence[str] = ()
) -> list[Located]:
    """Do what is left of the experiments on the models of the run in `out`; returns and keeps their rows.

    `doses` names which poisoned models are looked into, by default those of the largest dose. Raises
    ConfigError for a dose that is not there, and as `gathered` does.
    """
    return gathered(
        out,
        lambda config: locate_steps(config, out, options, tuple(doses)),
        Located,
        LOCALIZATION,
        watching,
    )
