"""What is written down of an index when it is built, and must be found again when it is opened."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mithridate.core.errors import ConfigError, EncoderError
from mithridate.retrieval.base import Encoder, Layout, Mode, Reranker, Retriever, Vectors
from mithridate.retrieval.defenses import spec
from mithridate.retrieval.manifest import Manifest, Settings, stored_layout

# A sentence whose vector is kept: plain encoders are known by the name of their class alone.
_PROBE = "Small, measured doses of poison make known what each does, and what undoes it."
_PROBE_COSINE = 0.98


def with_specs(settings: Settings, retriever: Retriever, rerankers: Sequence[Reranker]) -> Settings:
    """`settings` with these defences written down; ConfigError for one that cannot be."""
    specs = {"retriever": spec(retriever), "rerankers": [spec(reranker) for reranker in rerankers]}
    return settings.model_copy(update=specs)


def fresh_manifest(encoder: Encoder, layout: Layout, settings: Settings) -> Manifest:
    """The manifest of an index that has no rows yet; revision and folder are set when it is written."""
    return Manifest(
        revision=1,
        rows_folder="rows-000001",
        encoder=encoder.identity,
        dimension=encoder.dimension,
        probe=[round(float(number), 6) for number in _probe(encoder)],
        layout=stored_layout(layout),
        blocks=[],
        settings=settings,
    )


def _probe(encoder: Encoder) -> Vectors:
    (row,) = encoder.encode([_PROBE])
    return np.asarray(row)


def check_encoder(encoder: Encoder, manifest: Manifest, path: Path) -> None:
    """Raise EncoderError unless the index at `path` was built with `encoder`, by name and by its vectors."""
    if (encoder.identity, encoder.dimension) != (manifest.encoder, manifest.dimension):
        raise EncoderError(
            f"{path}: was built with the encoder {manifest.encoder!r} ({manifest.dimension} dimensions), not "
            f"with {encoder.identity!r} ({encoder.dimension}); open it with that one, or build another index"
        )
    likeness = float(np.asarray(manifest.probe) @ _probe(encoder))
    if not likeness >= _PROBE_COSINE:
        raise EncoderError(
            f"{path}: the encoder has the name {encoder.identity!r} of the one it was built with, but gives "
            f"other vectors (cosine {likeness:.2f} for the same text); open it with that one, or build anew"
        )


def check_layout(kept: Layout, retriever: Retriever, mode: Mode) -> None:
    """Raise ConfigError unless an index of the layout `kept` has what `retriever` needs in that mode."""
    wanted = retriever.layout
    lacks = []
    if (wanted.whole or mode is Mode.OBSERVE) and not kept.whole:
        lacks.append("vectors of whole documents")
    if wanted.fragments not in (0, kept.fragments):
        lacks.append(f"{wanted.fragments} fragments a document (it has {kept.fragments})")
    if wanted.concatenations and (not kept.concatenations or wanted.combination != kept.combination):
        lacks.append(f"vectors of {wanted.combination} rejoined fragments")
    if lacks:
        raise ConfigError(
            f"the index lacks {' and '.join(lacks)}, which retriever {retriever.name!r} in mode "
            f"{mode.value!r} needs; build it anew for that"
        )
