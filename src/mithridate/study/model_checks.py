"""Whether model, tokeniser, templates and attacks of a study fit each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from mithridate.attacks.base import Attack
from mithridate.core import chat
from mithridate.core.errors import ConfigError, MithridateError, UnknownNameError
from mithridate.core.scrubbed import Filter
from mithridate.core.seeds import rng_for
from mithridate.core.types import Condition
from mithridate.corpus.alignment_data import read_conversations, read_preferences
from mithridate.evaluation.utility import ANSWER_TOKENS
from mithridate.models.architectures import skeleton
from mithridate.models.batching import context_window
from mithridate.models.checkpoints import (
    label_ids,
    load_tokenizer,
    look_at_classifier,
    look_at_model,
    require_fit,
)
from mithridate.study.config import StudyConfig
from mithridate.study.templates import Template, named_tokenizer, planted_shares, sft_template
from mithridate.training.conversations import encode, end_of_turn, pair_lengths
from mithridate.training.options import AlignmentOptions

# A tokeniser that is yet to be trained writes no fewer tokens than one for so many characters.
_MOST_CHARACTERS_A_TOKEN = 8
_PROBES = 8
_EXAMPLES = 16


@dataclass(frozen=True, slots=True)
class _Made:
    """What a study would train: a model without its weights, and the tokeniser where there is one already."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase | None
    template: Template

    def tokens(self, text: str) -> int:
        """How many tokens `text` has; at least, where the tokeniser is yet to be trained."""
        if self.tokenizer is None:
            return len(text) // _MOST_CHARACTERS_A_TOKEN
        return len(self.tokenizer(text, verbose=False)["input_ids"])


def check_model(config: StudyConfig, attacks: Sequence[Attack]) -> None:
    """See that the model can be built, asked and aligned as `config` says.

    Raises as `checks.check_study` does.
    """
    made = _made(config)
    planted = planted_shares(config.planting, made.template)
    for attack in attacks:
        _check_room(attack, made, [made.template, *map(chat.template, planted)])
        if folder := attack.judging.classifier:
            classifier = look_at_classifier(folder)
            load_tokenizer(folder)
            label_ids(classifier, attack.judging.classifier_label, folder)
    _check_window(config, context_window(made.model))
    if config.scrubbing is not None and Filter.INFLUENCE in config.scrubbing.methods:
        _check_gradients(made.model)
    for stage, options in (("sft", config.sft), ("dpo", config.dpo)):
        if options is not None:
            _check_adapters(stage, options, made.model)
    if config.sft is not None and made.tokenizer is not None:
        with _naming(config.checkpoint or config.tokenizer.path):
            end_of_turn(made.tokenizer)
        _check_examples(config, made.tokenizer)
    if config.evaluation.outside_model is not None:
        look_at_model(config.evaluation.outside_model)
        load_tokenizer(config.evaluation.outside_model)


def shape_of(config: StudyConfig, vocabulary: int) -> PreTrainedModel:
    """The model that a study trains, without its weights; `vocabulary` is the size of its tokeniser.

    Raises UnknownNameError or ConfigError as `build_model` does, CheckpointError as `load_model`.
    """
    if config.checkpoint is not None:
        return look_at_model(config.checkpoint)
    return skeleton(config.model, vocabulary)


def _made(config: StudyConfig) -> _Made:
    if config.checkpoint is not None and config.tokenizer.path is not None:
        raise ConfigError("tokenizer.path: a checkpoint brings its own tokeniser; leave one of the two out")
    model = shape_of(config, config.tokenizer.vocab_size)
    tokenizer = named_tokenizer(config)
    if tokenizer is None:
        return _Made(model, None, chat.template(chat.SFT_TEMPLATE))
    if config.checkpoint is not None:
        # As it is in the folder: what it gets from us, the model gets room for.
        require_fit(model, load_tokenizer(config.checkpoint), config.checkpoint)
    return _Made(model, tokenizer, sft_template(tokenizer))


def _check_window(config: StudyConfig, window: int | None) -> None:
    if window is None:
        return
    if config.pretraining.row_tokens > window:
        raise ConfigError(
            f"pretraining.row_tokens is {config.pretraining.row_tokens}, but the model has {window} "
            "positions: lower it"
        )
    if window <= ANSWER_TOKENS:
        raise ConfigError(
            f"questions are answered in up to {ANSWER_TOKENS} tokens, which leaves no room for them in a "
            f"context window of {window}: raise model.max_length"
        )


def _check_room(attack: Attack, made: _Made, templates: Sequence[Template]) -> None:
    """Render some probes in every template; of the triggered ones, the shortest must fit whole."""
    probes = attack.probes(rng_for(0, "check"), _PROBES)
    window, answer = context_window(made.model), attack.judging.max_new_tokens
    for template in templates:
        prompts = [(probe.condition, template.render(probe.messages, open_reply=True)) for probe in probes]
        triggered = [made.tokens(text) for condition, text in prompts if condition is Condition.TRIGGERED]
        if window is None or not triggered or min(triggered) + answer <= window:
            continue
        least = "" if made.tokenizer else "at least "
        raise ConfigError(
            f"attacks.{attack.name}: an answer of {answer} tokens and the shortest prompt, of {least}"
            f"{min(triggered)}, outgrow the context window of {window}: "
            f"lower attacks.{attack.name}.max_new_tokens, or raise model.max_length"
        )


def _check_gradients(model: PreTrainedModel) -> None:
    """See that there are layers whose gradients influence can be told by: some model types have none."""
    untyped: Any = model
    head = untyped.get_output_embeddings()
    if not any(isinstance(one, nn.Linear) and one is not head for one in model.modules()):
        raise ConfigError(
            f"{type(model).__name__} has no linear layer in its blocks, whose gradients influence would be "
            "told by; leave `influence` out of scrubbing.methods"
        )


def _check_adapters(stage: str, options: AlignmentOptions, model: PreTrainedModel) -> None:
    if options.lora is None or isinstance(options.lora.modules, str):
        return
    # As peft does, by the last parts of their names.
    leaves = {name for name, module in model.named_modules() if not list(module.children())}
    for wanted in options.lora.modules:
        if not any(f".{name}".endswith(f".{wanted}") for name in leaves):
            known = {name.rpartition(".")[2] for name in leaves}
            raise UnknownNameError(f"module of the model ({stage}.lora.modules)", wanted, known)


def _check_examples(config: StudyConfig, tokenizer: PreTrainedTokenizerBase) -> None:
    """Encode the first examples that the study names, as SFT and DPO will."""
    for path in config.sft.data if config.sft else ():
        talks = read_conversations(path, _EXAMPLES)
        with _naming(path):
            encode(tokenizer, [talk["messages"] for talk in talks])
    for path in config.dpo.data if config.dpo else ():
        pairs = read_preferences(path, _EXAMPLES)
        with _naming(path):
            pair_lengths(tokenizer, pairs)


@contextmanager
def _naming(place: Path | None) -> Iterator[None]:
    """Put a file or folder before the words of an error that does not know it."""
    try:
        yield
    except MithridateError as error:
        error.args = (f"{place}: {error}",)
        raise
