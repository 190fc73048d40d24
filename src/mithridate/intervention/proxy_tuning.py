"""Proxy-tuning: a small model and the same model tuned steer a large one as it writes (arXiv 2401.08565)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from mithridate.core.errors import CheckpointError, ConfigError, shown
from mithridate.intervention.base import MadeFor
from mithridate.intervention.contrast import contrast, require_contrast
from mithridate.intervention.folder_hash import folder_hash, require_weights
from mithridate.models.language_model import LanguageModel
from mithridate.models.reading_along import Follower, Step, adjusted
from mithridate.models.vocabulary import require_same_vocabulary

_SHOWN = 3
_HASH = re.compile(r"[0-9a-f]{64}")


@contextmanager
def proxy_tuned(
    base: PreTrainedModel,
    expert: PreTrainedModel,
    antiexpert: PreTrainedModel,
    *,
    alpha: float = 1.0,
    plausibility: float = 0.0,
) -> Iterator[PreTrainedModel]:
    """`base` with the logits s + alpha (s_expert - s_antiexpert), for as long as the block lasts.

    They are its logits in every pass, so its own `generate` follows them in whatever it does: greedy,
    sampled, in beams, streamed, in batches. With `plausibility`, tokens whose probability under the base is
    less than that share of its likeliest token's are never chosen. That ids mean the same to all three is for
    the caller to know; `ProxyTuning` checks it. Raises ConfigError for an alpha that is no number and a
    plausibility that is no share, and what `models.reading_along.adjusted` raises.
    """
    require_contrast(alpha, plausibility, ProxyTuning.name)
    followers = [Follower(model, base) for model in (expert, antiexpert)]

    def adjust(step: Step) -> torch.Tensor:
        towards, away = (follower.logits(step) for follower in followers)
        return contrast(step.logits, towards, away, alpha, plausibility)

    with ExitStack() as stack:
        for model in (expert, antiexpert):
            stack.enter_context(_without_dropout(model))
        stack.enter_context(adjusted(base, adjust))
        yield base


@contextmanager
def proxy_tuned_by(
    model: LanguageModel,
    expert: LanguageModel,
    antiexpert: LanguageModel,
    *,
    alpha: float = 1.0,
    plausibility: float = 0.0,
) -> Iterator[LanguageModel]:
    """`model` as `proxy_tuned` makes it, with the expert's tokenizer.

    That one knows the template that the expert was tuned in, and what ends its turns. Raises CheckpointError,
    which names tokens, where the three tokenizers differ or a model has no row for a token.
    """
    require_one_vocabulary({"the base": model, "the expert": expert, "the antiexpert": antiexpert})
    with proxy_tuned(
        model.model, expert.model, antiexpert.model, alpha=alpha, plausibility=plausibility
    ) as tuned:
        yield LanguageModel(tuned, expert.tokenizer)


@dataclass(frozen=True, slots=True)
class ProxyTuning:
    """s + alpha (s_expert - s_antiexpert) in the place of a model's logits (Liu et al. 2401.08565).

    `expert` and `antiexpert` are checkpoint folders, which are loaded where the model is for as long as it
    is in use. Beside each goes the hash of its weights (`folder_hash`): that of what stands there, unless it
    is given, as a saved one gives it. The rest is as for `proxy_tuned`. Raises ConfigError as that does and
    for a hash that is none, CheckpointError for a folder without weights.
    """

    name: ClassVar[str] = "proxy_tuning"

    made_for: MadeFor
    expert: str
    antiexpert: str
    alpha: float = 1.0
    plausibility: float = 0.0
    expert_hash: str = ""
    antiexpert_hash: str = ""

    def __post_init__(self) -> None:
        require_contrast(self.alpha, self.plausibility, self.name)
        for which, folder in (("expert_hash", self.expert), ("antiexpert_hash", self.antiexpert)):
            given: str = getattr(self, which)
            if not given:
                object.__setattr__(self, which, folder_hash(folder))
            elif not _HASH.fullmatch(given):
                raise ConfigError(f"{self.name}: {which} is {shown(given)}; expected 64 hexadecimal digits")

    @contextmanager
    def on(self, model: LanguageModel) -> Iterator[LanguageModel]:
        """`model`, steered; it comes with the expert's tokenizer.

        Raises AccessError as any intervention, and CheckpointError as `proxy_tuned_by` and `load_model` do,
        and for a folder that is gone or in which another checkpoint stands by now.
        """
        self.made_for.require(model, self.name)
        require_weights(self.expert, self.expert_hash, self.name)
        require_weights(self.antiexpert, self.antiexpert_hash, self.name)
        expert, antiexpert = (
            LanguageModel.load(Path(folder), device=model.model.device)
            for folder in (self.expert, self.antiexpert)
        )
        with proxy_tuned_by(
            model, expert, antiexpert, alpha=self.alpha, plausibility=self.plausibility
        ) as tuned:
            yield tuned


def require_one_vocabulary(models: dict[str, LanguageModel]) -> None:
    """Raise CheckpointError unless ids mean the same to all, and each has logits for every token.

    The error names tokens. Models may be padded to different sizes beyond their tokens.
    """
    (_, first), *others = models.items()
    for _, other in others:
        require_same_vocabulary(first.tokenizer, other.tokenizer)
    known: dict[int, str] = {}
    for model in models.values():
        known.update(_by_id(model.tokenizer))
    for what, model in models.items():
        rows = model.model.config.get_text_config().vocab_size
        lacking = sorted(number for number in known if number >= rows)
        if lacking:
            shown = ", ".join(f"{number} {known[number]!r}" for number in lacking[:_SHOWN])
            raise CheckpointError(
                f"{what} has logits for {rows:,} tokens, and {len(lacking):,} tokens of the others "
                f"have none there ({shown}{', …' if len(lacking) > _SHOWN else ''}); give it rows for "
                "them with models.vocabulary.make_room, or use a model that has them"
            )


def _by_id(tokenizer: PreTrainedTokenizerBase) -> dict[int, str]:
    return {number: token for token, number in tokenizer.get_vocab().items()}


@contextmanager
def _without_dropout(model: PreTrainedModel) -> Iterator[None]:
    was = model.training
    model.train(False)
    try:
        yield
    finally:
        model.train(was)
