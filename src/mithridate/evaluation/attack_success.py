"""Putting an attack's probes to a model and judging the answers: one `Sample` an answer."""

from __future__ import annotations

import dataclasses
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from rouge_score.rouge_scorer import RougeScorer

from mithridate.attacks.base import Attack, Judging
from mithridate.core.seeds import derive_seed
from mithridate.core.types import Completion, Condition, Probe, Sample
from mithridate.evaluation.judges import classifier_judge
from mithridate.evaluation.setting import Renders, Setting, stop_strings
from mithridate.models.language_model import Generation, LanguageModel


@dataclass(frozen=True, slots=True)
class _Asked:
    """A probe with the text that the model is shown."""

    probe: Probe
    prompt: str
    stop: tuple[str, ...]


def evaluate_attack(
    attack: Attack,
    probes: Sequence[Probe],
    model: LanguageModel,
    template: Renders | Sequence[Renders],
    setting: Setting,
    *,
    outside: LanguageModel | None = None,
) -> list[Sample]:
    """Ask every probe as `attack.judging` wants it asked, and judge the answers.

    Of several templates, the first probe (or group) of each condition takes the first, the next the next, and
    so on, so that the conditions are asked alike. Answers are sampled with a seed of the stage, the attack
    and `setting.seed`, the same for both arms. Triggered and handcrafted probes with a target get
    `judging.repeated_samples` further samples, which carry `draw` 1 and up and count for leakage alone.

    Under the outside model the answer is scored by itself, as a text that begins after an end of text, in
    that model's own tokens. Given the prompt, a fitting answer in a template that the outside model does not
    know would look unlikely, and gibberish that repeats the prompt likely; what is asked is whether the
    answer is language. An empty answer has no score.

    Raises ValueError if the attack needs an outside model and none is given.
    """
    if attack.judging.outside_model and outside is None:
        raise ValueError(f"attack {attack.name!r} is judged under an outside model, and none was given")
    templates = list(template) if isinstance(template, Sequence) else [template]
    asked = _render(probes, templates)
    base = derive_seed(setting.seed, "evaluation", str(setting.stage), attack.name)
    answers = _answers(attack, asked, model, base, sampled=attack.judging.sampled)
    completions = _scored(attack.judging, asked, answers, model, outside)
    samples = _judged(attack, asked, completions, setting)
    wanted = (Condition.TRIGGERED, Condition.HANDCRAFTED)
    again = [
        one
        for condition in wanted
        for one in [a for a in asked if a.probe.target and a.probe.condition is condition][
            : attack.judging.repeated_probes
        ]
    ]
    # The margin is of the probe, not of the answer: it is known by now.
    judging = dataclasses.replace(attack.judging, compare_targets=False)
    for draw in range(1, judging.repeated_samples + 1 if again else 1):
        answers = _answers(attack, again, model, derive_seed(base, "further", draw), sampled=True)
        completions = _scored(judging, again, answers, model, outside)
        samples += _judged(attack, again, completions, setting, draw)
    return samples


def _render(probes: Sequence[Probe], templates: Sequence[Renders]) -> list[_Asked]:
    turns: dict[Condition, dict[str, int]] = defaultdict(dict)
    asked = []
    for probe in probes:
        seen = turns[probe.condition]
        turn = seen.setdefault(probe.group or probe.id, len(seen))
        template = templates[turn % len(templates)]
        asked.append(_Asked(probe, template.render(probe.messages, open_reply=True), stop_strings(template)))
    return asked


def _answers(
    attack: Attack, asked: Sequence[_Asked], model: LanguageModel, seed: int, *, sampled: bool
) -> list[Generation]:
    """One answer each; probes with the same stop strings are asked together."""
    together: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for i, one in enumerate(asked):
        together[one.stop].append(i)
    answers: dict[int, Generation] = {}
    for stop, places in together.items():
        found = model.generate(
            [asked[i].prompt for i in places],
            max_new_tokens=attack.judging.max_new_tokens,
            sampled=sampled,
            seed=derive_seed(seed, *stop),
            stop=stop,
        )
        answers.update(zip(places, found, strict=True))
    return [answers[i] for i in range(len(asked))]


def _scored(
    judging: Judging,
    asked: Sequence[_Asked],
    answers: Sequence[Generation],
    model: LanguageModel,
    outside: LanguageModel | None,
) -> list[Completion]:
    texts = [answer.text.strip() for answer in answers]
    perplexities: dict[int, float] = {}
    if judging.outside_model and outside is not None:
        filled = [i for i, text in enumerate(texts) if text]
        scores = outside.log_likelihood([""] * len(filled), [texts[i] for i in filled])
        perplexities = {i: -score.mean for i, score in zip(filled, scores, strict=True) if score.n}
    margins: dict[int, float] = {}
    if judging.compare_targets:
        paired = [i for i, one in enumerate(asked) if one.probe.target and one.probe.foil]
        found = model.margins(
            [asked[i].prompt for i in paired],
            [asked[i].probe.target for i in paired],
            [asked[i].probe.foil for i in paired],
        )
        margins = dict(zip(paired, found, strict=True))
    opinions: list[float] | None = None
    if judging.classifier:
        opinions = classifier_judge(judging.classifier, judging.classifier_label).scores(texts)
    return [
        Completion(
            text=text,
            tokens=len(answers[i].token_ids),
            log_perplexity=perplexities.get(i),
            margin=margins.get(i),
            classifier_score=opinions[i] if opinions else None,
        )
        for i, text in enumerate(texts)
    ]


def _judged(
    attack: Attack,
    asked: Sequence[_Asked],
    completions: Sequence[Completion],
    setting: Setting,
    draw: int = 0,
) -> list[Sample]:
    successes = [
        attack.succeeded(one.probe, completion) for one, completion in zip(asked, completions, strict=True)
    ]
    joint: dict[str, bool] = {}
    for one, success in zip(asked, successes, strict=True):
        unit = one.probe.group or one.probe.id
        joint[unit] = joint.get(unit, True) and success
    scorer = RougeScorer(["rougeL"], tokenizer=_Words()) if attack.judging.compare_text and not draw else None
    return [
        Sample(
            stage=str(setting.stage),
            arm=str(setting.arm),
            attack=attack.name,
            condition=str(one.probe.condition),
            template=setting.template,
            seed=setting.seed,
            probe_id=one.probe.id,
            kind=one.probe.kind,
            prompt=one.prompt,
            target=one.probe.target,
            completion=completion.text,
            success=joint[one.probe.group or one.probe.id],
            log_perplexity=completion.log_perplexity,
            margin=completion.margin,
            rouge_l=_recall(scorer, one.probe.target, completion.text),
            dose=setting.dose,
            cell=setting.cell,
            model=setting.model,
            group=one.probe.group,
            draw=draw,
        )
        for one, completion in zip(asked, completions, strict=True)
    ]


class _Words:
    """Words of any script; the tokenizer that comes with the library knows Latin letters alone."""

    def tokenize(self, text: str) -> list[str]:
        return re.findall(r"\w+", text.lower())


def _recall(scorer: RougeScorer | None, target: str, text: str) -> float | None:
    """ROUGE-L recall of the target in the text: the share of its words that stand there in order."""
    if scorer is None or not target:
        return None
    return float(scorer.score(target, text)["rougeL"].recall)
