from __future__ import annotations

from pathlib import Path

import pytest
from report_kit import write_run

from mithridate.report.html import write_report
from mithridate.report.run import RunData


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of one seed; tests read it and write elsewhere."""
    return write_run(tmp_path_factory.mktemp("runs") / "one")


@pytest.fixture(scope="session")
def run(run_folder: Path) -> RunData:
    return RunData.read(run_folder)


@pytest.fixture(scope="session")
def page(run: RunData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of that run."""
    return write_report(run, tmp_path_factory.mktemp("page") / "report.html")
