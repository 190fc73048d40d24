from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from registry_kit import register

from mithridate.core.errors import ConfigError, UnknownNameError
from mithridate.retrieval.consensus import Consensus
from mithridate.retrieval.controls import Concatenated, MeanOfFragments, Plain
from mithridate.retrieval.defenses import DEFENSES, build_defense, build_from_spec, spec
from mithridate.retrieval.perplexity import PerplexityFilter
from mithridate.retrieval.ragmask import RAGMask
from mithridate.retrieval.ragpart import RAGPart

OURS = [
    Plain(),
    MeanOfFragments(7),
    Concatenated(4, 2),
    RAGPart(7, 4, "intersection", 9),
    RAGMask(6, 0.1, 3, "mask", 2, 100),
    RAGMask(delta=math.inf),
    Consensus(0.8, 3, 4),
    PerplexityFilter(5.5, model="folder"),
]


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """What pyproject.toml registers, installed since or not, and some bad plug-ins."""
    plugins = {"counter": "collections:Counter", "stubborn": f"{__name__}:Stubborn"}
    register(monkeypatch, "mithridate.defenses", plugins)


@dataclass(frozen=True)
class Stubborn:
    """A plug-in's defence that refuses its options in its own words."""

    name: ClassVar[str] = "stubborn"
    level: int = 1

    def __post_init__(self) -> None:
        if self.level > 1:
            raise ConfigError("level is too high")

    def rerank(self, *_: Any) -> list[Any]:
        return []


def test_every_defence_is_registered_under_its_name() -> None:
    kinds = {type(defense) for defense in OURS}
    assert {DEFENSES.get(kind.name) for kind in kinds} == kinds
    assert set(DEFENSES.names()) - {"counter", "stubborn"} == {kind.name for kind in kinds}


@pytest.mark.parametrize("defense", OURS, ids=str)
def test_a_defence_comes_back_from_what_is_written_down(defense: Any) -> None:
    written = json.loads(json.dumps(spec(defense), allow_nan=False))
    assert build_from_spec(written) == defense


def test_options_and_defaults() -> None:
    assert build_defense("ragpart", {"fragments": 7}) == RAGPart(7)
    assert build_defense("ragmask", {"delta": "inf"}) == RAGMask(delta=math.inf)
    assert build_defense("plain") == Plain()


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("ragprat", {}, "unknown defence 'ragprat': did you mean 'ragpart'"),
        (
            "ragpart",
            {"fragment": 5},
            "unknown option of defence 'ragpart' 'fragment': did you mean 'fragments'",
        ),
        ("ragpart", {"name": "x"}, "unknown option"),
        ("ragpart", {"fragments": "many"}, "defence 'ragpart': fragments: Input should be a valid integer"),
        ("ragpart", {"vote": "plurality"}, "defence 'ragpart': vote: Input should be 'majority' or"),
        ("ragpart", {"combination": 6}, "defence 'ragpart': combination is 6 and fragments 5"),
        ("perplexity", {}, "defence 'perplexity': threshold: "),
        ("perplexity", {"threshold": 4}, "either a scorer or the folder of a model"),
        ("stubborn", {"level": 2}, "defence 'stubborn': level is too high"),
        ("counter", {}, "is no defence class"),
    ],
)
def test_what_cannot_be_built(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        build_defense(name, options)
    assert isinstance(caught.value, UnknownNameError) is ("unknown" in words)


@pytest.mark.parametrize(
    "saved", [{}, {"name": 3}, {"name": "plain", "options": []}, {"name": "plain", "x": 1}]
)
def test_specs_that_are_none(saved: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="written as its name and its options"):
        build_from_spec(saved)


def test_a_function_cannot_be_written_down() -> None:
    written = spec(PerplexityFilter(5.0, scorer=lambda texts: [0.0] * len(texts)))
    assert written["options"] == {"threshold": 5.0, "model": "", "breadth_factor": 2}
    with pytest.raises(ConfigError, match="either a scorer or the folder of a model"):
        build_from_spec(written)


def test_what_is_no_dataclass_cannot_be_written_down() -> None:
    class Handmade:
        name = "handmade"

    handmade: Any = Handmade()
    with pytest.raises(ConfigError, match="no dataclass"):
        spec(handmade)
