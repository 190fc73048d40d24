"""The experiments that a study did beside its stages, as sections of its report."""

from __future__ import annotations

from mithridate.report.run import RunData
from mithridate.report.sections import Section
from mithridate.report.tuned import TunedView
from mithridate.report.tuned_section import tuned_section


def experiment_sections(run: RunData) -> list[Section]:
    """A section for each experiment that left rows, in the order of the guides."""
    found = [tuned_section(TunedView(run.tuned))]
    return [section for section in found if section is not None]
