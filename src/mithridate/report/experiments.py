"""The experiments that a study did beside its stages, as sections of its report."""

from __future__ import annotations

from mithridate.report.bridge_section import bridge_section
from mithridate.report.contexts import ContextView
from mithridate.report.contexts_section import contexts_section
from mithridate.report.run import RunData
from mithridate.report.scattered import ScatteredView
from mithridate.report.scattered_section import scattered_section
from mithridate.report.scrubbed import ScrubbedView
from mithridate.report.scrubbed_section import scrubbed_section
from mithridate.report.sections import Section
from mithridate.report.tuned import TunedView
from mithridate.report.tuned_section import tuned_section


def experiment_sections(run: RunData) -> list[Section]:
    """A section for each experiment that left rows, in the order of the guides."""
    found = [
        tuned_section(TunedView(run.tuned)),
        scattered_section(ScatteredView.of(run.samples)),
        scrubbed_section(ScrubbedView(run.scrubbed)),
        contexts_section(ContextView(run.contexts, run.context_samples, run.context_coverage)),
        bridge_section(run.bridged),
    ]
    return [section for section in found if section is not None]
