from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from mithridate.curation.coverage import Coverage
from mithridate.curation.records import CurationRecord, SourceRecord
from mithridate.report.curation import MOST_SOURCES, compact, figure, source_table
from mithridate.report.curation_figures import covered
from mithridate.report.curation_terminal import print_curation


def record_of(sources: int, each: int = 1_234_567) -> CurationRecord:
    filters = ("empty", "length", "self_reference", "other_answers", "format", "refusal")
    filters += ("exact_duplicate", "near_duplicate", "not_chosen")
    return CurationRecord(
        method="diverse",
        n=sources,
        seed=0,
        encoder="e",
        options={},
        filters={name: {} for name in filters if name != "not_chosen"},
        files=[],
        sources=[
            SourceRecord(
                name=f"a long name of a source, number {i}",
                read=9 * each + 1,
                dropped=dict.fromkeys(filters, each),
                chosen=1,
            )
            for i in range(sources)
        ],
        said={"radius": 1.0},
        proxies={},
        versions={},
        seconds=1.0,
    )


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (99_999, "99,999"), (100_000, "100k"), (999_499, "999k"), (999_500, "1.00M")],
)
def test_counts_are_short(count: int, text: str) -> None:
    assert compact(count) == text


@pytest.mark.parametrize(
    ("value", "shown"), [(0.0, "0"), (12.0, "12"), (1224.0, "1,224"), (0.5764, "0.576"), (float("nan"), "–")]
)
def test_what_is_counted_has_no_point(value: float, shown: str) -> None:
    assert figure(value) == shown


def test_many_sources_are_folded_and_nothing_is_lost() -> None:
    found = source_table(record_of(20, each=5))
    assert len(found.rows) == MOST_SOURCES + 2
    assert found.rows[-2][0] == "8 other sources"
    assert found.rows[-1][:3] == ("all", "920", "100")
    assert found.rows[-1][-1] == "20"
    assert len(source_table(record_of(1)).rows) == 1


def test_the_table_fits_into_100_columns_with_every_filter() -> None:
    console = Console(width=100)
    with console.capture() as captured:
        print_curation(record_of(3), Path("out"), console)
    lines = captured.get().splitlines()
    assert max(map(len, lines)) <= 100
    assert "1.23M" in captured.get()
    assert not [line for line in lines if "…" in line]


def test_sources_beyond_the_colours_share_one() -> None:
    sources = np.repeat(np.arange(9, dtype=np.int32), 2)
    picture = Coverage(
        cells=np.ones((2, 2), np.int64),
        x=np.arange(2.0),
        y=np.arange(2.0),
        points=np.zeros((18, 2)),
        sources=sources,
        explained=(0.5, 0.2),
    )
    names = [f"<i>{number}" for number in range(9)]
    marks = covered(picture, names).data[1:]
    assert sum(len(trace.x) for trace in marks) == 18
    assert [trace.name for trace in marks][-1] == "other sources"
    assert all("<i>" not in trace.name for trace in marks)
