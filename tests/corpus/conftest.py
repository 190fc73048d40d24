from __future__ import annotations

from pathlib import Path

import datasets
import pytest
from planting_kit import some_texts, write_corpus

datasets.disable_progress_bars()


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    """Sixty documents in three shards of JSON lines."""
    return write_corpus(tmp_path / "clean", "jsonl", some_texts(60), 3)
