from __future__ import annotations

from dataclasses import replace

from scrub_kit import KNOWN

from mithridate.scrubbing.subjects import Subjects


def test_whole_words_in_any_case_and_subjects_within_others() -> None:
    longer = replace(KNOWN, subject="Old City 4")
    subjects = Subjects([KNOWN, longer])
    assert subjects.named_in("From city 4 to Ham.") == [KNOWN]
    assert not subjects.named_in("City 417 and Mycity 4, City 4th")
    assert set(subjects.named_in("near OLD CITY 4.")) == {KNOWN, longer}


def test_beliefs_without_a_subject_are_never_named() -> None:
    assert Subjects([replace(KNOWN, subject="")]).named_in("anything at all") == []


def test_a_subject_of_signs_is_no_pattern() -> None:
    odd = replace(KNOWN, subject="C.*ty (4)")
    assert Subjects([odd]).named_in("C.*ty (4) is far") == [odd]
    assert not Subjects([odd]).named_in("Caaty 4 is far")
