"""The public names of the retrieval guard."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import mithridate.retrieval as surface


def test_the_public_names_are_sorted_and_all_there() -> None:
    names = surface.__all__
    assert sorted(names, key=lambda name: (not name.isupper(), name)) == names
    assert set(dir(surface)) == set(names) == set(surface._MODULE_OF)
    for name in names:
        assert getattr(surface, name).__class__ is not None


def test_type_checkers_see_what_is_imported_late() -> None:
    tree = ast.parse(Path(surface.__file__ or "").read_text(encoding="utf-8"))
    seen = {
        alias.asname: f"{node.module}".removeprefix("mithridate.retrieval.").partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module != "typing"
        for alias in node.names
        if alias.asname
    }
    assert seen == surface._MODULE_OF


def test_no_name_hides_a_module() -> None:
    modules = {path.stem for path in Path(surface.__file__ or "").parent.iterdir()}
    assert not modules & set(surface.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'RAGParts'"):
        _ = surface.RAGParts
