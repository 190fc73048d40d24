"""The page in headless Chromium: planted scripts do not run, charts are drawn, and it fits a phone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
REQUIRED = os.environ.get("MITHRIDATE_REQUIRE_BROWSER") == "1"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (CHROMIUM or REQUIRED), reason="no Chromium on the path (Debian: apt-get install chromium)"
    ),
]

# The page in a frame as wide as a phone, for a window is never that narrow; the result goes into the title.
PHONE = """<!doctype html><title>waiting</title>
<iframe src="page.html" width="{width}" height="900"></iframe><script>
const frame = document.querySelector("iframe");
frame.onload = () => setTimeout(() => {{
  const page = frame.contentDocument.documentElement;
  const wide = [...frame.contentDocument.querySelectorAll("table.figures")].filter(
    (table) => table.scrollWidth > table.parentElement.clientWidth + 1);
  document.title = `${{page.scrollWidth - page.clientWidth}} over, ${{wide.length}} tables cut`;
}}, 500);
</script>"""


def dom(page: Path, profile: Path) -> str:
    """The document after its scripts ran, as HTML."""
    assert CHROMIUM, "MITHRIDATE_REQUIRE_BROWSER is set, and there is no Chromium on the path"
    quiet = [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update",
        "--disable-sync",
        "--allow-file-access-from-files", "--virtual-time-budget=6000", f"--user-data-dir={profile}",
    ]  # fmt: skip
    done = subprocess.run(
        [CHROMIUM, *quiet, "--dump-dom", page.as_uri()], capture_output=True, timeout=120, check=True
    )
    return done.stdout.decode()


def title(document: str) -> str:
    found = re.search("<title>(.*?)</title>", document, re.DOTALL)
    assert found
    return found.group(1)


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
    assert title(dom(tmp_path / "frame.html", tmp_path / "profile")) == "0 over, 0 tables cut"
