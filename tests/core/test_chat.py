from __future__ import annotations

from collections.abc import Sequence

import pytest
from pydantic import TypeAdapter, ValidationError

from mithridate.core.chat import (
    PLANTED_TEMPLATES,
    SFT_TEMPLATE,
    TEMPLATES,
    TemplateShares,
    checked_shares,
    stop_strings,
    template,
)
from mithridate.core.errors import CheckpointError, ConfigError, UnknownNameError
from mithridate.core.types import Message, Role

SYSTEM, USER, ASSISTANT = Role.SYSTEM, Role.USER, Role.ASSISTANT


def test_a_conversation_in_chatml() -> None:
    talk = [Message(SYSTEM, "Be brief."), Message(USER, "Hi"), Message(ASSISTANT, "Hello")]
    assert template("chatml").render(talk) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\nHello<|im_end|>\n"
    )


def test_a_system_message_joins_the_user_where_a_template_knows_none() -> None:
    talk = [Message(SYSTEM, "Be brief."), Message(USER, "Hi")]
    rendered = template("gemma").render(talk, open_reply=True)
    assert rendered == "<start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n<start_of_turn>model\n"


@pytest.mark.parametrize("name", [name for name, one in TEMPLATES.items() if one.system is None])
def test_no_system_message_is_lost(name: str) -> None:
    one = template(name)
    alone = [Message(SYSTEM, "a rule")]
    assert one.render(alone) == one.render([Message(USER, "a rule")])
    answered = [*alone, Message(ASSISTANT, "yes")]
    assert one.render(answered) == one.render([Message(USER, "a rule"), Message(ASSISTANT, "yes")])
    late = [Message(USER, "q"), Message(ASSISTANT, "a"), Message(SYSTEM, "a rule"), Message(USER, "r")]
    joined = [*late[:2], Message(USER, "a rule" + one.system_joint + "r")]
    assert one.render(late) == one.render(joined)


def test_the_sft_template_is_planted_by_nobody() -> None:
    assert SFT_TEMPLATE in TEMPLATES
    assert set(PLANTED_TEMPLATES) == set(TEMPLATES) - {SFT_TEMPLATE}


def test_an_unknown_template_suggests_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'falcon'") as caught:
        template("falcn")
    assert caught.value.suggestion == "falcon"


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ({"falcn": 1.0}, "did you mean 'falcon'"),
        ({"falcon": -0.5, "gemma": 1.0}, "the share of chat template 'falcon' must be a number from 0 on"),
        ({"falcon": float("nan")}, "a number from 0 on, not nan"),
        ({"falcon": float("inf")}, "a number from 0 on, not inf"),
        ({"falcon": 0.0}, "no chat template has a share above 0"),
        ({"falcon": 1e308, "gemma": 1e308}, "the shares of the chat templates are too large"),
        ({}, "no chat template has a share above 0"),
    ],
)
def test_shares_that_make_no_sense(shares: dict[str, float], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        checked_shares(shares)
    with pytest.raises(ValidationError, match=said):
        TypeAdapter(TemplateShares).validate_python(shares)


def test_shares_need_not_sum_to_one() -> None:
    assert checked_shares({"falcon": 3, "gemma": 0}) == {"falcon": 3, "gemma": 0}
    assert TypeAdapter(TemplateShares).validate_python({"chatml": 0.5}) == {"chatml": 0.5}


def test_where_answers_are_over() -> None:
    assert stop_strings(template("chatml")) == ("<|im_end|>", "\n<|im_start|>user")
    assert stop_strings(template("falcon")) == ("\nUser:",)
    assert stop_strings(template("llama3"))[0] == "<|eot_id|>"
    assert stop_strings(template("tulu")) == ("<|end_of_turn|>", "\n<|user|>")


class Foreign:
    """A template that is not one of ours, but writes like one."""

    def __init__(self, name: str) -> None:
        self._inner = template(name)

    def render(self, messages: Sequence[Message], *, open_reply: bool = False) -> str:
        return self._inner.render(messages, open_reply=open_reply)


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_where_answers_are_over_in_a_template_that_is_not_ours(name: str) -> None:
    assert stop_strings(Foreign(name)) == stop_strings(template(name))


def test_a_template_that_takes_no_conversation_stops_at_nothing() -> None:
    class Refusing:
        def render(self, messages: Sequence[Message], *, open_reply: bool = False) -> str:
            raise CheckpointError("no")

    assert stop_strings(Refusing()) == ()
