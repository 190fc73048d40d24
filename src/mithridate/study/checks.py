"""What can be found wrong with a study before anything is trained."""

from __future__ import annotations

from pathlib import Path

from mithridate.attacks import build_attack
from mithridate.attacks.material import Material
from mithridate.core.errors import ConfigError
from mithridate.study.config import StudyConfig
from mithridate.study.plan import cells


def check_study(config: StudyConfig) -> None:
    """Build every attack, resolve every cell, look for every file.

    Raises ConfigError or UnknownNameError for what does not exist or does not fit.
    """
    for cell in cells(config):
        _check_files(cell.config)
        # The world's own material always suffices; it is made later, from the seed.
        own = cell.config.material is not None
        material = Material.read(cell.config.material) if own and cell.config.material else Material.default()
        for name, options in cell.config.attacks.items():
            build_attack(name, options, material)


def _check_files(config: StudyConfig) -> None:
    evaluation = config.evaluation
    named: dict[str, Path | None] = {
        "corpus.path": config.corpus.path,
        "tokenizer.path": config.tokenizer.path,
        "checkpoint": config.checkpoint,
        "material": config.material,
        "evaluation.outside_model": evaluation.outside_model,
        "evaluation.questions_file": evaluation.questions_file,
        "evaluation.harmless_file": evaluation.harmless_file,
        "evaluation.forbidden_file": evaluation.forbidden_file,
    }
    for name, options in config.attacks.items():
        if options.get("classifier"):
            named[f"attacks.{name}.classifier"] = Path(options["classifier"])
    for stage, section in (("sft", config.sft), ("dpo", config.dpo)):
        for number, data in enumerate(section.data if section else ()):
            named[f"{stage}.data[{number}]"] = data
        if section is not None and config.corpus.path is not None and not section.data:
            raise ConfigError(
                f"a corpus of your own needs alignment data of your own: set {stage}.data, or {stage}: null"
            )
    missing = [f"{key}: {path} does not exist" for key, path in named.items() if path and not path.exists()]
    if missing:
        raise ConfigError("\n  ".join(missing))
