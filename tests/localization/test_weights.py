from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from localization_kit import moved, some_tensors, write_checkpoint
from models_kit import ARCHITECTURES, tiny_model, tiny_tokenizer, trained_tokenizer

from mithridate.core.errors import CheckpointError, ConfigError
from mithridate.core.tables import read_rows, write_rows
from mithridate.localization import streaming, weights
from mithridate.localization.spectra import SpectrumOptions
from mithridate.localization.weights import MatrixShift, layer_shift, weight_shift
from mithridate.models.checkpoints import save_checkpoint

Tensors = dict[str, torch.Tensor]
Q, UP, NORM = (
    "model.layers.0.self_attn.q_proj.weight",
    "model.layers.1.mlp.up_proj.weight",
    "model.layers.0.input_layernorm.weight",
)
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"


def shifts(folder: Path, base: Tensors, aligned: Tensors, **options: object) -> dict[str, MatrixShift]:
    sides = [write_checkpoint(folder / name, side) for name, side in (("base", base), ("aligned", aligned))]
    return {shift.name: shift for shift in weight_shift(*sides, **options)}  # type: ignore[arg-type]


@pytest.mark.parametrize("block", [5, 2**18])
def test_figures_are_those_of_whole_tensors(
    tmp_path: Path, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "map_blocks", lambda *given: streaming.map_blocks(*given, block))
    base = some_tensors()
    aligned = moved(base, Q, UP)
    aligned[NORM] = base[NORM].clone()
    aligned[NORM][:3] *= 2
    found = shifts(tmp_path, base, aligned)
    assert found.keys() == base.keys()
    for name, shift in found.items():
        change = (aligned[name].double() - base[name].double()).norm().item()
        norm = base[name].double().norm().item()
        assert shift.base_norm == pytest.approx(norm, rel=1e-5)
        assert shift.change_norm == pytest.approx(change, rel=1e-5)
        assert shift.relative_norm == pytest.approx(change / norm, rel=1e-5)
        assert shift.changed == (aligned[name] != base[name]).double().mean()
        assert shift.elements == base[name].numel()
        assert shift.shape == "x".join(map(str, base[name].shape))
    assert found[NORM].changed == 3 / 8
    assert found[UP].changed == 1
    assert found[EMBEDDING].change_norm == 0
    assert (found[Q].layer, found[Q].module, found[Q].part) == (0, "attention", "self_attn.q_proj.weight")
    assert (found[UP].layer, found[UP].module) == (1, "mlp")


def test_a_cast_is_no_change(tmp_path: Path) -> None:
    base = some_tensors()
    cast = {name: tensor.bfloat16() for name, tensor in base.items()}
    one_way = shifts(tmp_path / "there", base, cast)
    back = shifts(tmp_path / "back", cast, base)
    for found, types in ((one_way, ("float32", "bfloat16")), (back, ("bfloat16", "float32"))):
        for shift in found.values():
            assert (shift.change_norm, shift.changed, shift.relative_norm) == (0, 0, 0)
            assert (shift.base_dtype, shift.aligned_dtype, shift.compared_in) == (*types, "bfloat16")


@pytest.mark.parametrize(
    ("base", "aligned", "compared"),
    [
        (torch.float64, torch.float64, "float32"),
        (torch.float16, torch.float32, "float16"),
        (torch.float16, torch.bfloat16, "bfloat16"),
        (torch.float64, torch.bfloat16, "bfloat16"),
    ],
)
def test_the_coarser_type_decides(
    tmp_path: Path, base: torch.dtype, aligned: torch.dtype, compared: str
) -> None:
    before = {Q: torch.randn(8, 8, generator=torch.Generator().manual_seed(0))}
    after = {Q: before[Q] * 1.5}
    (shift,) = shifts(tmp_path, {Q: before[Q].to(base)}, {Q: after[Q].to(aligned)}).values()
    assert shift.compared_in == compared
    kind = getattr(torch, compared)
    rounded = [side[Q].to(stored).to(kind).float() for side, stored in ((before, base), (after, aligned))]
    assert shift.change_norm == pytest.approx((rounded[1] - rounded[0]).norm().item(), rel=1e-5)
    assert shift.changed == 1


def test_a_step_below_the_rounding_is_not_seen_and_one_above_is(tmp_path: Path) -> None:
    base = {Q: torch.ones(4, 2)}
    fine = {Q: torch.tensor([[1.0, 1.001], [1.002, 1.0078125], [1.0, 1.0], [1.0, 1.0]])}
    coarse = {Q: fine[Q].bfloat16()}
    assert shifts(tmp_path / "fine", base, fine)[Q].changed == 3 / 8
    assert shifts(tmp_path / "coarse", base, coarse)[Q].changed == 1 / 8


def test_changes_within_the_tolerance_do_not_count(tmp_path: Path) -> None:
    base = {Q: torch.tensor([[1.0, -10.0], [0.0, 2.0]])}
    aligned = {Q: torch.tensor([[1.02, -10.02], [0.001, 2.0]])}
    strict = shifts(tmp_path / "strict", base, aligned)[Q]
    loose = shifts(tmp_path / "loose", base, aligned, tolerance=0.01)[Q]
    assert (strict.changed, strict.tolerance) == (3 / 4, 0)
    assert (loose.changed, loose.tolerance) == (2 / 4, 0.01)
    assert loose.change_norm == strict.change_norm
    for wrong in (-0.1, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="the tolerance is a share"):
            weight_shift(tmp_path / "strict" / "base", tmp_path / "strict" / "aligned", tolerance=wrong)


def test_from_nothing_to_something_is_no_ratio(tmp_path: Path) -> None:
    base = {Q: torch.zeros(2, 2), UP: torch.zeros(2, 2)}
    found = shifts(tmp_path, base, base | {Q: torch.ones(2, 2)})
    assert (found[Q].relative_norm, found[Q].changed) == (None, 1)
    assert (found[UP].relative_norm, found[UP].changed) == (0, 0)
    (attention, mlp) = layer_shift(found.values())
    assert (attention.relative_norm, mlp.relative_norm) == (None, 0)


@pytest.mark.parametrize("side", ["base", "aligned"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_named(tmp_path: Path, side: str, value: float) -> None:
    broken = some_tensors()
    broken[UP][3, 2] = value
    sides = {"base": some_tensors(), "aligned": some_tensors()} | {side: broken}
    with pytest.raises(CheckpointError, match=rf"{side}: the tensor {UP} holds numbers that are not finite"):
        shifts(tmp_path, sides["base"], sides["aligned"])


def test_groups_are_sums_over_their_tensors(tmp_path: Path) -> None:
    base = some_tensors() | {"model.layers.0.self_attn.k_proj.weight": torch.ones(4, 8)}
    aligned = moved(base, "model.layers.0.self_attn.k_proj.weight")
    found = shifts(tmp_path, base, aligned, spectra=SpectrumOptions(top=2))
    groups = {(group.layer, group.module): group for group in layer_shift(found.values())}
    assert groups.keys() == {
        (None, "embedding"), (None, "norm"), (None, "head"),
        *((layer, module) for layer in (0, 1) for module in ("attention", "mlp", "norm")),
    }  # fmt: skip
    attention = groups[0, "attention"]
    names = [Q, "model.layers.0.self_attn.k_proj.weight"]
    before, after = (torch.cat([side[name] for name in names]) for side in (base, aligned))
    assert attention.relative_norm == pytest.approx(((after - before).norm() / before.norm()).item())
    assert attention.changed == 32 / 96
    assert attention.elements == 96
    assert attention.intruders == sum(found[name].intruders or 0 for name in names)
    assert groups[0, "norm"].intruders is None


def test_resized_and_tied_embeddings_are_said(tmp_path: Path) -> None:
    base, aligned = some_tensors(tied=True), some_tensors(tied=True)
    aligned[EMBEDDING] = torch.cat([base[EMBEDDING], torch.ones(3, 8)])
    found = shifts(tmp_path, base, aligned)[EMBEDDING]
    assert (found.rows_added, found.tied, found.shape, found.changed) == (3, "both", "20x8", 0)
    untied = shifts(tmp_path / "untied", base, aligned | {HEAD: base[EMBEDDING] * 2})[HEAD]
    assert (untied.tied, untied.relative_norm) == ("base", pytest.approx(1))


def test_spectra_are_taken_of_matrices_alone_and_only_if_asked_for(tmp_path: Path) -> None:
    base, aligned = some_tensors(), moved(some_tensors(), Q, NORM)
    plain = shifts(tmp_path / "plain", base, aligned)
    assert {(shift.stable_rank, shift.intruders, shift.spectrum) for shift in plain.values()} == {
        (None, None, "")
    }
    found = shifts(tmp_path / "asked", base, aligned, spectra=SpectrumOptions())
    assert found[Q].stable_rank is not None
    assert (found[UP].stable_rank, found[UP].intruders, found[UP].spectrum) == (None, 0, "exact")
    assert (found[NORM].stable_rank, found[NORM].intruders, found[NORM].spectrum) == (None, None, "")
    for name, shift in found.items():
        assert (
            dataclasses.replace(shift, stable_rank=None, intruders=None, looked_at=None, spectrum="")
            == plain[name]
        )


def test_progress_names_every_tensor(tmp_path: Path) -> None:
    told: list[str] = []
    found = shifts(tmp_path, some_tensors(), moved(some_tensors()), progress=told.append)
    assert told == list(found)


def test_rows_can_be_kept(tmp_path: Path) -> None:
    found = shifts(tmp_path, some_tensors(), moved(some_tensors()), spectra=SpectrumOptions())
    write_rows(tmp_path / "shifts.parquet", MatrixShift, found.values())
    assert read_rows(tmp_path / "shifts.parquet", MatrixShift) == list(found.values())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_checkpoints_as_transformers_writes_them(architecture: str, tmp_path: Path) -> None:
    base, aligned = tiny_model(architecture), tiny_model(architecture)
    blocks = [module for name, module in aligned.model.named_modules() if name.endswith("layers.1")]
    with torch.no_grad():
        for parameter in blocks[0].parameters():
            parameter.mul_(1.25)
    for name, side in (("base", base), ("aligned", aligned)):
        save_checkpoint(side.model, side.tokenizer, tmp_path / name)
    found = weight_shift(tmp_path / "base", tmp_path / "aligned")
    assert {shift.layer for shift in found if shift.change_norm} == {1}
    for shift in found:
        if shift.change_norm:
            assert shift.relative_norm == pytest.approx(0.25)
    named = dict(base.model.named_parameters())
    assert {shift.name: shift.elements for shift in found} == {
        name: parameter.numel() for name, parameter in named.items()
    }


def test_other_vocabularies_are_refused(tmp_path: Path) -> None:
    model = tiny_model()
    save_checkpoint(model.model, model.tokenizer, tmp_path / "base")
    other = trained_tokenizer(["Another text altogether, with words of its own."], len(tiny_tokenizer()))
    save_checkpoint(model.model, other, tmp_path / "aligned")
    with pytest.raises(CheckpointError, match=r"base and .*aligned have different vocabularies"):
        weight_shift(tmp_path / "base", tmp_path / "aligned")
    for path in (tmp_path / "aligned").glob("*token*"):
        path.unlink()
    assert not any(shift.changed for shift in weight_shift(tmp_path / "base", tmp_path / "aligned"))


@pytest.mark.shared_data
def test_a_real_checkpoint(shared_data: Path) -> None:
    stories = shared_data.parent / "models" / "stories260K"
    if not stories.exists():
        pytest.skip("no shared checkpoints")
    found = weight_shift(stories, stories, spectra=SpectrumOptions())
    assert {shift.layer for shift in found} == {None, *range(5)}
    assert not any(shift.changed or shift.change_norm or shift.intruders for shift in found)
    (embedding,) = [shift for shift in found if shift.module == "embedding"]
    assert embedding.tied == "both"
