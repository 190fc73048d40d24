"""OpenTelemetry spans of searches, guards and rerankers, in the names of OpenInference.

Without opentelemetry, or where nothing records, nothing is made. Spans hold identifiers, scores and reasons;
the texts of queries and documents only if the environment variable MITHRIDATE_TRACE_TEXTS is 1. So it is with
the messages of errors, which may quote them. Tracing that fails is logged, and what it was to trace goes on.
"""

from __future__ import annotations

import json
import logging
import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from mithridate import __version__
from mithridate.retrieval.base import Hit
from mithridate.retrieval.encoders.texts import readable

if TYPE_CHECKING:
    from opentelemetry.trace import Span
    from opentelemetry.util.types import AttributeValue

    from mithridate.retrieval.guard import Answer

    Attributes: TypeAlias = dict[str, AttributeValue]
    Note: TypeAlias = Callable[[Callable[[], Attributes]], None]

_log = logging.getLogger("mithridate.retrieval")

TEXTS_VARIABLE: Final = "MITHRIDATE_TRACE_TEXTS"
"""The environment variable that lets texts into spans, read at every span."""

MOST_DOCUMENTS: Final = 16
"""How many documents of a list a span holds, best first.

A span keeps 128 attributes unless it is told otherwise, and drops its oldest to make room for more.
"""


@contextmanager
def searching(where: str, retriever: str, query: str, top_k: int) -> Iterator[Callable[[Answer], None]]:
    """A RETRIEVER span of one query to an index; what it yields is to be told the answer."""
    with _span(where, "RETRIEVER") as note:

        def attributes(answer: Answer) -> Attributes:
            about: Attributes = {"mithridate.retriever": retriever, "mithridate.top_k": top_k}
            documents = _documents("retrieval.documents", answer.hits)
            return about | _text("input.value", query) | _outcome(answer) | documents

        yield lambda answer: note(lambda: attributes(answer))


@contextmanager
def guarding(
    defenses: Sequence[str], mode: str, query: str, top_k: int
) -> Iterator[Callable[[Answer], None]]:
    """A GUARDRAIL span of one answer; what it yields is to be told that answer."""
    with _span("Guard.rerank", "GUARDRAIL") as note:

        def attributes(answer: Answer) -> Attributes:
            about: Attributes = {
                "mithridate.mode": mode,
                "mithridate.defenses": list(defenses),
                "mithridate.top_k": top_k,
                "mithridate.encodings": answer.encodings,
            }
            return about | _text("input.value", query) | _outcome(answer)

        yield lambda answer: note(lambda: attributes(answer))


@contextmanager
def reranking(
    defense: str, query: str, hits: Sequence[Hit], top_k: int
) -> Iterator[Callable[[Sequence[Hit]], None]]:
    """A RERANKER span of one defence over `hits`; what it yields is to be told its order of them."""
    with _span(defense, "RERANKER") as note:

        def attributes(ranked: Sequence[Hit]) -> Attributes:
            about: Attributes = {"reranker.model_name": defense, "reranker.top_k": top_k}
            given = _documents("reranker.input_documents", hits, found=False)
            made = _documents("reranker.output_documents", ranked)
            return about | _text("reranker.query", query) | given | made

        yield lambda ranked: note(lambda: attributes(ranked))


@contextmanager
def encoding(encoder: str, texts: Sequence[str]) -> Iterator[None]:
    """An EMBEDDING span of queries on their way in."""
    with _span("encode queries", "EMBEDDING") as note:

        def attributes() -> Attributes:
            about: Attributes = {"embedding.model_name": readable(encoder), "mithridate.texts": len(texts)}
            for n, text in enumerate(texts[:MOST_DOCUMENTS]):
                about |= _text(f"embedding.embeddings.{n}.embedding.text", text)
            return about

        note(attributes)
        yield


@contextmanager
def _span(name: str, kind: str) -> Iterator[Note]:
    """A span within the current one; what it yields sets attributes, made only where somebody sees them."""
    span: Span | None = None
    token: Any = None
    with _quietly("starting a span"):
        if (modules := _opentelemetry()) is not None:
            trace, context = modules
            tracer = trace.get_tracer("mithridate.retrieval", __version__)
            span = tracer.start_span(name, attributes={"openinference.span.kind": kind})
            token = context.attach(trace.set_span_in_context(span))

    def note(make: Callable[[], Attributes]) -> None:
        if span is not None:
            with _quietly("filling a span"):
                if span.is_recording():
                    span.set_attributes(make())

    try:
        yield note
    except BaseException as error:
        if span is not None:
            with _quietly("telling of an error"):
                _failed(span, error)
        raise
    finally:
        if token is not None:
            with _quietly("leaving a span"):
                context.detach(token)
        if span is not None:
            with _quietly("ending a span"):
                span.end()


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


@contextmanager
def _quietly(step: str) -> Iterator[None]:
    """No failure of tracing, such as of a processor that the application set up, ends a search."""
    try:
        yield
    except Exception as error:
        _say_once(step, type(error).__name__)


@cache
def _say_once(step: str, kind: str) -> None:
    # Without the message, which may quote a text.
    _log.warning("tracing: %s failed with %s; searches go on without (said once)", step, kind)


@cache
def _opentelemetry() -> tuple[ModuleType, ModuleType] | None:
    try:
        from opentelemetry import context, trace  # noqa: PLC0415 - an optional package
    except ImportError:
        return None
    return trace, context


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
