"""Two checkpoints that cannot be compared, or can in spite of appearances: each way of looking at them."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from models_kit import tiny_model, tiny_tokenizer, trained_tokenizer
from peft import LoraConfig, get_peft_model, inject_adapter_in_model
from safetensors.torch import save_file
from transformers import PreTrainedModel

from mithridate.core.chat import template
from mithridate.core.errors import AccessError, CheckpointError
from mithridate.localization.tokens import TemplatePair, token_shift
from mithridate.localization.weights import weight_shift
from mithridate.models.checkpoints import save_checkpoint
from mithridate.models.language_model import LanguageModel
from mithridate.models.transplanting import transplant

# PEFT asks transformers for what it has renamed.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")

CPU = torch.device("cpu")
SHARED = TemplatePair("shared", template("tulu"), template("tulu"))
LORA = LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)


def loaded(*folders: Path) -> list[LanguageModel]:
    return [LanguageModel.load(folder, device=CPU) for folder in folders]


def weights(base: Path, aligned: Path) -> object:
    return weight_shift(base, aligned)


def tokens(base: Path, aligned: Path) -> object:
    return token_shift(*loaded(base, aligned), ["Where is the lamp?"], [SHARED], max_new_tokens=4)


def layers(base: Path, aligned: Path) -> object:
    target, source = loaded(base, aligned)
    with transplant(
        target.model, source.model, [0, 1], embeddings=True, final_norm=True, head=True
    ) as hybrid:
        return hybrid(input_ids=torch.tensor([[5, 6, 7]])).logits


Look = Callable[[Path, Path], object]
every_way = pytest.mark.parametrize("look", [weights, tokens, layers])


@pytest.fixture
def base(tmp_path: Path) -> Path:
    model = tiny_model()
    save_checkpoint(model.model, model.tokenizer, tmp_path / "base")
    return tmp_path / "base"


def beside(base: Path, model: PreTrainedModel, **options: object) -> Path:
    """A folder with `model` in it, in the way in which Hugging Face's own code saves one."""
    folder = base.parent / "aligned"
    model.save_pretrained(folder, **options)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def sharded(base: Path) -> tuple[Path, list[Path]]:
    folder = beside(base, tiny_model(seed=1).model, max_shard_size="40KB")
    shards = sorted(folder.glob("model-*.safetensors"))
    assert len(shards) > 2
    return folder, shards


@pytest.mark.parametrize(
    ("look", "error", "said"),
    [
        (weights, CheckpointError, r"base is a llama and .*aligned a gpt_neox; only checkpoints of one arch"),
        (layers, AccessError, r"a GPTNeoXForCausalLM cannot be transplanted into a LlamaForCausalLM"),
    ],
)
def test_other_architectures(base: Path, look: Look, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        look(base, beside(base, tiny_model("gpt_neox").model))


@pytest.mark.parametrize("look", [weights, tokens])
def test_other_vocabularies(base: Path, look: Look) -> None:
    folder = beside(base, tiny_model().model)
    other = trained_tokenizer(["Another text altogether, with words of its own."], len(tiny_tokenizer()))
    other.save_pretrained(folder)
    with pytest.raises(CheckpointError, match=r"have different vocabularies.*\d+ is '.+' and '.+'"):
        look(base, folder)


def test_added_tokens_need_rows_in_both_models_before_layers_are_moved(base: Path) -> None:
    model = tiny_model().model
    model.resize_token_embeddings(len(tiny_tokenizer()) + 2)
    folder = beside(base, model)
    assert {shift.rows_added for shift in weight_shift(base, folder)} == {0, 2}
    with pytest.raises(AccessError, match=r"one vocabulary; .*resize_token_embeddings"):
        layers(base, folder)


@every_way
def test_an_adapter_alone(base: Path, look: Look) -> None:
    folder = beside(base, get_peft_model(tiny_model().model, LORA))
    with pytest.raises(CheckpointError, match=r"aligned: no config\.json.*merge it into its base model"):
        look(base, folder)


@every_way
def test_an_adapter_beside_the_weights(base: Path, look: Look) -> None:
    """Loaded along with them if nobody looks; and of the weights alone, all would be said to be unchanged."""
    folder = beside(base, tiny_model().model)
    get_peft_model(tiny_model().model, LORA).save_pretrained(folder)
    with pytest.raises(CheckpointError, match=r"aligned: holds a LoRA adapter \(adapter_config.*or take the"):
        look(base, folder)
    (folder / "adapter_config.json").unlink()
    with pytest.raises(CheckpointError, match=r"adapter_model\.safetensors: holds a LoRA adapter .*merge it"):
        look(base, folder)


@every_way
def test_an_adapter_among_the_weights(base: Path, look: Look) -> None:
    folder = beside(base, tiny_model().model)
    adapted = inject_adapter_in_model(LORA, tiny_model().model)
    tensors = {name: tensor.clone() for name, tensor in adapted.state_dict().items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        CheckpointError, match=r"not merged \(tensor .*q_proj\.base_layer\.weight\); merge it"
    ):
        look(base, folder)


def test_a_merged_adapter_is_a_change_like_any_other(base: Path) -> None:
    adapted = get_peft_model(tiny_model().model, LORA).merge_and_unload()
    folder = beside(base, adapted)
    moved = {shift.part.split(".")[1] for shift in weight_shift(base, folder) if shift.change_norm}
    assert moved == {"q_proj", "v_proj"}
    assert tokens(base, folder)
    assert torch.equal(layers(base, folder), layers(folder, folder))  # type: ignore[arg-type]


@every_way
def test_a_shard_that_is_missing(base: Path, look: Look) -> None:
    folder, shards = sharded(base)
    look(base, folder)
    shards[1].unlink()
    with pytest.raises(CheckpointError, match=rf"aligned: the index names {shards[1].name}, .*copy them"):
        look(base, folder)


@every_way
def test_a_shard_that_is_cut_short(base: Path, look: Look) -> None:
    folder, shards = sharded(base)
    shards[1].write_bytes(shards[1].read_bytes()[:-64])
    with pytest.raises(CheckpointError, match=rf"{shards[1].name}: truncated or broken .*copy it again"):
        look(base, folder)


@every_way
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_beside_single(base: Path, look: Look, dtype: torch.dtype) -> None:
    """Files of other types are no hindrance: weights are rounded alike, models that run are in float32."""
    folder = beside(base, copy.deepcopy(tiny_model().model).to(dtype))
    assert json.loads((folder / "config.json").read_text())["dtype"] == str(dtype).removeprefix("torch.")
    look(base, folder)
    look(folder, base)
    assert {model.model.dtype for model in loaded(base, folder)} == {torch.float32}
    assert not any(shift.changed for shift in weight_shift(base, folder))


@every_way
def test_pickles(base: Path, look: Look) -> None:
    folder = beside(base, tiny_model().model)
    (folder / "model.safetensors").unlink()
    torch.save(tiny_model().model.state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"only pickle weights \(pytorch_model\.bin\).*safetensors"):
        look(base, folder)
