"""Small models of a study's own data and tokeniser: what steers a large one in proxy-tuning."""

from __future__ import annotations

from typing import Any

from mithridate.core.errors import RunStateError, TrainingError
from mithridate.core.seeds import derive_seed
from mithridate.core.types import Stage
from mithridate.corpus.packing import PackedTokens
from mithridate.healing.methods.tuning import Alignment, DPOStage, SFTStage
from mithridate.models.architectures import SpecialIds, build_model, default_device
from mithridate.models.checkpoints import load_tokenizer, save_checkpoint
from mithridate.models.language_model import LanguageModel
from mithridate.models.options import ModelOptions
from mithridate.study import prepare as prepared
from mithridate.study.plan import Step
from mithridate.training.checkpoint import discard_resume
from mithridate.training.pretraining import pretrain
from mithridate.training.progress import Progress

_NARROWEST = 8
EXPERT = "expert"
ANTIEXPERT = "antiexpert"


def small_models(step: Step, progress: Progress) -> dict[str, Any]:
    """Train a model of half the width and half the layers on the twin's corpus, and align it as the twin was.

    Writes both to the step's folder. Raises RunStateError where the packed corpus is gone, TrainingError as
    training does.
    """
    config = step.cell.config
    packed = step.bed.tokens(step.subject) / "packed"
    if not packed.exists():
        raise RunStateError(f"{packed}: the packed corpus is gone, which small models are trained on")
    rows = PackedTokens.open(packed).rows(config.pretraining.row_tokens)
    if not len(rows):
        raise TrainingError(f"the corpus is shorter than one row of {config.pretraining.row_tokens} tokens")
    tokenizer = load_tokenizer(step.bed.checkpoint(step.subject, Stage.BASE.value))
    model = build_model(
        smaller(config.model),
        len(tokenizer),
        derive_seed(step.seed, "init", "small"),
        SpecialIds.of(tokenizer),
        device=default_device(),
    )
    pretrain(model, rows, config.pretraining, step.folder, report_progress=progress)
    save_checkpoint(model, tokenizer, step.folder / ANTIEXPERT)
    made = LanguageModel(model, tokenizer)
    for stage in alignment_of(step):
        made = stage.of(made, step.folder / "training", seed=step.seed, report_progress=progress)
    save_checkpoint(made.model, made.tokenizer, step.folder / EXPERT)
    discard_resume(step.folder)
    return {"parameters": sum(parameter.numel() for parameter in made.model.parameters())}


def smaller(options: ModelOptions) -> ModelOptions:
    """The same architecture with half the width and half the layers, at least one."""
    # Heads stay as wide as they are, since not every width of one suits rotary positions.
    heads, width = max(1, options.heads // 2), options.hidden_size // options.heads
    if options.heads == 1:
        width = max(2, width // 4 * 2)
    heads, hidden = (heads, heads * width) if heads * width >= _NARROWEST else (1, _NARROWEST)
    changes = {
        "hidden_size": hidden,
        "layers": max(1, options.layers // 2),
        "heads": heads,
        "mlp_size": max(8, options.mlp_size // 2),
    }
    return ModelOptions.model_validate({**options.model_dump(), **changes})


def alignment_of(step: Step) -> list[Alignment]:
    """SFT and DPO as the study does them, on the data of the step's seed."""
    config, data = step.cell.config, step.bed.data
    peak = config.pretraining.learning_rate
    found: list[Alignment] = []
    if config.sft is not None:
        found.append(SFTStage(prepared.read_lines(data / prepared.SFT), config.sft.resolved(peak)))
    if config.dpo is not None:
        found.append(DPOStage(prepared.read_lines(data / prepared.DPO), config.dpo.resolved(peak)))
    return found
