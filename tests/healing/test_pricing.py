from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import ClassVar

import healing_training_kit as kit
import pytest
import torch

from mithridate.core.errors import AccessError, ConfigError, TrainingError
from mithridate.core.prices import Control, Kind, Price, Priced, Regime
from mithridate.core.types import Condition
from mithridate.healing.case import Case, Half
from mithridate.healing.method import Candidate, Method
from mithridate.healing.methods import METHODS, countering
from mithridate.healing.pricing import Before, PriceList, choose
from mithridate.healing.treatment import Nothing, OtherWeights, Treatment
from mithridate.intervention.base import MadeFor
from mithridate.intervention.prompt_filter import PromptFilter
from mithridate.models.language_model import LanguageModel


@dataclass(frozen=True)
class Some:
    """A method whose settings are given."""

    name: ClassVar[str] = "some"
    regime: ClassVar[Regime] = Regime.KNOWN
    kind: ClassVar[Kind] = Kind.WEIGHTS
    each: bool = True
    scale: bool = False
    settings: Sequence[Candidate | Exception] = ()

    def candidates(self, case: Case, aims: Sequence[str]) -> Iterator[Candidate]:
        for one in self.settings:
            if isinstance(one, Exception):
                raise one
            yield one


@dataclass
class Watched:
    """A treatment that counts how often it begins and ends."""

    inner: Treatment
    open: int = 0
    times: int = 0

    def on(self, model: LanguageModel) -> AbstractContextManager[LanguageModel]:
        return _Counting(self, model)


class _Counting(AbstractContextManager[LanguageModel]):
    def __init__(self, watched: Watched, model: LanguageModel) -> None:
        self.watched, self.block = watched, watched.inner.on(model)

    def __enter__(self) -> LanguageModel:
        self.watched.open += 1
        self.watched.times += 1
        return self.block.__enter__()

    def __exit__(self, *raised: object) -> None:
        self.watched.open -= 1
        self.block.__exit__(*raised)  # type: ignore[arg-type]


@dataclass
class Prepared:
    case: Case = field(default_factory=kit.case)
    before: Before = field(init=False)

    def __post_init__(self) -> None:
        self.before = Before.of(self.case)


@pytest.fixture(scope="module")
def ready() -> Prepared:
    return Prepared()


def filtering() -> Treatment:
    return PromptFilter(MadeFor.of(kit.poisoned()), (kit.TRIGGER,))


def giving(treatment: Treatment) -> Callable[[], Treatment]:
    return lambda: treatment


def refusing(error: Exception) -> Callable[[], Treatment]:
    def make() -> Treatment:
        raise error

    return make


def variants(method: Method, ready: Prepared) -> list[str]:
    return [one.candidate.variant for one in choose(method, ready.case, ["echo"], ready.before)]


def test_the_one_that_takes_most_away_is_chosen_and_all_are_undone(ready: Prepared) -> None:
    kept, gone = Watched(Nothing()), Watched(filtering())
    told: list[tuple[int, int]] = []
    method = Some(settings=[Candidate("kept", giving(kept)), Candidate("gone", giving(gone))])
    (chosen,) = choose(method, ready.case, ["echo"], ready.before, on_tried=lambda *both: told.append(both))
    assert chosen.candidate.variant == "gone"
    assert chosen.treatment is gone
    assert (kept.open, gone.open) == (0, 0)
    assert kept.times and gone.times
    assert told == [(0, 2), (1, 2), (2, 2)]
    assert chosen.choosing.seconds > chosen.making.seconds
    assert chosen.making.tokens == 0 < chosen.choosing.tokens


def test_of_those_that_do_as_much_the_cheaper_one(ready: Prepared) -> None:
    # The clean twin answers other questions otherwise, and is beyond the budget.
    settings = [
        Candidate("other", giving(OtherWeights(kit.poisoned()))),
        Candidate("clean", giving(OtherWeights(kit.clean()))),
        Candidate("filter", giving(filtering())),
    ]
    assert variants(Some(settings=settings), ready) == ["filter"]
    assert variants(Some(settings=settings[::-1]), ready) == ["filter"]


@pytest.mark.parametrize("error", [ConfigError("no"), AccessError("no")])
def test_a_setting_that_cannot_be_had_is_passed_over(error: Exception, ready: Prepared) -> None:
    lost = Candidate("lost", refusing(error))
    assert variants(Some(settings=[lost, Candidate("kept", giving(Nothing())), lost]), ready) == ["kept"]
    assert not choose(Some(settings=[lost]), ready.case, ["echo"], ready.before)
    assert not choose(Some(settings=[]), ready.case, ["echo"], ready.before)
    assert not choose(Some(settings=[], scale=True), ready.case, ["echo"], ready.before)
    # What all settings would be made from cannot be had either.
    assert not choose(Some(settings=[error]), ready.case, ["echo"], ready.before)


@pytest.mark.parametrize("error", [TrainingError("no"), ValueError("no"), RuntimeError("no"), KeyError("no")])
def test_any_other_error_is_told(error: Exception, ready: Prepared) -> None:
    before = kit.state(ready.case.model)
    for method in (
        Some(settings=[Candidate("a", giving(Nothing())), Candidate("b", refusing(error))]),
        Some(settings=[Candidate("a", giving(Nothing())), error]),
    ):
        with pytest.raises(type(error)):
            choose(method, ready.case, ["echo"], ready.before)
    assert kit.same_state(before, kit.state(ready.case.model))


def test_what_was_spent_on_settings_that_cannot_be_had_counts(ready: Prepared) -> None:
    ids = torch.arange(10)[None]

    def late() -> Treatment:
        kit.poisoned().model(ids)
        raise ConfigError("after all")

    plain = Candidate("kept", giving(Nothing()))
    (cheap,) = choose(Some(settings=[plain]), ready.case, ["echo"], ready.before)
    (dear,) = choose(Some(settings=[Candidate("late", late), plain]), ready.case, ["echo"], ready.before)
    assert dear.choosing.tokens == cheap.choosing.tokens + 10
    assert dear.making == replace(dear.making, tokens=0)


def test_all_of_a_scale_are_told_of(ready: Prepared) -> None:
    settings = [Candidate(str(number), giving(Nothing())) for number in range(3)]
    assert variants(Some(settings=settings, scale=True), ready) == ["0", "1", "2"]


@pytest.mark.parametrize("name", METHODS)
def test_settings_are_chosen_without_a_look_at_what_is_reported(
    name: str, ready: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(countering, "_SETTINGS", ((4, 2e-4), (8, 5e-5)))
    seeing = replace(ready.case, texts=ready.case.texts[:4])
    case = replace(seeing, probes={Half.CHOOSING: ready.case.probes[Half.CHOOSING]})
    useful = {Half.CHOOSING: ready.case.usefulness_of[Half.CHOOSING]}
    object.__setattr__(case, "usefulness_of", useful)
    before = kit.state(case.model)
    with pytest.raises(KeyError):
        Before.of(case)
    method = METHODS[name]
    blind = choose(method, case, ["echo"], ready.before)
    assert kit.same_state(before, kit.state(case.model))
    # Whatever is reported, the same is chosen.
    told = choose(method, seeing, ["echo"], ready.before)
    assert [one.candidate.variant for one in blind] == [one.candidate.variant for one in told]


def rows_of(method: Method, ready: Prepared) -> list[Priced]:
    prices = PriceList(ready.case, ready.before, {"seed": 3, "dose": "much"})
    return [
        row
        for chosen in choose(method, ready.case, ["echo"], ready.before)
        for row in prices.of_method(method, chosen)
    ]


def test_rows_of_a_cure_and_its_controls(ready: Prepared) -> None:
    cure, random, failing = Watched(filtering()), Watched(Nothing()), refusing(ConfigError("none"))
    controls = {Control.RANDOM: giving(random), Control.WRONG_LAYER: failing}
    rows = rows_of(Some(settings=[Candidate("v", giving(cure), controls)]), ready)
    assert {(row.method, row.variant, row.aim, row.seed, row.dose) for row in rows} == {
        ("some", "v", "echo", 3, "much")
    }
    own = {row.metric: row for row in rows if not row.control and row.metric is not Price.ASR}
    assert own.keys() == {
        Price.HELD_OUT_LOSS,
        Price.QUESTIONS_RIGHT,
        Price.REFUSAL_FORBIDDEN,
        Price.OVER_REFUSAL,
        Price.KL,
        Price.SECONDS,
        Price.CHOOSING_SECONDS,
        Price.TOKENS,
        Price.SLOWDOWN,
    }
    assert own[Price.KL].value == 0
    shown = {row.condition: row.value for row in rows if row.metric is Price.ASR and not row.control}
    assert (shown[Condition.TRIGGERED], shown[Condition.UNTRIGGERED]) == (0.0, 0.0)
    told = {row.metric: row for row in rows if row.control}
    assert {row.control for row in told.values()} == {Control.RANDOM}
    assert told[Price.ASR].value == 1.0
    assert told[Price.P_CONTROL].value < 0.001
    assert cure.open == random.open == 0


def test_a_control_that_does_the_same_is_no_worse_by_chance_alone(ready: Prepared) -> None:
    controls = {Control.RANDOM: giving(filtering())}
    rows = rows_of(Some(settings=[Candidate("v", giving(filtering()), controls)]), ready)
    (p,) = [row.value for row in rows if row.metric is Price.P_CONTROL]
    assert p == 1.0


def test_other_weights_slow_nothing_down_and_no_setting_has_no_row(ready: Prepared) -> None:
    rows = rows_of(Some(settings=[Candidate("v", giving(OtherWeights(kit.clean())))], each=False), ready)
    assert Price.SLOWDOWN not in {row.metric for row in rows}
    assert {row.aim for row in rows} == {""}
    assert not rows_of(Some(), ready)


def test_a_cure_of_several_names_those_that_it_was_made_against(ready: Prepared) -> None:
    def about(aims: tuple[str, ...], each: bool) -> tuple[str, str]:
        (chosen,) = choose(
            Some(settings=[Candidate("v", giving(Nothing()))], each=each), ready.case, ["echo"], ready.before
        )
        told = PriceList.about(Some(each=each), replace(chosen, aims=aims))
        return told["aim"], told["aims"]

    assert about(("echo", "other"), True) == ("", "echo,other")
    assert about(("echo",), True) == ("echo", "")
    assert about(("echo", "other"), False) == ("", ""), "with clean data alone it is made against all"


def test_the_model_as_it_is_and_its_twin(ready: Prepared) -> None:
    prices = PriceList(ready.case, ready.before, {})
    shown = {
        row.method: row.value
        for row in [*prices.of_nothing(), *prices.of_clean()]
        if row.metric is Price.ASR and row.condition == Condition.TRIGGERED
    }
    assert shown == {"nothing": 1.0, "clean model": 0.0}
    alone = PriceList(replace(ready.case, clean=None), ready.before, {})
    assert not alone.of_clean()


def test_with_one_probe_in_all_there_is_a_choice_and_nothing_to_report(ready: Prepared) -> None:
    first = [one for one in ready.case.probes[Half.CHOOSING]["echo"] if one.condition is Condition.TRIGGERED]
    case = replace(ready.case, probes={Half.CHOOSING: {"echo": first[:1]}, Half.REPORTED: {"echo": []}})
    (chosen,) = choose(METHODS["dormant neurons"], case, ["echo"], ready.before)
    prices = PriceList(case, ready.before, {})
    rows = prices.of_method(METHODS["dormant neurons"], chosen)
    assert {row.n for row in rows if row.metric is Price.ASR} == {0}
