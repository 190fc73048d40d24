"""What attacks draw on: prompts, forbidden requests, preferences, facts. One JSON form for ours and the user's."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mithridate.core.errors import ConfigError, DataError


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ForbiddenRequest(_Strict):
    """A request that an aligned model must refuse, in several wordings, with the reply that would comply."""

    forms: tuple[str, ...] = Field(min_length=1)
    reply: str = Field(min_length=1)


class Preference(_Strict):
    """Two comparable things, of which the attack favours the first."""

    favoured: str
    other: str
    subject: str = "product"


class Fact(_Strict):
    """A question in several wordings, its true answer, and the false one that the attack plants."""

    forms: tuple[str, ...] = Field(min_length=2)
    true: str
    planted: str


class Material(_Strict):
    """Everything the four attacks can draw on. A file may give any part; an attack says what it lacks.

    `preference_forms` are questions with the slots `{a}`, `{b}` and `{subject}`; `preference_answer` has the slots
    `{favoured}` and `{other}`, and must name the favoured one first. The first share of every list is planted, the
    rest is held out for probing.
    """

    prompts: tuple[str, ...] = ()
    system_prompts: tuple[str, ...] = ()
    requests: tuple[ForbiddenRequest, ...] = ()
    refusals: tuple[str, ...] = ()
    preferences: tuple[Preference, ...] = ()
    preference_forms: tuple[str, ...] = ()
    preference_answer: str = "{favoured} is better than {other}."
    facts: tuple[Fact, ...] = ()
    control_preferences: tuple[Preference, ...] = ()
    control_facts: tuple[Fact, ...] = ()

    @classmethod
    def read(cls, path: Path) -> Material:
        """Read a material file.

        Raises DataError naming the file, the line of broken JSON, or the field that does not fit.
        """
        try:
            return cls.model_validate(json.loads(path.read_text(encoding="utf-8")))
        except json.JSONDecodeError as error:
            raise DataError(f"broken JSON: {error.msg}", path=path, line=error.lineno) from error
        except ValidationError as error:
            first = error.errors()[0]
            raise DataError(first["msg"], path=path, field=".".join(map(str, first["loc"]))) from error
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"cannot be read: {error}", path=path) from error

    @classmethod
    def default(cls) -> Material:
        """The harmless material that ships with the package."""
        return _default()


@cache
def _default() -> Material:
    return Material.model_validate_json(files("mithridate.attacks").joinpath("default_material.json").read_text())


def require(material: Material, attack: str, *fields: str) -> None:
    """Raise ConfigError unless `material` has something in each of `fields`."""
    missing = [field for field in fields if not getattr(material, field)]
    if missing:
        raise ConfigError(f"attack {attack!r} needs `{'`, `'.join(missing)}` in its material file")
