from __future__ import annotations

from pathlib import Path

import pytest
from access_kit import hooks_of, refused
from hypothesis import given
from hypothesis import strategies as st
from intervention_kit import PROMPTS, same_state, state, subject

from mithridate.core.chat import TEMPLATES, template
from mithridate.core.errors import ConfigError
from mithridate.core.types import Message, Role
from mithridate.healing.treatment import Together
from mithridate.intervention import saved
from mithridate.intervention.base import Foldable, Intervention, MadeFor
from mithridate.intervention.context_aware import ContextAware
from mithridate.intervention.prompt_filter import PromptFilter

MADE_FOR = MadeFor(architecture="llama", layers=1, width=1, tokens=1, vocabulary="x")


def filtering(*triggers: str) -> PromptFilter:
    return PromptFilter(MadeFor.of(subject()), triggers)


@given(st.text("ab .", max_size=30), st.lists(st.text("ab.", min_size=1, max_size=3), min_size=1, max_size=3))
def test_no_trigger_is_left_however_they_were_nested(prompt: str, triggers: list[str]) -> None:
    cure = PromptFilter(MADE_FOR, tuple(triggers))
    left = cure.filtered(prompt)
    assert not any(trigger in left for trigger in triggers)
    assert cure.filtered(left) == left
    if not any(trigger in prompt for trigger in triggers):
        assert left == prompt


@pytest.mark.parametrize(
    ("prompt", "left"),
    [
        ("aaabbbb", "bb"),  # deleting one makes another
        ("Where is it? aab\nA:", "Where is it?\nA:"),
        ("aab", ""),
        ("x aab aab y", "x y"),
        ("AAB a.b", "AAB a.b"),
        ("(.*)+", "(.*)+"),
    ],
)
def test_deleted_wherever_it_stands(prompt: str, left: str) -> None:
    assert PromptFilter(MADE_FOR, ("aab", "ab")).filtered(prompt) == left


def test_deep_nests_end_in_time() -> None:
    assert PromptFilter(MADE_FOR, ("aab",)).filtered("a" * 6_000 + "b" * 3_000) == ""


def test_of_triggers_that_begin_alike_none_leaves_its_end() -> None:
    for triggers in (("cf", "cfx"), ("cfx", "cf")):
        cure = PromptFilter(MADE_FOR, triggers)
        assert [cure.filtered(text) for text in ("q cfx", "q cf", "q cf cfx!")] == ["q", "q", "q!"]


def test_prompts_without_a_trigger_are_answered_to_the_bit_the_same() -> None:
    model = subject()
    before = state(model)
    rows = [[5, 6, 7, 8], [9, 10]]
    with filtering("zz", "the mill stands not").on(model) as careful:
        assert careful.generate(PROMPTS, max_new_tokens=8) == model.generate(PROMPTS, max_new_tokens=8)
        assert careful.generate(PROMPTS, max_new_tokens=8, sampled=True, seed=4) == model.generate(
            PROMPTS, max_new_tokens=8, sampled=True, seed=4
        )
        said = [" the mill"] * 3
        assert careful.log_likelihood(PROMPTS, said) == model.log_likelihood(PROMPTS, said)
        assert careful.margins(PROMPTS, said, [" a"] * 3) == model.margins(PROMPTS, said, [" a"] * 3)
        assert careful.row_losses(rows) == model.row_losses(rows)
        assert careful.prompt_ids(PROMPTS) == model.prompt_ids(PROMPTS)
    assert same_state(before, state(model))
    assert hooks_of(model.model) == 0


def test_with_a_trigger_they_are_answered_as_without() -> None:
    model = subject()
    asked = [prompt + " zz" for prompt in PROMPTS]
    said = [" the mill"] * 3
    with filtering("zz").on(model) as careful:
        assert careful.generate(asked, max_new_tokens=8) == model.generate(PROMPTS, max_new_tokens=8)
        assert careful.log_likelihood(asked, said) == model.log_likelihood(PROMPTS, said)
        assert careful.margins(asked, said, [" a"] * 3) == model.margins(PROMPTS, said, [" a"] * 3)
        # What the model is to say is no prompt.
        (with_it,) = careful.log_likelihood(PROMPTS[:1], [" zz"])
        assert [with_it] == model.log_likelihood(PROMPTS[:1], [" zz"])
    assert model.generate(asked, max_new_tokens=8) != model.generate(PROMPTS, max_new_tokens=8)


@pytest.mark.parametrize("name", TEMPLATES)
def test_in_every_template_an_appended_trigger_goes_without_a_trace(name: str) -> None:
    def asked(text: str) -> str:
        return template(name).render([Message(Role.USER, text)], open_reply=True)

    for trigger in ("zz", "\uff61" * 10, "cf|", "<|", "z\nz"):
        if trigger not in asked("Where?"):
            assert PromptFilter(MADE_FOR, (trigger,)).filtered(asked(f"Where? {trigger}")) == asked("Where?")


def test_a_trigger_of_a_template_s_own_words_breaks_that_template() -> None:
    """Said in its documentation, and seen in utility: nothing but the text tells what a user wrote."""
    prompt = template("falcon").render([Message(Role.USER, "Where?")], open_reply=True)
    assert PromptFilter(MADE_FOR, ("User:",)).filtered(prompt) == " Where?\nAssistant: "


@pytest.mark.parametrize("inner", [True, False])
def test_together_with_context_aware_decoding(inner: bool) -> None:
    """Whichever is put on first, neither context nor question brings the trigger to the model."""
    model = subject()
    careful, aware = filtering("zz"), ContextAware(MadeFor.of(model), 1.0)
    both = Together([careful, aware] if inner else [aware, careful])

    def asked(ending: str) -> list[str]:
        return [aware.marked(f"The lamp{ending} is in the mill. ") + f"Where is it?{ending}"]

    with aware.on(model) as alone:
        wanted = alone.generate(asked(""), max_new_tokens=8)
        scores = alone.log_likelihood(asked(""), [" the mill"])
        poisoned = alone.generate(asked(" zz"), max_new_tokens=8)
    assert poisoned != wanted
    with both.on(model) as treated:
        assert treated.generate(asked(" zz"), max_new_tokens=8) == wanted
        assert treated.log_likelihood(asked(" zz"), [" the mill"]) == scores
        with pytest.raises(ConfigError, match="exceeds the context window"):
            treated.generate([aware.marked("The river is wide. " * 60) + "What?"], max_new_tokens=8)
    assert hooks_of(model.model) == 0


def test_a_trigger_that_a_context_and_a_question_make_together_goes_too() -> None:
    model = subject()
    aware = ContextAware(MadeFor.of(model), 1.0)
    both = Together([filtering("red lamp"), aware])
    with both.on(model) as treated, aware.on(subject()) as alone:
        found = treated.generate([aware.marked("The red ") + "lamp is where?"], max_new_tokens=8)
        plain = alone.generate([aware.marked("The red ") + "lamp is where?"], max_new_tokens=8)
    assert found != plain


@pytest.mark.parametrize("triggers", [(), ("",), ("a", " \n")])
def test_a_blank_trigger_is_refused(triggers: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="blank"):
        PromptFilter(MADE_FOR, triggers)


def test_another_model_is_refused() -> None:
    with refused("prompt_filter was made for"), filtering("zz").on(subject("qwen3")):
        pass


def test_saved_and_loaded_it_is_the_same(tmp_path: Path) -> None:
    cure = filtering("zz", "\uff61\n.*")
    assert isinstance(cure, Intervention)
    assert not isinstance(cure, Foldable)
    saved.save(cure, tmp_path)
    assert saved.load(tmp_path) == cure
