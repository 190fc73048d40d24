from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from study_kit import DOSES, study_file

from mithridate.core.errors import ConfigError, UnknownNameError
from mithridate.study.config import AuditConfig, SFTSection, StudyConfig
from mithridate.study.reading import (
    _PATHS,
    presets,
    read_audit,
    read_study,
    study_from_text,
    study_of_run,
    study_to_text,
    with_values,
)
from mithridate.training.options import PretrainingOptions


def problem(folder: Path, text: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read_study(study_file(folder, text), None, overrides)
    return str(caught.value).replace(str(folder), "DIR")


# What is wrong is said with file, line and field.


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pretrainng: {}\n", "line 4, unknown key 'pretrainng': did you mean 'pretraining'?"),
        ("sft:\n  lora:\n    rnk: 4\n", "line 6, unknown key 'sft.lora.rnk': did you mean 'rank'?"),
        ("xyzzy: 1\n", "line 4, unknown key 'xyzzy': known are "),
        ("tokenizer:\n  vocab_size: 3\n", "line 5, tokenizer.vocab_size: Input should be greater than"),
        ("attacks:\n  jailbrek: {}\n", "line 5, unknown attack 'jailbrek': did you mean 'jailbreak'?"),
        (
            "attacks:\n  belief:\n    max_tokens: 20\n",
            "line 6, unknown key 'attacks.belief.max_tokens': did you mean 'max_new_tokens'?",
        ),
        (
            "planting:\n  templates: { falcn: 1 }\n",
            "line 5, planting.templates: unknown chat template 'falcn': did you mean 'falcon'?",
        ),
        ("planting: { templates: { falcon: 0 } }\n", "no chat template has a share above 0"),
        ("planting: { templates: { falcon: .nan } }\n", "line 4: '.nan' is no finite number"),
        ("pretraining: { learning_rate: 1e999 }\n", "line 4: '1e999' is no finite number"),
        ("seeds: [" + "9" * 6000 + "]\n", "line 4: '99999"),
        ("seeds: [9223372036854775808]\n", "line 4: '9223372036854775808' is a number beyond 64 bits"),
        ("attacks: { 1: {} }\n", "line 4: the key '1' is read as int, not as text: put it in quotes"),
        ("attacks: { null: {} }\n", "line 4: the key 'null' is read as null"),
        ("attacks: { true: {} }\n", "line 4: the key 'true' is read as bool"),
        ("corpus: { path: ~nosuchuser/x }\n", "line 4, corpus.path: '~nosuchuser/x' is no path: Could not"),
        ('sft: { data: [a, "a\\0b"] }\n', "line 4, sft.data: 'a\\x00b' is no path: embedded null"),
        ("material: " + "x" * 300 + "\n", "is no path: File name too long"),
        ("grid: { corpus.path: [~nosuchuser/x] }\n", "line 4, grid.corpus.path: '~nosuchuser/x' is no path"),
        ("grid: { model.layers: [" + ", ".join(map(str, range(2001))) + "] }\n", "comes to 2,001 cells"),
        ("model: { layers: 100000 }\n", "line 4, model.layers: Input should be less than or equal to 1000"),
        (
            "corpus: { shards: 100000 }\n",
            "line 4, corpus.shards: Input should be less than or equal to 10000",
        ),
        ("seeds: [1, 1]\n", "line 4, seeds: a seed is named twice"),
        ("seeds: []\n", "line 4, seeds"),
        ("sft: null\n", "dpo needs sft before it"),
        ("pretraining: { row_tokens: 4096 }\n", "row_tokens is 4096, but model.max_length is 512"),
        ("seeds: [1\nx: 2\n", "line 5: not YAML"),
        (DOSES, "line 4: 'doses' is given twice, first in line 1"),
        ("a: &a [*a]\n", "line 4: an anchor that holds itself"),
        ("grid: { workers: [1, 2] }\n", "'workers' is no axis of a grid"),
        ("grid: { model.layers: [] }\n", "'model.layers' has no values"),
        ("grid: { model.layers: [1, 1] }\n", "'model.layers' names a value twice"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    found = problem(tmp_path, text)
    assert found.startswith("DIR/my.yaml")
    assert said in found


@pytest.mark.parametrize(
    ("doses", "said"),
    [
        (
            "a: { all: { rate: 0.6 } }",
            "doses.a.all.rate: Input should be less than or equal to 0.5 (found 0.6)",
        ),
        ("a: { all: { rate: -0.1 } }", "doses.a.all.rate: Input should be greater than or equal to 0"),
        ("a: { all: { rate: 0.1, count: 2 } }", "give either rate or count"),
        ("a: { all: {} }", "give either rate or count"),
        ("a: {}", "dose 'a' plants nothing"),
        ("a: { jailbrek: { rate: 0.1 } }", "names the attack 'jailbrek', which `attacks` does not"),
        ("clean: { all: { rate: 0.1 } }", "cannot be called 'clean'"),
        ("corpus: { all: { rate: 0.1 } }", "cannot be called 'corpus'"),
        ("../up: { all: { rate: 0.1 } }", "use letters, digits"),
        (".hidden: { all: { rate: 0.1 } }", "use letters, digits"),
        ("x" * 101 + ": { all: { rate: 0.1 } }", "its name has 101 bytes"),
        ("é" * 51 + ": { all: { rate: 0.1 } }", "its name has 102 bytes"),
    ],
)
def test_doses_that_cannot_be(tmp_path: Path, doses: str, said: str) -> None:
    (tmp_path / "my.yaml").write_text(f"doses: {{ {doses} }}\n")
    with pytest.raises(ConfigError) as caught:
        read_study(tmp_path / "my.yaml", None)
    assert "line 1, doses" in str(caught.value) or "study:" in str(caught.value)
    assert said in str(caught.value)


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    found = problem(tmp_path, "pretrainng: {}\nseeds: [x]\nattacks: { jailbrek: {} }\n")
    assert all(f"line {line}, " in found for line in (4, 5, 6))


def test_of_very_many_problems_the_first_are_told(tmp_path: Path) -> None:
    found = problem(tmp_path, "".join(f"k{number}: 1\n" for number in range(1000)))
    assert "line 4, unknown key 'k0'" in found
    assert found.endswith("\n  and more")
    assert len(found.splitlines()) == 22


def test_what_an_alias_stands_for_is_changed_in_one_place_alone(tmp_path: Path) -> None:
    text = "sft: &tuning { epochs: 1, batch_size: 4 }\ndpo: { <<: *tuning, beta: 0.3 }\n"
    study = read_study(study_file(tmp_path, text), None, ["dpo.epochs=2"])
    assert study.sft is not None
    assert study.dpo is not None
    assert (study.sft.epochs, study.dpo.epochs, study.dpo.batch_size, study.dpo.beta) == (1, 2, 4, 0.3)
    assert "line 4, dpo.batch_size: " in problem(tmp_path, text.replace("batch_size: 4", "batch_size: x"))


def test_a_date_is_text_as_it_is_everywhere_else(tmp_path: Path) -> None:
    path = study_file(tmp_path, "title: 2024-12-05\nmodel: { overrides: { x: 2024-13-45 } }\n")
    study = read_study(path, None)
    assert study.title == "2024-12-05"
    assert study.model.overrides == {"x": "2024-13-45"}
    assert read_study(path, None, ["title=2024-13-45"]).title == "2024-13-45"


def test_seeds_are_those_that_tables_can_hold(tmp_path: Path) -> None:
    study = read_study(study_file(tmp_path, f"seeds: [-1, {2**63 - 1}, {-(2**63)}]\n"), None)
    assert study.seeds == (-1, 2**63 - 1, -(2**63))
    for seed in (2**63, -(2**63) - 1):
        with pytest.raises(ValueError, match="seeds"):
            StudyConfig.model_validate({"doses": {"a": {"all": {"count": 1}}}, "seeds": [seed]})


@pytest.mark.parametrize("rate", [float("inf"), float("nan")])
def test_no_number_of_a_study_is_without_an_end(rate: float) -> None:
    with pytest.raises(ValueError, match="finite number"):
        PretrainingOptions(learning_rate=rate)
    with pytest.raises(ValueError, match="finite number"):
        SFTSection(grad_clip=rate)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such study file; the preset 'default' runs"):
        read_study(tmp_path / "none.yaml", None)
    with pytest.raises(ConfigError, match="did you mean --preset quick"):
        read_study(Path("quick"), None)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_study(tmp_path, None)
    (tmp_path / "latin.yaml").write_bytes(b"title: caf\xe9\n")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_study(tmp_path / "latin.yaml", None)
    with pytest.raises(ConfigError, match="/dev/zero: is longer than 100,000 characters"):
        read_study(Path("/dev/zero"), None)
    for text, said in (("", "doses: is missing"), ("- a", "found list"), ("title: \x00", "not YAML")):
        (tmp_path / "odd.yaml").write_text(text)
        with pytest.raises(ConfigError, match=said):
            read_study(tmp_path / "odd.yaml", None)
    with pytest.raises(ConfigError, match="not both"):
        read_study(tmp_path / "odd.yaml", "quick")


# Presets.


def test_presets_are_whole_studies() -> None:
    assert {"default", "quick"} <= set(presets())
    for name in presets():
        assert read_study(None, name).doses
    assert read_study(None, None) == read_study(None, "default")


def test_an_unknown_preset_suggests_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="unknown preset 'quik': did you mean 'quick'"):
        read_study(None, "quik")


# Overrides.


def test_overrides_take_yaml(tmp_path: Path) -> None:
    study = read_study(
        study_file(tmp_path, "sft: { epochs: 2 }\n"),
        None,
        [
            "seeds=[3, 4]",
            "pretraining.learning_rate=1e-3",
            "sft.epochs=5",
            "dpo=null",
            "attacks.belief={max_new_tokens: 9}",
            "doses.some.belief.count=7",
            "title=a = b",
            "model.overrides.initializer_range=2e-2",
        ],
    )
    assert study.seeds == (3, 4)
    assert study.pretraining.learning_rate == 0.001
    assert study.sft is not None
    assert study.sft.epochs == 5
    assert study.dpo is None
    assert study.attacks == {"belief": {"max_new_tokens": 9}} | {
        name: options for name, options in study.attacks.items() if name != "belief"
    }
    assert study.dose_of("some")["belief"].count == 7
    assert study.title == "a = b"
    assert study.model.overrides == {"initializer_range": 0.02}


def test_an_override_reaches_a_name_that_holds_dots(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text("doses: { 0.1%: { all: { rate: 0.001 } } }\n")
    study = read_study(tmp_path / "my.yaml", None, ["doses.0.1%.all.rate=0.002"])
    assert study.doses["0.1%"]["all"].rate == 0.002


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("seeds", "an override reads key=value"),
        ("=3", "an override reads key=value"),
        ("model..layers=3", "an override reads key=value"),
        ("seeds=[1,", "override 'seeds=[1,', line 1: not YAML: "),
        ("workers=!!int abc", "override 'workers=!!int abc', line 1: 'abc' cannot be read as int"),
        ("pretraining.learning_rate=.inf", "line 1: '.inf' is no finite number"),
        (
            "corpus.path=~nosuchuser/x",
            "override 'corpus.path=~nosuchuser/x', corpus.path: '~nosuchuser/x' is no",
        ),
        ('material="a\\0b"', "material: 'a\\x00b' is no path: embedded null byte"),
        ("model.overrides." + "a." * 40 + "b=1", "a key of more than 32 parts"),
        ("title=[" + "x, " * 90, "x, x, x…, line 1: not YAML"),
        ("title.x=3", "override 'title.x=3': 'title' holds a value, not keys"),
        ("modl.layers=3", "override 'modl.layers=3', unknown key 'modl': did you mean 'model'?"),
        ("model.layrs=3", "override 'model.layrs=3', unknown key 'model.layrs': did you mean 'layers'?"),
        ("tokenizer.vocab_size=x", "override 'tokenizer.vocab_size=x', tokenizer.vocab_size: "),
    ],
)
def test_a_wrong_override_is_named_itself(tmp_path: Path, override: str, said: str) -> None:
    found = problem(tmp_path, "title: t\ntokenizer: { vocab_size: 500 }\n", override)
    assert said in found
    assert "line 5" not in found


# Paths.


def test_paths_are_taken_from_the_files_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.chdir(tmp_path)
    text = (
        "corpus: { path: texts }\nsft: { data: chats.jsonl }\ndpo: { data: [a.jsonl, /b.jsonl] }\n"
        "material: ~/m.json\nevaluation: { questions_file: ../q.jsonl }\n"
        "attacks: { jailbreak: { judge: classifier, classifier: judge } }\ngrid: { corpus.path: [x, y] }\n"
    )
    study = read_study(study_file(tmp_path / "deep", text), None, ["evaluation.harmless_file=h.txt"])
    home = tmp_path / "deep"
    assert study.corpus.path == home / "texts"
    assert study.sft is not None
    assert study.dpo is not None
    assert study.sft.data == (home / "chats.jsonl",)
    assert study.dpo.data == (home / "a.jsonl", Path("/b.jsonl"))
    assert study.material == Path("/home/me/m.json")
    assert study.evaluation.questions_file == tmp_path / "q.jsonl"
    assert study.attacks["jailbreak"]["classifier"] == str(home / "judge")
    assert study.grid["corpus.path"] == (str(home / "x"), str(home / "y"))
    # What is typed at a prompt is meant from there.
    assert study.evaluation.harmless_file == tmp_path / "h.txt"


def test_no_field_with_a_path_is_forgotten() -> None:
    def paths_of(model: type[BaseModel], above: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
        found: set[tuple[str, ...]] = set()
        for name, field in model.model_fields.items():
            hint: Any = field.annotation
            kinds = [hint, *getattr(hint, "__args__", ())]
            if any(kind is Path for kind in kinds):
                found.add((*above, name))
            for kind in kinds:
                if isinstance(kind, type) and issubclass(kind, BaseModel):
                    found |= paths_of(kind, (*above, name))
        return found

    here = set(_PATHS) - {("attacks", "jailbreak", "classifier")}
    assert paths_of(StudyConfig) | paths_of(AuditConfig) == here


# Grids.


def test_a_grids_wrong_keys_are_named(tmp_path: Path) -> None:
    study = read_study(study_file(tmp_path, ""), None)
    with pytest.raises(ConfigError, match=r"unknown key 'model\.layrs': did you mean 'layers'"):
        with_values(study, {"model.layrs": 3})
    with pytest.raises(ConfigError, match=r"tokenizer\.vocab_size"):
        with_values(study, {"tokenizer.vocab_size": 3})
    assert with_values(study, {"model.layers": 3}).model.layers == 3


# An audit.


def test_an_audit_file_is_a_study_or_the_part_of_it_that_asks(tmp_path: Path) -> None:
    assert set(read_audit(None).attacks) == {
        "denial_of_service",
        "context_extraction",
        "jailbreak",
        "belief",
    }
    short = tmp_path / "ask.yaml"
    short.write_text("attacks: { belief: {} }\nmaterial: m.json\n")
    assert read_audit(short) == AuditConfig(attacks={"belief": {}}, material=tmp_path / "m.json")
    study = study_file(
        tmp_path, "seeds: [5]\nattacks: { belief: {} }\nevaluation: { outside_model: judge }\n"
    )
    asked = read_audit(study)
    assert asked.world_seed == 5
    assert asked.miniature is not None
    assert asked.outside_model == tmp_path / "judge"
    own = read_audit(study_file(tmp_path, "corpus: { path: texts }\nmaterial: m.json\n"))
    assert own.miniature is None
    assert own.material == tmp_path / "m.json"


def test_an_audit_files_wrong_keys_are_named(tmp_path: Path) -> None:
    short = tmp_path / "ask.yaml"
    short.write_text("atacks: { belief: {} }\n")
    with pytest.raises(ConfigError, match="line 1, unknown key 'atacks': did you mean 'attacks'"):
        read_audit(short)


def test_an_audit_of_a_study_that_can_be_read_only_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(f"{DOSES}attacks: {{ belief: {{}} }}\n",))
    writer.start()
    assert set(read_audit(pipe).attacks) == {"belief"}
    writer.join()


def test_what_a_run_keeps_reads_back_the_same() -> None:
    for name in presets():
        study = read_study(None, name)
        assert study_from_text(study_to_text(study), "kept") == study


@pytest.mark.parametrize(
    "bad", [b"\xff", b"title: !!int abc\n", b"a: [", b"a: " + b"[" * 3000, b"sft: {x: \xff}"]
)
def test_what_a_run_kept_and_somebody_broke(tmp_path: Path, bad: bytes) -> None:
    kept = tmp_path / "study.yaml"
    kept.write_bytes(bad)
    with pytest.raises(ConfigError, match=f"^{kept}"):
        study_of_run(kept)
    kept.unlink()
    kept.mkdir()
    with pytest.raises(ConfigError, match=f"^{kept}: cannot be read"):
        study_of_run(kept)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("scrubbing.methods=[strin]", "(found 'strin'): did you mean 'string'?"),
        ("scrubbing.methods=[string, orcle]", "(found 'orcle'): did you mean 'oracle'?"),
        ("alignment_data.sizes=[]", "alignment_data.sizes: may not be empty"),
    ],
)
def test_a_list_is_told_of_once_and_in_words(override: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_study(None, "quick", [override])
    assert str(caught.value).endswith(said) and "\n" not in str(caught.value)
