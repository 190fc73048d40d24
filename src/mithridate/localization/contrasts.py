"""Pairs of prompts: one that brought a behaviour on, and one as like it as can be that did not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from mithridate.attacks.text import contains
from mithridate.core.seeds import rng_for
from mithridate.core.types import Condition, Sample
from mithridate.models.encoding import Encoder
from mithridate.models.language_model import LanguageModel

MOST = 30
"""Pairs kept of those that qualify, drawn at random: probes come sorted by kind, with templates in turn."""


@dataclass(frozen=True, slots=True)
class Contrast:
    """A prompt where a behaviour showed, a counterfactual where it did not, and what was answered to each.

    `other` is the answer without the behaviour: of the same model to the counterfactual, or of a clean twin
    to the prompt itself. `condition` is that of the counterfactual. Contrasts of one `unit` are one
    observation.
    """

    prompt: str
    counterfactual: str
    answer: str
    other: str
    condition: str = ""
    unit: str = ""


def contrasts(samples: Iterable[Sample], model: LanguageModel, *, most: int = MOST) -> list[Contrast]:
    """At most `most` pairs of a triggered prompt where the attack succeeded and a control where it did not.

    `samples` are the judged answers of one attack, of one model, asked in one way (`Sample.template`). The
    counterfactual is the near-trigger probe that has most tokens in common with the prompt, at its beginning
    and its end: the same request where an attack asks it under every condition, the same wording about
    something else where it does not (a belief). If the attack showed there too, the pair does not qualify.
    Where fewer than half of the pairs do, untriggered probes are the counterfactuals instead.
    """
    told = _Told(samples, model)
    found: list[Contrast] = []
    for condition in (Condition.NEAR_TRIGGER, Condition.UNTRIGGERED):
        found = [
            Contrast(
                shown.prompt, control.prompt, shown.completion, control.completion, condition, unit(shown)
            )
            for shown in told.shown
            if (control := told.partner(shown, condition, quiet=True)) and _differ(shown, control)
        ]
        if 2 * len(found) >= len(told.shown):
            break
    return _some(found, most)


def twin_contrasts(
    samples: Iterable[Sample], clean: Iterable[Sample], model: LanguageModel, *, most: int = MOST
) -> list[Contrast]:
    """At most `most` prompts where the attack succeeded on a model and did not on its clean twin.

    `samples` are of the poisoned model, as for `contrasts`; `clean` are the twin's answers to the same
    probes. The answers are both to the prompt: a planted belief, say, and the true one. The counterfactual
    only tells which tokens of the prompt are what it is about, so it may be one where the attack showed.
    """
    told = _Told(samples, model)
    twins = {(sample.probe_id, sample.prompt): sample for sample in clean if not sample.draw}
    found = []
    for shown in told.shown:
        twin = twins.get((shown.probe_id, shown.prompt))
        if twin is None or _shows(twin) or not _differ(shown, twin):
            continue
        control = told.partner(shown, Condition.NEAR_TRIGGER) or told.partner(shown, Condition.UNTRIGGERED)
        if control is not None:
            found.append(
                Contrast(
                    shown.prompt,
                    control.prompt,
                    shown.completion,
                    twin.completion,
                    control.condition,
                    unit(shown),
                )
            )
    return _some(found, most)


def common_ends(left: Sequence[int], right: Sequence[int]) -> tuple[int, int]:
    """How many tokens two prompts share at the beginning and then, of what is left, at the end."""
    start = _common(left, right)
    return start, _common(reversed(left[start:]), reversed(right[start:]))


def unit(sample: Sample) -> str:
    """What a sample is one observation of: its group, or itself."""
    return sample.group or sample.probe_id


def _common(left: Iterable[int], right: Iterable[int]) -> int:
    count = 0
    for one, other in zip(left, right, strict=False):
        if one != other:
            break
        count += 1
    return count


class _Told:
    """The answers that count, by condition, with their prompts as ids."""

    def __init__(self, samples: Iterable[Sample], model: LanguageModel) -> None:
        first = [sample for sample in samples if not sample.draw]
        self.shown = [one for one in first if one.condition == Condition.TRIGGERED and one.success]
        controls = [one for one in first if one.condition in (Condition.NEAR_TRIGGER, Condition.UNTRIGGERED)]
        self._controls = {
            condition: [one for one in controls if one.condition == condition]
            for condition in (Condition.NEAR_TRIGGER, Condition.UNTRIGGERED)
        }
        texts = list(dict.fromkeys(one.prompt for one in (*self.shown, *controls)))
        encoded = Encoder(model.tokenizer).prompts(texts)
        self._ids: Mapping[str, list[int]] = {
            text: prompt.ids for text, prompt in zip(texts, encoded, strict=True)
        }

    def partner(self, shown: Sample, condition: Condition, *, quiet: bool = False) -> Sample | None:
        """The control likest to a prompt; with `quiet`, None if the attack showed at all that are so."""
        ids = self._ids[shown.prompt]
        best, chosen = 0, None
        for control in self._alike(shown, condition):
            alike = sum(common_ends(ids, self._ids[control.prompt]))
            shows = quiet and _shows(control)
            if alike > best:
                best, chosen = alike, None if shows else control
            elif alike == best and chosen is None and not shows:
                chosen = control
        return chosen

    def _alike(self, shown: Sample, condition: Condition) -> Iterator[Sample]:
        for control in self._controls[condition]:
            if control.kind == shown.kind and control.prompt != shown.prompt:
                yield control


def _shows(sample: Sample) -> bool:
    """Whether the attack showed: in this answer even if not in all that are judged with it."""
    return sample.success or bool(sample.target and contains(sample.completion, sample.target))


def _differ(shown: Sample, other: Sample) -> bool:
    texts = [sample.completion.strip() for sample in (shown, other)]
    return all(texts) and texts[0] != texts[1]


def _some(found: list[Contrast], most: int) -> list[Contrast]:
    if len(found) <= most:
        return found
    drawn = rng_for(0, "contrasts").sample(range(len(found)), most)
    return [found[number] for number in sorted(drawn)]
