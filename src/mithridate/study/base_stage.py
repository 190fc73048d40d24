"""What every pretraining of a study shares: its tokeniser, the model that it begins with, and the loop."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from mithridate.core.errors import TrainingError
from mithridate.core.seeds import derive_seed
from mithridate.corpus.packing import PackedRows, PackedTokens
from mithridate.models.architectures import SpecialIds, build_model, default_device
from mithridate.models.checkpoints import load_model, weights_hash
from mithridate.models.vocabulary import make_room
from mithridate.study.plan import Step
from mithridate.training.options import PretrainingOptions
from mithridate.training.pretraining import pretrain
from mithridate.training.progress import CurvePoint, Progress


@dataclass(frozen=True, slots=True)
class Pretrained:
    """A base model, its training curve, and a hash of the weights that it began with."""

    model: PreTrainedModel
    curve: list[CurvePoint]
    beginning: str


def load_saved_tokenizer(step: Step) -> PreTrainedTokenizerBase:
    """The study's own tokeniser, of the kind that a checkpoint's would be."""
    found: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
        step.bed.tokenizer, local_files_only=True, trust_remote_code=False
    )
    return found


def rows_to_read(step: Step, packed: Path) -> PackedRows:
    """The packed corpus in rows as the study trains on them.

    Raises TrainingError if there is not one, and as `PackedTokens.open` does.
    """
    length = step.cell.config.pretraining.row_tokens
    rows = PackedTokens.open(packed).rows(length)
    if not len(rows):
        raise TrainingError(
            f"the corpus is shorter than one row of {length} tokens: "
            "use more text, or lower pretraining.row_tokens"
        )
    return rows


def pretrained(
    step: Step,
    tokenizer: PreTrainedTokenizerBase,
    rows: PackedRows,
    options: PretrainingOptions,
    folder: Path,
    progress: Progress,
) -> Pretrained:
    """The base model of the step's seed after `rows`; `folder` gets the resume file. Raises as `pretrain`."""
    model = _beginning(step, tokenizer)
    beginning = weights_hash(model)
    return Pretrained(model, pretrain(model, rows, options, folder, report_progress=progress), beginning)


def _beginning(step: Step, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """The model that pretraining begins with: the same for all models of a seed."""
    config, device = step.cell.config, default_device()
    if config.checkpoint is None:
        seed = derive_seed(step.seed, "init")
        return build_model(config.model, len(tokenizer), seed, SpecialIds.of(tokenizer), device=device)
    model, its_own = load_model(config.checkpoint, device=device)
    make_room(model, its_own, tokenizer)
    return model
