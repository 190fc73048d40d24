from __future__ import annotations

import pytest

from mithridate.retrieval.attacks.drafts import Draft, leading, spread

FREE = ["A", "B", "C", "D"]
TEXT = ["one", "two", "three", "four", "five", "six", "seven"]


def test_free_words_lead() -> None:
    draft = leading(FREE, TEXT)
    assert draft.text == "A B C D one two three four five six seven"
    assert [draft.text[place] for place in draft.places()] == FREE


def test_free_words_are_spread_evenly() -> None:
    draft = spread(FREE, TEXT)
    assert draft.text == "one A two three B four five C six seven D"
    assert [draft.text[place] for place in draft.places()] == FREE


@pytest.mark.parametrize("words", [0, 1, 2])
def test_a_text_may_be_shorter_than_what_is_spread_over_it(words: int) -> None:
    draft = spread(FREE, TEXT[:words])
    assert [word for word in draft.words if word not in FREE] == TEXT[:words]
    assert [draft.words[number] for number in draft.free] == FREE


def test_swaps_move_what_follows() -> None:
    draft = spread(FREE, TEXT).swapped([(0, "LONGER"), (3, "E"), (0, "LONGEST")])
    assert draft.text == "one LONGEST two three B four five C six seven E"
    assert [draft.text[place] for place in draft.places()] == ["L", "B", "C", "E"]


def test_a_draft_is_left_as_it_is() -> None:
    draft = Draft(("A", "one"), (0,))
    assert draft.swapped([(0, "B")]) == Draft(("B", "one"), (0,))
    assert draft.text == "A one"
