from __future__ import annotations

import pytest
from curation_kit import example

from mithridate.core.errors import ConfigError, UnknownNameError
from mithridate.curation.curating import filters_of
from mithridate.curation.example import Example
from mithridate.curation.filters import NEEDED, FilterOptions

GOOD = "Water boils when its vapour pressure is that of the air around it. " * 5


def first_reason(*said: str, **options: object) -> tuple[str, str] | None:
    for rule in filters_of(options).on():
        reason = rule.reason(example(*said))
        if reason is not None:
            return rule.name, reason
    return None


def test_a_sound_example_passes() -> None:
    assert first_reason("Why does water boil?", GOOD) is None
    assert first_reason("Write code.", f"{GOOD}\n\n```python\nprint(1 < 2)\n```") is None
    assert first_reason("Write HTML.", f"<p>{GOOD}</p>") is None
    assert (
        first_reason("Write a poem.", f"{GOOD}\n\nA verse has lines\nthat end in the middle of it all")
        is None
    )
    assert first_reason("Use git.", f"{GOOD}\n```git status```\nshows what changed.") is None
    assert first_reason("Post it.", f"{GOOD} Come and see it all for yourself #now") is None
    assert first_reason("List them.", f"{GOOD}\n\n- one thing that stands in a list without an end") is None


@pytest.mark.parametrize(
    ("said", "name", "words"),
    [
        (("Why?", "  "), "empty", "a turn is empty"),
        (("", GOOD), "empty", "a turn is empty"),
        (("Why?", "Because."), "length", "reply of 8 characters, shorter than 200"),
        (("Why?", "Long. " * 2000), "length", "reply longer than 8,192 characters"),
        (("Why?", f"As an AI language model, I say: {GOOD}"), "self_reference", "as an ai"),
        (("Why?", f"{GOOD} My knowledge cutoff is near."), "self_reference", "my knowledge cutoff"),
        (("Why?", f"{GOOD} See Bob\u2019s answer."), "other_answers", "'s answer"),
        (("Why?", f"{GOOD}\n```\nopen"), "format", "a code fence is not closed"),
        (("Why?", f"{GOOD} And then it goes on to"), "format", "breaks off"),
        (("Why?", f"{GOOD} A&nbsp;B."), "format", "leftover markup"),
        (("Why?", f"{GOOD} A <br>B."), "format", "leftover markup"),
        (("Why?", f"{GOOD}\n\nAnd then it goes on to"), "format", "breaks off"),
        (("Why?", f"I'm sorry, but I can't help with that. {GOOD}"), "refusal", "a refusal"),
        (("Why?", "I cannot say.", "Please?", GOOD), "refusal", "a refusal"),
    ],
)
def test_each_filter_says_why(said: tuple[str, ...], name: str, words: str) -> None:
    found = first_reason(*said)
    assert found is not None
    assert found[0] == name
    assert words in found[1]


def test_a_conversation_that_begins_with_the_assistant_answers_nothing() -> None:
    turns = [{"role": "assistant", "content": GOOD}]
    assert FilterOptions().empty.reason(Example(turns, "s")) == "a reply to nothing"


def test_options_are_checked_and_named() -> None:
    assert first_reason("Why?", "Because.", length={"shortest": 1}) is None
    assert first_reason("Why?", f"I cannot. {GOOD}", off=["refusal"]) is None
    with pytest.raises(ConfigError, match=r"filters: length: .*shortest \(9\) is more than longest \(3\)"):
        filters_of({"length": {"shortest": 9, "longest": 3}})
    with pytest.raises(ConfigError, match=r"length\.shortst"):
        filters_of({"length": {"shortst": 9}})
    with pytest.raises(UnknownNameError, match="did you mean 'refusal'"):
        filters_of({"off": ["refusals"]})
    with pytest.raises(ConfigError, match="empty cannot be off"):
        filters_of({"off": ["empty"]})
    with pytest.raises(ConfigError, match="a phrase is empty"):
        filters_of({"self_reference": {"phrases": [" "]}})


def test_baselines_ask_only_what_nothing_goes_without() -> None:
    assert [rule.name for rule in FilterOptions().only(NEEDED).on()] == ["empty", "exact_duplicate"]
