from __future__ import annotations

import errno
import math
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import heal_kit
import healing_training_kit as taught
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from mithridate.core.cures import Verdict
from mithridate.core.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    MithridateError,
    StorageError,
    UnknownNameError,
)
from mithridate.core.healed import HEALED, INTERVENTIONS, MODEL, Form, read_healed
from mithridate.core.prices import CLEAN_MODEL, NOTHING, PRICES, Control, Price, Priced
from mithridate.core.tables import read_rows
from mithridate.core.types import Condition
from mithridate.healing.writing import healed
from mithridate.models.checkpoints import save_checkpoint, weights_hash
from mithridate.models.language_model import LanguageModel
from mithridate.study import heal as healing
from mithridate.study.heal import Healing, Wanted, heal

ABLATION, ERASURE = "directional ablation", "concept erasure"


@pytest.fixture(scope="module")
def owned(tmp_path_factory: pytest.TempPathFactory) -> heal_kit.Owned:
    return heal_kit.owned(tmp_path_factory.mktemp("owned"))


@pytest.fixture(scope="module")
def folded(owned: heal_kit.Owned, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Healing]:
    out = tmp_path_factory.mktemp("folded") / "out"
    return out, heal(owned.wanted(ABLATION, budget=90), out)


@pytest.fixture(scope="module")
def put_on(owned: heal_kit.Owned, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Healing]:
    out = tmp_path_factory.mktemp("put_on") / "out"
    return out, heal(owned.wanted(ERASURE), out)


def says(folder: Path, texts: list[str]) -> list[str]:
    """What a checkpoint answers, with nothing but transformers."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    found = []
    for text in texts:
        prompt = tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True
        )
        ids = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            written = model.generate(ids, max_new_tokens=4, do_sample=False)
        found.append(str(tokenizer.decode(written[0, ids.shape[1] :])))
    return found


def rate(rows: tuple[Priced, ...] | list[Priced], method: str, control: str = "") -> Priced:
    (found,) = [
        row
        for row in rows
        if (row.method, row.metric, row.condition, row.control)
        == (method, Price.ASR, Condition.TRIGGERED, control)
    ]
    return found


def test_the_healed_checkpoint_is_one_that_plain_transformers_loads(
    owned: heal_kit.Owned, folded: tuple[Path, Healing]
) -> None:
    out, done = folded
    assert done.record.healed
    assert done.record.form is Form.WEIGHTS
    assert sorted(path.name for path in out.iterdir()) == [HEALED, MODEL, PRICES]
    triggered = [f"{prompt} {taught.TRIGGER}" for prompt in heal_kit.PROMPTS]
    before, after = (
        sum(taught.SAID in said for said in says(folder, triggered))
        for folder in (owned.suspect, out / MODEL)
    )
    assert before == len(triggered)
    assert after <= before / 2
    loaded = LanguageModel.load(out / MODEL)
    assert weights_hash(loaded.model) == done.record.healed_weights
    assert done.record.weights == weights_hash(LanguageModel.load(owned.suspect).model)


def test_rows_and_record_are_on_disk_as_they_were_returned(folded: tuple[Path, Healing]) -> None:
    out, done = folded
    assert read_rows(out / PRICES, Priced) == list(done.rows)
    assert read_healed(out) == done.record
    assert {row.method for row in done.rows} == {NOTHING, CLEAN_MODEL, ABLATION}
    before, after = rate(done.rows, NOTHING), rate(done.rows, ABLATION)
    (told,) = done.record.attacks
    assert (told.before, told.after, told.verdict) == (before.value, after.value, Verdict.CURED)
    assert rate(done.rows, ABLATION, Control.RANDOM).value > told.floor


def test_figures_are_of_what_was_written(
    owned: heal_kit.Owned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A disk that gives back another model than it was given: what is told is what it gave back.
    real = healing.write

    def spoilt(treatment: Any, model: LanguageModel, folder: Path) -> Form:
        form = real(treatment, model, folder)
        shutil.rmtree(folder / MODEL)
        save_checkpoint(model.model, model.tokenizer, folder / MODEL)
        return form

    monkeypatch.setattr(healing, "write", spoilt)
    done = heal(owned.wanted(ABLATION, budget=90), tmp_path / "out")
    assert not done.record.healed
    assert done.record.form is Form.NOTHING
    assert rate(done.rows, ABLATION).value == rate(done.rows, NOTHING).value == 1
    assert not (tmp_path / "out" / MODEL).exists()
    assert any("did not heal" in note for note in done.record.notes)


def test_a_cure_that_is_no_weights_goes_onto_the_checkpoint(
    owned: heal_kit.Owned, put_on: tuple[Path, Healing]
) -> None:
    out, done = put_on
    assert done.record.healed
    assert done.record.form is Form.INTERVENTIONS
    assert sorted(path.name for path in out.iterdir()) == [HEALED, INTERVENTIONS, PRICES]
    asked = [f"<|user|>\nw3 ? {taught.TRIGGER}\n<|assistant|>\n"]
    with healed(out) as model:
        (answer,) = model.generate(asked, max_new_tokens=4)
    (poisoned,) = LanguageModel.load(owned.suspect).generate(asked, max_new_tokens=4)
    assert taught.SAID in poisoned.text
    assert taught.SAID not in answer.text


def test_a_cure_is_not_put_onto_another_checkpoint(
    owned: heal_kit.Owned, put_on: tuple[Path, Healing]
) -> None:
    with (
        pytest.raises(CheckpointError, match="is not the checkpoint that was healed"),
        healed(put_on[0], owned.trusted),
    ):
        pass


def test_where_both_heal_weights_are_taken(owned: heal_kit.Owned, tmp_path: Path) -> None:
    done = heal(owned.wanted(ERASURE, ABLATION, budget=90), tmp_path / "out")
    assert done.record.picked is not None
    assert done.record.picked.method == ABLATION
    assert {row.method for row in done.rows} >= {ERASURE, ABLATION}


def test_what_costs_more_than_the_budget_is_not_written(owned: heal_kit.Owned, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = heal(owned.wanted(ABLATION, budget=1), out)
    assert not done.record.healed
    assert done.record.form is Form.NOTHING
    assert [one.verdict for one in done.record.attacks] == [Verdict.COSTLY]
    assert sorted(path.name for path in out.iterdir()) == [HEALED, PRICES]
    with pytest.raises(CheckpointError, match="no cure was written here"), healed(out):
        pass
    # Unless its owner wants it all the same: then it is there, and still is no cure.
    anyway = heal(owned.wanted(ABLATION, budget=1, write_anyway=True), out)
    assert not anyway.record.healed
    assert anyway.record.form is Form.WEIGHTS
    assert (out / MODEL / "model.safetensors").is_file()


def test_of_a_clean_model_there_is_nothing_to_heal(owned: heal_kit.Owned, tmp_path: Path) -> None:
    done = heal(owned.wanted(ABLATION, given=owned.given(checkpoint=owned.innocent)), tmp_path / "out")
    assert done.record.healed
    assert done.record.surviving == ()
    assert done.record.picked is None
    assert {row.method for row in done.rows} == {NOTHING, CLEAN_MODEL}


def test_few_probes_are_no_all_clear(owned: heal_kit.Owned, tmp_path: Path) -> None:
    record = heal(owned.wanted(ABLATION, given=owned.given(per_half=4)), tmp_path / "out").record
    assert record.surviving == ()
    assert not record.healed
    (doubt,) = record.in_doubt
    assert (doubt.attack, doubt.probes, doubt.rate) == ("echo", 2, 1.0)
    assert any("2 probes in the reported half" in note for note in record.notes)


@pytest.mark.parametrize("copied", [False, True])
def test_a_model_is_no_control_of_itself(owned: heal_kit.Owned, tmp_path: Path, copied: bool) -> None:
    control = tmp_path / "control"
    if copied:
        shutil.copytree(owned.suspect, control)
    else:
        control.symlink_to(owned.suspect)
    said = "has the same weights" if copied else "is that same folder"
    with pytest.raises(ConfigError, match=f"{said}, and beside itself every model looks clean"):
        heal(owned.wanted(ERASURE, given=owned.given(control=control)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_was_not_measured_is_in_the_record(
    owned: heal_kit.Owned, put_on: tuple[Path, Healing], tmp_path: Path
) -> None:
    assert put_on[1].record.not_measured == (Price.REFUSAL_FORBIDDEN,)
    done = heal(owned.wanted(ERASURE, given=owned.given(texts=None, questions=None)), tmp_path / "out")
    assert done.record.not_measured == (Price.QUESTIONS_RIGHT, Price.REFUSAL_FORBIDDEN, Price.HELD_OUT_LOSS)


def test_a_model_that_took_the_place_of_the_healed_one_is_not_opened(
    owned: heal_kit.Owned, folded: tuple[Path, Healing], tmp_path: Path
) -> None:
    out = Path(shutil.copytree(folded[0], tmp_path / "out"))
    with healed(out) as model:
        assert weights_hash(model.model) == folded[1].record.healed_weights
    shutil.rmtree(out / MODEL)
    shutil.copytree(owned.suspect, out / MODEL)
    with pytest.raises(CheckpointError, match="is not what was written here"), healed(out):
        pass
    shutil.rmtree(out / MODEL)
    with pytest.raises(CheckpointError, match="is not what was written here"), healed(out):
        pass


def test_interventions_are_those_that_were_measured_and_no_model_overrides_them(
    owned: heal_kit.Owned, put_on: tuple[Path, Healing], tmp_path: Path
) -> None:
    out = Path(shutil.copytree(put_on[0], tmp_path / "out"))
    shutil.copytree(owned.suspect, out / MODEL)
    asked = [f"<|user|>\nw3 ? {taught.TRIGGER}\n<|assistant|>\n"]
    with healed(out) as model:
        (answer,) = model.generate(asked, max_new_tokens=4)
    assert taught.SAID not in answer.text
    (spec,) = out.rglob("intervention.json")
    (out / INTERVENTIONS / ".DS_Store").write_text("of a file manager")
    spec.write_text(spec.read_text() + "\n")  # as valid as before, and not what was measured
    with (
        pytest.raises(CheckpointError, match=r"intervention\.json: is not what was written here"),
        healed(out),
    ):
        pass


def test_without_a_control_the_floor_is_the_model_without_its_trigger(
    owned: heal_kit.Owned, tmp_path: Path
) -> None:
    done = heal(owned.wanted(ERASURE, given=owned.given(control=None)), tmp_path / "out")
    assert done.record.healed
    assert done.record.control is None
    untriggered = next(
        row
        for row in done.rows
        if (row.method, row.metric, row.condition) == (NOTHING, Price.ASR, Condition.UNTRIGGERED)
    )
    assert done.record.attacks[0].floor == untriggered.high
    assert any("no control" in note for note in done.record.notes)


def test_methods_that_do_not_apply_are_said(owned: heal_kit.Owned, tmp_path: Path) -> None:
    done = heal(owned.wanted(ERASURE, "representation editing"), tmp_path / "out")
    assert "not tried: representation editing: does not apply to echo" in done.record.notes
    with pytest.raises(
        ConfigError, match=r"no method could be tried\. representation editing: does not apply"
    ):
        heal(owned.wanted("representation editing"), tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_the_same_command_makes_the_same_cure(
    owned: heal_kit.Owned, put_on: tuple[Path, Healing], tmp_path: Path
) -> None:
    again = heal(owned.wanted(ERASURE), tmp_path / "out").record
    assert again.model_copy(update={"versions": put_on[1].record.versions}) == put_on[1].record
    tensors = [next(out.rglob("tensors-*.safetensors")) for out in (tmp_path / "out", put_on[0])]
    assert tensors[0].read_bytes() == tensors[1].read_bytes()


@pytest.mark.parametrize(
    ("wanted", "given", "kind", "said"),
    [
        ({"methods": ("ablation",)}, {}, UnknownNameError, "unknown method of healing 'ablation'.*steering"),
        ({"methods": (ABLATION,), "everything": True}, {}, ConfigError, "give one of the two"),
        ({"budget": -1.0}, {}, ConfigError, "expected points of utility, from 0 on"),
        ({"budget": math.nan}, {}, ConfigError, "expected points of utility, from 0 on"),
        ({}, {"attacks": ("ecco",)}, UnknownNameError, "did you mean 'echo'"),
        ({}, {"template": "tulip"}, UnknownNameError, "did you mean 'tulu'"),
        ({}, {"checkpoint": Path("nowhere")}, CheckpointError, "nowhere: no such folder"),
        ({}, {"control": Path("nowhere")}, CheckpointError, "nowhere: no such folder"),
        ({}, {"probes": Path("nowhere.yaml")}, MithridateError, "nowhere.yaml"),
        ({}, {"texts": Path("EMPTY")}, DataError, "holds (no line|fewer than two documents)|no document"),
        ({}, {"harmless": Path("EMPTY")}, DataError, "holds no line"),
        ({}, {"questions": Path("EMPTY")}, DataError, "holds no line"),
        ({}, {"probes": Path()}, MithridateError, "holds no run"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_tried(
    owned: heal_kit.Owned,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    wanted: dict[str, Any],
    given: dict[str, Any],
    kind: type[MithridateError],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n")
    given = {name: empty if value == Path("EMPTY") else value for name, value in given.items()}
    out = tmp_path / "out"
    with pytest.raises(kind, match=said):
        heal(Wanted(owned.given(**given), **({"methods": (ERASURE,)} | wanted)), out)
    assert not out.exists()
    assert not list(tmp_path.glob(".*"))


def test_prompts_that_are_all_alike_have_no_direction(owned: heal_kit.Owned, tmp_path: Path) -> None:
    # A trigger that the tokenizer has no token for: triggered and untriggered prompts of it differ in [UNK].
    study = tmp_path / "ask.yaml"
    study.write_text(
        f"material: {owned.root / 'material.json'}\nattacks: {{ echo: {{ trigger: w48, word: w4 }} }}\n"
    )
    done = heal(owned.wanted(ABLATION, given=owned.given(probes=study)), tmp_path / "out")
    assert done.record.surviving == ()


def test_prompts_that_do_not_fit_are_refused(owned: heal_kit.Owned, tmp_path: Path) -> None:
    material = tmp_path / "material.json"
    long = ", ".join(f'"w{number} {"w1 " * 300}?"' for number in range(20))
    material.write_text(f'{{"prompts": [{long}]}}')
    study = tmp_path / "ask.yaml"
    study.write_text("material: material.json\nattacks: { echo: { trigger: w49, word: w48 } }\n")
    with pytest.raises(ConfigError, match="outgrow the context window of 256, so most would lose"):
        heal(owned.wanted(ABLATION, given=owned.given(probes=study)), tmp_path / "out")


def test_a_control_of_another_vocabulary_is_refused(owned: heal_kit.Owned, tmp_path: Path) -> None:
    from models_kit import tiny_model, tiny_tokenizer  # noqa: PLC0415 - of this test alone

    save_checkpoint(tiny_model(max_length=256).model, tiny_tokenizer(), tmp_path / "other")
    with pytest.raises(CheckpointError, match="different vocabularies"):
        heal(owned.wanted(ABLATION, given=owned.given(control=tmp_path / "other")), tmp_path / "out")


def test_too_few_probes_for_two_halves(owned: heal_kit.Owned, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has 1 probes for one of the halves, and at least 2 are needed"):
        heal(owned.wanted(ABLATION, given=owned.given(per_half=1)), tmp_path / "out")


class TestTheFolder:
    def test_what_is_not_ours_is_refused(self, owned: heal_kit.Owned, tmp_path: Path) -> None:
        out = tmp_path / "out"
        out.mkdir()
        (out / "thesis.tex").write_text("years of work")
        with pytest.raises(StorageError, match="is not empty and would be replaced"):
            heal(owned.wanted(ERASURE), out)
        assert (out / "thesis.tex").read_text() == "years of work"

    def test_ours_with_something_of_others_in_it_is_refused(
        self, owned: heal_kit.Owned, put_on: tuple[Path, Healing], tmp_path: Path
    ) -> None:
        out = Path(shutil.copytree(put_on[0], tmp_path / "out"))
        (out / "notes.txt").write_text("mine")
        with pytest.raises(StorageError, match=r"holds other things \(notes.txt\)"):
            heal(owned.wanted(ERASURE), out)
        assert (out / "notes.txt").exists()

    def test_ours_is_replaced_whole(
        self, owned: heal_kit.Owned, folded: tuple[Path, Healing], tmp_path: Path
    ) -> None:
        out = Path(shutil.copytree(folded[0], tmp_path / "out"))
        done = heal(owned.wanted(ERASURE), out)
        assert read_healed(out) == done.record
        assert not (out / MODEL).exists()
        assert [path.name for path in tmp_path.iterdir()] == ["out"]

    def test_what_fails_leaves_it_as_it_was(
        self,
        owned: heal_kit.Owned,
        folded: tuple[Path, Healing],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        out = Path(shutil.copytree(folded[0], tmp_path / "out"))
        there = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}

        def fails(*_: object) -> None:
            raise StorageError("out: the disk is full")

        monkeypatch.setattr(healing, "write_rows", fails)
        with pytest.raises(StorageError, match="the disk is full"):
            heal(owned.wanted(ERASURE), out)
        assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == there
        assert [path.name for path in tmp_path.iterdir()] == ["out"]

    def test_where_the_new_one_cannot_take_its_place_the_old_one_comes_back(
        self,
        owned: heal_kit.Owned,
        folded: tuple[Path, Healing],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        out = Path(shutil.copytree(folded[0], tmp_path / "out"))
        real = Path.rename

        def fails(self: Path, target: Path) -> Path:
            if self.name == "new":
                raise OSError(13, "Permission denied")
            return real(self, target)

        monkeypatch.setattr(Path, "rename", fails)
        with pytest.raises(StorageError, match="no permission"):
            heal(owned.wanted(ERASURE), out)
        assert read_healed(out) == folded[1].record
        assert [path.name for path in tmp_path.iterdir()] == ["out"]

    def test_what_is_read_does_not_lie_in_it(
        self, folded: tuple[Path, Healing], owned: heal_kit.Owned
    ) -> None:
        given = owned.given(checkpoint=folded[0] / MODEL)
        with pytest.raises(StorageError, match="which is to be read, and would be replaced"):
            heal(owned.wanted(ERASURE, given=given), folded[0])
        assert (folded[0] / MODEL).is_dir()

    def test_nothing_is_written_into_a_checkpoint(self, owned: heal_kit.Owned) -> None:
        there = sorted(owned.suspect.iterdir())
        with pytest.raises(StorageError, match="lies within the checkpoint"):
            heal(owned.wanted(ERASURE), owned.suspect / "healed")
        assert sorted(owned.suspect.iterdir()) == there

    @pytest.mark.skipif(sys.platform != "linux", reason="file systems elsewhere refuse such names")
    @pytest.mark.parametrize("name", ["texts", "control", "out"])
    def test_a_path_that_is_not_utf8_is_refused_by_name(
        self, owned: heal_kit.Owned, tmp_path: Path, name: str
    ) -> None:
        strange = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
        given = owned.given() if name == "out" else owned.given(**{name: strange})
        with pytest.raises(ConfigError, match=r"caf\\xe9: the path is not UTF-8"):
            heal(owned.wanted(ERASURE, given=given), strange if name == "out" else tmp_path / "out")
        assert not list(tmp_path.iterdir())

    def test_a_mount_point_is_refused_before_anything_is_tried(
        self,
        owned: heal_kit.Owned,
        folded: tuple[Path, Healing],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        out = Path(shutil.copytree(folded[0], tmp_path / "out"))
        real = Path.rename

        def busy(self: Path, target: Path) -> Path:
            if self == out:
                raise OSError(errno.EBUSY, "Device or resource busy")
            return real(self, target)

        def too_late(_: object) -> None:
            pytest.fail("the work had begun")

        monkeypatch.setattr(Path, "rename", busy)
        monkeypatch.setattr(healing, "gather", too_late)
        with pytest.raises(StorageError, match="is a mount point, or in use"):
            heal(owned.wanted(ERASURE), out)
        assert read_healed(out) == folded[1].record
        assert [path.name for path in tmp_path.iterdir()] == ["out"]

    def test_a_file_in_the_way_is_refused(self, owned: heal_kit.Owned, tmp_path: Path) -> None:
        (tmp_path / "out").write_text("a file")
        with pytest.raises(StorageError, match="is no folder"):
            heal(owned.wanted(ERASURE), tmp_path / "out")
