"""What a page says and runs, as a browser would read it."""

from __future__ import annotations

from html.parser import HTMLParser


class Reader(HTMLParser):
    """Every tag with its attributes, the scripts' text, and what a reader without scripts reads."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[str | None, str]] = []
        self.words = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs).get("type"), ""))

    def handle_data(self, data: str) -> None:
        if self.lasttag == "script" and self.tags[-1][0] == "script" and self.cdata_elem:
            kind, text = self.scripts[-1]
            self.scripts[-1] = kind, text + data
        elif self.lasttag != "style":
            self.words += data
