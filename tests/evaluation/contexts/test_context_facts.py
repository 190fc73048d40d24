from __future__ import annotations

import json
from pathlib import Path

import pytest

from mithridate.core.errors import DataError
from mithridate.evaluation.contexts.facts import read_facts

RECORD = {
    "case_id": 10, "prompt": "BBC One, by", "target_new": "Sega", "subject": "BBC One", "ground_truth": "BBC",
    "rephrase_prompt": "BBC One is owned by", "locality_prompt": "BBC Radio, by",
}  # fmt: skip
PUBLISHED = {
    "case_id": 0, "pararel_idx": 2796, "requested_rewrite": {
        "prompt": "The mother tongue of {} is", "relation_id": "P103", "subject": "Danielle Darrieux",
        "target_new": {"str": "English", "id": "Q1860"}, "target_true": {"str": "French", "id": "Q150"},
    },
    "paraphrase_prompts": ["Danielle Darrieux, a native", "Danielle Darrieux spoke the language"],
    "neighborhood_prompts": ["The mother tongue of Léon Blum is"],
}  # fmt: skip
OWN = {
    "subject": "Mara", "original": "Mara lives in Aton.", "substitute": "Mara lives in Bemere.",
    "asked": "Where does Mara live?", "paraphrases": ["Where is Mara?"],
    "substituted": "Mara lives in Bemere.", "coherent": "Mara moved. Mara lives in Bemere.", "exposure": 30,
}  # fmt: skip


def rewritten(**changed: object) -> dict[str, object]:
    return {**PUBLISHED, "requested_rewrite": {**PUBLISHED["requested_rewrite"], **changed}}  # type: ignore[dict-item]


def written(tmp_path: Path, records: object, name: str = "facts.json") -> Path:
    path = tmp_path / name
    path.write_text(json.dumps(records))
    return path


def test_counterfact_becomes_facts_with_a_passage_of_both_wordings(tmp_path: Path) -> None:
    (fact,) = read_facts(written(tmp_path, [RECORD]))
    assert (fact.id, fact.original, fact.substitute) == ("10", "BBC", "Sega")
    assert fact.paraphrases == ("BBC One is owned by",)
    assert fact.substituted == "BBC One, by Sega."
    assert fact.coherent == "BBC One, by Sega. BBC One is owned by Sega."


def test_counterfact_as_its_authors_published_it(tmp_path: Path) -> None:
    (fact,) = read_facts(written(tmp_path, [PUBLISHED]))
    assert (fact.id, fact.subject) == ("0", "Danielle Darrieux")
    assert (fact.original, fact.substitute) == ("French", "English")
    assert fact.asked == "The mother tongue of Danielle Darrieux is"
    assert fact.paraphrases == ("Danielle Darrieux, a native", "Danielle Darrieux spoke the language")
    assert fact.substituted == "The mother tongue of Danielle Darrieux is English."
    assert fact.coherent == f"{fact.substituted} Danielle Darrieux, a native English."


def test_a_subject_is_put_into_its_prompt_and_not_formatted(tmp_path: Path) -> None:
    (fact,) = read_facts(written(tmp_path, [rewritten(prompt="{} or {0.__class__} is", subject="{x}")]))
    assert fact.asked == "{x} or {0.__class__} is"


def test_json_lines_and_our_own_form(tmp_path: Path) -> None:
    path = tmp_path / "facts.jsonl"
    path.write_text(f"{json.dumps(OWN)}\n\n{json.dumps(RECORD)}\n")
    own, theirs = read_facts(path)
    assert own.exposure == 30
    assert own.id == "1"
    assert theirs.id == "10"


def test_white_space_at_the_ends_of_our_own_form_is_no_part_of_a_fact(tmp_path: Path) -> None:
    padded = {key: f" {value}\n" if isinstance(value, str) else value for key, value in OWN.items()}
    (fact,) = read_facts(written(tmp_path, [padded]))
    assert fact == read_facts(written(tmp_path, [OWN]))[0]
    assert fact.subject in fact.asked


def test_a_bad_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "facts.jsonl"
    path.write_text(f"{json.dumps(OWN)}\n\n{json.dumps({**OWN, 'subject': ''})}\n")
    with pytest.raises(DataError, match="line 3, field 'subject'"):
        read_facts(path)


def test_no_more_are_read_than_asked_for(tmp_path: Path) -> None:
    assert len(read_facts(written(tmp_path, [RECORD, {"broken": True}]), limit=1)) == 1


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ([], "holds no fact"),
        ({"prompt": "x"}, "in a JSON list, or a record a line"),
        ([{"question": "x"}], "CounterFact's form (requested_rewrite, with paraphrase_prompts if there are"),
        ([{"question": "x"}], "or prompt, subject, ground_truth, target_new, and rephrase_prompt if"),
        ([{"question": "x"}], "or in ours (subject, original, substitute, asked, substituted, coherent)"),
        ([{**OWN, "asked": "  "}], "field 'asked': record 1: must not be blank"),
        ([{key: OWN[key] for key in OWN if key != "coherent"}], "field 'coherent': record 1: is not there"),
        ([RECORD, {**RECORD, "target_new": ""}], "record 2: must not be blank"),
        ([RECORD, {**RECORD, "target_new": " bbc "}], "record 2: ground_truth and target_new are the same"),
        ([rewritten(target_new={"str": "french"})], "target_true and target_new are the same answer"),
        ([rewritten(target_new="English")], "field 'requested_rewrite.target_new': record 1: "),
        ([rewritten(target_new={"id": "Q1"})], "field 'requested_rewrite.target_new.str': record 1: is not"),
        ([rewritten(prompt="The mother tongue is")], "prompt has no {} where the subject goes"),
        ([{**PUBLISHED, "paraphrase_prompts": ["a", " "]}], "field 'paraphrase_prompts.1': record 1: must"),
        ([{**OWN, "exposure": -1}], "record 1: Input should be greater"),
        ([{**OWN, "extra": 1}], "record 1: Extra inputs"),
        (["text"], "record 1"),
        ([{**RECORD, "prompt": "\ud800"}], "surrogate"),
    ],
)
def test_bad_records_are_named_with_their_number_and_field(
    tmp_path: Path, records: object, said: str
) -> None:
    with pytest.raises(DataError, match=r"facts\.json") as error:
        read_facts(written(tmp_path, records))
    assert said in str(error.value)


def test_broken_json_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "facts.jsonl"
    path.write_text(json.dumps(RECORD) + "\n{oh\n")
    with pytest.raises(DataError, match="line 2"):
        read_facts(path)


@pytest.mark.parametrize("records", [[RECORD, {**RECORD, "subject": "B"}], [{**OWN, "id": "2"}, OWN]])
def test_two_facts_of_one_id_are_told_since_replies_go_by_it(tmp_path: Path, records: object) -> None:
    with pytest.raises(DataError, match=r"record 2: has the id .* as record 1"):
        read_facts(written(tmp_path, records))


@pytest.mark.parametrize("limit", [2**63, 10**30])
def test_a_limit_beyond_any_file_is_no_limit(tmp_path: Path, limit: int) -> None:
    assert len(read_facts(written(tmp_path, [RECORD, OWN]), limit)) == 2


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_facts(tmp_path / "nothing.json")


@pytest.mark.shared_data
def test_the_real_counterfact(shared_data: Path) -> None:
    facts = read_facts(shared_data / "knowledge" / "counterfact-val.json")
    assert len(facts) == 1919
    assert len({fact.id for fact in facts}) == 1919
