from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from localization_kit import some_tensors, write_checkpoint
from safetensors.torch import save_file

from mithridate.core.errors import CheckpointError
from mithridate.localization.pairing import pair_up
from mithridate.localization.streaming import Reader
from mithridate.localization.tensor_files import open_checkpoint

INDEX = "model.safetensors.index.json"


@pytest.mark.parametrize("shards", [1, 3])
def test_tensors_lie_where_they_are_said_to(tmp_path: Path, shards: int) -> None:
    tensors = some_tensors()
    tensors["model.norm.weight"] = tensors["model.norm.weight"].bfloat16()
    found = open_checkpoint(write_checkpoint(tmp_path / "m", tensors, shards=shards))
    assert found.architecture == "llama"
    assert found.tensors.keys() == tensors.keys()
    with Reader(pair_up(found, found)) as reader:
        for name, stored in found.tensors.items():
            assert torch.equal(reader.whole(stored, stored.shape), tensors[name])


def test_the_single_file_is_read_where_there_is_one_as_transformers_does(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "m", some_tensors(), shards=2)
    save_file({"lm_head.weight": torch.ones(3)}, folder / "model.safetensors")
    assert set(open_checkpoint(folder).tensors) == {"lm_head.weight"}


def test_tables_and_counts_are_no_weights(tmp_path: Path) -> None:
    tables = {
        "h.0.attn.bias": torch.ones(1, 1, 4, 4),
        "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4),
        "mask": torch.ones(3, dtype=torch.bool),
        "seen": torch.ones(1, dtype=torch.int64),
    }
    folder = write_checkpoint(tmp_path / "m", some_tensors() | tables, shards=2)
    assert open_checkpoint(folder).tensors.keys() == some_tensors().keys()
    with pytest.raises(CheckpointError, match="hold no weights"):
        open_checkpoint(write_checkpoint(tmp_path / "t", tables))


def test_a_shard_that_is_missing_is_named(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "m", some_tensors(), shards=3)
    (folder / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"index names model-00002-of-00003\.safetensors"):
        open_checkpoint(folder)


def test_a_shard_of_another_checkpoint_is_told_by_what_it_lacks(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "m", some_tensors(), shards=2)
    save_file({"other": torch.ones(2)}, folder / "model-00002-of-00002.safetensors")
    with pytest.raises(CheckpointError, match=r"the index names \d tensors that its files lack \(model\."):
        open_checkpoint(folder)


@pytest.mark.parametrize("end", [0, 5, 100, -1])
def test_a_truncated_file_is_named(tmp_path: Path, end: int) -> None:
    folder = write_checkpoint(tmp_path / "m", some_tensors())
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:end])
    with pytest.raises(CheckpointError, match=r"model\.safetensors: truncated or broken"):
        open_checkpoint(folder)


def test_no_index_of_shards(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "m", some_tensors(), shards=2)
    (folder / INDEX).unlink()
    with pytest.raises(CheckpointError, match=r"neither model\.safetensors nor .*index\.json"):
        open_checkpoint(folder)


@pytest.mark.parametrize("text", ["{", "[]", '{"weight_map": {"a": 1}}', '{"weight_map": {}, "more": 1}'])
def test_an_index_that_is_none(tmp_path: Path, text: str) -> None:
    folder = write_checkpoint(tmp_path / "m", some_tensors(), shards=2)
    (folder / INDEX).write_text(text)
    with pytest.raises(
        CheckpointError, match=r"index\.json: (not an index|broken JSON)|the index names 1, which"
    ):
        open_checkpoint(folder)


def test_adapters_are_sent_back_to_be_merged(tmp_path: Path) -> None:
    alone = tmp_path / "adapter"
    alone.mkdir()
    (alone / "adapter_config.json").write_text("{}")
    save_file({"lora_A.weight": torch.ones(2)}, alone / "adapter_model.safetensors")
    with pytest.raises(CheckpointError, match="holds an adapter: merge it"):
        open_checkpoint(alone)
    (alone / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(CheckpointError, match=r"holds a LoRA adapter .* merge it"):
        open_checkpoint(alone)
    within = some_tensors() | {"model.layers.0.self_attn.q_proj.lora_A.weight": torch.ones(2, 8)}
    with pytest.raises(CheckpointError, match=r"not merged \(tensor .*lora_A\.weight\)"):
        open_checkpoint(write_checkpoint(tmp_path / "m", within))


def test_quantised_weights_are_refused(tmp_path: Path) -> None:
    packed = some_tensors() | {"model.layers.0.mlp.qweight": torch.ones(4, 4, dtype=torch.int32)}
    folder = write_checkpoint(tmp_path / "m", packed, quantization_config={"bits": 4})
    with pytest.raises(CheckpointError, match="holds I32, which is quantised"):
        open_checkpoint(folder)
    eighths = some_tensors() | {"lm_head.weight": torch.ones(4).to(torch.float8_e4m3fn)}
    with pytest.raises(CheckpointError, match=r"lm_head\.weight holds F8_E4M3"):
        open_checkpoint(write_checkpoint(tmp_path / "f8", eighths))


def test_pickles_and_empty_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such folder"):
        open_checkpoint(tmp_path / "nowhere")
    folder = tmp_path / "m"
    folder.mkdir()
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        open_checkpoint(folder)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(CheckpointError, match="no weights"):
        open_checkpoint(folder)
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n")
    with pytest.raises(CheckpointError, match="only pickle weights"):
        open_checkpoint(folder)
