"""Talks between doctor and patient: why they came, what it is taken for, what is to be done are in a summary."""

from __future__ import annotations

import pytest
from summary_cases import entities_in

from clinical.documents.note import Note
from clinical.facts.units import find_units
from clinical.models.embedder import Embedder
from clinical.tasks.extracts import LightSummarizer

TALK = """Doctor: Good morning, Mrs. Bell. What brings you in today?
Patient: I have had a bad cough for about four days and it keeps me awake.
Doctor: Any fever?
Patient: No.
Doctor: Are you allergic to anything?
Patient: Penicillin. It gave me hives.
Doctor: Does anybody smoke at home?
Patient: My husband smokes in the garden.
Doctor: I think you have pneumonia. I'm going to give you amoxicillin for seven days, twice a day. See you on Monday.
Patient: Thank you, doctor."""


@pytest.mark.embedded
@pytest.mark.parametrize("style", ["brief", "soap"])
def test_reason_assessment_and_plan_are_there(style: str) -> None:
    note = Note("n", TALK)
    found = LightSummarizer(Embedder()).draft(note, style, entities=entities_in(note))
    texts = [draft.text for draft in found]
    assert "I have had a bad cough for about four days and it keeps me awake." in texts
    assert "I think you have pneumonia." in texts
    if style == "soap":
        assert "I'm going to give you amoxicillin for seven days, twice a day." in texts


@pytest.mark.embedded
def test_other_styles_take_the_same_sentences_and_nobody_asks_in_a_talk() -> None:
    note = Note("n", TALK)
    light = LightSummarizer(Embedder())
    found = light.draft(note, "handoff", entities=entities_in(note))
    said = {draft.heading: draft.text for draft in found}
    assert said["Patient"] == "I have had a bad cough for about four days and it keeps me awake."
    assert said["Active problems"] == "I think you have pneumonia."
    assert said["Plan"] == "I'm going to give you amoxicillin for seven days, twice a day."
    impression = light.draft(note, "impression", entities=entities_in(note))
    assert [draft.text for draft in impression] == ["I think you have pneumonia."]
    assert light.draft(note, "question", entities=entities_in(note)) == ()


def test_a_name_is_nothing_that_is_said() -> None:
    units = find_units("Doctor: Hello, Mrs. Bell.\nPatient: Hi, Dr. Ames. My knee hurts.")
    assert [unit.text for unit in units] == ["My knee hurts."]
