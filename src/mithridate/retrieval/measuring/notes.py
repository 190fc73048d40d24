"""What is to be said of a benchmark besides its figures: what it ran on, and where they need care."""

from __future__ import annotations

import platform
import random
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from mithridate.retrieval.base import Layout
from mithridate.retrieval.crop_check import judge, long_enough
from mithridate.retrieval.filling import left_out
from mithridate.retrieval.measuring.corpus_vectors import CorpusVectors
from mithridate.retrieval.measuring.records import Versions

_PACKAGES = ("mithridate", "numpy", "scipy", "ir-measures", "torch", "transformers", "sentence-transformers")
_SAMPLE = 200
_SEED = 0


def versions() -> Versions:
    """The releases that are installed."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return Versions(python=platform.python_version(), packages=found)


def corpus_warnings(corpus: CorpusVectors, layouts: Sequence[Layout]) -> list[str]:
    """Blank documents, and fragments in which the encoder does not see their documents."""
    warnings = [left_out(corpus.left_out)] if corpus.left_out else []
    for n in sorted({layout.fragments for layout in layouts if layout.fragments > 1}):
        rows = [row for row, document in enumerate(corpus.documents) if long_enough(document.text, n)]
        chosen = sorted(random.Random(_SEED).sample(rows, min(_SAMPLE, len(rows))))
        whole = corpus.view(Layout()).whole[chosen]
        pieces = corpus.view(Layout(whole=False, fragments=n)).fragments[chosen]
        if found := judge(whole, pieces, corpus.encoder.identity).warning:
            warnings.append(found)
    return warnings
