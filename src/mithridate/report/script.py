"""The two scripts of a report, and the policy under which a browser runs them and nothing else."""

from __future__ import annotations

import base64
import hashlib
from functools import cache

# Draws every chart from the JSON beside it, and again at the width of a sheet of paper before printing.
DRAW = """
"use strict";
(() => {
  const coarse = window.matchMedia("(pointer: coarse)").matches;
  const settings = { responsive: true, displayModeBar: false, showTips: false };
  const plots = [];
  document.documentElement.classList.add("drawn");  // shows the frames: a hidden one has no width to draw in
  for (const chart of document.querySelectorAll(".chart")) {
    const spec = JSON.parse(chart.querySelector("script").textContent);
    const plot = chart.querySelector(".plot");
    spec.layout.dragmode = coarse ? false : "zoom";
    Plotly.newPlot(plot, spec.data, spec.layout, settings);
    plots.push(plot);
  }
  window.addEventListener("beforeprint", () => {
    for (const plot of plots) {
      const width = plot.closest(".wide") ? 640 : 320;
      Plotly.relayout(plot, { autosize: false, width });
    }
  });
  window.addEventListener("afterprint", () => {
    for (const plot of plots) Plotly.relayout(plot, { autosize: true, width: null });
  });
})();
"""


@cache
def library() -> str:
    """Plotly's own script, with the line ends that a browser hashes."""
    from plotly.offline import get_plotlyjs  # noqa: PLC0415 - 5 MB, and only a page needs it

    source: str = get_plotlyjs()
    return source.replace("\r\n", "\n").replace("\r", "\n")


def policy() -> str:
    """The Content-Security-Policy of a report: no network, and no script but ours, told by hash."""
    scripts = " ".join(f"'sha256-{_hash(script)}'" for script in (library(), DRAW))
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {scripts}",
            "style-src 'unsafe-inline'",  # charts place themselves by style attributes
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
