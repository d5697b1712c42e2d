"""What a question of a dialogue names is asserted by its answer. «…» marks the finding."""

from __future__ import annotations

import pytest

from clinical.documents.annotations import Entity
from clinical.facts.assertion import assess
from clinical.facts.replies import assert_answers
from clinical.facts.units import find_units


@pytest.mark.parametrize(
    ("asked", "answer", "expected"),
    [
        ("Any «fever»?", "No, no fever.", ("negated", "No, no fever.")),
        ("Any «fever»?", "Yes, since Monday.", ("present", "Yes, since Monday.")),
        ("Any «swelling»?", "A little, in the evenings.", ("present", "A little, in the evenings.")),
        ("Does it «lock»?", "Ow.", ("hypothetical", None)),
        ("How long have you had the «pain»?", "Three weeks.", ("present", None)),
        ("Any «diabetes» in the family?", "Yes.", ("family", "in the family")),
        ("Any «diabetes» in the family?", "My brother has it.", ("family", "in the family")),
        ("Any «diabetes» in the family?", "No.", ("negated", "No.")),
    ],
)
def test_an_answer_asserts_what_was_asked(asked: str, answer: str, expected: tuple[str, str | None]) -> None:
    marked = f"Doctor: {asked}\nPatient: {answer}\nDoctor: I see.\nPatient: Thank you.\n"
    start, end = marked.index("«"), marked.index("»") - 1
    text = marked.replace("«", "").replace("»", "")
    (entity,) = assess(text, [Entity(start, end, text[start:end], "Symptom")], ())
    (answered,) = assert_answers(text, [entity], find_units(text))
    assert answered.assertion is not None
    cue = answered.assertion.cue
    assert (answered.assertion.status, cue and cue.text) == expected
    assert cue is None or text[cue.start : cue.end] == cue.text
    # A second time changes nothing.
    assert assert_answers(text, [answered], find_units(text)) == [answered]
