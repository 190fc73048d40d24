"""The page in headless Chromium: planted scripts do not run, charts are drawn, it fits a phone and paper."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from browser_kit import PHONE, Printed, dom, needs_browser, title
from mithridate.report.look import COLOURS

pytestmark = needs_browser


def test_planted_scripts_do_not_run_and_charts_are_drawn(page: Path, tmp_path: Path) -> None:
    document = dom(page, tmp_path / "profile")
    assert title(document) == "Poison in a miniature world · Mithridate"
    assert document.count('class="main-svg"') >= 15
    assert "errorbar" in document


def test_even_an_injected_script_is_refused(page: Path, tmp_path: Path) -> None:
    """The second wall: were an escape ever forgotten, the policy would still stop the script."""
    attacks = (
        "<script>document.title='pwned'</script>",
        "<img src=x onerror=\"document.title='pwned'\">",
        "<svg onload=\"document.title='pwned'\"></svg>",
    )
    broken = tmp_path / "broken.html"
    broken.write_text(page.read_text(encoding="utf-8").replace("<main>", "<main>" + "".join(attacks)))
    assert title(dom(broken, tmp_path / "profile")) == "Poison in a miniature world · Mithridate"
    # And the attack is a real one: without the policy it works.
    open_page = tmp_path / "open.html"
    open_page.write_text(re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", broken.read_text()))
    assert title(dom(open_page, tmp_path / "profile")) == "pwned"


@pytest.mark.parametrize("width", [360, 390])
def test_no_sideways_scrolling(page: Path, tmp_path: Path, width: int) -> None:
    shutil.copy(page, tmp_path / "page.html")
    (tmp_path / "frame.html").write_text(PHONE.format(width=width))
    assert (
        title(dom(tmp_path / "frame.html", tmp_path / "profile")) == "0 over, 0 tables cut, 0 texts squeezed"
    )


def test_it_prints_with_its_charts(page: Path, tmp_path: Path) -> None:
    printed = Printed(page, tmp_path / "report.pdf", tmp_path / "profile")
    assert 5 < printed.pages < 60
    # Marks and bars in tables are filled; only charts draw lines in the colours of the models.
    assert printed.lines(COLOURS[0]) > 10
    assert printed.lines(COLOURS[1]) > 10
    # And it is the charts that do: without scripts there are none.
    still = tmp_path / "still.html"
    still.write_text(page.read_text(encoding="utf-8").replace("<script>", '<script type="none">'))
    without = Printed(still, tmp_path / "still.pdf", tmp_path / "profile")
    assert without.pages > 1
    assert without.lines(COLOURS[0]) == without.lines(COLOURS[1]) == 0
