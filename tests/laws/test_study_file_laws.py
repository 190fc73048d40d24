"""A study that is written out reads back as itself; whatever else a file holds is a study or an error."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from mithridate.core.errors import MithridateError
from mithridate.core.yaml_text import dump_yaml
from mithridate.study.config import StudyConfig
from mithridate.study.plan import cells, steps
from mithridate.study.reading import read_audit, read_study, study_from_text, study_to_text
from mithridate.study.yaml_tree import Tree

NAMES = st.from_regex(r"[A-Za-z0-9_%-][A-Za-z0-9._%-]{0,8}", fullmatch=True).filter(
    lambda name: name not in ("clean", "corpus", "tokenizer")
)
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
LIKE_NUMBERS = st.sampled_from(
    ["1e-3", "1e5", "0x10", "yes", "null", "~", "1_0", "2020-01-01", "=", "<<", "1:30"]
)
SCALARS = st.one_of(
    st.booleans(),
    st.integers(-(10**6), 10**6),
    st.floats(allow_nan=False, allow_infinity=False),
    TEXT,
    LIKE_NUMBERS,
)
VALUES: Any = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
DOSES = st.dictionaries(
    NAMES,
    st.fixed_dictionaries(
        {"all": st.builds(lambda rate: {"rate": rate}, st.floats(0, 0.5)) | st.just({"count": 3})}
    ),
    min_size=1,
    max_size=3,
)
STUDIES = st.builds(
    lambda **values: StudyConfig.model_validate(values),
    title=TEXT | LIKE_NUMBERS,
    seeds=st.lists(st.integers(0, 10**9), min_size=1, max_size=3, unique=True),
    doses=DOSES,
    pretraining=st.builds(lambda rate: {"learning_rate": rate}, st.floats(1e-12, 1e3)),
    model=st.builds(lambda values: {"overrides": values}, st.dictionaries(TEXT, VALUES, max_size=3)),
    one_model_per_attack=st.booleans(),
    workers=st.none() | st.integers(1, 64),
)


@settings(max_examples=60, deadline=None)
@given(STUDIES)
def test_a_study_written_out_reads_back_as_itself(study: StudyConfig) -> None:
    assert study_from_text(study_to_text(study), "kept") == study


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(TEXT | LIKE_NUMBERS, VALUES, max_size=4))
def test_whatever_is_dumped_parses_to_the_same(values: dict[str, Any]) -> None:
    assert Tree.parse("x", dump_yaml(values)).values == values


@settings(max_examples=12, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["model.layers", "sft.examples", "dpo.examples", "pretraining.batch_rows"]),
        st.lists(st.integers(1, 9), min_size=1, max_size=3, unique=True),
        max_size=3,
    ),
    st.lists(st.integers(0, 99), min_size=1, max_size=2, unique=True),
    st.booleans(),
)
def test_steps_have_folders_and_labels_of_their_own_and_come_after_their_needs(
    grid: dict[str, list[int]], seeds: list[int], split: bool
) -> None:
    study = StudyConfig.model_validate(
        {
            "doses": {"a": {"all": {"rate": 0.1}}, "b": {"belief": {"count": 1}}},
            "grid": grid,
            "seeds": seeds,
            "one_model_per_attack": split,
        }
    )
    everything = steps(study, Path("out"))
    assert (
        len({step.folder for step in everything})
        == len({step.label for step in everything})
        == len(everything)
    )
    assert len({cell.name for cell in cells(study)}) == len(cells(study))
    seen: set[Path] = set()
    for step in everything:
        assert seen.issuperset(step.needs)
        seen.add(step.folder)


# Whatever a file or an override holds, the outcome is a study or an error that is meant for the user.

# Words that mean something in YAML or in a study, in any order and nesting.
VOCABULARY = """
title seeds corpus path attacks belief doses all rate count grid model overrides sft dpo data material
~ ~nosuchuser/x null yes 1e-3 .inf .nan 1e999 0x1F 010 1:30 2024-13-45 &a *a <<: --- ... - ? | > % @ ` , : =
!!int !!bool !!float !!timestamp !!binary !!set !!python/name:os.system !<tag:x> [ ] { } " ' # \\ é \ufeff
\\ud800 \\0 \\UFFFFFFFF
"""
SPACES = ["", " ", "\n", "\n  ", ": ", "- ", "\t", "\r", "\x00", "\x85", "\u2028"]
SCRAPS = st.lists(st.sampled_from(VOCABULARY.split()) | st.sampled_from(SPACES), max_size=30).map("".join)
KEYS = st.sampled_from([*sorted(StudyConfig.model_fields), "x", "corpus.path", "attacks.belief", "sft.lora"])
WILD: Any = st.recursive(
    st.one_of(
        SCALARS,
        st.sampled_from(
            [float("inf"), float("nan"), 10**40, -(2**63) - 1, "~nosuchuser/x", "a\0b", "x" * 5000]
        ),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | TEXT, inner, max_size=3),
    max_leaves=8,
)


def outcome(read: Callable[[], Any]) -> Any:
    """A study, or the error that a user would see, and neither late."""
    began = time.process_time()
    try:
        found = read()
    except MithridateError as error:
        found = error
        assert str(error)
    assert time.process_time() - began < 1
    return found


def outcome_of(content: bytes, *overrides: str) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "my.yaml"
        path.write_bytes(content)
        outcome(lambda: read_audit(path))
        found = outcome(lambda: read_study(path, None, overrides))
    if isinstance(found, StudyConfig):
        # What was let in can be kept, and is read again when the run goes on.
        assert study_from_text(study_to_text(found), "kept") == found
    return found


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200) | SCRAPS.map(str.encode))
@example(b"")
@example(b"a: " + b"[" * 3000)
@example(b"seeds: [" + b"9" * 6000 + b"]")
@example(b"doses: {a: {all: {count: 1}}}\nmodel: {overrides: {a: !!binary gA==}}")
def test_whatever_bytes_a_file_holds(content: bytes) -> None:
    outcome_of(content)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(KEYS, WILD, max_size=4), st.booleans())
def test_whatever_yaml_a_file_holds(values: dict[str, Any], dosed: bool) -> None:
    doses = {"doses": {"a": {"all": {"count": 1}}}} if dosed else {}
    outcome_of(dump_yaml(doses | values).encode(errors="surrogateescape"))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.builds("{}={}".format, KEYS | TEXT, SCRAPS | WILD) | st.text(max_size=20), max_size=3))
def test_whatever_an_override_holds(overrides: list[str]) -> None:
    outcome_of(b"doses: {a: {all: {count: 1}}}", *overrides)
