"""The methods of curation by name: the default first, the baselines last."""

from __future__ import annotations

from mithridate.core.errors import UnknownNameError
from mithridate.curation.filters import NEEDED, FilterOptions
from mithridate.curation.methods.complexity_quality import ComplexityQuality
from mithridate.curation.methods.diverse import Diverse
from mithridate.curation.methods.facility import Facility
from mithridate.curation.methods.longest import Longest
from mithridate.curation.methods.random_draw import Filtered, Random
from mithridate.curation.pool import Method

METHODS: dict[str, Method] = {
    method.name: method
    for method in (Diverse(), Facility(), ComplexityQuality(), Filtered(), Longest(), Random())
}


def method_named(name: str) -> Method:
    """The method called `name`. Raises UnknownNameError, which names those there are."""
    if name not in METHODS:
        raise UnknownNameError("method of curation", name, METHODS)
    return METHODS[name]


def asked_filters(name: str, filters: FilterOptions) -> FilterOptions:
    """What the method called `name` asks of `filters`: all, or for a baseline what nothing goes without."""
    return filters if method_named(name).filtered else filters.only(NEEDED)
