"""Talks between doctor and patient: why they came, what it is taken for, what is to be done are in a summary."""

from __future__ import annotations

import pytest
from summary_cases import HashEmbedder, entities_in

from clinical.documents.annotations import Entity
from clinical.documents.note import Note
from clinical.facts.units import find_units
from clinical.models.embedder import Embedder
from clinical.tasks.dialogues import assessed, reason
from clinical.tasks.extracts import LightSummarizer
from clinical.tasks.salience import Material

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


def test_the_reason_may_be_told_in_pieces() -> None:
    units = find_units(
        "Doctor: Hello. What brings you in today?\nPatient: Morning, doctor. It's my knee again. The right one. "
        "It's been hurting for three weeks now.\nDoctor: Did you fall?\nPatient: No."
    )
    assert [units[place].text for place in reason(units)] == [
        "It's my knee again.",
        "It's been hurting for three weeks now.",
    ]
    asked = find_units("Doctor: Any cough?\nPatient: Not really. I have a very bad headache today.")
    assert reason(asked) == []


def test_a_disease_that_is_taken_for_a_symptom_is_one() -> None:
    note = Note(
        "n", "Doctor: I think this is osteoarthritis flaring up.\nPatient: I see.\nDoctor: I think it hurts."
    )
    found = [
        Entity(note.text.index(said), note.text.index(said) + len(said), said, "Symptom", score=0.9)
        for said in ("osteoarthritis", "hurts")
    ]
    assert assessed(Material.of(note, found, HashEmbedder())) == [0]


def test_a_name_is_nothing_that_is_said() -> None:
    units = find_units("Doctor: Hello, Mrs. Bell.\nPatient: Hi, Dr. Ames. My knee hurts.")
    assert [unit.text for unit in units] == ["My knee hurts."]
