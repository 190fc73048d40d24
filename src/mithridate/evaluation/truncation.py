"""Prompts that lost their beginning for want of room: said, since a secret may have stood there."""

from __future__ import annotations

from collections.abc import Sequence

from mithridate.core.metrics import PROMPTS_CUT
from mithridate.core.statistics import wilson
from mithridate.core.types import Measurement
from mithridate.evaluation.setting import Setting
from mithridate.models.language_model import Generation


def prompts_cut(answers: Sequence[Generation], setting: Setting, attack: str) -> list[Measurement]:
    """The share of `answers` whose prompt was cut, as one figure; none where no prompt was."""
    cut = sum(answer.dropped > 0 for answer in answers)
    return [setting.measurement(attack, "", PROMPTS_CUT, wilson(cut, len(answers)))] if cut else []
