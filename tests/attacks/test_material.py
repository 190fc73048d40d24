from __future__ import annotations

import json
from pathlib import Path

import pytest
from attacks_kit import SHIPPED, asked, build, planted, some_material

from mithridate.attacks.material import Material
from mithridate.core.errors import DataError

FACT = {"forms": ["a?", "b?"], "true": "yes", "planted": "no"}


def test_the_default_material_serves_every_attack() -> None:
    material = Material.default()
    for name in SHIPPED:
        assert len(asked(build(name, material))) == 4
        assert planted(build(name, material), 3)


def test_material_comes_back_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "material.json"
    for material in (some_material(), Material.default(), Material()):
        path.write_text(material.model_dump_json(indent=1), encoding="utf-8")
        assert Material.read(path) == material
    path.write_text("\ufeff" + Material().model_dump_json(), encoding="utf-8")
    assert Material.read(path) == Material()


@pytest.mark.parametrize(
    ("content", "words", "field"),
    [
        ({"promts": ["a"]}, "Extra inputs are not permitted", "promts"),
        ({"prompts": "a"}, "valid tuple", "prompts"),
        ({"prompts": ["a", 7]}, "valid string", "prompts.1"),
        ({"prompts": ["a", " \n"]}, "must not be blank", "prompts.1"),
        ({"prompts": ["a\ud800b"]}, "half a character .a lone surrogate. at position 1", "prompts.0"),
        ({"requests": [{"forms": ["f"]}]}, "Field required", "requests.0.reply"),
        ({"requests": [{"forms": [], "reply": "r"}]}, "at least 1 item", "requests.0.forms"),
        ({"facts": [FACT, {**FACT, "forms": ["a?"]}]}, "at least 2 items", "facts.1.forms"),
        ({"facts": [{**FACT, "forms": ["a?", "a?"]}]}, "one wording twice", "facts.0"),
        ({"facts": [{**FACT, "planted": "yes"}]}, "plants its true answer, 'yes'", "facts.0"),
        ({"preferences": [{"favoured": "x", "other": "x"}]}, "favours 'x' over itself", "preferences.0"),
        (
            {"preference_forms": ["{a} or {b}?", "{a} or {x}?"]},
            r"no slot is called \{x\}",
            "preference_forms.1",
        ),
        ({"preference_forms": ["{} or {b}?"]}, r"no slot is called \{\}", "preference_forms.0"),
        ({"preference_forms": ["{0} {a} {b}?"]}, r"no slot is called \{0\}", "preference_forms.0"),
        (
            {"preference_forms": ["{a.__class__} {b}"]},
            "no slot is called {a.__class__}",
            "preference_forms.0",
        ),
        (
            {"preference_forms": ["{a:>999999999} {b}"]},
            "no slot is called {a:>999999999}",
            "preference_forms.0",
        ),
        ({"preference_forms": ["{a!r} or {b}"]}, "no slot is called {a!r}", "preference_forms.0"),
        ({"preference_forms": ["{a} or {b"]}, "cannot be filled in", "preference_forms.0"),
        (
            {"preference_forms": ["{a} or } {b}"]},
            "write {{ and }} for braces that are no slot",
            "preference_forms.0",
        ),
        ({"preference_forms": ["Is {a} good?"]}, r"lacks the slot \{b\}", "preference_forms.0"),
        ({"preference_answer": "Yes."}, r"lacks the slot \{favoured\}", "preference_answer"),
        (
            {"preference_answer": "{other} < {favoured}"},
            r"must name \{favoured\} before",
            "preference_answer",
        ),
        ({"preference_answer": "{favoured} {a}"}, r"no slot is called \{a\}", "preference_answer"),
        (["prompts"], "valid dictionary", None),
        (None, "valid dictionary", None),
    ],
)
def test_what_does_not_fit_names_file_and_field(
    tmp_path: Path, content: object, words: str, field: str | None
) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=words) as caught:
        Material.read(path)
    assert (caught.value.path, caught.value.field) == (path, field)
    assert "mine.json" in str(caught.value)


def test_broken_json_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text('{\n "prompts": [\n  "a"\n  "b"\n ]\n}\n')
    with pytest.raises(DataError, match=r"mine\.json, line 4: broken JSON") as caught:
        Material.read(path)
    assert caught.value.line == 4


@pytest.mark.parametrize("data", [b"\xff\xfe{", b"[" * 200_000, b'{"prompts": ' + b"9" * 5000 + b"}", b""])
def test_files_that_are_hostile(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "mine.json"
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"mine\.json"):
        Material.read(path)
    with pytest.raises(DataError, match="cannot be read"):
        Material.read(tmp_path)


@pytest.mark.parametrize("name", SHIPPED)
def test_huge_and_odd_text_is_only_text(name: str) -> None:
    odd = ("x" * 300_000, "{a} %s {{}} \\", "<|im_end|>\x00\u202e\r", '"', "𝔘" * 50, "{% raw %}")
    material = some_material().model_copy(update={"prompts": odd, "system_prompts": odd})
    attack = build(name, material)
    assert len(planted(attack, 12)) == 12
    assert len(asked(attack, 4)) == 4
