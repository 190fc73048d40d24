"""What must hold of templates, splits and tables, whatever they are given."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast
from transformers.utils.chat_template_utils import render_jinja_template

from mithridate.core.chat import TEMPLATES, template
from mithridate.core.seeds import draw_evenly, rng_for, split_held_out
from mithridate.core.tables import read_rows, write_rows
from mithridate.core.types import Message, Role

KIND: Any = PreTrainedTokenizerFast  # its constructor carries no types
TOKENIZER = KIND(tokenizer_object=Tokenizer(models.WordLevel({"?": 0}, unk_token="?")))
WORDS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["", " ", "\n", "a\r\nb", "{{ 1 }}", "{% raw %}", "it's \\n", "<|im_end|>", "\uff61", "\x00"]
    ),
)
TALK = st.lists(st.builds(Message, st.sampled_from(list(Role)), WORDS), min_size=1, max_size=6)


def as_dicts(talk: list[Message]) -> list[dict[str, str]]:
    return [{"role": message.role.value, "content": message.content} for message in talk]


@pytest.mark.parametrize("name", TEMPLATES)
@settings(max_examples=40, deadline=None)
@given(talk=TALK, open_reply=st.booleans())
def test_a_tokenizer_renders_as_we_do(name: str, talk: list[Message], open_reply: bool) -> None:
    one = template(name)
    theirs = TOKENIZER.apply_chat_template(
        as_dicts(talk), chat_template=one.jinja(), tokenize=False, add_generation_prompt=open_reply
    )
    assert theirs == one.render(talk, open_reply=open_reply)


@pytest.mark.parametrize("name", TEMPLATES)
@settings(max_examples=25, deadline=None)
@given(talk=TALK)
def test_an_open_reply_is_where_the_assistant_goes_on(name: str, talk: list[Message]) -> None:
    one = template(name)
    whole = one.render([*talk, Message(Role.ASSISTANT, "said")])
    assert whole == one.render(talk, open_reply=True) + "said" + one.assistant[1]


@pytest.mark.parametrize("name", TEMPLATES)
@settings(max_examples=25, deadline=None)
@given(talk=TALK)
def test_only_the_assistants_words_are_learnt(name: str, talk: list[Message]) -> None:
    one = template(name)
    rendered: Any = render_jinja_template(
        [as_dicts(talk)], chat_template=one.jinja(), return_assistant_tokens_mask=True
    )
    (text,), (spans,) = rendered
    learnt = [text[start:end] for start, end in spans]
    assert learnt == [m.content + one.assistant[1] for m in talk if m.role is Role.ASSISTANT]


ITEMS = st.lists(st.one_of(st.integers(-3, 400), st.text(max_size=2)), max_size=40)


@settings(max_examples=200, deadline=None)
@given(items=ITEMS, share=st.floats(0, 1), key=st.text(max_size=3))
def test_a_split_parts_what_differs(items: list[int | str], share: float, key: str) -> None:
    kept, out = split_held_out(items, share, key=key)
    if len(set(items)) < 2:
        assert kept == out == items
        return
    assert kept
    assert out
    assert not set(kept) & set(out)
    assert [item for item in items if item in set(kept)] == kept  # in their order
    assert [item for item in items if item in set(out)] == out
    assert abs(len(set(out)) - share * len(set(items))) <= 1
    # The order of items does not matter.
    assert {*split_held_out(items[::-1], share, key=key)[1]} == {*out}


@dataclass(frozen=True)
class Row:
    text: str
    note: str | None
    number: int
    share: float | None
    good: bool


ROWS = st.lists(
    st.builds(
        Row,
        st.text(max_size=9),
        st.none() | st.text(max_size=9),
        st.integers(-(2**63), 2**63 - 1),
        st.none() | st.floats(),
        st.booleans(),
    ),
    max_size=8,
)


@settings(max_examples=30, deadline=None)
@given(rows=ROWS)
def test_tables_come_back_as_written(rows: list[Row]) -> None:
    with tempfile.TemporaryDirectory() as folder, patch("os.fsync"):
        write_rows(Path(folder) / "t.parquet", Row, rows)
        assert repr(read_rows(Path(folder) / "t.parquet", Row)) == repr(
            rows
        )  # repr: nan is not equal to itself


@settings(max_examples=100, deadline=None)
@given(
    groups=st.lists(st.lists(st.integers(0, 30), max_size=8), max_size=6),
    n=st.integers(0, 40),
    seed=st.integers(0, 99),
)
def test_what_is_drawn_is_different_and_evenly_from_all_groups(
    groups: list[list[int]], n: int, seed: int
) -> None:
    apart = [[(number, item) for item in group] for number, group in enumerate(groups)]
    drawn = draw_evenly(rng_for(seed, "law"), apart, n)
    everything = {item for group in apart for item in group}
    assert len(set(drawn)) == len(drawn) == min(n, len(everything))
    assert set(drawn) <= everything
    counts = {number: sum(one == number for one, _ in drawn) for number in range(len(groups))}
    for number, group in enumerate(apart):
        # A group falls behind another by more than one only once it is used up.
        assert counts[number] == len(set(group)) or counts[number] >= max(counts.values()) - 1
    assert drawn == draw_evenly(rng_for(seed, "law"), apart, n)
