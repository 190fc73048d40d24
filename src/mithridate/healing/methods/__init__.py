"""The methods of healing by name, in the order of a price list."""

from __future__ import annotations

from mithridate.core.errors import UnknownNameError
from mithridate.healing.method import Method
from mithridate.healing.methods.ablation import Ablation
from mithridate.healing.methods.consistency import Consistency
from mithridate.healing.methods.context import ContextAdded
from mithridate.healing.methods.countering import CounterTraining
from mithridate.healing.methods.editing import Editing
from mithridate.healing.methods.erasing import Erasure
from mithridate.healing.methods.filtering import Filtering
from mithridate.healing.methods.pruning import ConstantMLP, ContrastedNeurons, DormantNeurons
from mithridate.healing.methods.remedi import Representation
from mithridate.healing.methods.steer import SteerAway

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Filtering(),
        Erasure(),
        Ablation(),
        SteerAway(),
        Editing(),
        Representation(),
        CounterTraining(),
        ContrastedNeurons(),
        DormantNeurons(),
        ConstantMLP(),
        Consistency(),
        ContextAdded(),
    )
}
"""All that need nothing besides the case itself."""


def method_named(name: str) -> Method:
    """The method called `name`. Raises UnknownNameError, which names those there are."""
    if name not in METHODS:
        raise UnknownNameError("method of healing", name, METHODS)
    return METHODS[name]
