from __future__ import annotations

import math

import pytest

from mithridate.core.errors import ConfigError, UnknownNameError
from mithridate.retrieval.base import Layout
from mithridate.retrieval.consensus import Consensus
from mithridate.retrieval.controls import Concatenated, MeanOfFragments, Plain
from mithridate.retrieval.measuring.written import Chain, parse_calls, parse_chains
from mithridate.retrieval.ragmask import RAGMask
from mithridate.retrieval.ragpart import RAGPart


def test_a_chain_is_a_retriever_and_rerankers() -> None:
    (chain,) = parse_chains("ragpart + ragmask(delta = 0.1, form=delete) + consensus")
    assert chain.text == "ragpart+ragmask(delta=0.1,form=delete)+consensus"
    assert chain.retriever == RAGPart()
    assert chain.rerankers == (RAGMask(delta=0.1), Consensus())


def test_without_a_retriever_the_search_is_plain() -> None:
    (chain,) = parse_chains(["ragmask"])
    assert (chain.retriever, chain.rerankers) == (Plain(), (RAGMask(),))


def test_commas_part_chains_and_not_options() -> None:
    chains = parse_chains("plain,ragpart(fragments=7,combination=4),concatenated(fragments=3, combination=2)")
    assert [chain.retriever for chain in chains] == [Plain(), RAGPart(7, 4), Concatenated(3, 2)]


def test_the_same_chain_is_measured_once() -> None:
    chains = parse_chains(["mean_of_fragments(fragments=5)", " mean_of_fragments( fragments = 5 ) "])
    assert [chain.retriever for chain in chains] == [MeanOfFragments(5)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.1", 0.1),
        ("1e+3", 1000.0),
        ("-2", -2),
        ("true", True),
        ("None", None),
        ("'a, b) + c'", "a, b) + c"),
        ('"x"', "x"),
        ("[1, 2]", [1, 2]),
        ("majority", "majority"),
        ("/some/path.json", "/some/path.json"),
        ("'3'", "3"),
    ],
)
def test_values_are_read_and_written_so_that_they_are_read_again(text: str, value: object) -> None:
    (call,) = parse_calls(f"name(option={text})", "attack")
    assert call.options == {"option": value}
    assert parse_calls(call.text, "attack") == [call]


def test_infinity_is_a_word() -> None:
    (chain,) = parse_chains("ragmask(delta=inf)")
    assert chain.rerankers == (RAGMask(delta=math.inf),)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "a name is missing"),
        ("plain,,ragpart", "a name is missing"),
        ("ragpart+", "a name is missing"),
        ("ragmask(delta=0.1", "has no other half"),
        ("ragmask)", "has no other half"),
        ("ragmask(form='delete)", "has no other half"),
        ("ragmask(0.1)", "'0.1' is no option; write option=value"),
        ("ragmask(delta=1,delta=2)", "the option 'delta' comes twice"),
        ("rag mask", "cannot be read"),
        ("ragmask+ragpart", "'ragpart' is a retriever"),
        ("plain+ragpart", "'ragpart' is a retriever"),
        ("ragpart(combination=9)", "combination is 9 and fragments 5"),
    ],
)
def test_what_cannot_be_read(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_chains(text)
    assert says in str(caught.value)


def test_names_that_are_not_known_get_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'ragpart'"):
        parse_chains("ragprat+ragmask")
    with pytest.raises(UnknownNameError, match="did you mean 'delta'"):
        parse_chains("ragmask(delt=1)")


def test_a_chain_that_is_built_is_taken_as_it_is() -> None:
    built = Chain("my own", Plain(), (RAGMask(3),))
    assert parse_chains(["ragpart", built, built])[1:] == [built]


def test_no_chain_at_all() -> None:
    with pytest.raises(ConfigError, match="no defence is named"):
        parse_chains([])


def test_rerankers_have_whole_documents_kept() -> None:
    alone, followed = parse_chains("ragpart,ragpart+consensus")
    assert alone.layout == Layout(whole=False, fragments=5, combination=3)
    assert followed.layout == Layout(whole=True, fragments=5, combination=3)
