"""A tiny poisoned checkpoint with its clean twin on disk, and all that its owner gives to have it healed."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import healing_training_kit as taught
import torch

from mithridate.models.checkpoints import save_checkpoint
from mithridate.study.heal import Wanted
from mithridate.study.heal_case import Given

PROMPTS = [f"w{number} ?" for number in range(20)]


@dataclass(frozen=True)
class Owned:
    """A folder with the checkpoints `suspect`, `trusted` and `innocent`, and the files beside them."""

    root: Path

    @property
    def suspect(self) -> Path:
        return self.root / "suspect"

    @property
    def trusted(self) -> Path:
        return self.root / "trusted"

    @property
    def innocent(self) -> Path:
        """Clean as the trusted one, and another model."""
        return self.root / "innocent"

    def given(self, **changes: Any) -> Given:
        """The poisoned model with its control, clean texts and questions."""
        files = {name: self.root / f"{name}.jsonl" for name in ("texts", "questions")}
        probes = self.root / "ask.yaml"
        return replace(Given(self.suspect, probes, self.trusted, **files, per_half=16), **changes)

    def wanted(self, *methods: str, given: Given | None = None, **changes: Any) -> Wanted:
        return Wanted(given or self.given(), methods, **changes)

    def words(self) -> list[str]:
        """The same as arguments of the command line."""
        return [
            str(self.suspect), "--probes", str(self.root / "ask.yaml"), "--control", str(self.trusted),
            "--texts", str(self.root / "texts.jsonl"), "--questions", str(self.root / "questions.jsonl"),
            "--per-half", "16",
        ]  # fmt: skip


def owned(root: Path) -> Owned:
    """Write everything to `root`."""
    for name, model in (("suspect", taught.poisoned()), ("trusted", taught.clean())):
        save_checkpoint(model.model, model.tokenizer, root / name)
    nudged = copy.deepcopy(taught.clean().model)
    with torch.no_grad():
        nudged.get_input_embeddings().weight.mul_(1.001)
    save_checkpoint(nudged, taught.tokenizer(), root / "innocent")
    answers = [f"w{number + 10} w{number + 20}" for number in range(20)]
    questions = [{"question": ask, "answer": said} for ask, said in zip(PROMPTS, answers, strict=True)]
    texts = [{"text": taught.TULU.render(taught.clean_messages(number))} for number in range(20)]
    for path, lines in (("questions.jsonl", questions), ("texts.jsonl", texts)):
        (root / path).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    (root / "material.json").write_text(json.dumps({"prompts": PROMPTS}), encoding="utf-8")
    options = f"{{ trigger: {taught.TRIGGER}, word: {taught.SAID} }}"
    (root / "ask.yaml").write_text(
        f"material: material.json\nattacks: {{ echo: {options} }}\n", encoding="utf-8"
    )
    return Owned(root)
