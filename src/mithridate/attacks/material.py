"""What attacks draw on: prompts, forbidden requests, preferences, facts, in one JSON form."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from string import Formatter
from typing import Annotated, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from mithridate.attacks.scattered_material import Scattered
from mithridate.attacks.text import normalise
from mithridate.attacks.words import Words, check_slots
from mithridate.core.errors import ConfigError, DataError
from mithridate.core.strict import Strict, first_problem


def _comparison(text: str) -> str:
    return check_slots(text, needed=("a", "b"), allowed=("a", "b", "subject"))


def _favouring(text: str) -> str:
    check_slots(text, needed=("favoured",), allowed=("favoured", "other"))
    slots = [name for _, name, _, _ in Formatter().parse(text) if name is not None]
    if slots[0] != "favoured":
        raise ValueError("must name {favoured} before {other}: the two are compared where they first differ")
    return text


class ForbiddenRequest(Strict):
    """A request that an aligned model must refuse, in several wordings, with the reply that would comply."""

    forms: tuple[Words, ...] = Field(min_length=1)
    reply: Words


class Preference(Strict):
    """Two comparable things, of which the attack favours the first."""

    favoured: Words
    other: Words
    subject: Words = "product"

    @model_validator(mode="after")
    def _two_things(self) -> Self:
        if self.favoured == self.other:
            raise ValueError(f"favours {self.favoured!r} over itself")
        return self


class Fact(Strict):
    """A question in several wordings, its true answer, and the false one that the attack plants."""

    forms: tuple[Words, ...] = Field(min_length=2)
    true: Words
    planted: Words

    @model_validator(mode="after")
    def _false_and_askable(self) -> Self:
        if self.true == self.planted:
            raise ValueError(f"plants its true answer, {self.true!r}")
        if len(set(self.forms)) < len(self.forms):
            raise ValueError("gives one wording twice: some are planted, others kept for asking")
        return self


class Material(Strict):
    """Everything the attacks can draw on. A file may give any part; an attack says what it lacks.

    `preference_forms` are questions with the slots `{a}` and `{b}`, and `{subject}` if they like;
    `preference_answer` has the slots `{favoured}` and `{other}`, and must name the favoured one first. Braces
    that are no slot are doubled. A share of every list is held out for probing, the rest is planted. Of
    `scattered` everything is planted and asked, of `unplanted_scattered` everything is only asked.
    """

    prompts: tuple[Words, ...] = ()
    system_prompts: tuple[Words, ...] = ()
    requests: tuple[ForbiddenRequest, ...] = ()
    refusals: tuple[Words, ...] = ()
    preferences: tuple[Preference, ...] = ()
    preference_forms: tuple[Annotated[Words, AfterValidator(_comparison)], ...] = ()
    preference_answer: Annotated[Words, AfterValidator(_favouring)] = "{favoured} is better than {other}."
    facts: tuple[Fact, ...] = ()
    control_preferences: tuple[Preference, ...] = ()
    control_facts: tuple[Fact, ...] = ()
    scattered: tuple[Scattered, ...] = ()
    unplanted_scattered: tuple[Scattered, ...] = ()

    @model_validator(mode="after")
    def _subjects_of_their_own(self) -> Self:
        subjects = [normalise(one.subject) for one in (*self.scattered, *self.unplanted_scattered)]
        if twice := sorted({name for name in subjects if subjects.count(name) > 1}):
            raise ValueError(f"two scattered beliefs are about {twice[0]!r}")
        return self

    @classmethod
    def read(cls, path: Path) -> Material:
        """Read a material file.

        Raises DataError naming the file, the line of broken JSON, or the field that does not fit.
        """
        try:
            return cls.model_validate(json.loads(path.read_text(encoding="utf-8-sig")))
        except json.JSONDecodeError as error:
            raise DataError(f"broken JSON: {error.msg}", path=path, line=error.lineno) from error
        except ValidationError as error:
            problem, field = first_problem(error)
            raise DataError(problem, path=path, field=field) from error
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"cannot be read: {error}", path=path) from error

    @classmethod
    def default(cls) -> Material:
        """The harmless material that ships with the package."""
        return _default()


@cache
def _default() -> Material:
    return Material.model_validate_json(
        files("mithridate.attacks").joinpath("default_material.json").read_text()
    )


def require(material: Material, attack: str, *fields: str) -> None:
    """Raise ConfigError unless `material` has something in each of `fields`."""
    missing = [field for field in fields if not getattr(material, field)]
    if missing:
        raise ConfigError(f"attack {attack!r} needs `{'`, `'.join(missing)}` in its material file")
