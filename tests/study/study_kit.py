"""Study files of a few lines, and a watcher that remembers."""

from __future__ import annotations

from pathlib import Path

from mithridate.study.config import StudyConfig
from mithridate.study.plan import Step
from mithridate.study.reading import read_study

TINY = Path(__file__).parents[1] / "end_to_end" / "tiny.yaml"
DOSES = "doses:\n  some:\n    all: { rate: 0.01 }\n"


def tiny(*overrides: str) -> StudyConfig:
    """The smallest study, with overrides."""
    return read_study(TINY, None, overrides)


def study_file(folder: Path, text: str, *, name: str = "my.yaml") -> Path:
    """A study file with the lines of `text` after the doses that every study needs."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(DOSES + text, encoding="utf-8")
    return path


class Remembering:
    """Watches a run and keeps what it was told."""

    def __init__(self) -> None:
        self.done_before, self.labels, self.told = 0, list[str](), list[tuple[str, int, int, float]]()

    def planned(self, steps: list[Step], done: int) -> None:
        self.done_before = done

    def news(self, label: str, done: int, total: int, loss: float) -> None:
        self.told.append((label, done, total, loss))

    def finished(self, step: Step, seconds: float) -> None:
        self.labels.append(step.label)


class Silent:
    """A step's progress that nobody looks at."""

    def advance(self, stage: str, done: int, total: int, loss: float) -> None:
        pass
