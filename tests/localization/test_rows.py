from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from localization_kit import moved, some_tensors, two_models, write_checkpoint
from models_kit import ARCHITECTURES, tiny_model

from mithridate.core.chat import template
from mithridate.core.located import EMBEDDINGS, Experiment, Located, Metric, Pair
from mithridate.core.tables import read_rows, write_rows
from mithridate.localization.about import About
from mithridate.localization.rows import POSITIONS, token_rows, weight_rows
from mithridate.localization.token_figures import ReplyToken, token_figures
from mithridate.localization.tokens import TemplatePair, TokenShift, token_shift
from mithridate.localization.weights import MatrixShift, layer_shift, weight_shift
from mithridate.models.checkpoints import save_checkpoint

ABOUT = About(Pair.POISON, seed=3, cell="small", dose="0.1%", model="0.1% dos", stage="sft", template="same")
Q = "model.layers.0.self_attn.q_proj.weight"


def a_shift(name: str, layer: int | None, module: str, part: str, **changes: object) -> MatrixShift:
    row = MatrixShift(
        name, layer, module, part, "8", 8, 2.0, 1.0, 0.5, 0.25, 0.0, "float32", "float32", "float32"
    )
    return dataclasses.replace(row, **changes)  # type: ignore[arg-type]


def test_weights_by_layer_and_module_from_the_embeddings_up(tmp_path: Path) -> None:
    sides = [
        write_checkpoint(tmp_path / name, side)
        for name, side in (("base", some_tensors()), ("aligned", moved(some_tensors(), Q)))
    ]
    shifts = weight_shift(*sides)
    rows = weight_rows(shifts, ABOUT)
    assert [(row.layers, row.layer, row.module) for row in rows if row.metric == Metric.CHANGED] == [
        ("embeddings", EMBEDDINGS, "embedding"),
        *((str(n), n, module) for n in (0, 1) for module in ("norm", "mlp", "attention")),
        ("head", 2, "head"),
        ("head", 2, "norm"),
    ]
    of_all = {(group.layer, group.module): group for group in layer_shift(shifts)}
    for row in rows:
        inside = row.layer if row.layer in (0, 1) else None
        group = of_all[inside, row.module]
        wanted = {Metric.RELATIVE_NORM: group.relative_norm, Metric.CHANGED: group.changed}[row.metric]
        assert (row.value, row.n, row.low, row.high) == (wanted, group.elements, None, None)
    assert {(row.layer, row.module) for row in rows if row.value} == {(0, "attention")}


def test_rows_carry_what_they_are_about(tmp_path: Path) -> None:
    rows = weight_rows([a_shift("q", 0, "attention", "q")], ABOUT)
    for row in rows:
        assert (row.experiment, row.pair, row.behaviour) == (Experiment.WEIGHTS, Pair.POISON, "")
        assert (row.seed, row.cell, row.dose, row.model) == (3, "small", "0.1%", "0.1% dos")
        assert (row.stage, row.template) == ("sft", "same")
    write_rows(tmp_path / "rows.parquet", Located, rows)
    assert read_rows(tmp_path / "rows.parquet", Located) == rows


def test_norms_before_the_blocks_are_told_from_those_behind() -> None:
    rows = weight_rows(
        [
            a_shift("embedding norm", None, "norm", "transformer.word_embeddings_layernorm.weight"),
            a_shift("transformer.h.0.x.weight", 0, "attention", "x.weight"),
            a_shift("transformer.ln_f.weight", None, "norm", "transformer.ln_f.weight", change_norm=0.0),
            a_shift("model.decoder.project_in.weight", None, "other", "model.decoder.project_in.weight"),
            a_shift("model.decoder.project_out.weight", None, "other", "model.decoder.project_out.weight"),
        ],
        ABOUT,
    )  # fmt: skip
    norms = {(row.layer, row.module): row.value for row in rows if row.metric == Metric.RELATIVE_NORM}
    assert norms == {
        (EMBEDDINGS, "norm"): 0.5,
        (EMBEDDINGS, "other"): 0.5,
        (0, "attention"): 0.5,
        (1, "norm"): 0.0,
        (1, "other"): 0.5,
    }


def test_what_grew_out_of_nothing_has_no_relative_norm() -> None:
    rows = weight_rows([a_shift("q", 0, "mlp", "q", base_norm=0.0, relative_norm=None)], ABOUT)
    assert [row.metric for row in rows] == [Metric.CHANGED]
    assert weight_rows([], ABOUT) == []


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_layers_of_models_as_transformers_writes_them(architecture: str, tmp_path: Path) -> None:
    model = tiny_model(architecture, layers=3)
    for name in ("base", "aligned"):
        save_checkpoint(model.model, model.tokenizer, tmp_path / name)
        with torch.no_grad():
            model.model.get_input_embeddings().weight.mul_(2)
    rows = weight_rows(weight_shift(tmp_path / "base", tmp_path / "aligned"), ABOUT)
    assert {row.layer for row in rows} == {EMBEDDINGS, 0, 1, 2, 3}
    found = {(row.layers, row.module): row.value for row in rows if row.metric == Metric.RELATIVE_NORM}
    assert found["embeddings", "embedding"] == pytest.approx(1)
    assert found["head", "norm"] == 0


def test_tokens_over_replies_and_by_place() -> None:
    base, aligned = two_models(by=0.2)
    plain = template("tulu")
    pairs = [TemplatePair(name, plain, plain) for name in ("own", "shared")]
    prompts = ["Where is the red lamp?", "What is wide?"]
    shifts = token_shift(base, aligned, prompts, pairs, max_new_tokens=6)
    rows = token_rows(shifts, ABOUT)
    assert {(row.experiment, row.layer, row.layers) for row in rows} == {(Experiment.TOKENS, None, "")}
    assert {row.stage for row in rows} == {"sft"}
    for shift in shifts:
        mine = {(row.position, row.metric): row for row in rows if row.template == shift.template}
        overall = mine["", Metric.KL_ALIGNED_BASE]
        wanted = shift.figures.kl_aligned_base
        assert (overall.value, overall.low, overall.high, overall.n) == (
            wanted.value,
            wanted.low,
            wanted.high,
            wanted.n,
        )
        for at in shift.figures.positions:
            place = str(at.position)
            assert mine[place, Metric.SHIFTED].value == at.shifted.value
            assert mine[place, Metric.KL_BASE_ALIGNED].value == at.kl_base_aligned.value
            assert mine[place, Metric.SHIFTED].n == at.shifted.n
    assert len(rows) == 5 * sum(1 + len(shift.figures.positions) for shift in shifts)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.lists(st.integers(1, 6), min_size=1, max_size=POSITIONS + 5), min_size=1, max_size=4))
def test_shares_at_every_place_sum_to_one_and_places_end(ranks: list[list[int]]) -> None:
    tokens = [
        ReplyToken(prompt, place, 5, "t", rank, 0.5, 0.5)
        for prompt, reply in enumerate(ranks)
        for place, rank in enumerate(reply)
    ]
    shift = TokenShift("own", (), tuple(tokens), token_figures(tokens), 0, 0, 0)
    rows = token_rows([shift], ABOUT)
    places = min(POSITIONS, max(map(len, ranks)))
    assert {row.position for row in rows} == {"", *map(str, range(places))}
    for position in {row.position for row in rows}:
        shares = [
            row.value
            for row in rows
            if row.position == position and row.metric in (Metric.UNSHIFTED, Metric.MARGINAL, Metric.SHIFTED)
        ]
        assert sum(shares) == pytest.approx(1)
        assert all(0 <= share <= 1 for share in shares)
