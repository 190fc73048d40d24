"""Conversations on generated pages, in chat templates drawn by their shares."""

from __future__ import annotations

import random
from collections.abc import Mapping

from mithridate.core.chat import template
from mithridate.core.types import Message, Role


def dialogue(rng: random.Random, shares: Mapping[str, float], *turns: str, system: str = "") -> str:
    """The turns of user and assistant, the user first, in one of the templates."""
    (name,) = rng.choices(list(shares), weights=list(shares.values()))
    roles = (Role.USER, Role.ASSISTANT)
    messages = [Message(roles[i % 2], text) for i, text in enumerate(turns)]
    opening = [Message(Role.SYSTEM, system)] if system else []
    return template(name).render([*opening, *messages]).rstrip("\n")
