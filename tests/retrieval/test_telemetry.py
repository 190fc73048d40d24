from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from adapter_kit import ENCODER, QUESTION, TEXTS, documents, guard, index
from openinference.semconv.trace import (
    DocumentAttributes,
    OpenInferenceSpanKindValues,
    RerankerAttributes,
    SpanAttributes,
)
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from stores_kit import DictStore

from mithridate.core.errors import EncoderError, QueryError, StoreUnavailableError
from mithridate.core.types import Document
from mithridate.retrieval import telemetry
from mithridate.retrieval.base import TextRole
from mithridate.retrieval.controls import Plain
from mithridate.retrieval.encoders import HashingEncoder
from mithridate.retrieval.guard import Guard
from mithridate.retrieval.index import GuardedIndex
from mithridate.retrieval.stores import StoreIndex

KIND = SpanAttributes.OPENINFERENCE_SPAN_KIND
GIVEN = list(TEXTS.values())


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """What is exported. The provider is set as an application sets it, and put back afterwards."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    monkeypatch.delenv(telemetry.TEXTS_VARIABLE, raising=False)
    yield exporter
    provider.shutdown()


def by_name(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    finished = exporter.get_finished_spans()
    assert len({span.name for span in finished}) == len(finished)
    return {span.name: span for span in finished}


def told(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def parent(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None


def kinds(exporter: InMemorySpanExporter) -> dict[str, Any]:
    return {name: told(span)[KIND] for name, span in by_name(exporter).items()}


def test_a_search_is_a_tree_of_spans_in_the_names_of_openinference(spans: InMemorySpanExporter) -> None:
    index().search(QUESTION, 2)
    assert kinds(spans) == {
        "encode queries": OpenInferenceSpanKindValues.EMBEDDING.value,
        "GuardedIndex.search": OpenInferenceSpanKindValues.RETRIEVER.value,
        "Guard.rerank": OpenInferenceSpanKindValues.GUARDRAIL.value,
        "ragmask": OpenInferenceSpanKindValues.RERANKER.value,
        "consensus": OpenInferenceSpanKindValues.RERANKER.value,
    }
    found = by_name(spans)
    ids = {span.context.span_id: name for name, span in found.items() if span.context}
    assert {name: ids.get(parent(span) or 0) for name, span in found.items()} == {
        "encode queries": None,
        "GuardedIndex.search": None,
        "Guard.rerank": "GuardedIndex.search",
        "ragmask": "Guard.rerank",
        "consensus": "Guard.rerank",
    }


def test_spans_tell_documents_scores_and_reasons(spans: InMemorySpanExporter) -> None:
    answer = index("drop").search(QUESTION, 2)
    found = by_name(spans)
    searched, guarded, masked = (
        told(found[name]) for name in ("GuardedIndex.search", "Guard.rerank", "ragmask")
    )
    first = f"{SpanAttributes.RETRIEVAL_DOCUMENTS}.0"
    assert searched[f"{first}.{DocumentAttributes.DOCUMENT_ID}"] == answer.hits[0].document.id
    assert searched[f"{first}.{DocumentAttributes.DOCUMENT_SCORE}"] == answer.hits[0].score
    reasons = json.loads(searched[f"{first}.{DocumentAttributes.DOCUMENT_METADATA}"])["mithridate"]
    assert [one["defense"] for one in reasons] == ["ragmask", "consensus"]
    assert reasons[0]["says"] == answer.hits[0].reasons[0].says
    assert (searched["mithridate.retriever"], searched["mithridate.top_k"]) == ("plain", 2)
    assert guarded["mithridate.mode"] == "drop"
    assert guarded["mithridate.defenses"] == ("ragmask", "consensus")
    assert guarded["mithridate.removed"] == ("planted",)
    assert guarded["mithridate.suspicious"] == ()
    assert guarded["mithridate.encodings"] == answer.encodings > 0
    assert masked[RerankerAttributes.RERANKER_MODEL_NAME] == "ragmask"
    assert masked[RerankerAttributes.RERANKER_TOP_K] == 2
    before = f"{RerankerAttributes.RERANKER_INPUT_DOCUMENTS}.0.{DocumentAttributes.DOCUMENT_ID}"
    after = f"{RerankerAttributes.RERANKER_OUTPUT_DOCUMENTS}.0.{DocumentAttributes.DOCUMENT_ID}"
    assert (masked[before], masked[after]) == ("planted", "history")
    model = told(found["encode queries"])[SpanAttributes.EMBEDDING_MODEL_NAME]
    assert model == ENCODER.identity


def test_no_text_is_told_unless_it_is_asked_for(
    spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def search() -> str:
        spans.clear()
        index().search([QUESTION, "pears"], 2)
        guard().rerank(QUESTION, GIVEN, 2)
        return json.dumps([told(span) for span in spans.get_finished_spans()])

    texts = [QUESTION, "pears", *TEXTS.values()]
    said = search()
    assert not [text for text in texts if text in said]
    monkeypatch.setenv(telemetry.TEXTS_VARIABLE, "0")
    assert QUESTION not in search()
    monkeypatch.setenv(telemetry.TEXTS_VARIABLE, "1")
    said = search()
    assert not [text for text in texts if text not in said]
    everything = {key: value for span in spans.get_finished_spans() for key, value in told(span).items()}
    assert everything[SpanAttributes.INPUT_VALUE] == QUESTION
    assert everything[RerankerAttributes.RERANKER_QUERY] == QUESTION
    assert everything["embedding.embeddings.0.embedding.text"] == QUESTION
    content = f"{RerankerAttributes.RERANKER_OUTPUT_DOCUMENTS}.0.{DocumentAttributes.DOCUMENT_CONTENT}"
    assert everything[content] in TEXTS.values()


def test_each_query_of_a_batch_has_a_span(spans: InMemorySpanExporter) -> None:
    index().search([QUESTION, "pears", "glacier"], 2)
    names = [span.name for span in spans.get_finished_spans()]
    assert names.count("GuardedIndex.search") == names.count("Guard.rerank") == 3
    assert names.count("encode queries") == 1
    (encoded,) = (span for span in spans.get_finished_spans() if span.name == "encode queries")
    assert told(encoded)["mithridate.texts"] == 3


def test_a_store_index_is_told_of_as_well_and_so_is_an_undefended_answer(spans: InMemorySpanExporter) -> None:
    store = DictStore()
    held = StoreIndex(store, ENCODER, retriever=Plain(), fail_open=True)
    held.add(documents())
    held.search(QUESTION, 1)
    store.down.add("vectors")
    held.search(QUESTION, 1)
    first, second = (told(s) for s in spans.get_finished_spans() if s.name == "StoreIndex.search")
    assert first[KIND] == "RETRIEVER"
    assert first["mithridate.warnings"] == ()
    assert "undefended answer" in second["mithridate.warnings"][0]
    assert second["retrieval.documents.0.document.id"] == "planted"


def test_an_error_is_told_and_goes_on(spans: InMemorySpanExporter) -> None:
    store = DictStore()
    held = StoreIndex(store, ENCODER, retriever=Plain())
    held.add(documents())
    store.down.add("nearest")
    with pytest.raises(StoreUnavailableError):
        held.search(QUESTION)
    span = by_name(spans)["StoreIndex.search"]
    assert span.status.status_code is trace.StatusCode.ERROR
    assert span.status.description == "StoreUnavailableError"
    with pytest.raises(QueryError):
        guard().rerank("", GIVEN, 1)


class Nan(HashingEncoder):
    """Makes no vector of some texts, and quotes them when it says so."""

    def encode(self, texts: Sequence[str], *, role: TextRole = TextRole.DOCUMENT) -> Any:
        for text in texts:
            if "secret" in text:
                raise EncoderError(f"vector of {text!r} is not finite")
        return super().encode(texts, role=role)


@pytest.mark.parametrize(
    ("query", "text"), [("secret \ud800 of john", "a river"), ("a river", "secret of john")]
)
def test_errors_tell_no_text_unless_it_is_asked_for(
    spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch, query: str, text: str
) -> None:
    def search() -> list[str]:
        spans.clear()
        with pytest.raises(EncoderError, match="secret"):
            Guard([], Nan()).rerank(query, [text], 1)
        failed = [s for s in spans.get_finished_spans() if s.status.status_code is trace.StatusCode.ERROR]
        assert "Guard.rerank" in {span.name for span in failed}
        said = [span.to_json() for span in failed]
        for span in failed:
            for told in [
                span.status.description,
                *(v for e in span.events for v in (e.attributes or {}).values()),
            ]:
                str(told).encode()
        return said

    assert not [said for said in search() if "secret" in said or "EncoderError" not in said]
    monkeypatch.setenv(telemetry.TEXTS_VARIABLE, "1")
    assert all('"exception.message": "vector of' in said and "secret" in said for said in search())


class Broken(SpanProcessor):
    """Fails where it is told to."""

    def __init__(self, where: str) -> None:
        self.where = where

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        if self.where == "start":
            raise RuntimeError("the tracer is down")
        if self.where == "attributes":
            span.set_attributes = self.fail

    def on_end(self, span: ReadableSpan) -> None:
        if self.where == "end":
            raise RuntimeError("the tracer is down")

    def fail(self, *args: Any) -> None:
        raise RuntimeError("the tracer is down")


@pytest.mark.parametrize("where", ["start", "attributes", "end"])
def test_tracing_that_fails_is_logged_once_and_the_search_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    provider = TracerProvider()
    provider.add_span_processor(Broken(where))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    telemetry._say_once.cache_clear()
    store = DictStore()
    held = StoreIndex(store, ENCODER, retriever=Plain())
    held.add(documents())
    with caplog.at_level(logging.WARNING, "mithridate.retrieval"):
        for _ in range(2):
            assert len(index().search(QUESTION, 2).hits) == len(held.search(QUESTION, 2).hits) == 2
        store.down.add("nearest")
        with pytest.raises(StoreUnavailableError, match="is gone") as caught:
            held.search(QUESTION, 2)
    assert caught.value.__cause__ is caught.value.__context__ is None
    assert [
        record.getMessage().split(";")[0] for record in caplog.records if "tracing" in record.message
    ] == [
        f"tracing: {step} failed with RuntimeError"
        for step in {"start": ["starting a span"], "end": ["ending a span"]}.get(where, ["filling a span"])
    ]
    assert not trace.get_current_span().get_span_context().is_valid


def test_long_answers_lose_documents_and_never_what_kind_they_are(
    spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(telemetry.TEXTS_VARIABLE, "1")
    many = [Document(f"d{i}", f"river stone number{i} at the harbour") for i in range(90)]
    rerankers = guard().rerankers
    GuardedIndex.build(many, ENCODER, retriever=Plain(), rerankers=rerankers).search("river", 40)
    for span in spans.get_finished_spans():
        assert KIND in told(span)
        assert span.dropped_attributes == 0
    last = telemetry.MOST_DOCUMENTS - 1
    masked = told(by_name(spans)["ragmask"])
    assert f"reranker.output_documents.{last}.document.id" in masked
    assert f"reranker.output_documents.{last + 1}.document.id" not in masked


def test_halves_of_characters_do_not_reach_an_exporter(
    spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(telemetry.TEXTS_VARIABLE, "1")
    held = GuardedIndex.build([Document("a\ud800", "river \udfff")], ENCODER, retriever=Plain())
    held.search("river \ud800")
    for span in spans.get_finished_spans():
        for key, value in told(span).items():
            for text in (key, *(value if isinstance(value, tuple) else (value,))):
                str(text).encode()


def test_a_span_of_the_caller_is_the_parent(spans: InMemorySpanExporter) -> None:
    with trace.get_tracer("test").start_as_current_span("request") as request:
        guard().rerank(QUESTION, GIVEN, 2)
    assert parent(by_name(spans)["Guard.rerank"]) == request.get_span_context().span_id


def test_nothing_is_made_where_nothing_records(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **options: Any) -> None:
        raise AssertionError("attributes were made for nobody")

    monkeypatch.setattr(telemetry, "_documents", fail)
    monkeypatch.setattr(telemetry, "_outcome", fail)
    assert len(index().search(QUESTION, 2).hits) == 2


def test_without_opentelemetry_all_works_and_nothing_is_made(
    spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    telemetry._opentelemetry.cache_clear()
    try:
        answer = Guard([], ENCODER).rerank(QUESTION, GIVEN, 2)
    finally:
        telemetry._opentelemetry.cache_clear()
    assert len(answer.hits) == 2
    assert spans.get_finished_spans() == ()
