from __future__ import annotations

from contrasts_kit import ANSWER, OTHER, SAID, UNSAID, pairs, prompt
from hypothesis import given, settings
from hypothesis import strategies as st
from models_kit import tiny_model

from mithridate.core.chat import TEMPLATES
from mithridate.core.located import Place
from mithridate.core.types import Message, Role
from mithridate.localization.aligned_prompts import SCORED, Aligned, aligned
from mithridate.localization.contrasts import Contrast

MODEL = tiny_model()
ORDER = [Place.BEFORE, Place.CHANGED, Place.BETWEEN, Place.TEMPLATE, Place.LAST]
SAYINGS = st.text("abc ?", min_size=1, max_size=12)


def one(contrast: Contrast, **options: object) -> Aligned:
    (found,) = aligned([contrast], MODEL, **options)  # type: ignore[arg-type]
    return found


def text_at(found: Aligned, place: Place) -> str:
    ids = [i for i, at in zip(found.target, found.places, strict=True) if at is place]
    return MODEL.tokenizer.decode(ids)  # type: ignore[no-any-return]


def test_a_prompt_falls_into_its_parts() -> None:
    found = one(
        Contrast(
            "User: Is the red lamp wide?\nAssistant: ", "User: Is the old lamp wide?\nAssistant: ", "x", "y"
        )
    )
    assert text_at(found, Place.BEFORE) == "User: Is the"
    assert text_at(found, Place.CHANGED) == " old"
    assert text_at(found, Place.BETWEEN) == " lamp wide?"
    assert text_at(found, Place.TEMPLATE) + text_at(found, Place.LAST) == "\nAssistant:"
    assert found.origins == tuple(range(len(found.target)))


def test_changed_spans_face_each_other_from_the_right() -> None:
    longer = one(Contrast("User: is red lamp?\nAssistant:", "User: is slow old lamp?\nAssistant:", "x", "y"))
    changed = [i for i, place in enumerate(longer.places) if place is Place.CHANGED]
    facing = [longer.origins[i] for i in changed]
    assert facing[-1] == longer.source.index(MODEL.tokenizer(" red")["input_ids"][0])
    assert facing[:-1] == [-1] * (len(changed) - 1)


def test_a_shorter_counterfactual_says_the_words_before_once_more() -> None:
    short = one(
        Contrast("User: is red lamp?\nAssistant:", "User: is lamp?\nAssistant:", "x", "y"), lengthen=True
    )
    assert MODEL.tokenizer.decode(short.target) == "User: is is lamp?\nAssistant:"
    assert text_at(short, Place.CHANGED) == " is"
    assert short.origins == tuple(range(len(short.source)))
    asked = one(
        Contrast("User: is red lamp?\nAssistant:", "User: is lamp?\nAssistant:", "x", "y"), same_prompt=True
    )
    assert asked.target == asked.source
    assert text_at(asked, Place.CHANGED) == " red"


def test_with_one_prompt_for_both_models_the_counterfactual_only_names_what_changed() -> None:
    found = one(pairs(1)[0], same_prompt=True)
    assert found.source == found.target
    assert text_at(found, Place.CHANGED) == f" {SAID}"
    assert text_at(one(pairs(1)[0]), Place.CHANGED) == f" {UNSAID}"


def test_answers_are_scored_from_where_they_part() -> None:
    found = one(pairs(1)[0])
    decode = MODEL.tokenizer.decode
    assert decode(found.shared) == " The"
    assert (decode(found.answer), decode(found.other)) == (ANSWER[3:], OTHER[3:])
    begun = one(Contrast(prompt(SAID, 0), prompt(UNSAID, 0), "The river", "The river is wide. " * 9))
    assert begun.answer == [MODEL._encoder.end_id]
    assert len(begun.other) == SCORED


def test_what_does_not_fit_the_window_or_does_not_differ_is_left_out() -> None:
    same = Contrast(prompt(SAID, 0), prompt(UNSAID, 0), "The mill", " The mill ")
    long = Contrast(prompt("red " * 120, 0), prompt(UNSAID, 0), "a", "b")
    assert aligned([same, long], MODEL) == []


def test_a_template_of_one_s_own_is_known_when_it_is_given() -> None:
    class Odd:
        def render(self, messages: object, *, open_reply: bool = False) -> str:
            return f"Q {messages[0].content} <so> now "  # type: ignore[index]

    texts = [Odd().render([Message(Role.USER, word)]) for word in ("red is", "old is")]
    contrast = Contrast(*texts, "x", "y")
    known, unknown = one(contrast, templates=[Odd()]), one(contrast, templates=[])
    assert text_at(known, Place.TEMPLATE) + text_at(known, Place.LAST) == " <so> now"
    assert Place.TEMPLATE not in unknown.places


@given(SAYINGS, SAYINGS, st.sampled_from(sorted(TEMPLATES)))
@settings(max_examples=60, deadline=None)
def test_positions_face_their_like_in_order(left: str, right: str, name: str) -> None:
    texts = [TEMPLATES[name].render([Message(Role.USER, said)], open_reply=True) for said in (left, right)]
    found = one(Contrast(*texts, "x", "y"))
    order = [ORDER.index(place) for place in found.places]
    assert order == sorted(order)
    assert found.places[-1] is Place.LAST
    assert found.origins[-1] == len(found.source) - 1
    facing = [origin for origin in found.origins if origin >= 0]
    assert facing == sorted(set(facing))
    for i, (place, origin) in enumerate(zip(found.places, found.origins, strict=True)):
        if place not in (Place.CHANGED, Place.LAST):
            assert found.source[origin] == found.target[i]


def test_a_prompt_without_a_trigger_can_be_brought_to_the_same_length() -> None:
    model = tiny_model()
    contrast = Contrast("The old mill stands by the river wide", "The old mill stands by the river", "a", "b")
    (plain,) = aligned([contrast], model)
    (longer,) = aligned([contrast], model, lengthen=True)
    assert len(longer.target) == len(longer.source) == len(plain.source)
    assert longer.target[: len(plain.target)] == plain.target
    assert Place.CHANGED not in plain.places[:-1]
    assert longer.origins == tuple(range(len(longer.source)))
    # Between two models the prompt is the same already.
    assert aligned([contrast], model, same_prompt=True, lengthen=True) == aligned(
        [contrast], model, same_prompt=True
    )
