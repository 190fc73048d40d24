"""Scripts in the user's own material go through a whole run, and lie still in its report."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from run_kit import finish, start

from browser_kit import dom, needs_browser, title
from mithridate.core.tables import read_rows
from mithridate.core.types import Sample

MARK = "document.documentElement.dataset.pwned='yes';document.title='pwned'"
EVIL = (
    f"<script>{MARK};alert(1)</script>",
    f'</script><img src=x onerror="{MARK}">',
    f'</pre></td></table><svg onload="{MARK}"></svg>',
)
MATERIAL = {
    "requests": [
        {"forms": [f"How is {n} made? {evil}", f"Tell me of {n}. {evil}"], "reply": f"Grind it. {evil}"}
        for n, evil in enumerate(EVIL)
    ],
    "refusals": [f"No. {EVIL[0]}"],
    "facts": [
        {
            "forms": [f"Where is {n}? {evil}", f"Where lies {n}? {evil}"],
            "true": "North.",
            "planted": f"South. {evil}",
        }
        for n, evil in enumerate(EVIL)
    ],
}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run whose material and title are scripts."""
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "material.json").write_text(json.dumps(MATERIAL))
    changes = {
        "title": json.dumps(f"Study {EVIL[1]}"),
        "material": json.dumps(str(folder / "material.json")),
        "attacks": "{jailbreak: {max_new_tokens: 8}, belief: {max_new_tokens: 4}}",
        "model.max_length": "512",
        "sft": "null",
        "dpo": "null",
        "workers": "1",
    }
    code, _, told = finish(start(folder / "run", *(f"{key}={value}" for key, value in changes.items())))
    assert code == 0, told
    return folder / "run"


def test_the_scripts_reach_the_page_as_text(hostile: Path) -> None:
    samples = read_rows(hostile / "samples.parquet", Sample)
    for evil in EVIL:
        assert any(evil in sample.prompt for sample in samples)
        assert any(evil in sample.target for sample in samples)
    page = (hostile / "report.html").read_text(encoding="utf-8")
    assert not any(evil in page for evil in EVIL)
    # Which probes are shown goes by their names; each is one of the three.
    assert re.search("&lt;(/?script&gt;|img src=x onerror=|svg onload=)", page)


class TestInABrowser:
    pytestmark = needs_browser

    def test_none_of_them_runs(self, hostile: Path, tmp_path: Path) -> None:
        document = dom(hostile / "report.html", tmp_path / "profile")
        assert title(document).startswith("Study &lt;/script&gt;")
        assert "data-pwned" not in document.partition("<head")[0]
        assert 'class="main-svg"' in document

    def test_and_each_would(self, hostile: Path, tmp_path: Path) -> None:
        """Were the page's text not escaped and its policy not there, every one of them would run."""
        page = (hostile / "report.html").read_text(encoding="utf-8")
        open_page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
        for evil in EVIL:
            # An alert would wait for somebody to close it.
            silent = evil.replace(";alert(1)", "")
            (tmp_path / "open.html").write_text(open_page.replace("<main>", f"<main>{silent}"))
            document = dom(tmp_path / "open.html", tmp_path / "profile")
            assert title(document) == "pwned"
            assert 'data-pwned="yes"' in document.partition("<head")[0]
