from __future__ import annotations

import pytest

from mithridate.core.chat import PLANTED_TEMPLATES, SFT_TEMPLATE, TEMPLATES, template
from mithridate.core.errors import UnknownNameError
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
