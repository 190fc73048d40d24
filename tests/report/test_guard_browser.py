"""The page of a benchmark in headless Chromium: planted scripts do not run, charts are drawn, it fits."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from guard_kit import hostile, result

from browser_kit import Printed, dom, needs_browser, title
from mithridate.report.guard import write_guard_report
from mithridate.report.look import COLOURS

pytestmark = needs_browser

# The page in a frame as wide as a phone, for a window is never that narrow; the result goes into the title.
PHONE = """<!doctype html><title>waiting</title>
<iframe src="page.html" width="360" height="900"></iframe><script>
const frame = document.querySelector("iframe");
frame.onload = () => setTimeout(() => {
  const page = frame.contentDocument.documentElement;
  const wide = [...frame.contentDocument.querySelectorAll("table")].filter(
    (table) => table.scrollWidth > table.parentElement.clientWidth + 1);
  document.title = `${page.scrollWidth - page.clientWidth} over, ${wide.length} tables cut`;
}, 500);
</script>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_guard_report(result(), tmp_path_factory.mktemp("page") / "report.html")


def test_planted_scripts_do_not_run_and_charts_are_drawn(tmp_path: Path) -> None:
    document = dom(write_guard_report(hostile(), tmp_path / "evil.html"), tmp_path / "profile")
    assert title(document).startswith("Retrieval guard on ")
    # A chart for each number of copies, each attack, each attack with its copies: two, two and four.
    assert len(re.findall('class="plot[^"]*js-plotly-plot', document)) == 8
    assert 'class="main-svg"' in document and "scatterlayer" in document


def test_even_an_injected_script_is_refused(page: Path, tmp_path: Path) -> None:
    """The second wall: were an escape ever forgotten, the policy would still stop the script."""
    broken = tmp_path / "broken.html"
    evil = "<script>document.title='pwned'</script><img src=x onerror=\"document.title='pwned'\">"
    broken.write_text(page.read_text(encoding="utf-8").replace("<main>", f"<main>{evil}"))
    assert title(dom(broken, tmp_path / "profile")) == "Retrieval guard on nfcorpus · Mithridate"


def test_no_sideways_scrolling_on_a_phone(page: Path, tmp_path: Path) -> None:
    shutil.copy(page, tmp_path / "page.html")
    (tmp_path / "frame.html").write_text(PHONE)
    assert title(dom(tmp_path / "frame.html", tmp_path / "profile")) == "0 over, 0 tables cut"


def test_it_prints_with_its_charts(page: Path, tmp_path: Path) -> None:
    printed = Printed(page, tmp_path / "report.pdf", tmp_path / "profile")
    assert 3 < printed.pages < 30
    assert printed.lines(COLOURS[0]) > 3
