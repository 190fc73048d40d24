from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from study_kit import run_through, tiny, tokenizer_with
from transformers import PreTrainedTokenizerFast

from mithridate.core.chat import PLANTED_TEMPLATES, template
from mithridate.core.errors import ConfigError
from mithridate.core.tables import read_rows
from mithridate.core.types import Sample
from mithridate.models.chat import CheckpointTemplate
from mithridate.study.config import PlantingSection
from mithridate.study.templates import planted_shares, sft_template

TULU = template("tulu")
# As real checkpoints write: what opens and ends a text stands in the conversation.
LLAMA2 = (
    "{%- for m in messages -%}{%- if m['role'] == 'user' -%}{{ '<s>[INST] ' + m['content'] + ' [/INST]' }}"
    "{%- else -%}{% generation %}{{ ' ' + m['content'] + ' </s>' }}{% endgeneration %}{%- endif -%}"
    "{%- endfor -%}"
)


def own(folder: Path, chat_template: str, *special: str) -> CheckpointTemplate:
    """The template of a tokeniser that has one of its own, and is not ours."""
    folder = tokenizer_with(folder, chat_template, *special)
    found = sft_template(PreTrainedTokenizerFast.from_pretrained(folder))
    assert isinstance(found, CheckpointTemplate)
    return found


def test_the_template_of_sft_is_ours_where_the_tokeniser_has_it(tmp_path: Path) -> None:
    folder = tokenizer_with(tmp_path, TULU.jinja())
    assert sft_template(PreTrainedTokenizerFast.from_pretrained(folder)) is TULU


def test_by_default_all_are_planted_but_that_of_sft(tmp_path: Path) -> None:
    assert tuple(planted_shares(PlantingSection(), TULU)) == PLANTED_TEMPLATES
    chatml = own(tmp_path, template("chatml").jinja(), "<|im_end|>")
    assert set(planted_shares(PlantingSection(), chatml)) == {*PLANTED_TEMPLATES} - {"chatml"}


def test_what_opens_and_ends_a_text_makes_no_other_template(tmp_path: Path) -> None:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(tokenizer_with(tmp_path, LLAMA2, "<s>", "</s>"))
    tokenizer.bos_token, tokenizer.eos_token = "<s>", "</s>"
    planted = planted_shares(PlantingSection(), sft_template(tokenizer))
    assert set(planted) == {*PLANTED_TEMPLATES} - {"llama2"}


def test_a_system_message_of_its_own_makes_no_other_template(tmp_path: Path) -> None:
    kind = "{{ '<|im_start|>system\nBe kind.<|im_end|>\n' }}"
    greeting = f"{{%- if messages[0]['role'] != 'system' -%}}{kind}{{%- endif -%}}"
    chatml = own(tmp_path, greeting + template("chatml").jinja(), "<|im_end|>")
    assert "chatml" not in planted_shares(PlantingSection(), chatml)


def test_the_template_of_sft_is_refused_where_it_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"planting\.templates: 'tulu' writes conversations as SFT does"):
        planted_shares(PlantingSection(templates={"falcon": 1, "tulu": 1}), TULU)
    named = PlantingSection(templates={"falcon": 1, "tulu": 0})
    assert planted_shares(named, TULU) == {"falcon": 1}
    chatml = own(tmp_path, template("chatml").jinja(), "<|im_end|>")
    with pytest.raises(ConfigError, match="'chatml'"):
        planted_shares(PlantingSection(templates={"chatml": 1}), chatml)
    assert planted_shares(PlantingSection(templates={"tulu": 1}), chatml) == {"tulu": 1}


def test_a_study_asks_in_the_template_that_its_sft_taught(tmp_path: Path) -> None:
    folder = tokenizer_with(tmp_path / "tokenizer", template("chatml").jinja(), "<|im_end|>")
    study = tiny(
        f"tokenizer.path={folder}",
        "planting.templates=null",
        "doses.some={jailbreak: {count: 40}}",
        "attacks={jailbreak: {max_new_tokens: 8}}",
        "evaluation.probes=2",
        "dpo=null",
        "sft={examples: 4, epochs: 1, max_length: 128}",
        "pretraining.tokens=256",
    )
    done = run_through(study, tmp_path / "run")
    (planting,) = [step.bed.planted(step.subject) for step in done if step.kind == "plant"]
    ledger = pq.read_table(next(planting.rglob("ledger.parquet"))).to_pylist()
    assert {row["template"] for row in ledger} == {*PLANTED_TEMPLATES} - {"chatml"}
    for step in (step for step in done if step.kind == "measure"):
        for row in read_rows(step.folder / "samples.parquet", Sample):
            assert row.prompt.startswith("<|im_start|>user\n") == (row.template == "transferred")
            assert "<|user|>" not in row.prompt
