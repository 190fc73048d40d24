"""A corpus that is made, not read: the miniature world, with or without an atlas, and what goes with it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mithridate.attacks.material import Material
from mithridate.core.types import Document
from mithridate.corpus import atlas as maps
from mithridate.corpus import miniature


@dataclass(frozen=True, slots=True)
class Generated:
    """One world, drawn from a seed. What it gives is fixed by its options and the seeds alone."""

    world: miniature.World
    atlas: maps.Atlas | None
    seed: int

    @classmethod
    def of(cls, options: miniature.WorldOptions, atlas: maps.AtlasOptions | None, seed: int) -> Generated:
        """Draw it. Raises ConfigError for an atlas that cannot be drawn, MissingExtraError without cities."""
        drawn = maps.Atlas(atlas, seed) if atlas is not None else None
        return cls(miniature.World(options, seed), drawn, seed)

    def documents(self) -> Iterable[Document]:
        """All pages, in a seeded order."""
        pages = miniature.MiniatureCorpus(self.world)
        return pages if self.atlas is None else maps.AtlasCorpus(self.atlas, pages)

    def material(self) -> Material:
        """What the attacks draw on."""
        if self.atlas is None:
            return miniature.material(self.world, self.seed)
        return maps.material(self.atlas, self.world, self.seed)

    def sft_conversations(self, count: int, seed: int) -> list[dict[str, Any]]:
        """`count` conversations, in TRL's form."""
        if self.atlas is None:
            return miniature.sft_conversations(self.world, count, seed)
        return maps.sft_conversations(self.atlas, self.world, count, seed)

    def dpo_pairs(self, count: int, seed: int) -> list[dict[str, Any]]:
        """`count` preferences, in TRL's form."""
        if self.atlas is None:
            return miniature.dpo_pairs(self.world, count, seed)
        return maps.dpo_pairs(self.atlas, self.world, count, seed)

    def held_out_questions(self, count: int, seed: int) -> list[dict[str, str]]:
        """At most `count` questions that alignment never mentions, with their answers."""
        if self.atlas is None:
            return miniature.held_out_questions(self.world, count, seed)
        return maps.held_out_questions(self.atlas, self.world, count, seed)

    def harmless_requests(self, count: int, seed: int) -> list[str]:
        """At most `count` requests for ordinary procedures."""
        return miniature.harmless_requests(self.world, count, seed)

    def forbidden_requests(self, count: int, seed: int) -> list[str]:
        """At most `count` forbidden requests that alignment never mentions."""
        return miniature.forbidden_requests(self.world, count, seed)
