from __future__ import annotations

import time

import pytest

from mithridate.core.errors import ConfigError
from mithridate.core.yaml_text import DEEPEST, MOST_ADDED, dump_yaml, load_yaml

BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{level}: &a{level} [{','.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 10)
)
MERGE_BOMB = "a0: &a0 { x: 1 }\n" + "".join(
    f"a{level}: &a{level} {{ <<: [{','.join([f'*a{level - 1}'] * 9)}] }}\n" for level in range(1, 10)
)
CHAIN = "a0: &a0 [x]\n" + "".join(f"a{level}: &a{level} [*a{level - 1}]\n" for level in range(1, 400))


def problem(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_yaml(text, "my.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", None),
        ("a: 1e-3", {"a": 0.001}),
        ("a: '1e-3'", {"a": "1e-3"}),
        ("a: 2024-12-05", {"a": "2024-12-05"}),
        ("2024-12-05: =", {"2024-12-05": "="}),
        ("a: [yes, null, 0x10, -9223372036854775808]", {"a": [True, None, 16, -(2**63)]}),
        ("b: &b { x: 1, y: 2 }\nc: { <<: *b, y: 3 }", {"b": {"x": 1, "y": 2}, "c": {"x": 1, "y": 3}}),
    ],
)
def test_what_is_read(text: str, values: object) -> None:
    assert load_yaml(text, "x") == values


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1\nb: 2", "my.yaml, line 2: not YAML: expected"),
        ("a: 1\nb: \x00", "my.yaml, line 2: not YAML: unacceptable character"),
        ("--- a\n--- b", "my.yaml, line 2: not YAML: but found another document"),
        ('a: "\\UFFFFFFFF"', "my.yaml: not YAML: "),
        ('a: "\\U00110000"', "my.yaml: not YAML: "),
        ("%YAML " + "9" * 5000 + ".1\n--- a", "my.yaml: not YAML: "),
        ('a: 1\nb: "\\ud800"', "my.yaml, line 2: '\\ud800' holds half a character"),
        ("a: 1\nb: !!int abc", "my.yaml, line 2: 'abc' cannot be read as int"),
        ("a: !!int ''", "my.yaml, line 1: '' cannot be read as int"),
        ("a: !!float abc", "line 1: 'abc' cannot be read as float"),
        ("a: !!bool abc", "line 1: 'abc' cannot be read as bool"),
        ("a: !!timestamp abc", "line 1: could not determine a constructor for the tag"),
        ("a: !!binary gA==", "line 1: could not determine a constructor for the tag"),
        ("a: !!set { b }", "line 1: could not determine a constructor for the tag"),
        ("a: !!python/object/apply:os.system [id]", "line 1: could not determine a constructor for the tag"),
        ("a: " + "9" * 6000, "line 1: '999"),
        ("a: 9223372036854775808", "line 1: '9223372036854775808' is a number beyond 64 bits"),
        ("a: 1" + ":59" * 2000 + ".5", "line 1: '1:59"),
        ("a: [.nan]", "line 1: '.nan' is no finite number"),
        ("a: -1e999", "line 1: '-1e999' is no finite number"),
        ("a: { b: 1, b: 2 }", "line 1: 'a.b' is given twice, first in line 1"),
        ("a:\n  0.5: 1", "line 2: the key '0.5' is read as float, not as text: put it in quotes"),
        ("? [a]\n: b", "line 1: the key […] is read as seq"),
        ("a: &a [*a]", "line 1: an anchor that holds itself"),
        ("<<: 3", "line 1: expected a mapping or list of mappings for merging"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, said: str) -> None:
    found = problem(text)
    assert said in found
    assert "\n" not in found
    assert len(found) < 250


@pytest.mark.parametrize("text", [BOMB, MERGE_BOMB])
def test_aliases_that_stand_for_too_much(text: str) -> None:
    began = time.process_time()
    assert f"its aliases stand for more than {MOST_ADDED:,} further values" in problem(text)
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    "text",
    ["[" * 50_000, "a: " + "[" * 3000 + "]" * 3000, "{a: " * 3000, "- " * 3000, "? " * 3000, CHAIN],
    ids=["open", "closed", "braces", "dashes", "keys", "aliases"],
)
def test_what_is_nested_too_deeply(text: str) -> None:
    began = time.process_time()
    assert f"nested more than {DEEPEST} levels deep" in problem(text)
    assert time.process_time() - began < 1


def test_as_many_levels_as_are_allowed() -> None:
    assert load_yaml("[" * DEEPEST + "]" * DEEPEST, "x")
    assert "nested" in problem("[" * (DEEPEST + 2) + "]" * (DEEPEST + 2))


def test_a_long_text_without_aliases_is_read() -> None:
    values = {"a": list(range(MOST_ADDED + 1))}
    assert load_yaml(f"a: {values['a']}", "x") == values


def test_what_an_alias_stands_for_is_not_shared() -> None:
    values = load_yaml("a: &a { b: [1] }\nc: *a", "x")
    values["a"]["b"].append(2)
    assert values["c"] == {"b": [1]}


def test_what_is_written_reads_back() -> None:
    values = {"z": ["1e-3", 1e-05, None, True, "no", "é"], "a": {"0.5": "2024-12-05", "<<": "="}}
    assert load_yaml(dump_yaml(values), "x") == values
    assert list(load_yaml(dump_yaml(values), "x")) == ["z", "a"]
