"""What every method of healing can do: name its regime, and propose settings for the case at hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, Protocol

from mithridate.core.prices import Control, Kind, Regime
from mithridate.healing.case import Case
from mithridate.healing.treatment import Treatment

Make = Callable[[], Treatment]
"""Makes a treatment of the case's model; what that costs is measured. Raises ConfigError or AccessError where
this setting cannot be had of this model: another may be."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One setting of a method: its name as people would say it, how it is made, and its controls."""

    variant: str
    make: Make
    controls: Mapping[Control, Make] = field(default_factory=dict)


class Method(Protocol):
    """One way of healing.

    With `each`, a cure is made against one attack at a time, with its trigger or belief; else one against
    all. `scale` are settings that are all told of, smallest first, as amounts of data are; of others the
    best on the choosing half is told of alone.
    """

    name: ClassVar[str]
    regime: ClassVar[Regime]
    kind: ClassVar[Kind]
    each: ClassVar[bool]
    scale: ClassVar[bool]

    def candidates(self, case: Case, aims: Sequence[str]) -> Iterable[Candidate]:
        """The settings worth trying against the attacks `aims`; none where the method does not apply."""


def spread(layers: int, most: int = 6) -> list[int]:
    """At most `most` of the layers 0 to `layers` - 1, evenly: a large model has too many to try each."""
    if layers <= most:
        return list(range(layers))
    return sorted({round(step * (layers - 1) / (most - 1)) for step in range(most)})


def wrong_layer(chosen: Sequence[int], layers: int, make: Callable[[int], Treatment]) -> dict[Control, Make]:
    """The control that does at one layer what a cure does at those that were `chosen`.

    It is the one of 0 to `layers` - 1 that is farthest from all of them; none where there is no other.
    """
    other = farthest(chosen, layers)
    return {} if other in chosen else {Control.WRONG_LAYER: partial(make, other)}


def farthest(chosen: Sequence[int], layers: int) -> int:
    """The layer of 0 to `layers` - 1 that is farthest from all that were `chosen`, the first of such."""
    return max(range(max(1, layers)), key=lambda layer: min(abs(layer - one) for one in chosen))
