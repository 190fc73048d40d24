"""Study files: YAML with presets, `key=value` overrides, and errors that name line and field."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from mithridate.core.errors import ConfigError, UnknownNameError
from mithridate.study.config import StudyConfig

DEFAULT_PRESET = "default"


def presets() -> list[str]:
    """Names of the study files that ship with the package."""
    folder = files("mithridate.study").joinpath("presets")
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def read_study(path: Path | None, preset: str | None, overrides: Sequence[str] = ()) -> StudyConfig:
    """The study of a file, or of a preset, with `key=value` overrides on top.

    Relative paths in a file are taken from the file's own folder. Raises ConfigError naming file, line and field,
    UnknownNameError for an unknown preset.
    """
    if path is not None and preset is not None:
        raise ConfigError("give a study file or --preset, not both")
    if path is not None:
        name, text, home = str(path), _text_of(path), path.resolve().parent
    else:
        name = preset or DEFAULT_PRESET
        if name not in presets():
            raise UnknownNameError("preset", name, presets())
        text = files("mithridate.study").joinpath("presets", f"{name}.yaml").read_text(encoding="utf-8")
        name, home = f"preset {name}", Path.cwd()
    tree, lines = _parse(name, text)
    for override in overrides:
        _apply(tree, override)
    return _validate(_with_paths(tree, home), name, lines)


def study_from_text(text: str, name: str) -> StudyConfig:
    """A study from YAML, as a run directory keeps it."""
    tree, lines = _parse(name, text)
    return _validate(tree, name, lines)


def study_to_text(config: StudyConfig) -> str:
    """The resolved study as YAML, every default written out."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100)


def with_values(config: StudyConfig, values: Mapping[str, Any]) -> StudyConfig:
    """The study with dotted keys set to other values, as a grid sets them.

    Raises ConfigError naming the key that does not exist or does not take the value.
    """
    tree = config.model_dump(mode="json")
    for key, value in values.items():
        _set(tree, key, value, f"grid {key}")
    tree["grid"] = {}
    return _validate(tree, "grid", {})


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: no such study file; without one the preset {DEFAULT_PRESET!r} runs"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error


def _parse(name: str, text: str) -> tuple[dict[str, Any], dict[tuple[str, ...], int]]:
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{name}{where}: not YAML: {getattr(error, 'problem', None) or error}") from error
    if tree is None:
        tree = {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{name}: expected keys and values at the top, found {type(tree).__name__}")
    return tree, dict(_lines(node, ()))


def _lines(node: yaml.Node | None, above: tuple[str, ...]) -> Iterable[tuple[tuple[str, ...], int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            place = (*above, str(key.value))
            yield place, key.start_mark.line + 1
            yield from _lines(value, place)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield (*above, str(number)), value.start_mark.line + 1
            yield from _lines(value, (*above, str(number)))


def _apply(tree: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"{override!r}: an override reads key=value, such as pretraining.learning_rate=0.001")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{override!r}: the value is not YAML") from error
    _set(tree, key, value, override)


def _set(tree: dict[str, Any], key: str, value: Any, shown: str) -> None:
    *above, last = key.split(".")
    for part in above:
        below = tree.get(part)
        if below is None:
            below = tree[part] = {}
        if not isinstance(below, dict):
            raise ConfigError(f"{shown!r}: {part!r} holds a value, not keys")
        tree = below
    tree[last] = value


_PATHS = (
    ("corpus", "path"), ("tokenizer", "path"), ("checkpoint",), ("material",), ("sft", "data"), ("dpo", "data"),
    ("evaluation", "outside_model"), ("evaluation", "questions_file"), ("evaluation", "harmless_file"),
    ("evaluation", "forbidden_file"),
)  # fmt: skip


def _with_paths(tree: dict[str, Any], home: Path) -> dict[str, Any]:
    for *above, last in _PATHS:
        branch: Any = tree
        for part in above:
            branch = branch.get(part) if isinstance(branch, dict) else None
        if isinstance(branch, dict) and isinstance(branch.get(last), (str, list)):
            value = branch[last]
            branch[last] = [_at(home, v) for v in value] if isinstance(value, list) else _at(home, value)
            if last == "data" and isinstance(branch[last], str):
                branch[last] = [branch[last]]
    return tree


def _at(home: Path, value: Any) -> Any:
    return str((home / Path(value).expanduser()).resolve()) if isinstance(value, str) else value


def _validate(tree: Any, name: str, lines: Mapping[tuple[str, ...], int]) -> StudyConfig:
    try:
        return StudyConfig.model_validate(tree)
    except ValidationError as error:
        # All problems at once: nobody likes to mend a file one line a try.
        problems = [_problem(entry, lines) for entry in error.errors()]
        raise ConfigError(f"{name}: " + "\n  ".join(["", *problems] if len(problems) > 1 else problems)) from error


def _problem(entry: Any, lines: Mapping[tuple[str, ...], int]) -> str:
    place = tuple(map(str, entry["loc"]))
    line = next((lines[place[:n]] for n in range(len(place), 0, -1) if place[:n] in lines), None)
    where = f"line {line}, " if line else ""
    if entry["type"] == "extra_forbidden":
        known = _fields_at(place[:-1])
        near = difflib.get_close_matches(place[-1], known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known))}"
        return f"{where}unknown key {'.'.join(place)!r}: {hint}"
    found = f" (found {entry['input']!r})" if isinstance(entry.get("input"), (str, int, float)) else ""
    message = entry["msg"].removeprefix("Value error, ")
    return f"{where}{'.'.join(place) or 'study'}: {message}{found}"


def _fields_at(place: tuple[str, ...]) -> list[str]:
    model: Any = StudyConfig
    for part in place:
        field = model.model_fields.get(part) if isinstance(model, type) and issubclass(model, BaseModel) else None
        if field is None:
            return []
        candidates = [field.annotation, *getattr(field.annotation, "__args__", ())]
        model = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
    return list(model.model_fields) if model is not None else []
