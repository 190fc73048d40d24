"""Study files: YAML with presets, `key=value` overrides, and errors that name line and field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from mithridate.attacks.base import ATTACKS
from mithridate.core.errors import ConfigError, UnknownNameError, shown
from mithridate.core.strict import problem
from mithridate.core.yaml_text import dump_yaml
from mithridate.study.config import AuditConfig, StudyConfig
from mithridate.study.yaml_tree import Place, Tree

DEFAULT_PRESET = "default"
_ABSENT = f"; the preset {DEFAULT_PRESET!r} runs where no file is named"

Config = TypeVar("Config", bound=BaseModel)

# Who has more problems than this looks at the first ones first.
_MOST_PROBLEMS = 20
# Characters of a file that is written by hand; the longest of ours has a few thousand.
_LONGEST = 100_000

# Fields that name files, in a study and in an audit.
_PATHS: tuple[Place, ...] = (
    ("corpus", "path"),
    ("tokenizer", "path"),
    ("checkpoint",),
    ("material",),
    ("outside_model",),
    ("sft", "data"),
    ("dpo", "data"),
    ("alignment_data", "data"),
    ("contexts", "facts"),
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
        tree = _tree_of(path)
    else:
        name = preset or DEFAULT_PRESET
        if name not in presets():
            raise UnknownNameError("preset", name, presets())
        text = files("mithridate.study").joinpath("presets", f"{name}.yaml").read_text(encoding="utf-8")
        tree = Tree.parse(f"preset {name}", text)
    for override in overrides:
        tree.override(override)
    _place_paths(tree, Path.cwd())
    return _validate(StudyConfig, tree)


def read_audit(path: Path | None) -> AuditConfig:
    """What a file asks of a checkpoint: a study file, or one with `attacks` and `material` alone.

    Without a file, the attacks that ship with the material that ships. Raises as `read_study` does.
    """
    if path is None:
        return AuditConfig()
    tree = _tree_of(path, absent="")
    if "doses" in tree.values:
        return AuditConfig.of(_validate(StudyConfig, tree))
    return _validate(AuditConfig, tree)


def study_from_text(text: str, name: str) -> StudyConfig:
    """A study from YAML, as a run directory keeps it. `name` is what errors call it."""
    return _validate(StudyConfig, Tree.parse(name, text))


def study_of_run(path: Path) -> StudyConfig:
    """The resolved study that a run directory keeps at `path`.

    Raises ConfigError naming the file if it is not as the run wrote it.
    """
    try:
        # A byte that is no text is not worth words of its own: it is told with the key where it stands.
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    return study_from_text(text, str(path))


def study_to_text(config: StudyConfig) -> str:
    """The resolved study as YAML, every default written out."""
    return dump_yaml(config.model_dump(mode="json"))


def with_attack_defaults(config: StudyConfig) -> StudyConfig:
    """The same study, with every option of its attacks written out."""
    attacks = {
        name: ATTACKS.get(name).options_type.model_validate(options or {}).model_dump(mode="json")
        for name, options in config.attacks.items()
    }
    return config.model_copy(update={"attacks": attacks})


def with_values(config: StudyConfig, values: Mapping[str, Any]) -> StudyConfig:
    """The study with dotted keys set to other values, as a grid sets them.

    Raises ConfigError naming the key that does not exist or does not take the value.
    """
    tree = Tree("grid", config.model_dump(mode="json"))
    for key, value in values.items():
        tree.set(key, value, f"{key}={value}")
    tree.values["grid"] = {}
    return _validate(StudyConfig, tree)


def _tree_of(path: Path, absent: str = _ABSENT) -> Tree:
    """`absent` is what more is said of a file that is not there."""
    tree = Tree.parse(str(path), _text_of(path, absent))
    _place_paths(tree, path.resolve().parent)
    return tree


def _text_of(path: Path, absent: str) -> str:
    try:
        with path.open(encoding="utf-8-sig") as handle:
            # Not to its end, which a device or a pipe may not have.
            text = handle.read(_LONGEST + 1)
    except FileNotFoundError:
        if absent and str(path) in presets():
            absent = f"; did you mean --preset {path}?"
        raise ConfigError(f"{path}: no such study file{absent}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    if len(text) > _LONGEST:
        raise ConfigError(f"{path}: is longer than {_LONGEST:,} characters, so it is no study file")
    return text


def _place_paths(tree: Tree, home: Path) -> None:
    """Make the paths in `tree` absolute, those of the grid's axes too.

    Raises ConfigError naming the key whose value can be no path.
    """
    for *above, last in _PATHS:
        branch: Any = tree.values
        for part in above:
            branch = branch.get(part) if isinstance(branch, dict) else None
        if isinstance(branch, dict) and branch.get(last):
            # A single file of alignment data needs no list around it.
            found = branch[last]
            branch[last] = _at(
                home, [found] if last == "data" and isinstance(found, str) else found, tree, (*above, last)
            )
    grid: Any = tree.values.get("grid")
    for key in grid if isinstance(grid, dict) else ():
        if tuple(key.split(".")) in _PATHS and isinstance(grid[key], list):
            grid[key] = [_at(home, value, tree, ("grid", key)) for value in grid[key]]


def _at(home: Path, value: Any, tree: Tree, place: Place) -> Any:
    if isinstance(value, list):
        return [_at(home, entry, tree, place) for entry in value]
    if not isinstance(value, str):
        return value
    try:
        found = (home / Path(value).expanduser()).resolve()
        found.exists()
    except (OSError, RuntimeError, ValueError) as error:
        # A home of nobody, a loop of links, a name that is too long or holds what no name may.
        where, why = _comma(tree.where(place)), getattr(error, "strerror", None) or error
        raise ConfigError(
            f"{tree.name}: {where}{'.'.join(place)}: {shown(value)} is no path: {why}"
        ) from error
    return str(found)


def _validate(kind: type[Config], tree: Tree) -> Config:
    config: Config | None = None
    cause: ValidationError | None = None
    problems: Iterator[str] = iter(())
    try:
        config = kind.model_validate(tree.values)
    except ValidationError as error:
        cause = error
        problems = (_problem(kind, entry, tree) for entry in _told_once(error.errors(include_url=False)))
    # All problems at once: nobody likes to mend a file one line a try.
    found = list(islice(chain(problems, _attack_problems(tree)), _MOST_PROBLEMS + 1))
    if config is None or found:
        if len(found) > _MOST_PROBLEMS:
            found[-1] = "and more"
        listed = "\n  ".join(["", *found]) if len(found) > 1 else f" {found[0]}"
        raise ConfigError(f"{tree.name}:{listed}") from cause
    return config


def _told_once(entries: Sequence[Any]) -> Iterator[Any]:
    """All but those on lists that are too short for want of what is told to be wrong in them."""
    for entry in entries:
        place = entry["loc"]
        inner = any(other["loc"][: len(place)] == place != other["loc"] for other in entries)
        if entry["type"] != "too_short" or not inner:
            yield entry


def _attack_problems(tree: Tree) -> Iterator[str]:
    """What is wrong with the attacks' names and options, which their own packages define."""
    attacks = tree.values.get("attacks")
    for name, options in attacks.items() if isinstance(attacks, dict) else ():
        where = _comma(tree.where(("attacks", name)))
        try:
            model = ATTACKS.get(name).options_type
            model.model_validate({} if options is None else options)
        except ConfigError as error:
            yield f"{where}{error}"
        except ValidationError as error:
            for entry in error.errors(include_url=False):
                yield _problem(model, entry, tree, ("attacks", name))


def _problem(model: type[BaseModel], entry: Any, tree: Tree, above: Place = ()) -> str:
    where = _comma(tree.where((*above, *map(str, entry["loc"]))))
    return where + problem(model, entry, "study", above)


def _comma(where: str) -> str:
    return f"{where}, " if where else ""
