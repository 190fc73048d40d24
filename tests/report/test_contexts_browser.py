"""The sections of experiments beside the stages in headless Chromium: drawn, fit for a phone, and inert."""

from __future__ import annotations

from pathlib import Path

import pytest
from contexts_kit import bridge_rows, context_rows
from report_kit import HOSTILE, write_run
from scrubbed_kit import scrubbed_rows
from tuned_kit import tuned_rows

from browser_kit import dom, needs_browser, title
from mithridate.core.contexts import BRIDGE, CONTEXT_SAMPLES, CONTEXTS, Bridged, ContextSample, Contextual
from mithridate.core.scrubbed import SCRUBBED, Scrubbed
from mithridate.core.tables import write_rows
from mithridate.core.tuned import TUNED, Tuned
from mithridate.report.html import render
from mithridate.report.run import RunData

pytestmark = needs_browser

FRAME = """<!doctype html><title>waiting</title>
<iframe src="page.html" width="360" height="900"></iframe><script>
const frame = document.querySelector("iframe");
frame.onload = () => setTimeout(() => {
  const page = frame.contentDocument;
  const charts = page.querySelectorAll("#contexts .main-svg").length;
  const over = page.documentElement.scrollWidth - page.documentElement.clientWidth;
  document.title = `${over} over, ${charts ? "drawn" : "not drawn"}, ${page.title}`;
}, 500);
</script>"""


@pytest.mark.timeout(300)
def test_all_experiments_on_one_page_fit_a_phone_and_run_nothing(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    rows, samples = context_rows()
    write_rows(folder / CONTEXTS, Contextual, rows)
    write_rows(folder / CONTEXT_SAMPLES, ContextSample, samples)
    write_rows(folder / BRIDGE, Bridged, bridge_rows())
    write_rows(folder / TUNED, Tuned, tuned_rows(seeds=(0,)))
    write_rows(folder / SCRUBBED, Scrubbed, scrubbed_rows(seeds=(0,)))
    page = tmp_path / "page.html"
    page.write_text(render(RunData.read(folder)), encoding="utf-8")
    (tmp_path / "frame.html").write_text(FRAME)
    said = title(dom(tmp_path / "frame.html", tmp_path / "profile"))
    assert said == "0 over, drawn, Poison in a miniature world · Mithridate"
    assert HOSTILE[0] not in page.read_text(encoding="utf-8")
