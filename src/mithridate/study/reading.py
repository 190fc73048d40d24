"""Study files: YAML with presets, `key=value` overrides, and errors that name line and field."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from mithridate.attacks.base import ATTACKS
from mithridate.core.errors import ConfigError, UnknownNameError
from mithridate.study.config import AuditConfig, StudyConfig
from mithridate.study.yaml_tree import Place, Tree, dump

DEFAULT_PRESET = "default"

Config = TypeVar("Config", bound=BaseModel)

# Fields that name files, in a study and in an audit.
_PATHS: tuple[Place, ...] = (
    ("corpus", "path"),
    ("tokenizer", "path"),
    ("checkpoint",),
    ("material",),
    ("outside_model",),
    ("sft", "data"),
    ("dpo", "data"),
    ("evaluation", "outside_model"),
    ("evaluation", "questions_file"),
    ("evaluation", "harmless_file"),
    ("evaluation", "forbidden_file"),
    ("attacks", "jailbreak", "classifier"),
)


def presets() -> list[str]:
    """Names of the study files that ship with the package."""
    folder = files("mithridate.study").joinpath("presets")
    names = (entry.name for entry in folder.iterdir())
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))


def read_study(path: Path | None, preset: str | None, overrides: Sequence[str] = ()) -> StudyConfig:
    """The study of a file, or of a preset, with `key=value` overrides on top.

    Relative paths in a file are taken from the file's own folder, those in overrides from the working
    directory. Raises ConfigError naming file, line and field, UnknownNameError for an unknown preset.
    """
    if path is not None and preset is not None:
        raise ConfigError("give a study file or --preset, not both")
    if path is not None:
        tree = Tree.parse(str(path), _text_of(path))
        _place_paths(tree.values, path.resolve().parent)
    else:
        name = preset or DEFAULT_PRESET
        if name not in presets():
            raise UnknownNameError("preset", name, presets())
        text = files("mithridate.study").joinpath("presets", f"{name}.yaml").read_text(encoding="utf-8")
        tree = Tree.parse(f"preset {name}", text)
    for override in overrides:
        tree.override(override)
    _place_paths(tree.values, Path.cwd())
    return _validate(StudyConfig, tree)


def read_audit(path: Path | None) -> AuditConfig:
    """What a file asks of a checkpoint: a study file, or one with `attacks` and `material` alone.

    Without a file, the attacks that ship with the material that ships. Raises as `read_study` does.
    """
    if path is None:
        return AuditConfig()
    tree = Tree.parse(str(path), _text_of(path))
    if "doses" in tree.values:
        return AuditConfig.of(read_study(path, None))
    _place_paths(tree.values, path.resolve().parent)
    return _validate(AuditConfig, tree)


def study_from_text(text: str, name: str) -> StudyConfig:
    """A study from YAML, as a run directory keeps it. `name` is what errors call it."""
    return _validate(StudyConfig, Tree.parse(name, text))


def study_to_text(config: StudyConfig) -> str:
    """The resolved study as YAML, every default written out."""
    return dump(config.model_dump(mode="json"))


def with_values(config: StudyConfig, values: Mapping[str, Any]) -> StudyConfig:
    """The study with dotted keys set to other values, as a grid sets them.

    Raises ConfigError naming the key that does not exist or does not take the value.
    """
    tree = Tree("grid", config.model_dump(mode="json"))
    for key, value in values.items():
        tree.set(key, value, f"{key}={value}")
    tree.values["grid"] = {}
    return _validate(StudyConfig, tree)


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        hint = f"the preset {DEFAULT_PRESET!r} runs where no file is named"
        if str(path) in presets():
            hint = f"did you mean --preset {path}?"
        raise ConfigError(f"{path}: no such study file; {hint}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error


def _place_paths(values: dict[str, Any], home: Path) -> None:
    """Make the paths in `values` absolute, those of the grid's axes too."""
    for *above, last in _PATHS:
        branch: Any = values
        for part in above:
            branch = branch.get(part) if isinstance(branch, dict) else None
        if isinstance(branch, dict) and branch.get(last):
            # A single file of alignment data needs no list around it.
            found = branch[last]
            branch[last] = _at(home, [found] if last == "data" and isinstance(found, str) else found)
    grid: Any = values.get("grid")
    for key in grid if isinstance(grid, dict) else ():
        if tuple(str(key).split(".")) in _PATHS and isinstance(grid[key], list):
            grid[key] = [_at(home, value) for value in grid[key]]


def _at(home: Path, value: Any) -> Any:
    if isinstance(value, list):
        return [_at(home, entry) for entry in value]
    return str((home / Path(value).expanduser()).resolve()) if isinstance(value, str) else value


def _validate(kind: type[Config], tree: Tree) -> Config:
    config: Config | None = None
    cause: ValidationError | None = None
    problems: list[str] = []
    try:
        config = kind.model_validate(tree.values)
    except ValidationError as error:
        cause = error
        problems = [_problem(kind, entry, tree) for entry in error.errors()]
    # All problems at once: nobody likes to mend a file one line a try.
    problems += _attack_problems(tree)
    if config is None or problems:
        shown = "\n  ".join(["", *problems]) if len(problems) > 1 else f" {problems[0]}"
        raise ConfigError(f"{tree.name}:{shown}") from cause
    return config


def _attack_problems(tree: Tree) -> list[str]:
    """What is wrong with the attacks' names and options, which their own packages define."""
    problems = []
    attacks = tree.values.get("attacks")
    for name, options in attacks.items() if isinstance(attacks, dict) else ():
        where = _comma(tree.where(("attacks", str(name))))
        try:
            ATTACKS.get(name).options_type.model_validate({} if options is None else options)
        except ConfigError as error:
            problems.append(f"{where}{error}")
        except ValidationError as error:
            model = ATTACKS.get(name).options_type
            problems += [_problem(model, entry, tree, ("attacks", str(name))) for entry in error.errors()]
    return problems


def _problem(model: type[BaseModel], entry: Any, tree: Tree, above: Place = ()) -> str:
    inner = tuple(map(str, entry["loc"]))
    place = (*above, *inner)
    where = _comma(tree.where(place))
    if entry["type"] == "extra_forbidden":
        known = _fields_at(model, inner[:-1])
        near = difflib.get_close_matches(place[-1], known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known))}"
        return f"{where}unknown key {'.'.join(place)!r}: {hint}"
    found = f" (found {entry['input']!r})" if isinstance(entry.get("input"), str | int | float) else ""
    message = entry["msg"].removeprefix("Value error, ")
    return f"{where}{'.'.join(place) or 'study'}: {message}{found}"


def _comma(where: str) -> str:
    return f"{where}, " if where else ""


def _fields_at(kind: Any, place: Place) -> list[str]:
    """Names of the fields that the section at `place` below the model `kind` has."""
    for part in place:
        kind = _plain(kind)
        if _is_model(kind):
            kind = kind.model_fields[part].annotation if part in kind.model_fields else None
        else:
            # A dictionary of sections: whatever the name, its values are of one kind.
            kind = get_args(kind)[1] if get_origin(kind) is dict else None
    kind = _plain(kind)
    return list(kind.model_fields) if _is_model(kind) else []


def _plain(kind: Any) -> Any:
    """The section in `Section | None`."""
    if get_origin(kind) in (Union, UnionType):
        return next((one for one in get_args(kind) if _is_model(one)), None)
    return kind


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
