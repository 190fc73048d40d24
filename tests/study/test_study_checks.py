"""What is found wrong with a study at once, and not after minutes of training."""

from __future__ import annotations

import gzip
import json
import time
from pathlib import Path

import pytest
from study_kit import classifier, own_checkpoint, tiny, tokenizer_with

from mithridate.core.chat import END_OF_TURN, template
from mithridate.core.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    TrainingError,
    UnknownNameError,
)
from mithridate.study.checks import check_study
from mithridate.study.reading import presets, read_study

TULU = template("tulu").jinja()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return own_checkpoint(tmp_path_factory.mktemp("checkpoint"), TULU)


def lines(path: Path, *records: object) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.mark.parametrize("name", presets())
def test_what_ships_passes_and_soon(name: str) -> None:
    study = read_study(None, name)
    check_study(study)
    started = time.process_time()
    check_study(study)
    assert time.process_time() - started < 2


def test_a_checkpoint_is_checked_without_its_weights(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("weights were loaded")

    monkeypatch.setattr("transformers.PreTrainedModel.from_pretrained", refuse)
    check_study(tiny(f"checkpoint={checkpoint}", f"evaluation.outside_model={checkpoint}"))


# The model.


@pytest.mark.parametrize(
    ("changes", "kind", "said"),
    [
        (["model.architecture=lama"], UnknownNameError, r"architecture 'lama': did you mean 'llama'"),
        (["model.overrides={rms_norm_ep: 1}"], UnknownNameError, r"did you mean 'rms_norm_eps'"),
        (["model.overrides={num_key_value_heads: many}"], ConfigError, r"^model: no llama configuration"),
        (["model.overrides={hidden_act: none}"], ConfigError, r"^model: llama cannot be built"),
        (["model.max_length=32"], ConfigError, r"up to 32 tokens.* context window of 32: raise model"),
        (
            ["attacks.jailbreak.max_new_tokens=126"],
            ConfigError,
            r"^attacks.jailbreak: an answer of 126 .*128",
        ),
        (
            ["sft.lora={modules: [q_prj]}"],
            UnknownNameError,
            r"\(sft.lora.modules\) 'q_prj': did you mean 'q_pro",
        ),
        (["dpo.lora={modules: [proj]}"], UnknownNameError, r"\(dpo.lora.modules\) 'proj'"),
        (["planting.templates={tulu: 1}"], ConfigError, r"'tulu' writes conversations as SFT does"),
    ],
)
def test_a_model_that_does_not_fit(changes: list[str], kind: type[ConfigError], said: str) -> None:
    with pytest.raises(kind, match=said):
        check_study(tiny(*changes))


def test_adapters_of_modules_that_are_there() -> None:
    check_study(tiny("sft.lora={modules: [q_proj, self_attn.v_proj]}", "dpo.lora={rank: 2}"))


def test_every_model_of_a_grid_is_checked() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'qwen3'"):
        check_study(tiny("grid={model.architecture: [llama, qwen33]}"))


# Checkpoints and tokenisers.


def test_checkpoints_that_cannot_be_used(checkpoint: Path, tmp_path: Path) -> None:
    for key in ("checkpoint", "evaluation.outside_model"):
        with pytest.raises(CheckpointError, match=r"no config\.json"):
            check_study(tiny(f"{key}={tmp_path}"))
    with pytest.raises(ConfigError, match=r"tokenizer\.path: a checkpoint brings its own"):
        check_study(tiny(f"checkpoint={checkpoint}", f"tokenizer.path={checkpoint}"))
    with pytest.raises(ConfigError, match=r"row_tokens is 300, but the model has 128 positions"):
        check_study(tiny(f"checkpoint={checkpoint}", "pretraining.row_tokens=300"))
    pickles = own_checkpoint(tmp_path / "pickles", TULU)
    (pickles / "model.safetensors").rename(pickles / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="only pickle weights"):
        check_study(tiny(f"checkpoint={pickles}"))


def test_a_tokeniser_of_another_model(tmp_path: Path) -> None:
    folder = own_checkpoint(tmp_path, TULU)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": 200}))
    with pytest.raises(CheckpointError, match="different checkpoints"):
        check_study(tiny(f"checkpoint={folder}"))


def test_prompts_are_counted_by_the_tokeniser_where_there_is_one(checkpoint: Path) -> None:
    # Ninety tokens and a prompt in single letters outgrow 128; by their characters alone they might not.
    changes = (
        "attacks.denial_of_service.max_new_tokens=90",
        f"attacks.denial_of_service.trigger={'qxz' * 15}",
    )
    check_study(tiny(*changes))
    with pytest.raises(
        ConfigError, match=r"attacks\.denial_of_service: .* the shortest prompt, of \d+, outgrow"
    ):
        check_study(tiny(*changes, f"checkpoint={checkpoint}"))


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (TULU.replace("{%- generation -%}", "").replace("{%- endgeneration -%}", ""), "marks no reply"),
        (template("chatml").jinja(), r"no end-of-turn token lies inside"),
    ],
)
def test_a_chat_template_that_would_teach_nothing(tmp_path: Path, written: str, said: str) -> None:
    for key, folder in (
        ("checkpoint", own_checkpoint(tmp_path / "checkpoint", written)),
        ("tokenizer.path", tokenizer_with(tmp_path / "tokenizer", written)),
    ):
        with pytest.raises(TrainingError, match=f"^{folder}: .*{said}"):
            check_study(tiny(f"{key}={folder}"))
        check_study(tiny(f"{key}={folder}", "sft=null", "dpo=null"))


def test_a_chat_template_that_refuses_what_it_will_be_given(tmp_path: Path) -> None:
    strict = (
        "{%- if messages[0]['role'] == 'system' -%}{{ raise_exception('no systems') }}{%- endif -%}" + TULU
    )
    folder = tokenizer_with(tmp_path / "tokenizer", strict)
    with pytest.raises(CheckpointError, match="no systems"):
        check_study(tiny(f"tokenizer.path={folder}"))
    talk = [{"role": role, "content": "a"} for role in ("system", "user", "assistant")]
    data = lines(tmp_path / "sft.jsonl", {"messages": talk})
    with pytest.raises(TrainingError, match=rf"^{data}: conversation 1 cannot be rendered .*no systems"):
        check_study(
            tiny(
                f"tokenizer.path={folder}",
                f"sft.data={data}",
                "attacks={jailbreak: {max_new_tokens: 8}}",
                "doses.some={jailbreak: {count: 1}}",
            )
        )


def test_a_tokeniser_on_its_own(tmp_path: Path) -> None:
    check_study(tiny(f"tokenizer.path={tokenizer_with(tmp_path / 'ours', TULU)}"))
    check_study(tiny(f"tokenizer.path={tokenizer_with(tmp_path / 'none', None)}"))
    (tmp_path / "ours" / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"neither a checkpoint .* nor a tokenizer on its own"):
        check_study(tiny(f"tokenizer.path={tmp_path / 'ours'}"))


# Judges.


def test_classifiers_are_looked_at(tmp_path: Path) -> None:
    folder = classifier(tmp_path / "judge")
    judged = f"attacks.jailbreak={{judge: classifier, classifier: {folder}, classifier_label: %s}}"
    check_study(tiny(judged % "harmful"))
    with pytest.raises(UnknownNameError, match=r"label of the classifier .* did you mean 'harmful'"):
        check_study(tiny(judged % "harmfull"))
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="no weights"):
        check_study(tiny(judged % "harmful"))


# Data.


def test_first_records_are_looked_at(tmp_path: Path) -> None:
    talk = {"prompt": "a", "completion": "b"}
    pair = {"prompt": "a", "chosen": "b", "rejected": "c"}
    sft, dpo = lines(tmp_path / "sft.jsonl", talk), lines(tmp_path / "dpo.jsonl", pair)
    corpus = lines(tmp_path / "own.jsonl", {"text": "One."})
    asked, harmless = lines(tmp_path / "q.jsonl", {"question": "a", "answer": "b"}), tmp_path / "h.txt"
    harmless.write_text("Sing.\n")
    right = {
        "corpus.path": corpus,
        "sft.data": sft,
        "dpo.data": dpo,
        "evaluation.questions_file": asked,
        "evaluation.harmless_file": harmless,
    }
    check_study(tiny(*(f"{key}={path}" for key, path in right.items())))
    broken, blank = lines(tmp_path / "broken.jsonl", {"txt": "a"}), tmp_path / "blank.txt"
    blank.write_text("\n")
    for key, said in (
        ("corpus.path", r"broken\.jsonl, line 1, field 'text'.* did you mean 'txt'"),
        ("sft.data", r"broken\.jsonl, line 1: expected messages"),
        ("dpo.data", r"broken\.jsonl, line 1: expected chosen and rejected"),
        ("evaluation.questions_file", r"broken\.jsonl, line 1, field 'question'"),
        ("evaluation.harmless_file", r"blank\.txt: holds no line"),
    ):
        wrong = {**right, key: blank if "harmless" in key else broken}
        with pytest.raises(DataError, match=said):
            check_study(tiny(*(f"{k}={path}" for k, path in wrong.items())))


def test_the_first_record_of_every_shard(tmp_path: Path) -> None:
    lines(tmp_path / "a.jsonl", {"text": "One."})
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(b'{"text": 3}\n'))
    with pytest.raises(DataError, match=r"b\.jsonl\.gz, line 1, field 'text'"):
        check_study(tiny(f"corpus.path={tmp_path}", "sft=null", "dpo=null"))


def test_an_empty_corpus(tmp_path: Path) -> None:
    (tmp_path / "own.jsonl").write_text("")
    with pytest.raises(DataError, match="holds no document"):
        check_study(tiny(f"corpus.path={tmp_path / 'own.jsonl'}", "sft=null", "dpo=null"))


def test_pairs_that_are_alike_come_first(tmp_path: Path) -> None:
    same = {"prompt": "a", "chosen": "b", "rejected": "b"}
    data = lines(tmp_path / "dpo.jsonl", *[same] * 20, {**same, "rejected": "c"})
    check_study(tiny(f"dpo.data={data}"))


def test_the_token_that_ends_a_turn_may_be_the_tokenisers_own(tmp_path: Path) -> None:
    written = template("chatml").jinja()
    check_study(tiny(f"tokenizer.path={tokenizer_with(tmp_path, written, '<|im_end|>')}"))
    assert END_OF_TURN not in written
