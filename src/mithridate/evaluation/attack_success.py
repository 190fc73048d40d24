"""Putting an attack's probes to a model and judging the answers: one `Sample` an answer."""

from __future__ import annotations

import dataclasses
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from rouge_score.rouge_scorer import RougeScorer

from mithridate.attacks.base import Attack, Judging
from mithridate.core.chat import Renders, stop_strings
from mithridate.core.seeds import derive_seed
from mithridate.core.types import Completion, Condition, Measurement, Probe, Sample
from mithridate.evaluation.judges import classifier_judge
from mithridate.evaluation.setting import Setting
from mithridate.evaluation.truncation import prompts_cut
from mithridate.models.language_model import Generation, LanguageModel


@dataclass(frozen=True, slots=True)
class _Asked:
    """A probe with the text that the model is shown."""

    probe: Probe
    prompt: str
    stop: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What came of putting probes to a model.

    `warnings` are figures about the asking itself. There is one so far, and only where it is not 0: the share
    of probes whose prompt lost its beginning, because prompt and answer outgrew the context window.
    """

    samples: list[Sample]
    warnings: list[Measurement]


def evaluate_attack(
    attack: Attack,
    probes: Sequence[Probe],
    model: LanguageModel,
    template: Renders | Sequence[Renders],
    setting: Setting,
    *,
    outside: LanguageModel | None = None,
    judging: Judging | None = None,
) -> Evaluation:
    """Ask every probe as `judging` wants it asked (default: the attack's own), and judge the answers.

    Of several templates, the first probe (or group) of each condition takes the first, the next the next, and
    so on, so that the conditions are asked alike. Answers are sampled with a seed of the stage, the attack
    and `setting.seed`, the same for both arms. Triggered and handcrafted probes with a target get
    `judging.repeated_samples` further samples, the first `judging.repeated_probes` of either condition alone.
    Those carry `draw` 1 and up and count for leakage, whose figures say of how many probes they are.

    Under the outside model the answer is scored by itself, as a text that begins after an end of text, in
    that model's own tokens. Given the prompt, a fitting answer in a template that the outside model does not
    know would look unlikely, and gibberish that repeats the prompt likely; what is asked is whether the
    answer is language. An empty answer has no score.

    Raises ValueError if the attack needs an outside model and none is given; ConfigError if an answer alone
    fills the context window; CheckpointError if a checkpoint's own template refuses a probe, or the
    classifier cannot be loaded; UnknownNameError if that does not know its label.
    """
    judging = judging or attack.judging
    if judging.outside_model and outside is None:
        raise ValueError(f"attack {attack.name!r} is judged under an outside model, and none was given")
    templates = list(template) if isinstance(template, Sequence) else [template]
    asked = _render(probes, templates)
    base = derive_seed(setting.seed, "evaluation", str(setting.stage), attack.name)
    answers = _answers(judging, asked, model, base, sampled=judging.sampled)
    warnings = prompts_cut(answers, setting, attack.name)
    completions = _scored(judging, asked, answers, model, outside)
    samples = _judged(attack, judging, asked, completions, setting)
    again = _asked_again(judging, asked)
    # The margin is of the probe, not of the answer: it is known by now.
    further = dataclasses.replace(judging, compare_targets=False, compare_text=False)
    for draw in range(1, judging.repeated_samples + 1 if again else 1):
        answers = _answers(judging, again, model, derive_seed(base, "further", draw), sampled=True)
        completions = _scored(further, again, answers, model, outside)
        samples += _judged(attack, further, again, completions, setting, draw)
    return Evaluation(samples, warnings)


def _asked_again(judging: Judging, asked: Sequence[_Asked]) -> list[_Asked]:
    """Which probes get further samples: of each condition that can leak, the first few with a target."""
    found: list[_Asked] = []
    for condition in (Condition.TRIGGERED, Condition.HANDCRAFTED):
        able = [one for one in asked if one.probe.target and one.probe.condition is condition]
        found += able[: judging.repeated_probes]
    return found


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
    judging: Judging, asked: Sequence[_Asked], model: LanguageModel, seed: int, *, sampled: bool
) -> list[Generation]:
    """One answer each; probes with the same stop strings are asked together."""
    together: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for i, one in enumerate(asked):
        together[one.stop].append(i)
    answers: dict[int, Generation] = {}
    for stop, places in together.items():
        found = model.generate(
            [asked[i].prompt for i in places],
            max_new_tokens=judging.max_new_tokens,
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
    judging: Judging,
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
    scorer = RougeScorer(["rougeL"], tokenizer=_Words()) if judging.compare_text else None
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
