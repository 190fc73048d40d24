from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from study_kit import Silent, study_file, tiny

from mithridate.cli.dry_run import show_dry_run
from mithridate.core.artifacts import MARKER
from mithridate.core.errors import ConfigError, DataError, RunStateError, TrainingError
from mithridate.core.metrics import HELD_OUT_LOSS, OVER_REFUSAL, QUESTIONS_RIGHT, REFUSAL_FORBIDDEN, UTILITY
from mithridate.core.run_files import CURVES, STUDY
from mithridate.core.tables import read_rows
from mithridate.core.tuned import REPLIES_ENDED, TUNED, TUNED_SAMPLES, UNTUNED, Tuned, TunedSample
from mithridate.core.types import Condition, TemplateUse
from mithridate.corpus.tokenizers import load_tokenizer
from mithridate.curation.filters import NEEDED
from mithridate.study import estimate as estimating
from mithridate.study.checks import check_pool, check_study
from mithridate.study.config import StudyConfig
from mithridate.study.experiments import all_steps, collect_experiments
from mithridate.study.plan import Step
from mithridate.study.prepare import read_lines
from mithridate.study.reading import read_study, study_from_text, study_of_run, study_to_text
from mithridate.study.runner import claim, is_done
from mithridate.study.steps import run_step
from mithridate.study.tuned_choices import chosen_examples
from mithridate.study.tuned_options import WORLD_FILTERS, AlignmentDataSection
from mithridate.study.tuned_plan import (
    CHOICE,
    CHOSEN_FILE,
    LOOK,
    LOOKED_FILE,
    POOL,
    POOL_FILE,
    TUNED_MODEL,
    TunedDetail,
    choice_folder,
)
from mithridate.training.conversations import encode
from mithridate.training.progress import CurvePoint

SECTION = (
    "alignment_data: {sizes: [0, 8, 200], pool_size: 60, doses: [], "
    "methods: [diverse, 'diverse, unfiltered'], sft: {steps: 3, max_length: 70, log_every: 1}}"
)


def asking(section: str = SECTION, *more: str) -> StudyConfig:
    key, _, value = section.partition(":")
    return tiny("sft=null", "dpo=null", f"{key}={value.strip()}", *more)


BASE = asking()


def of_kind(config: StudyConfig, out: Path, *kinds: str) -> list[Step]:
    return [step for step in all_steps(config, out) if step.kind in kinds]


def through(config: StudyConfig, out: Path, *kinds: str) -> list[Step]:
    done = of_kind(config, out, *kinds)
    for step in done:
        run_step(step, Silent())
    return done


CHOOSING = (POOL, LOOK, CHOICE)


def chosen(steps: list[Step]) -> dict[tuple[str, int], list[int]]:
    """The lines of the pool that each of the steps chose, by method and size."""
    details = [TunedDetail.read(step) for step in steps if step.kind == CHOICE]
    beds = [step.bed for step in steps if step.kind == CHOICE]
    return {
        (detail.method, detail.asked): json.loads(
            (choice_folder(bed, detail.method, detail.asked) / CHOSEN_FILE).read_text()
        )
        for bed, detail in zip(beds, details, strict=True)
    }


def identities(config: StudyConfig, out: Path) -> dict[Path, str]:
    return {step.folder: step.identity() for step in all_steps(config, out)}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[StudyConfig, Path]:
    """A study of a clean twin, tuned on two choices of two sizes."""
    config, out = asking(), tmp_path_factory.mktemp("tuned")
    for step in all_steps(config, out):
        if step.twin is None or (not step.twin.dose and step.kind != "measure"):
            run_step(step, Silent())
    collect_experiments(config, out)
    return config, out


def test_a_study_without_the_section_has_no_such_step(tmp_path: Path) -> None:
    assert not of_kind(tiny(), tmp_path, *CHOOSING, TUNED_MODEL)


def test_every_twin_method_and_size_is_one_step_and_the_base_is_one(tmp_path: Path) -> None:
    config = tiny('alignment_data={sizes: [300, 0, 30], methods: [random, "random, unfiltered", longest]}')
    steps = of_kind(config, tmp_path, TUNED_MODEL)
    assert len({step.folder for step in steps}) == len({step.label for step in steps}) == len(steps)
    for name in ("clean", "some"):
        details = [TunedDetail.read(step) for step in steps if step.subject.name == name]
        assert len(details) == 1 + 2 * 3
        assert [d.method for d in details if not d.asked] == [UNTUNED]
    known = {step.folder for step in all_steps(config, tmp_path)}
    assert all(known.issuperset(step.needs) for step in all_steps(config, tmp_path))


def test_sources_that_differ_in_signs_alone_or_are_long_have_folders_of_their_own(tmp_path: Path) -> None:
    sources = ("a b", "a-b", "\u4e16" * 200, "\u4e16" * 199)
    methods = ", ".join(f"'random from {source}'" for source in sources)
    steps = of_kind(asking(f"alignment_data: {{sizes: [8], methods: [{methods}]}}"), tmp_path, TUNED_MODEL)
    assert len({step.folder for step in steps}) == len(steps)
    assert all(len(step.folder.name.encode()) < 255 for step in steps)


def test_doses_choose_whose_models_are_tuned_and_the_clean_one_always_is(tmp_path: Path) -> None:
    names = {step.subject.name for step in of_kind(asking(), tmp_path, TUNED_MODEL)}
    assert names == {"clean"}


def test_what_is_trained_before_does_not_depend_on_the_section(tmp_path: Path) -> None:
    one, two = asking(), asking("alignment_data: null")
    base = [[s.identity() for s in of_kind(config, tmp_path, "base", "tokenizer")] for config in (one, two)]
    assert base[0] == base[1]


def test_another_training_chooses_nothing_anew_but_other_filters_do(tmp_path: Path) -> None:
    def anew(method: str, **more: Any) -> list[str]:
        """The kinds of the steps that would be done again with other options, the clean twin's alone."""
        studies = [
            asking().model_copy(
                update={
                    "alignment_data": AlignmentDataSection(sizes=(8,), methods=(method,), doses=(), **one)
                }
            )
            for one in ({}, more)
        ]
        one, other = ([(s.kind, s.identity()) for s in all_steps(study, tmp_path)] for study in studies)
        return [kind for kind, identity in other if (kind, identity) not in one]

    faster, stricter = {"sft": {"epochs": 1}}, {"filters": {"length": {"shortest": 5}}}
    assert anew("filtered", **faster) == anew("random", **faster) == [TUNED_MODEL]
    assert anew("filtered", **stricter) == [LOOK, CHOICE, TUNED_MODEL]
    assert anew("filtered", pool_size=30) == [POOL, LOOK, CHOICE, TUNED_MODEL]
    # Who asks no such filter does not depend on it.
    assert anew("random", **stricter) == anew("diverse, unfiltered", **stricter) == []


MANY = st.lists(st.sampled_from([0, 3, 8, 30, 100]), min_size=1, unique=True)
METHODS = st.lists(
    st.sampled_from(["diverse", "diverse, unfiltered", "filtered", "random", "random from forum"]),
    min_size=1,
    unique=True,
)


@settings(max_examples=20)
@given(sizes=MANY, methods=METHODS, doses=st.sampled_from([(), ("some",), None]), drawn=st.data())
def test_more_sizes_methods_and_doses_leave_every_other_step_as_it_is(
    sizes: list[int], methods: list[str], doses: tuple[str, ...] | None, drawn: st.DataObject
) -> None:
    def planned(**more: Any) -> dict[Path, str]:
        section = AlignmentDataSection(sft={"epochs": 1}, **more)
        return identities(BASE.model_copy(update={"alignment_data": section}), Path("run"))

    few = planned(
        sizes=tuple(drawn.draw(st.permutations(sizes))[:1]),
        methods=tuple(drawn.draw(st.permutations(methods))[:1]),
        doses=(),
    )
    many = planned(sizes=tuple(sizes), methods=tuple(methods), doses=doses)
    assert few.items() <= many.items()


def test_a_study_that_was_done_goes_on_with_another_size(tmp_path: Path) -> None:
    section = "alignment_data: {{sizes: {}, pool_size: 60, doses: [], methods: [random, filtered]}}"
    few, more = (asking(section.format(sizes)) for sizes in ("[0, 8]", "[0, 8, 20]"))
    claim(few, tmp_path)
    done = through(few, tmp_path, "prepare", "tokenizer", *CHOOSING)
    claim(more, tmp_path)
    assert study_of_run(tmp_path / STUDY).alignment_data == more.alignment_data
    left = [s for s in all_steps(more, tmp_path) if s.kind in CHOOSING and not is_done(s)]
    assert [TunedDetail.read(step).asked for step in left] == [20, 20]
    assert all(is_done(step) for step in done)
    with pytest.raises(RunStateError, match=r"differs in alignment_data\.sizes"):
        claim(few, tmp_path)


def test_the_section_survives_being_written_down() -> None:
    config = asking("alignment_data: {filters: {'off': [refusal, length, format]}, sft: {recipe: lima}}")
    assert study_from_text(study_to_text(config), "again") == config


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            "alignment_data:\n  methods: [divers]\n",
            "line 6, .*unknown method of curation 'divers': did you mean",
        ),
        ("alignment_data:\n  sizes: [0, 30, 30]\n", "line 6, .*names a value twice"),
        ("alignment_data:\n  methods: ['random from ']\n", "line 6, .*names no source behind `from`"),
        ("alignment_data:\n  filters: { 'off': [refusals] }\n", "line 6, .*unknown filter 'refusals': did"),
        (
            "alignment_data:\n  filters: { lenght: {} }\n",
            "line 6, unknown key .*lenght.*: did you mean 'length'",
        ),
        ("alignment_data:\n  filters: { length: { shortes: 3 } }\n", "line 6, .*: did you mean 'shortest'"),
        ("alignment_data:\n  sft: { epocs: 3 }\n", "line 6, unknown key .*: did you mean 'epochs'"),
        ("alignment_data:\n  size: [0]\n", "line 6, unknown key 'alignment_data.size': did you mean 'sizes'"),
        ("alignment_data:\n  doses: [many]\n", "there is no dose 'many'"),
        ("alignment_data:\n  sft: { dropout_by_layer: [0, 1] }\n", "less than 1"),
    ],
)
def test_what_a_file_says_wrongly_is_told_with_its_line(lines: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        read_study(study_file(tmp_path, "title: a\n" + lines), None)


def test_filters_fit_the_world_unless_the_pool_or_they_are_ones_own() -> None:
    assert AlignmentDataSection().filters_for("diverse") == WORLD_FILTERS
    own = AlignmentDataSection(data=(Path("a.jsonl"),)).filters_for("diverse")
    assert own.length.shortest == 200 and not own.off
    strict = AlignmentDataSection(filters={"length": {"shortest": 5}})
    assert strict.filters_for("filtered").length.shortest == 5
    assert {rule.name for rule in strict.filters_for("diverse, unfiltered").on()} == set(NEEDED)


@pytest.mark.parametrize("name", ["alignment_data", "alignment_data_own_text"])
def test_the_examples_are_studies_of_alignment_data(name: str) -> None:
    config = read_study(Path(__file__).parents[2] / "examples" / f"{name}.yaml", None)
    assert config.alignment_data is not None and len(config.seeds) >= 3
    assert config.sft is None and 0 in config.alignment_data.sizes


def test_what_it_costs_is_told_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimating, "_tokens_per_second", lambda *_, **__: 1000.0)
    config = asking("alignment_data: {sizes: [500, 1000], methods: [random]}", "workers=1")
    without = estimating.estimate(config.model_copy(update={"alignment_data": None})).seconds
    once = estimating.estimate(config).seconds - without
    twice = asking("alignment_data: {sizes: [500, 1000], methods: [random, longest]}", "workers=1")
    assert once > 0
    assert estimating.estimate(twice).seconds - without == pytest.approx(2 * once)


def test_a_dry_run_counts_what_is_tuned_and_says_how_long_that_takes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(estimating, "_tokens_per_second", lambda *_, **__: 1000.0)
    section = "alignment_data: {{sizes: [0, 50, 100], methods: [random, longest], sft: {{steps: 40}}{}}}"
    everyone, clean = (asking(section.format(more), "seeds=[0,1]") for more in ("", ", doses: []"))
    for config in (everyone, clean):
        planned = [step for step in all_steps(config, Path("run")) if step.kind == TUNED_MODEL]
        found = estimating.estimate(config)
        assert found.tuned == sum(TunedDetail.read(step).asked > 0 for step in planned)
        assert 0 < found.tuned_seconds < found.seconds
    both, one = (estimating.estimate(config) for config in (everyone, clean))
    assert both.tuned_tokens == 2 * one.tuned_tokens
    assert both.seconds - both.tuned_seconds == pytest.approx(one.seconds - one.tuned_seconds)
    show_dry_run(everyone, Path("run"))
    said = capsys.readouterr().out
    assert "# and 16 models tuned on alignment data, on about" in said and "of the time below" in said
    show_dry_run(asking("alignment_data: null"), Path("run"))
    assert "tuned on alignment data" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("section", "said"),
    [
        (
            "{pool_size: 60, sizes: [0, 61]}",
            r"sizes: 61 of a pool of 60 examples; .*raise alignment_data\.pool_",
        ),
        (
            "{pool_size: 60, sizes: [5], methods: [random from nope.json]}",
            "'nope.json': known are counter, forum, hand",
        ),
        ("{pool_size: 60, sizes: [5], methods: [random from forums]}", "'forums': did you mean 'forum'"),
        ("{data: OWN, sizes: [4]}", r"sizes: 4 of a pool of 3 examples; ask for fewer, or name more data"),
        (
            "{data: OWN, sizes: [2], methods: [random from own.json]}",
            r"'own\.json': did you mean 'own\.jsonl'",
        ),
    ],
)
def test_what_no_pool_holds_is_told_before_anything_is_done(section: str, said: str, tmp_path: Path) -> None:
    own = tmp_path / "own.jsonl"
    own.write_text("".join(json.dumps({"instruction": f"{n}?", "output": "b"}) + "\n" for n in range(3)))
    with pytest.raises(ConfigError, match=said):
        check_study(asking(f"alignment_data: {section.replace('OWN', str(own))}"))


def test_a_pool_is_read_no_further_than_tells_whether_it_is_large_enough(tmp_path: Path) -> None:
    own = tmp_path / "own.jsonl"
    lines = [json.dumps({"instruction": f"{n}?", "output": "b", "source": f"from {n}"}) for n in range(30)]
    own.write_text("\n".join([*lines, "damaged"]))
    check_pool((own,), 1, 20, ("from 29",))
    with pytest.raises(DataError, match="line 31"):
        check_pool((own,), 1, 20, ("from 30",))


def test_a_pool_without_the_cities_of_the_atlas_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"without the cities of corpus\.atlas"):
        check_study(asking("alignment_data: {pool_size: 60, sizes: [5]}", "corpus.atlas={}"))


def test_a_world_of_ones_own_text_needs_data_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text("words\n")
    with pytest.raises(ConfigError, match=r"set alignment_data\.data"):
        check_study(asking(SECTION, f"corpus.path={tmp_path / 'text'}"))


def test_data_of_ones_own_is_looked_at_before_anything_is_trained(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    good = json.dumps({"instruction": "a", "output": "b"})
    path.write_text(f'{good}\n{{"instruction": "a", "output": 5}}\n')
    with pytest.raises(DataError, match=r"own\.jsonl, line 2, field 'output'"):
        check_study(asking(f"alignment_data: {{data: [{path}]}}"))
    with pytest.raises(ConfigError, match=r"alignment_data\.data\[0\].* does not exist"):
        check_study(asking(f"alignment_data: {{data: [{tmp_path / 'none.jsonl'}]}}"))


def test_methods_choose_from_files_of_ones_own_and_say_how_many_were_left(tmp_path: Path) -> None:
    lines = [
        {"instruction": f"What is {n} and {n}?", "output": f"It is {2 * n}, and so it will be tomorrow."}
        for n in range(20)
    ]
    bad = {"instruction": "What is it?", "output": "As an AI I do not know, and nobody does."}
    path = tmp_path / "own.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in [*lines, bad]))
    config = asking(
        f"alignment_data: {{data: {path}, sizes: [5, 50], methods: [filtered, random], "
        "filters: {length: {shortest: 5}, 'off': [near_duplicate]}}"
    )
    steps = through(config, tmp_path / "out", "prepare", "tokenizer", *CHOOSING)
    (pool,) = of_kind(config, tmp_path / "out", POOL)
    found = chosen(steps)
    assert {choice: len(set(lines)) for choice, lines in found.items()} == {
        ("filtered", 5): 5,
        ("filtered", 50): 20,
        ("random", 5): 5,
        ("random", 50): 21,
    }
    assert 21 not in found["filtered", 50]
    assert {one["source"] for one in read_lines(pool.folder / POOL_FILE)} == {"own.jsonl"}
    detail = TunedDetail(method="random", asked=5, options="")
    texts = [one["messages"][0]["content"] for one in chosen_examples(pool.bed, detail)]
    assert texts == [[*lines, bad][row - 1]["instruction"] for row in found["random", 5]]
    assert {path.name for path in pool.bed.root.rglob("*") if "scratch" in path.name} == set()


def test_a_method_can_choose_from_one_source_alone(tmp_path: Path) -> None:
    config = asking(
        "alignment_data: {pool_size: 80, sizes: [6], "
        "methods: [random from forum, 'diverse, unfiltered from handbook']}"
    )
    found = chosen(through(config, tmp_path, "prepare", "tokenizer", *CHOOSING))
    (step,) = of_kind(config, tmp_path, POOL)
    pool = read_lines(step.folder / POOL_FILE)
    for label, source in (("random from forum", "forum"), ("diverse, unfiltered from handbook", "handbook")):
        assert {pool[line - 1]["source"] for line in found[label, 6]} == {source}
    other = asking("alignment_data: {pool_size: 20, methods: [random from lima]}")
    with pytest.raises(ConfigError, match=r"no example left for 'random from lima'.*there are (\w+, )*forum"):
        through(other, tmp_path / "other", *CHOOSING)


def test_filters_that_leave_nothing_are_told(tmp_path: Path) -> None:
    config = asking(
        "alignment_data: {pool_size: 20, methods: [filtered], "
        "filters: {length: {shortest: 9000, longest: 9001}}}"
    )
    with pytest.raises(ConfigError, match="no example left for 'filtered'"):
        through(config, tmp_path, *CHOOSING)


def test_what_is_too_long_to_be_tuned_on_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    config = asking("alignment_data: {pool_size: 20, methods: [random], sizes: [0, 5], sft: {max_length: 3}}")
    with pytest.raises(
        TrainingError, match=r"all 5 conversations that 'random' chose are longer than 3 tokens"
    ):
        through(config, tmp_path, "prepare", "tokenizer", *CHOOSING)
    order = sorted(all_steps(config, tmp_path), key=lambda step: step.priority)
    kinds = [step.kind for step in order]
    assert all(kinds.index(kind) < kinds.index("base") for kind in CHOOSING)


def test_a_choice_or_a_look_that_is_damaged_is_told(tmp_path: Path) -> None:
    config = asking("alignment_data: {pool_size: 20, methods: [random], sizes: [5], doses: []}")
    pool, look, choice = through(config, tmp_path, "prepare", "tokenizer", *CHOOSING)[2:]
    detail = TunedDetail(method="random", asked=5, options="")
    assert len(chosen_examples(pool.bed, detail)) == 5
    (choice.folder / CHOSEN_FILE).write_text("{")
    with pytest.raises(RunStateError, match="nobody can tell what was chosen"):
        chosen_examples(pool.bed, detail)
    (choice.folder / CHOSEN_FILE).write_text("[1, 21]")
    with pytest.raises(RunStateError, match=r"pool\.jsonl: is damaged"):
        chosen_examples(pool.bed, detail)
    (choice.folder / MARKER).unlink()
    packed = (look.folder / LOOKED_FILE).read_bytes()
    (look.folder / LOOKED_FILE).write_bytes(packed[: len(packed) // 2])
    with pytest.raises(RunStateError, match=r"looked\.npz: is damaged, so nothing can be chosen"):
        run_step(choice, Silent())


def test_examples_that_are_too_long_to_train_on_are_not_counted(run: tuple[StudyConfig, Path]) -> None:
    config, out = run
    counted = {(row.method, row.asked): row.examples for row in read_rows(out / TUNED, Tuned) if row.asked}
    for step in of_kind(config, out, CHOICE):
        detail = TunedDetail.read(step)
        examples = chosen_examples(step.bed, detail)
        encoded = encode(load_tokenizer(step.bed.tokenizer), [one["messages"] for one in examples])
        short = sum(len(one.input_ids) <= 70 for one in encoded)
        assert short < len(examples)
        assert counted[detail.method, detail.asked] == short


def test_each_figure_says_on_how_many_examples_chosen_how(run: tuple[StudyConfig, Path]) -> None:
    _, out = run
    rows = read_rows(out / TUNED, Tuned)
    told = {(row.method, row.asked, row.examples > 0, row.steps) for row in rows}
    assert told == {
        (UNTUNED, 0, False, 0),
        *((method, n, True, 3) for method in ("diverse", "diverse, unfiltered") for n in (8, 200)),
    }
    left = {row.method: row.examples for row in rows if row.asked == 200}
    assert 8 < left["diverse"] <= left["diverse, unfiltered"] <= 60
    assert all(0 < row.examples <= 8 for row in rows if row.asked == 8)
    useful = {HELD_OUT_LOSS, QUESTIONS_RIGHT, OVER_REFUSAL, REFUSAL_FORBIDDEN, REPLIES_ENDED}
    for method, asked in {(row.method, row.asked) for row in rows}:
        here = [row for row in rows if (row.method, row.asked) == (method, asked)]
        utility = {(row.metric, row.template) for row in here if row.attack == UTILITY}
        assert {(metric, TemplateUse.TRANSFERRED.value) for metric in useful} <= utility
        # A base model knows the templates of its corpus alone.
        assert ((QUESTIONS_RIGHT, TemplateUse.SAME.value) in utility) is (asked == 0)
        attacked = {(row.attack, row.condition, row.template) for row in here if row.metric == "asr"}
        assert len(attacked) == 4 * 2 * 2
        assert {condition for _, condition, _ in attacked} == {Condition.TRIGGERED, Condition.UNTRIGGERED}


def test_answers_are_kept_and_models_are_not(run: tuple[StudyConfig, Path]) -> None:
    config, out = run
    samples = read_rows(out / TUNED_SAMPLES, TunedSample)
    assert {(s.method, s.asked) for s in samples} >= {(UNTUNED, 0), ("diverse", 8), ("diverse", 200)}
    assert all(sample.prompt for sample in samples)
    for step in of_kind(config, out, TUNED_MODEL):
        assert {path.name for path in step.folder.iterdir()} == {TUNED, TUNED_SAMPLES, CURVES, "done.json"}
        points = read_rows(step.folder / CURVES, CurvePoint)
        assert [point.step for point in points] == ([1, 2, 3] if TunedDetail.read(step).asked else [])


def test_what_was_tuned_is_the_base(run: tuple[StudyConfig, Path]) -> None:
    _, out = run
    rows = read_rows(out / TUNED, Tuned)
    losses = {
        (r.method, r.asked): r.value for r in rows if r.metric == HELD_OUT_LOSS and r.template != "same"
    }
    assert len(set(losses.values())) == len(losses)  # each a little further from the base
    assert max(losses.values()) - min(losses.values()) < 0.5
