"""A study that is written out reads back as itself, whatever is in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mithridate.study.config import StudyConfig
from mithridate.study.plan import cells, steps
from mithridate.study.reading import study_from_text, study_to_text
from mithridate.study.yaml_tree import Tree, dump

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
    assert Tree.parse("x", dump(values)).values == values


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
