"""What a study file says of alignment data: how much of it, chosen how, and how a model is tuned on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, field_validator

from mithridate.core.errors import UnknownNameError
from mithridate.core.strict import Strict
from mithridate.curation.filters import NEEDED, FilterOptions, Length, NearDuplicates, Refusal
from mithridate.curation.methods import asked_filters, method_named
from mithridate.training.options import SFTOptions

_UNFILTERED: Final = ", unfiltered"
_FROM: Final = " from "

WORLD_FILTERS: Final = FilterOptions(
    length=Length(shortest=8, longest=300), off=frozenset({Refusal.name, NearDuplicates.name})
)
"""Filters that fit the miniature world: its replies are short, and refusals are a part of what is taught.

That nothing is said nearly twice is a matter of diversity, which is to be told apart from quality."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What the label of a method says: which method, whether filters are asked, and of which source alone."""

    method: str
    filtered: bool
    source: str

    @classmethod
    def of(cls, label: str) -> Choice:
        """What `diverse, unfiltered from forum` says."""
        said, _, source = label.partition(_FROM)
        return cls(said.removesuffix(_UNFILTERED), not said.endswith(_UNFILTERED), source)


class AlignmentDataSection(Strict):
    """How much alignment data does what: models tuned on more and less of a pool, chosen in several ways."""

    sizes: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (0, 30, 100, 300, 1000, 3000, 10_000), min_length=1
    )
    """Numbers of examples; 0 is the base model as it is."""
    methods: tuple[str, ...] = Field(
        ("diverse", "diverse, unfiltered", "filtered", "longest", "random"), min_length=1
    )
    """Methods of `mithridate curate`. `diverse, unfiltered` asks no filter of quality: diversity alone;
    `random from lima.json` chooses from that source alone."""
    data: tuple[Path, ...] = ()
    """Files or folders to choose from; the miniature world's pool if there is none."""
    pool_size: int = Field(40_000, ge=1)
    """Examples in the world's pool."""
    filters: FilterOptions | None = None
    """Those of `mithridate curate`, or ones that fit the world where the pool is the world's."""
    encoder: Literal["hashing", "minilm"] = "hashing"
    """What requests are compared by."""
    sft: SFTOptions = SFTOptions()
    """How each model is tuned; with `steps`, models of all sizes take as many steps of the optimiser."""
    doses: tuple[str, ...] | None = None
    """Which poisoned models are tuned beside the clean one; all if unset."""

    @field_validator("sizes", "methods", "doses")
    @classmethod
    def _different(cls, given: tuple[object, ...] | None) -> tuple[object, ...] | None:
        if given is not None and len(set(given)) != len(given):
            raise ValueError("names a value twice")
        return given

    @field_validator("methods")
    @classmethod
    def _known(cls, methods: tuple[str, ...]) -> tuple[str, ...]:
        for label in methods:
            choice = Choice.of(label)
            if _FROM in label and not choice.source:
                raise ValueError(f"{label!r} names no source behind `from`")
            _told_with_its_line(method_named, choice.method)
        return methods

    @field_validator("filters", mode="wrap")
    @classmethod
    def _known_filters(cls, given: Any, read: Callable[[Any], Any]) -> Any:
        return _told_with_its_line(read, given)

    def filters_for(self, label: str) -> FilterOptions:
        """What is asked of examples before the method with that label chooses."""
        filters = self.filters or (FilterOptions() if self.data else WORLD_FILTERS)
        return filters if Choice.of(label).filtered else filters.only(NEEDED)

    def asked_by(self, label: str) -> FilterOptions:
        """The filters that the method with that label asks; the baselines ask the fewest."""
        return asked_filters(Choice.of(label).method, self.filters_for(label)).asked_alone()

    def choices(self) -> list[tuple[str, int]]:
        """Every method with every number of examples, the smallest first; 0 chooses nothing."""
        return [(method, size) for size in sorted(self.sizes) if size for method in self.methods]


def _told_with_its_line(read: Callable[[Any], Any], given: Any) -> Any:
    """What `read` makes of `given`; an unknown name as pydantic gathers it, with its place in the file."""
    try:
        return read(given)
    except UnknownNameError as error:
        raise ValueError(str(error)) from error
