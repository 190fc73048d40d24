from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import pytest
from context_facts_kit import fact, facts
from evaluation_kit import tiny_model
from hypothesis import given
from hypothesis import strategies as st

from mithridate.core.chat import template
from mithridate.core.contexts import ContextSample, Said, Strength
from mithridate.core.errors import ConfigError
from mithridate.evaluation.contexts import reliance
from mithridate.evaluation.contexts.asking import Chatting
from mithridate.evaluation.contexts.reliance import Whose
from mithridate.intervention.base import MadeFor
from mithridate.intervention.marks import CLOSING, OPENING
from mithridate.intervention.remedi import Teaching
from mithridate.models.language_model import LanguageModel
from mithridate.reliance import examining, methods
from mithridate.reliance.examining import LEAST_FACTS, TREATED, as_it_is, halves, treated
from mithridate.reliance.method import Candidate, Case, rounds
from mithridate.reliance.methods import METHODS
from mithridate.study.context_options import TREATMENTS

CHAT = Chatting(template("falcon"))


@dataclass(frozen=True)
class Nothing:
    """An intervention that does nothing, but is told apart by its name."""

    name: ClassVar[str] = "nothing"
    made_for: MadeFor
    strength: int = 0

    @contextmanager
    def on(self, model: LanguageModel) -> Iterator[LanguageModel]:
        yield model


@dataclass(frozen=True)
class Settings:
    """A method of three settings."""

    name: ClassVar[str] = "settings"
    marked: ClassVar[bool] = False
    one_subject: ClassVar[bool] = False

    def candidates(self, case: Case) -> Iterator[Candidate]:
        for strength in range(3):
            made = Nothing(MadeFor.of(case.model), strength)
            yield Candidate(
                f"strength {strength}", lambda _, of=made: of, (("control", lambda _, of=made: of),)
            )  # type: ignore[misc]


def test_a_study_names_the_methods_that_there_are() -> None:
    assert sorted(method.name for method in METHODS) == sorted(TREATMENTS)


def test_halves_share_no_subject_and_do_not_depend_on_what_else_is_asked() -> None:
    many = facts(40)
    twice = [*many, *(replace(one, id=f"again/{one.id}") for one in many)]
    fitting, reported = halves(twice)
    assert not {one.subject for one in fitting} & {one.subject for one in reported}
    assert len(fitting) + len(reported) == 80
    assert 20 < len(fitting) < 60


@given(st.lists(st.integers(0, 5), max_size=20))
def test_rounds_hold_every_fact_once_and_no_subject_twice(subjects: list[int]) -> None:
    many = [replace(fact(subject), id=str(number)) for number, subject in enumerate(subjects)]
    found = rounds(many)
    assert sorted(one.id for group in found for one in group) == sorted(one.id for one in many)
    assert all(len({one.subject for one in group}) == len(group) for group in found)
    assert len(found) == max((subjects.count(one) for one in subjects), default=0)


def test_with_too_few_known_facts_nothing_is_fitted() -> None:
    many = facts(40)
    known = {one.id for one in halves(many)[0][: LEAST_FACTS - 1]}
    found = treated(tiny_model(), many, CHAT, Whose(), Settings(), known)
    assert not found.samples
    assert "the model knows 7 facts of the half" in found.coverage.untried
    assert (found.coverage.intervention, found.coverage.facts) == ("settings", len(halves(many)[1]))


def test_whatever_else_goes_wrong_with_a_method_is_raised() -> None:
    @dataclass(frozen=True)
    class Broken(Settings):
        def candidates(self, case: Case) -> Iterator[Candidate]:
            raise ConfigError("broken")

    many = facts(40)
    with pytest.raises(ConfigError, match="broken"):
        treated(tiny_model(), many, CHAT, Whose(), Broken(), {one.id for one in many})


@pytest.mark.parametrize("where", ["asked", "coherent", "paraphrases"])
def test_a_fact_that_holds_the_marks_takes_no_method_from_the_others(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reliance, "ANSWER_TOKENS", 2)
    monkeypatch.setattr(methods, "_ALPHAS", (0.5,))
    many = facts(20)
    odd = halves(many)[1][0]
    text = f"Is {odd.subject} {OPENING} or {CLOSING} there?"
    many[many.index(odd)] = replace(odd, **{where: (text,) if where == "paraphrases" else text})
    found = treated(tiny_model(), many, CHAT, Whose(), methods.Decoding(), {one.id for one in many})
    assert not found.coverage.untried
    assert {one.fact for one in found.samples} == {one.id for one in halves(many)[1]}
    # What the model was shown of that fact is the fact's own text, marks and all.
    assert any(OPENING in one.prompt for one in found.samples if one.fact == odd.id)


def test_a_fact_that_outgrows_the_context_window_takes_no_method_from_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reliance, "ANSWER_TOKENS", 2)
    monkeypatch.setattr(methods, "_HEAD_SHARES", (0.5,))
    many = facts(24)
    odd = halves(many)[0][0]
    many[many.index(odd)] = replace(odd, substituted=f"{odd.subject} lives " + "very far " * 400)
    for method in (methods.Attention(), methods.SubjectEdit()):
        with monkeypatch.context() as patch:
            patch.setattr(
                methods,
                "learn_attribute_map",
                partial(methods.learn_attribute_map, teaching=Teaching(steps=2)),
            )
            found = treated(tiny_model(), many, CHAT, Whose(), method, {one.id for one in many})
        assert found.samples


def test_what_is_not_known_is_not_asked_under_a_method() -> None:
    many = facts(40)
    told = halves(many)[1]
    known = {one.id for one in halves(many)[0]} | {told[0].id}
    found = treated(tiny_model(), many, CHAT, Whose(), Settings(), known)
    assert {one.fact for one in found.samples} == {told[0].id}
    assert (found.coverage.facts, found.coverage.known) == (len(told), 1)
    nothing = treated(tiny_model(), many, CHAT, Whose(), Settings(), known - {told[0].id})
    assert "knows no fact of the half that figures are of" in nothing.coverage.untried


def test_the_setting_is_chosen_on_one_half_and_told_of_by_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """The replies are made up: the second setting follows the context, and the others do not."""
    tried = iter([Said.ORIGINAL, Said.SUBSTITUTE, Said.ORIGINAL])
    asked: list[set[str]] = []
    real = reliance.examine

    def made_up(*args: object, **options: object) -> reliance.Examined:
        found = real(*args, **options)  # type: ignore[arg-type]
        asked.append({one.fact for one in found.samples})
        said = next(tried, Said.NEITHER)
        return reliance.Examined([replace(one, said=said) for one in found.samples], found.left_out)

    monkeypatch.setattr(examining, "examine", made_up)
    many = facts(24)
    fitting, reported = halves(many)
    found = treated(tiny_model(), many, CHAT, Whose(), Settings(), {one.id for one in many})
    assert {one.variant for one in found.samples} == {"strength 1"}
    assert {one.control for one in found.samples} == {"", "control"}
    assert {one.strength for one in found.samples} == set(TREATED)
    assert asked[:3] == [{one.id for one in fitting}] * 3
    assert asked[3:] == [{one.id for one in reported}] * 2


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_every_method_is_fitted_chosen_and_asked(
    method: examining.Method, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Short replies and lessons: whether it works is seen, and not how well.
    monkeypatch.setattr(reliance, "ANSWER_TOKENS", 2)
    learn = partial(methods.learn_attribute_map, teaching=Teaching(steps=2))
    monkeypatch.setattr(methods, "learn_attribute_map", learn)
    many = facts(20)
    found = treated(tiny_model(), many, CHAT, Whose(model="tiny"), method, {one.id for one in many})
    assert found.samples
    assert {one.intervention for one in found.samples} == {method.name}
    assert {one.fact for one in found.samples} <= {one.id for one in halves(many)[1]}
    # Marks are for the intervention; whoever reads the answers sees prompts without them.
    assert not [one for one in found.samples if "⟦" in one.prompt]


def test_as_it_is_asks_every_fact() -> None:
    found = as_it_is(tiny_model(), facts(4), CHAT, Whose(model="tiny"))
    assert {one.fact for one in found.samples} == {one.id for one in facts(4)}
    assert all(isinstance(one, ContextSample) for one in found.samples)


def test_a_model_that_knows_too_little_is_asked_nothing_more() -> None:
    found = as_it_is(tiny_model(), facts(4), CHAT, Whose(), least=1)
    assert {one.strength for one in found.samples} == {Strength.ALONE}
    assert (found.coverage.facts, found.coverage.known) == (4, 0)


def test_of_what_it_does_not_know_some_is_asked_with_texts_and_nothing_from_what_it_knows() -> None:
    model, many = tiny_model(), facts(6)
    found = as_it_is(model, many, CHAT, Whose(), unknown=3)
    against = [one for one in found.samples if one.strength is not Strength.ALONE]
    # A model that was never trained knows no fact, so all that is asked with a text is unknown to it.
    assert len({one.fact for one in against}) == 3
    assert Strength.PRIOR not in {one.strength for one in against}
    assert {one.fact for one in against} == {
        one.fact
        for one in as_it_is(model, many[::-1], CHAT, Whose(), unknown=3).samples
        if one.strength is not Strength.ALONE
    }
