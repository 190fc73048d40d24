from __future__ import annotations

import json
from pathlib import Path

from bench_kit import bench_task

from mithridate.retrieval.encoders import HashingEncoder
from mithridate.retrieval.measuring.benchmark import run_benchmark
from mithridate.retrieval.measuring.digests import digests_of_files
from mithridate.retrieval.measuring.options import BenchOptions


def test_an_attack_reads_its_file_again_when_that_has_changed(tmp_path: Path) -> None:
    task, file = bench_task(2), tmp_path / "adv.json"
    options = BenchOptions(attacks=(f"poisonedrag(file={file})",), defenses=(), top_ks=(3,), timed_queries=1)
    shown = []
    for word in ("first", "second"):
        texts = {
            query: {"question": text, "adv_texts": [f"{word} {query}"]}
            for query, text in task.queries.items()
        }
        file.write_text(json.dumps(texts))
        result = run_benchmark(task, HashingEncoder(64), options, folder=tmp_path / "out")
        shown.append([example.text for example in result.attacks[0].examples])
    assert all("first q-" in text for text in shown[0])
    assert all("second q-" in text for text in shown[1])


def test_files_are_known_by_what_is_in_them(tmp_path: Path) -> None:
    file = tmp_path / "texts"
    file.write_text("one")
    options = {
        "file": str(file),
        "many": ["corpus", str(file)],
        "odd": "null \0",
        "long": "x" * 9999,
    }
    before = digests_of_files(options)
    assert list(before) == [str(file)]
    file.write_text("two")
    assert digests_of_files(options) != before
