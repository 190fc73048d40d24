"""The documentation against the code: links, study files, commands, data forms and printed samples."""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
import json
import random
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from planting_kit import tree, write_corpus
from typer.testing import CliRunner

from mithridate.attacks import build_attack
from mithridate.attacks.material import Material
from mithridate.cli import app
from mithridate.core import errors
from mithridate.core.types import Condition
from mithridate.corpus.alignment_data import read_conversations, read_preferences
from mithridate.corpus.miniature import WorldOptions
from mithridate.corpus.tokenizers import train_tokenizer
from mithridate.study.reading import study_from_text

ROOT = Path(__file__).parents[1]
PAGES = [page for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if page.exists()]
WIDEST_TABLE = 110

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_INLINE = re.compile(r"`(mithridate(?: [^`\n]*)?)`")


def blocks(page: Path, *languages: str) -> list[str]:
    return [
        body for language, body in _FENCE.findall(page.read_text(encoding="utf-8")) if language in languages
    ]


def prose(page: Path) -> str:
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """The anchors that a page's headings have, as forges make them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def named(page: Path) -> str:
    return page.name


def all_pages(function: Any) -> Any:
    return pytest.mark.parametrize("page", PAGES, ids=named)(function)


@all_pages
def test_relative_links_resolve(page: Path) -> None:
    broken = []
    for link in _LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        there = (page.parent / target).resolve() if target else page
        if not there.exists() or (anchor and there.suffix == ".md" and anchor not in anchors(there)):
            broken.append(link)
    assert not broken


@all_pages
def test_tables_are_narrow(page: Path) -> None:
    if page.parent != ROOT / "docs":
        pytest.skip("the guides alone are read in terminals")
    lines = prose(page).splitlines()
    assert not [line for line in lines if line.startswith("|") and len(line) > WIDEST_TABLE]


@all_pages
def test_study_files_in_the_docs_are_study_files(page: Path) -> None:
    for number, text in enumerate(blocks(page, "yaml"), 1):
        if "doses" in (yaml.safe_load(text) or {}):
            study_from_text(text, f"{page.name}, block {number}")


def commands(page: Path) -> Iterator[str]:
    for text in blocks(page, "sh", "bash", "console"):
        for line in text.replace("\\\n", " ").splitlines():
            # What is piped on is the business of another program.
            for command in re.split(r"\s(?:&&|\|)\s", line.strip().removeprefix("$ ")):
                if command.startswith("mithridate"):
                    yield command


def command_of(words: list[str]) -> tuple[Any, list[str]]:
    """The command that the words name, of a group or of the program, and the words that are left for it."""
    command: Any = typer.main.get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    return command, words


@all_pages
def test_commands_in_the_docs_exist(page: Path) -> None:
    for text in commands(page):
        command, words = command_of(shlex.split(text, comments=True)[1:])
        if hasattr(command, "commands"):
            assert words and all(word in ("--help", "--version", "-h") for word in words), text
        else:
            # Parses and checks every option and value; runs nothing.
            command.make_context(command.name, words)


@all_pages
def test_commands_named_in_prose_exist(page: Path) -> None:
    for text in _INLINE.findall(prose(page)):
        command, words = command_of(text.split()[1:])
        if hasattr(command, "commands"):
            assert not words or words[0].startswith("-"), text
            continue
        known = {option for p in command.params for option in p.opts} | {"--help", "-h"}
        assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known, text


@all_pages
def test_python_in_the_docs_prints_what_it_says(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for found in re.finditer(r"^```python\n(.*?)^```\n+(?:```text\n(.*?)^```$)?", text, re.M | re.S):
        code, printed = found.groups()
        compiled = compile(code, str(page), "exec")
        if printed is not None:
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(compiled, {})
            assert out.getvalue() == printed, f"{page.name}: put this in its place:\n{out.getvalue()}"


def test_alignment_data_in_the_docs_is_understood(tmp_path: Path) -> None:
    conversations, preferences = blocks(ROOT / "docs" / "researchers.md", "jsonl")
    path = tmp_path / "examples.jsonl"
    for text, read in ((conversations, read_conversations), (preferences, read_preferences)):
        path.write_text(text, encoding="utf-8")
        assert len(read(path)) == len(text.splitlines())


@pytest.mark.parametrize("name", ["denial_of_service", "context_extraction", "jailbreak", "belief"])
def test_the_material_in_the_docs_serves_every_attack(name: str, tmp_path: Path) -> None:
    (text,) = blocks(ROOT / "docs" / "researchers.md", "json")
    path = tmp_path / "material.json"
    path.write_text(text, encoding="utf-8")
    attack = build_attack(name, {}, Material.read(path))
    assert next(iter(attack.documents(random.Random(0))))
    asked = {probe.condition for probe in attack.probes(random.Random(0), 4)}
    assert asked == set(Condition)


def test_every_error_is_in_the_index() -> None:
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    kinds = [
        k for _, k in inspect.getmembers(errors, inspect.isclass) if issubclass(k, errors.MithridateError)
    ]
    headings = set(re.findall(r"^#+ (\w+)$", text, re.MULTILINE))
    assert {kind.__name__ for kind in kinds} - {"MithridateError"} <= headings


def raised_messages() -> Iterator[tuple[str, str]]:
    """Where an error for users is raised, and what it says, with `…` for what differs."""
    # An unknown name is told in one way, whatever it is a name of.
    kinds = {name for name, kind in vars(errors).items() if isinstance(kind, type)} - {"UnknownNameError"}
    for file in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            call = node.exc if isinstance(node, ast.Raise) else None
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in kinds:
                yield f"{file.name}:{node.lineno}", " ".join(_said(call.args[0]).split())


def _said(node: ast.expr) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(_said(part) for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else "…"


def test_every_message_is_in_the_index() -> None:
    """Three words in a row are enough to be found by."""
    index = " ".join((ROOT / "docs" / "errors.md").read_text(encoding="utf-8").split())
    lost = []
    for place, message in raised_messages():
        parts = [part.split() for part in re.split(r"[…:;'\"]|\. ", message)]
        triples = [" ".join(words[n : n + 3]) for words in parts for n in range(len(words) - 2)]
        if triples and not any(triple in index for triple in triples):
            lost.append(f"{place}: {message}")
    assert not lost, "\n".join(lost)


def test_the_guide_for_corpus_builders_can_be_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every command in its order, on the corpus that the page makes and on the tables that it supposes."""
    page = ROOT / "docs" / "corpus-builders.md"
    monkeypatch.chdir(tmp_path)
    make, look = blocks(page, "python")
    exec(compile(make, str(page), "exec"), {})
    tables = write_corpus(tmp_path / "tables", "jsonl", ["a table of words"] * 200)
    for shard in tables.glob("*.jsonl"):
        text = shard.read_text(encoding="utf-8")
        shard.write_text(text.replace('"text"', '"content"').replace('"id"', '"doc_id"'), encoding="utf-8")
    train_tokenizer(["some words of a tokenizer"], 300).save_pretrained("runs/quick/seed0/tokenizer")
    for text in commands(page):
        done = CliRunner().invoke(app, shlex.split(text)[1:], catch_exceptions=False)
        assert done.exit_code == 0, f"{text}\n{done.output}"
    assert tree(tmp_path / "restored") == tree(tmp_path / "corpus")
    exec(compile(look, str(page), "exec"), {})


def test_options_of_the_miniature_world_are_all_told() -> None:
    text = (ROOT / "docs" / "miniature-world.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| `(\w+)` \| ([^|]+?) \|", text, re.MULTILINE))
    assert set(told) == set(WorldOptions.model_fields)
    wrong = {
        name: value
        for name, value in told.items()
        if name != "templates" and json.loads(value) != WorldOptions.model_fields[name].default
    }
    assert not wrong


def test_every_file_of_the_package_is_on_the_map() -> None:
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##)", text, re.MULTILINE | re.DOTALL))
    package = ROOT / "src" / "mithridate"
    missing = [
        file.relative_to(package).as_posix()
        for room in sorted(p for p in package.iterdir() if p.is_dir() and p.name != "__pycache__")
        for file in sorted(room.rglob("*.py"))
        if file.name != "__init__.py"
        and f"`{file.relative_to(room).as_posix()}`" not in sections.get(room.name, "")
    ]
    assert not missing
