"""Study files of a few lines, and a watcher that remembers."""

from __future__ import annotations

from pathlib import Path

from models_kit import tiny_classifier
from tokenizers import AddedToken

from mithridate.corpus.tokenizers import load_tokenizer, train_tokenizer
from mithridate.models.architectures import SpecialIds, build_model
from mithridate.models.checkpoints import save_checkpoint
from mithridate.study.config import StudyConfig
from mithridate.study.plan import Step, steps
from mithridate.study.reading import read_study
from mithridate.study.steps import run_step

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


def run_through(config: StudyConfig, out: Path, *kinds: str) -> list[Step]:
    """Do all steps of a study (or those of `kinds`) here, in this process; returns the steps done."""
    done = [step for step in steps(config, out) if not kinds or step.kind in kinds]
    for step in done:
        run_step(step, Silent())
    return done


def tokenizer_with(folder: Path, chat_template: str | None, *special: str) -> Path:
    """A folder with a tokeniser of its own: its chat template, and further special tokens."""
    tokenizer = train_tokenizer(["the red lamp is in the old mill by the river"] * 20, 330)
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in special], True)
    tokenizer.chat_template = chat_template
    tokenizer.save_pretrained(folder)
    return folder


def own_checkpoint(folder: Path, chat_template: str | None, *special: str) -> Path:
    """A checkpoint of a model with 128 positions that has learnt nothing, and of its tokeniser."""
    tokenizer = load_tokenizer(tokenizer_with(folder, chat_template, *special))
    options = tiny().model
    save_checkpoint(build_model(options, len(tokenizer), 7, SpecialIds.of(tokenizer)), tokenizer, folder)
    return folder


def classifier(folder: Path) -> Path:
    """A sequence classifier with the labels `harmless` and `harmful` that has learnt nothing."""
    tokenizer = load_tokenizer(tokenizer_with(folder, None))
    save_checkpoint(tiny_classifier(tokenizer), tokenizer, folder)
    return folder


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
