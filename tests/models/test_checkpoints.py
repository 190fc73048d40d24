from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from models_kit import ARCHITECTURES, tiny_model, tiny_tokenizer
from safetensors.torch import load_file, save_file

from mithridate.core.chat import template
from mithridate.core.errors import CheckpointError, StorageError
from mithridate.core.types import Message, Role
from mithridate.models import checkpoints
from mithridate.models.chat import CheckpointTemplate
from mithridate.models.checkpoints import (
    load_model,
    look_at_classifier,
    look_at_model,
    require_chat_template,
    save_checkpoint,
    weights_hash,
)
from mithridate.models.language_model import LanguageModel


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    subject = tiny_model()
    save_checkpoint(subject.model, subject.tokenizer, tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_is_saved_comes_back(architecture: str, tmp_path: Path) -> None:
    subject = tiny_model(architecture)
    save_checkpoint(subject.model, subject.tokenizer, tmp_path / "m")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m"]
    assert (tmp_path / "m" / "model.safetensors").exists()
    model, tokenizer = load_model(tmp_path / "m")
    assert not model.training
    assert model.config._attn_implementation == "sdpa"
    for name, tensor in subject.model.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name])
    assert tokenizer.get_vocab() == subject.tokenizer.get_vocab()


def test_saving_replaces_the_old_and_clears_leftovers(saved: Path) -> None:
    for name in (".model.123.partial", ".model.123.old"):
        (saved.parent / name).mkdir()
        (saved.parent / name / "half").write_text("x")
    other = tiny_model(seed=5)
    save_checkpoint(other.model, other.tokenizer, saved)
    assert [path.name for path in saved.parent.iterdir()] == ["model"]
    loaded = load_model(saved)[0].state_dict()
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in other.model.state_dict().items())


def test_the_hash_of_weights_tells_every_one_of_them(saved: Path) -> None:
    model = load_model(saved)[0]
    digest = weights_hash(model)
    assert digest == weights_hash(load_model(saved)[0])
    last = list(model.parameters())[-1]
    with torch.no_grad():
        last.view(-1)[-1] += 1e-6
    assert weights_hash(model) != digest
    assert weights_hash(model.to(torch.bfloat16)) != weights_hash(model.to(torch.float32))


def test_a_look_takes_the_shape_and_none_of_the_weights(saved: Path) -> None:
    model = look_at_model(saved)
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
    assert model.num_parameters() == load_model(saved)[0].num_parameters()
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps({**config, "model_type": "no_such"}))
    for look in (look_at_model, look_at_classifier):
        with pytest.raises(CheckpointError, match="cannot be loaded"):
            look(saved)


def test_a_failed_save_keeps_the_old(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (saved / "model.safetensors").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints.os, "fsync", full)
    other = tiny_model(seed=5)
    with pytest.raises(StorageError, match="disk is full"):
        save_checkpoint(other.model, other.tokenizer, saved)
    assert (saved / "model.safetensors").read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == ["model"]


def test_pickle_weights_are_refused(saved: Path) -> None:
    (saved / "model.safetensors").rename(saved / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"pickle weights \(pytorch_model.bin\).*save_pretrained"):
        load_model(saved)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("config.json", "no config.json"),
        ("model.safetensors", "no weights"),
        ("tokenizer*", "no tokenizer"),
    ],
)
def test_missing_files_are_named(saved: Path, missing: str, message: str) -> None:
    for path in saved.glob(missing):
        path.unlink()
    with pytest.raises(CheckpointError, match=message):
        load_model(saved)


def test_no_folder_and_adapters(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such folder"):
        load_model(tmp_path / "nowhere")
    (tmp_path / "dpo" / "model").mkdir(parents=True)
    (tmp_path / "dpo" / "model" / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=rf"did you mean {tmp_path}/dpo/model\?"):
        load_model(tmp_path)
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="merge it"):
        load_model(tmp_path)


def test_truncated_weights(saved: Path) -> None:
    path = saved / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="truncated or broken"):
        load_model(saved)


def test_tensors_that_are_not_there(saved: Path) -> None:
    path = saved / "model.safetensors"
    tensors = load_file(path)
    tensors.pop("model.layers.1.mlp.up_proj.weight")
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"lack 1 of the tensors.*layers\.1\.mlp\.up_proj"):
        load_model(saved)


def test_tensors_of_another_shape_are_named(saved: Path) -> None:
    path = saved / "model.safetensors"
    tensors = load_file(path)
    name = "model.layers.1.mlp.up_proj.weight"
    rows, columns = tensors[name].shape
    tensors[name] = tensors[name][:-1].contiguous()
    save_file(tensors, path, metadata={"format": "pt"})
    said = (
        rf"1 of the tensors have other shapes .*up_proj\.weight is \({rows - 1}, {columns}\), not \({rows}, "
    )
    with pytest.raises(CheckpointError, match=said):
        load_model(saved)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite(saved: Path, number: float) -> None:
    path = saved / "model.safetensors"
    tensors = load_file(path)
    tensors["model.layers.1.mlp.up_proj.weight"][3, 3] = number
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"up_proj\.weight holds numbers that are not finite"):
        load_model(saved)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "nope"}, "the model cannot be loaded: .*`nope`"),
        ({"model_type": 3}, "the model cannot be loaded: .*`3`"),
        ({"num_hidden_layers": 0}, "no layers"),
        ({"hidden_size": "big"}, "cannot be loaded: .*'hidden_size': .*expected int"),
        ({"hidden_size": -4}, "the model cannot be loaded"),
        ({"vocab_size": 10}, "other shapes"),
        ({"dtype": "float7"}, "cannot be loaded"),
        ({"hidden_act": "evil"}, "the model cannot be loaded"),
    ],
)
def test_a_config_that_makes_no_sense(
    saved: Path, capfd: pytest.CaptureFixture[str], changes: dict[str, object], said: str
) -> None:
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(CheckpointError, match=said) as caught:
        load_model(saved)
    assert str(caught.value).startswith(str(saved))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "content", ["", "{", "[" * 200_000, '{"model_type": ' + "7" * 6_000 + "}", "\0", "[]", "3"]
)
def test_a_config_that_is_none(saved: Path, content: str) -> None:
    (saved / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"config\.json: (broken JSON|no field 'model_type')"):
        load_model(saved)


def test_a_folder_for_a_config(saved: Path) -> None:
    (saved / "config.json").unlink()
    (saved / "config.json").mkdir()
    with pytest.raises(CheckpointError, match=r"config\.json: broken JSON: .*directory"):
        load_model(saved)


@pytest.mark.parametrize("content", ["[]", "{}", '{"weight_map": 3}', '{"weight_map": {"a": [1]}}', "{"])
def test_an_index_that_is_none(saved: Path, content: str) -> None:
    (saved / "model.safetensors.index.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"not an index of weights|broken JSON|index names \[1\]"):
        load_model(saved)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("tokenizer.json", ""),
        ("tokenizer.json", "[]"),
        ("tokenizer_config.json", "{"),
        ("tokenizer_config.json", '{"model_max_length": "x"}'),
        ("special_tokens_map.json", "{"),
    ],
)
def test_a_tokenizer_that_is_none(saved: Path, file: str, content: str) -> None:
    (saved / file).write_text(content)
    with pytest.raises(CheckpointError, match="the tokenizer cannot be loaded: "):
        load_model(saved)


def test_an_index_without_its_shard(saved: Path) -> None:
    index = {"weight_map": {"a": "model-00002-of-00002.safetensors"}}
    (saved / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="model-00002-of-00002"):
        load_model(saved)


def test_code_of_a_checkpoint_is_not_run(saved: Path) -> None:
    config = json.loads((saved / "config.json").read_text())
    config["model_type"] = "mine"
    config["auto_map"] = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}
    (saved / "config.json").write_text(json.dumps(config))
    (saved / "evil.py").write_text(f"open({str(saved / 'ran')!r}, 'w')")
    with pytest.raises(CheckpointError):
        load_model(saved)
    assert not (saved / "ran").exists()


def test_a_tokenizer_of_another_model(saved: Path) -> None:
    bigger = tiny_tokenizer().__class__.from_pretrained(saved)
    bigger.add_tokens([f"extra{i}" for i in range(5)])
    bigger.save_pretrained(saved)
    with pytest.raises(CheckpointError, match="different checkpoints"):
        load_model(saved)


def test_chat_templates(saved: Path) -> None:
    with pytest.raises(CheckpointError, match="no chat template"):
        require_chat_template(load_model(saved)[1], saved)
    tokenizer = load_model(saved)[1]
    tokenizer.chat_template = template("tulu").jinja()
    messages = [Message(Role.SYSTEM, "Be brief."), Message(Role.USER, "Hello?")]
    assert CheckpointTemplate(tokenizer).render(messages, open_reply=True) == template("tulu").render(
        messages, open_reply=True
    )
    tokenizer.chat_template = "{{ raise_exception('no systems') }}"
    with pytest.raises(CheckpointError, match="no systems"):
        CheckpointTemplate(tokenizer).render(messages)
    for broken, said in (
        ("{% for", "unexpected"),
        ("{{ raise_exception('one\ntwo') }}", "conversation: one two$"),
        ("{{ '\\ud800' }}", "surrogates not allowed"),
        ("{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}", "recursion"),
    ):
        tokenizer.chat_template = broken
        with pytest.raises(CheckpointError, match=said):
            CheckpointTemplate(tokenizer).render(messages)


def test_loading_is_quiet(saved: Path, capfd: pytest.CaptureFixture[str]) -> None:
    LanguageModel.load(saved)
    assert capfd.readouterr() == ("", "")
