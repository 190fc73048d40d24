"""OpenTelemetry spans of searches, guards and rerankers, in the names of OpenInference.

Without opentelemetry, or where nothing records, nothing is made. Spans hold identifiers, scores and reasons;
the texts of queries and documents only if the environment variable MITHRIDATE_TRACE_TEXTS is 1. So it is with
the messages of errors, which may quote them.
"""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Final, TypeAlias

from mithridate import __version__
from mithridate.retrieval.base import Hit
from mithridate.retrieval.encoders.texts import readable

if TYPE_CHECKING:
    from opentelemetry.trace import Span
    from opentelemetry.util.types import AttributeValue

    from mithridate.retrieval.guard import Answer

    Attributes: TypeAlias = dict[str, AttributeValue]

TEXTS_VARIABLE: Final = "MITHRIDATE_TRACE_TEXTS"
"""The environment variable that lets texts into spans, read at every span."""

MOST_DOCUMENTS: Final = 16
"""How many documents of a list a span holds, best first.

A span keeps 128 attributes unless it is told otherwise, and drops its oldest to make room for more.
"""


@contextmanager
def searching(where: str, retriever: str, query: str, top_k: int) -> Iterator[Callable[[Answer], None]]:
    """A RETRIEVER span of one query to an index; what it yields is to be told the answer."""
    with _span(where, "RETRIEVER") as span:

        def tell(answer: Answer) -> None:
            if span is not None:
                about: Attributes = {"mithridate.retriever": retriever, "mithridate.top_k": top_k}
                documents = _documents("retrieval.documents", answer.hits)
                span.set_attributes(about | _text("input.value", query) | _outcome(answer) | documents)

        yield tell


@contextmanager
def guarding(
    defenses: Sequence[str], mode: str, query: str, top_k: int
) -> Iterator[Callable[[Answer], None]]:
    """A GUARDRAIL span of one answer; what it yields is to be told that answer."""
    with _span("Guard.rerank", "GUARDRAIL") as span:

        def tell(answer: Answer) -> None:
            if span is not None:
                about: Attributes = {
                    "mithridate.mode": mode,
                    "mithridate.defenses": list(defenses),
                    "mithridate.top_k": top_k,
                    "mithridate.encodings": answer.encodings,
                }
                span.set_attributes(about | _text("input.value", query) | _outcome(answer))

        yield tell


@contextmanager
def reranking(
    defense: str, query: str, hits: Sequence[Hit], top_k: int
) -> Iterator[Callable[[Sequence[Hit]], None]]:
    """A RERANKER span of one defence over `hits`; what it yields is to be told its order of them."""
    with _span(defense, "RERANKER") as span:

        def tell(ranked: Sequence[Hit]) -> None:
            if span is not None:
                about: Attributes = {"reranker.model_name": defense, "reranker.top_k": top_k}
                given = _documents("reranker.input_documents", hits, found=False)
                made = _documents("reranker.output_documents", ranked)
                span.set_attributes(about | _text("reranker.query", query) | given | made)

        yield tell


@contextmanager
def encoding(encoder: str, texts: Sequence[str]) -> Iterator[None]:
    """An EMBEDDING span of queries on their way in."""
    with _span("encode queries", "EMBEDDING") as span:
        if span is not None:
            span.set_attributes({"embedding.model_name": readable(encoder), "mithridate.texts": len(texts)})
            for n, text in enumerate(texts[:MOST_DOCUMENTS]):
                span.set_attributes(_text(f"embedding.embeddings.{n}.embedding.text", text))
        yield


@contextmanager
def _span(name: str, kind: str) -> Iterator[Span | None]:
    """A span within the current one; None where nobody would see it."""
    trace = _opentelemetry()
    if trace is None:
        yield None
        return
    tracer = trace.get_tracer("mithridate.retrieval", __version__)
    with tracer.start_as_current_span(
        name,
        attributes={"openinference.span.kind": kind},
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        try:
            yield span if span.is_recording() else None
        except BaseException as error:
            _failed(span, error)
            raise


def _failed(span: Span, error: BaseException) -> None:
    """Mark the span; the error's message and trace may quote texts, and are kept back as those are."""
    if not span.is_recording():
        return
    from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415 - an optional package

    kind = type(error).__name__
    if not _texts():
        span.set_status(Status(StatusCode.ERROR, kind))
        return
    span.set_status(Status(StatusCode.ERROR, readable(f"{kind}: {error}")))
    stack = "".join(traceback.format_exception(error))
    told = {"exception.message": readable(str(error)), "exception.stacktrace": readable(stack)}
    span.record_exception(error, told)


@cache
def _opentelemetry() -> ModuleType | None:
    try:
        from opentelemetry import trace  # noqa: PLC0415 - an optional package
    except ImportError:
        return None
    return trace


def _outcome(answer: Answer) -> Attributes:
    """Which hits look planted, which were left out, and what the answer warns of."""
    return {
        "mithridate.suspicious": [readable(hit.document.id) for hit in answer.hits if hit.suspicious],
        "mithridate.removed": [readable(hit.document.id) for hit in answer.removed],
        "mithridate.warnings": [readable(warning) for warning in answer.warnings],
    }


def _documents(prefix: str, hits: Sequence[Hit], *, found: bool = True) -> Attributes:
    """The first documents with their scores and, if they are to be told, what was found and the texts."""
    told: Attributes = {}
    for n, hit in enumerate(hits[:MOST_DOCUMENTS]):
        about = f"{prefix}.{n}.document"
        told |= {f"{about}.id": readable(hit.document.id), f"{about}.score": hit.score}
        if found:
            reasons = [
                {"defense": one.defense, "suspicious": one.suspicious, "says": one.says}
                for one in hit.reasons
            ]
            told[f"{about}.metadata"] = json.dumps({"mithridate": reasons})
            told |= _text(f"{about}.content", hit.document.text)
    return told


def _text(key: str, text: str) -> Attributes:
    """The attribute, if texts are asked for."""
    return {key: readable(text)} if _texts() else {}


def _texts() -> bool:
    return os.environ.get(TEXTS_VARIABLE) == "1"
