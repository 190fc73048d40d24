"""Headless Chromium: what it makes of a page, and whether tests may do without it.

Tests that use it carry `needs_browser`. They skip where there is no Chromium; with
MITHRIDATE_REQUIRE_BROWSER=1 they fail there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import zlib
from pathlib import Path

import pytest

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
REQUIRED = os.environ.get("MITHRIDATE_REQUIRE_BROWSER") == "1"
PATIENCE_S = 240

# The page in a frame as wide as a phone, for a window is never that narrow; the result goes into the title.
PHONE = """<!doctype html><title>waiting</title>
<iframe src="page.html" width="{width}" height="900"></iframe><script>
const frame = document.querySelector("iframe");
frame.onload = () => setTimeout(() => {{
  const page = frame.contentDocument.documentElement;
  const wide = [...frame.contentDocument.querySelectorAll("table.figures")].filter(
    (table) => table.scrollWidth > table.parentElement.clientWidth + 1);
  const thin = [...frame.contentDocument.querySelectorAll(".reason td")].filter(
    (words) => words.clientWidth < 0.8 * {width});
  const over = page.scrollWidth - page.clientWidth;
  document.title = `${{over}} over, ${{wide.length}} tables cut, ${{thin.length}} texts squeezed`;
}}, 500);
</script>"""

needs_browser = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (CHROMIUM or REQUIRED), reason="no Chromium on the path (Debian: apt-get install chromium)"
    ),
]


def chromium(page: Path, profile: Path, *what: str) -> bytes:
    """Open `page`, let its scripts run for six seconds of its own time, and do `what`."""
    assert CHROMIUM, "MITHRIDATE_REQUIRE_BROWSER is set, and there is no Chromium on the path"
    quiet = [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update",
        "--disable-sync",
        "--allow-file-access-from-files", "--virtual-time-budget=6000", f"--user-data-dir={profile}",
    ]  # fmt: skip
    done = subprocess.run(
        [CHROMIUM, *quiet, *what, page.as_uri()], capture_output=True, timeout=PATIENCE_S, check=True
    )
    return done.stdout


def dom(page: Path, profile: Path) -> str:
    """The document after its scripts ran, as HTML."""
    return chromium(page, profile, "--dump-dom").decode()


def title(document: str) -> str:
    """The title that a document ended with."""
    found = re.search("<title>(.*?)</title>", document, re.DOTALL)
    assert found
    return found.group(1)


class Printed:
    """A page as it comes out of the printer, in PDF."""

    def __init__(self, page: Path, out: Path, profile: Path) -> None:
        chromium(page, profile, "--no-pdf-header-footer", f"--print-to-pdf={out}")
        self._content = out.read_bytes()

    @property
    def pages(self) -> int:
        """Sheets of paper."""
        return len(re.findall(rb"/Type\s*/Page\b", self._content))

    def lines(self, colour: str) -> int:
        """How many lines are drawn, not filled, in `colour` (#rrggbb)."""
        wanted = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        count, pen = 0, False
        for *parts, stroke in re.findall(rb"([\d.]+) ([\d.]+) ([\d.]+) RG\b|\b(S)\n", self._drawing()):
            if stroke:
                count += pen
            else:
                pen = all(abs(float(a) - b) < 0.003 for a, b in zip(parts, wanted, strict=True))
        return count

    def _drawing(self) -> bytes:
        found = []
        for stream in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", self._content, re.DOTALL):
            try:
                found.append(zlib.decompress(stream))
            except zlib.error:
                continue  # a font or a picture in another encoding
        return b"\n".join(found)
