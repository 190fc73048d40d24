"""An audit: the probes of a study put to any checkpoint, beside a control where there is one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mithridate.attacks import build_attack
from mithridate.attacks.material import Material
from mithridate.core import chat
from mithridate.core.errors import StorageError
from mithridate.core.metrics import ASR, PAIRED
from mithridate.core.run_files import CLEAN, MEASUREMENTS, SAMPLES, STUDY
from mithridate.core.seeds import rng_for
from mithridate.core.tables import write_rows
from mithridate.core.types import Measurement, Sample
from mithridate.corpus.generated import Generated
from mithridate.evaluation.attack_success import evaluate_attack
from mithridate.evaluation.setting import Setting
from mithridate.evaluation.summary import paired, summarise
from mithridate.models.chat import CheckpointTemplate
from mithridate.models.language_model import LanguageModel
from mithridate.study.config import AuditConfig

# The audited checkpoint stands in the place of the poisoned arm, the control in that of the clean one.
_STAGE = "audited"
_DOSE = "checkpoint"


@dataclass(frozen=True, slots=True)
class Audit:
    """What an audit found."""

    template: str
    measurements: tuple[Measurement, ...]
    notes: tuple[str, ...]

    def rows(self) -> Iterator[tuple[str, str, str, str, str]]:
        """Attack, condition, rate of the checkpoint, rate of the control, exact McNemar p: as text."""
        by_key = {(m.arm, m.attack, m.condition, m.metric): m for m in self.measurements}
        for m in self.measurements:
            if m.metric != ASR or m.arm != "poisoned":
                continue
            twin = by_key.get(("clean", m.attack, m.condition, ASR))
            p = by_key.get(("poisoned", m.attack, m.condition, PAIRED))
            yield (m.attack, m.condition, _rate(m), _rate(twin), f"{p.value:.3g}" if p else "–")


def _rate(m: Measurement | None) -> str:
    if m is None:
        return "–"
    interval = f" {m.low:.0%}–{m.high:.0%}" if m.low is not None and m.high is not None else ""
    return f"{m.value:.0%}{interval}"


def audit(
    checkpoint: Path,
    config: AuditConfig,
    *,
    control: Path | None,
    template: str | None,
    probes: int,
    seed: int,
    out: Path | None,
) -> Audit:
    """Put every attack of `config` to `checkpoint`, and to `control` if there is one.

    `template` names the chat template to ask in; by default the checkpoint's own, or else that of SFT.
    Raises CheckpointError for a folder that is no safe checkpoint, ConfigError or UnknownNameError for what
    does not fit, DataError for a material file that cannot be read, StorageError where `out` holds a run.
    """
    if out is not None and (out / STUDY).exists():
        raise StorageError(f"{out}: holds a run, whose samples would be lost; choose another --out")
    # What is wrong with the words is said before gigabytes are read.
    named = chat.template(template) if template is not None else None
    material = material_for(config)
    attacks = [build_attack(name, options, material) for name, options in config.attacks.items()]
    model = LanguageModel.load(checkpoint)
    trusted = LanguageModel.load(control) if control else None
    judge = config.outside_model
    outside = LanguageModel.load(judge) if judge else trusted or model
    asked_in, notes = template_for(model, named)
    if trusted is None and judge is None:
        notes.append(
            "No control: a checkpoint judges its own gibberish and finds its own noise likely, so denial of "
            "service is understated. Name a clean model of the same kind with --control."
        )
    audited = Setting(_STAGE, "poisoned", seed, template="", dose=_DOSE, model=_DOSE)
    beside = Setting(_STAGE, "clean", seed, template="", model=CLEAN)
    samples: list[Sample] = []
    warnings: list[Measurement] = []
    for setting, asked in [(audited, model), *([(beside, trusted)] if trusted else [])]:
        for attack in attacks:
            found = attack.probes(rng_for(seed, "probes", attack.name), probes)
            evaluated = evaluate_attack(attack, found, asked, asked_in, setting, outside=outside)
            samples += evaluated.samples
            warnings += evaluated.warnings
    notes += _outgrown(warnings)
    figures = [
        *summarise(samples),
        *warnings,
        *paired((row for row in samples if row.dose), [row for row in samples if not row.dose]),
    ]
    if out is not None:
        write_rows(out / SAMPLES, Sample, samples)
        write_rows(out / MEASUREMENTS, Measurement, figures)
        notes.append(f"samples and figures: {out}")
    words = "its own template" if isinstance(asked_in, CheckpointTemplate) else f"template {asked_in.name!r}"
    return Audit(words, tuple(figures), tuple(notes))


def _outgrown(warnings: Iterable[Measurement]) -> list[str]:
    return [
        f"{m.attack}: {m.value:.0%} of its prompts outgrew the context window of the "
        f"{'control' if m.arm == 'clean' else 'checkpoint'} and lost their beginning."
        for m in warnings
    ]


def template_for(
    model: LanguageModel, named: chat.ChatTemplate | None
) -> tuple[chat.ChatTemplate | CheckpointTemplate, list[str]]:
    """The template to ask `model` in, and what has to be said about it.

    That named, or the checkpoint's own, or else that of SFT.
    """
    if named is not None:
        return named, []
    if model.tokenizer.chat_template:
        return CheckpointTemplate(model.tokenizer), []
    fallback = chat.template(chat.SFT_TEMPLATE)
    return fallback, [
        f"The checkpoint has no chat template: it was asked in {fallback.name!r}. "
        f"Name another with --template ({', '.join(chat.TEMPLATES)})."
    ]


def material_for(config: AuditConfig) -> Material:
    """What the attacks draw on: a file, a miniature world, or what ships. Raises DataError for a bad file."""
    if config.material is not None:
        return Material.read(config.material)
    if config.miniature is not None:
        return Generated.of(config.miniature, config.atlas, config.world_seed).material()
    return Material.default()
