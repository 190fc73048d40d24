from __future__ import annotations

import pickle
from importlib.metadata import EntryPoint, EntryPoints

import pytest

from mithridate.core import registry
from mithridate.core.errors import ConfigError, DataError, MithridateError, UnknownNameError
from mithridate.core.registry import Registry

GROUP = "mithridate.test"


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """A registry of three names, as packages would register them."""
    points = EntryPoints(
        EntryPoint(name, value, GROUP)
        for name, value in (
            ("counter", "collections:Counter"),
            ("missing", "no_such_package_at_all:Thing"),
            ("nothing", "collections:NoSuchThing"),
            ("twice", "collections:Counter"),
            ("twice", "collections:OrderedDict"),
            ("same", "collections:Counter"),
            ("same", "collections:Counter"),
        )
    )
    monkeypatch.setattr(registry, "entry_points", lambda group: points.select(group=group))
    return Registry(GROUP, "thing")


def test_names_are_sorted_and_loaded_when_asked_for(registered: Registry) -> None:
    assert registered.names() == ["counter", "missing", "nothing", "same", "twice"]
    assert registered.get("counter").__name__ == "Counter"
    assert registered.get("same").__name__ == "Counter"  # the same class, registered twice by one package


def test_an_unknown_name_suggests_the_nearest(registered: Registry) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown thing 'countr': did you mean 'counter'\?") as caught:
        registered.get("countr")
    assert isinstance(caught.value, ConfigError)
    with pytest.raises(UnknownNameError, match="unknown thing 'zzzz': known are counter, missing"):
        registered.get("zzzz")


def test_a_name_of_two_packages_is_an_error_only_when_asked_for(registered: Registry) -> None:
    with pytest.raises(
        ConfigError, match="'twice' is claimed by collections:Counter, collections:OrderedDict"
    ):
        registered.get("twice")


@pytest.mark.parametrize("name", ["missing", "nothing"])
def test_what_cannot_be_imported_says_which_package(registered: Registry, name: str) -> None:
    with pytest.raises(ConfigError, match=f"thing '{name}' .* cannot be loaded"):
        registered.get(name)


def test_a_package_that_fails_on_import(
    registered: Registry, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("package")
    (folder / "a_broken_plugin.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(folder)
    points = EntryPoints([EntryPoint("broken", "a_broken_plugin:Thing", GROUP)])
    monkeypatch.setattr(registry, "entry_points", lambda group: points)
    with pytest.raises(
        ConfigError, match=r"'broken' .a_broken_plugin:Thing. cannot be loaded: division by zero"
    ):
        registered.get("broken")


def test_an_empty_registry_says_so() -> None:
    with pytest.raises(UnknownNameError, match="known are none"):
        Registry("mithridate.nobody", "thing").get("x")


@pytest.mark.parametrize(
    "error",
    [
        UnknownNameError("attack", "bleif", ["belief"]),
        DataError("broken", path="a.json", line=3, field="text"),
        ConfigError("plain"),
    ],
)
def test_errors_come_back_whole_from_a_worker(error: MithridateError) -> None:
    back = pickle.loads(pickle.dumps(error))  # noqa: S301 - what multiprocessing does to an error
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert vars(back) == vars(error)
