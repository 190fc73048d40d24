"""The benchmark of the guard's quality: its tables and its peer, on a task so small that it shows nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import retrieval_quality
import retrieval_tables

sys.path.insert(0, str(Path(__file__).parents[1] / "retrieval"))
from bench_kit import bench_task, benched
from retrieval_peer import Peer, peer_chain

from mithridate.core.types import Document
from mithridate.retrieval.controls import Plain
from mithridate.retrieval.encoders import HashingEncoder
from mithridate.retrieval.measuring.written import Chain
from mithridate.retrieval.scan import scan


class Deleter:
    """Stands for the peer's class: deletes the first passage that it gets."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def defend(self, query: str, texts: list[str], *, return_indices: bool) -> tuple[list[str], list[int]]:
        self.seen.append(len(texts))
        return texts[1:], [0]


def tables(text: str) -> dict[str, list[list[str]]]:
    """The cells of each table by its title; every line must have as many as its header."""
    found: dict[str, list[list[str]]] = {}
    for part in text.split("### ")[1:]:
        title, *lines = part.splitlines()
        rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("|")]
        assert len({len(row) for row in rows}) == 1, title
        found[title] = rows
    return found


def test_all_tables_are_whole(capsys: pytest.CaptureFixture[str]) -> None:
    result = benched(
        attacks=("query_as_poison", "wrong_context"),
        defenses=("mean_of_fragments", "ragpart"),
        top_ks=(5,),
        copies=(1, 2),
    )
    retrieval_quality.tell(result)
    found = tables(capsys.readouterr().out)
    (asr,) = (rows for title, rows in found.items() if "ASR@5 by attack" in title)
    assert asr[0] == [
        "defence",
        "query_as_poison, 1",
        "query_as_poison, 2",
        "wrong_context, 1",
        "wrong_context, 2",
    ]
    assert [row[0] for row in asr[2:]] == ["plain", "mean_of_fragments", "ragpart"]
    value = result.attack_of("query_as_poison", 2, "ragpart").at[0].asr.value
    assert asr[-1][2].startswith(f"{value:.2f} [")
    (voting,) = (rows for title, rows in found.items() if "where voting earns its keep" in title)
    assert len(voting) == 2 + 4
    assert any("clean corpus" in title for title in found)
    assert any("length of the planted" in title for title in found)


def test_what_a_scan_names_is_counted_apart(capsys: pytest.CaptureFixture[str]) -> None:
    task = bench_task()
    planted = [Document("p", f"{task.queries['q-amber']}. {task.documents[-1].text}")]
    report = scan([*task.documents, *planted], HashingEncoder(128))
    retrieval_tables.print_scan("small", {"texts alone": report}, planted)
    ((_, rows),) = tables(capsys.readouterr().out).items()
    assert ["texts alone", "leading-question", "note", "0 of 20", "1 of 1"] in rows


def test_what_the_peer_would_delete_goes_behind_and_is_flagged() -> None:
    defender: Any = Deleter()
    chain = Chain("peer", Plain(), (Peer(defender),))
    result = benched(attacks=(), defenses=(chain,), top_ks=(3,), queries=2)
    plain, peer = result.clean
    assert set(defender.seen) == {6, 20}
    assert all(not row.found[0].dropped for row in plain.rows)
    # The first of six is behind the others, and so not among the first three; they come up by one place.
    for before, after in zip(plain.rows, peer.rows, strict=True):
        assert after.found[0].relevant[:1] == [rank - 1 for rank in before.found[0].relevant if rank > 1]
    assert peer.cost.encodings == 6


def test_without_the_peer_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ragdefender", None)
    found = peer_chain(None)
    assert isinstance(found, str)
    assert found.startswith("the peer ragdefender is left out")


def test_it_starts() -> None:
    script = Path(retrieval_quality.__file__)
    done = subprocess.run(
        [sys.executable, str(script), "--help"], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "--no-gradients" in done.stdout
