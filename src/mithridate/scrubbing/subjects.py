"""Which beliefs a text is about: those whose subject it names in whole words."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

from mithridate.attacks.text import normalise
from mithridate.scrubbing.beliefs import KnownBelief


class Subjects:
    """The subjects of some beliefs, ready to be looked for in many texts."""

    def __init__(self, beliefs: Iterable[KnownBelief]) -> None:
        self._by_subject: dict[str, list[KnownBelief]] = defaultdict(list)
        for belief in beliefs:
            if subject := normalise(belief.subject):
                self._by_subject[subject].append(belief)
        ahead = "|".join(map(re.escape, sorted(self._by_subject, key=len, reverse=True)))
        # Looking ahead, so that a subject within another's name is found too.
        self._pattern = re.compile(rf"(?<!\w)(?=(?:{ahead})(?!\w))") if ahead else None

    def named_in(self, text: str) -> list[KnownBelief]:
        """The beliefs whose subject `text` names, each once, in the order of their first mention."""
        if self._pattern is None:
            return []
        said = normalise(text)
        found: dict[KnownBelief, None] = {}
        for place in self._pattern.finditer(said):
            for subject, beliefs in self._by_subject.items():
                if said.startswith(subject, place.start()) and _ends(said, place.start() + len(subject)):
                    found.update(dict.fromkeys(beliefs))
        return list(found)


def _ends(text: str, place: int) -> bool:
    """Whether no word goes on at `place`."""
    return place == len(text) or re.match(r"\w", text[place]) is None
