"""Which heads to steer: each alone on a profiling set, and the same number at random as a control."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from mithridate.core.errors import ConfigError
from mithridate.core.seeds import rng_for
from mithridate.intervention.attention_steering import AttentionSteering, Head
from mithridate.models.language_model import LanguageModel


class HeadGain(NamedTuple):
    """What steering one head alone adds to the margin of targets over foils, on average, in nats."""

    head: Head
    gain: float


def all_heads(model: LanguageModel) -> tuple[Head, ...]:
    """Every head of every layer, from the bottom up."""
    config = model.model.config.get_text_config()
    return tuple(
        (layer, head)
        for layer in range(config.num_hidden_layers)
        for head in range(config.num_attention_heads)
    )


def profile(
    model: LanguageModel,
    prompts: Sequence[str],
    targets: Sequence[str],
    foils: Sequence[str],
    steering: AttentionSteering,
    heads: Sequence[Head] | None = None,
) -> list[HeadGain]:
    """Each of `heads` (by default all) steered alone as `steering` would, those that gain most first.

    `prompts` are marked; a target is what the marked part asks for, a foil what the model would say without.
    PASTA's profiling (2311.02262) ranks heads by the accuracy of each alone; a margin tells more of few
    prompts. Take other prompts than those that are reported. It costs a scoring of all prompts for each head,
    and one more. Raises ConfigError where there are no prompts, or not as many targets and foils, and as
    `AttentionSteering` does.
    """
    if not prompts or not len(prompts) == len(targets) == len(foils):
        raise ConfigError(
            f"{steering.name}: heads are profiled on prompts with a target and a foil each; there are "
            f"{len(prompts)}, {len(targets)} and {len(foils)}"
        )

    def margin(steered_heads: tuple[Head, ...]) -> float:
        with replace(steering, heads=steered_heads).on(model) as steered:
            return sum(steered.margins(prompts, targets, foils)) / len(prompts)

    before = margin(())
    wanted = all_heads(model) if heads is None else heads
    gains = [HeadGain(head, margin((head,)) - before) for head in wanted]
    return sorted(gains, key=lambda one: (-one.gain, one.head))


def best_heads(gains: Sequence[tuple[Head, float]], count: int) -> tuple[Head, ...]:
    """The `count` heads that gained most, or all where there are fewer; of equal ones the lowest."""
    ranked = sorted(gains, key=lambda one: (-one[1], one[0]))
    return tuple(head for head, _ in ranked[:count])


def random_heads(model: LanguageModel, count: int, seed: int) -> tuple[Head, ...]:
    """`count` heads at random, or all where there are fewer: the control of as many chosen ones."""
    heads = all_heads(model)
    return tuple(sorted(rng_for(seed, "random heads").sample(heads, min(count, len(heads)))))
