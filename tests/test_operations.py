"""What a report on an operation comes to: diagnoses, procedures, who and why; never the steps."""

from __future__ import annotations

import pytest
from summary_cases import HashEmbedder, entities_in

from clinical.documents.note import Note
from clinical.facts.units import find_units
from clinical.tasks.extracts import LightSummarizer
from clinical.tasks.operations import is_operation

LIGHT = LightSummarizer(HashEmbedder())

REPORT = """OPERATIVE REPORT

PREOPERATIVE DIAGNOSIS: Right knee pain.
POSTOPERATIVE DIAGNOSES:
1. Osteoarthritis of the right knee.
2. Loose body.
PROCEDURES PERFORMED: Arthroscopy of the right knee with removal of a loose body, partial synovectomy and debridement of
the medial compartment.
The patient was taken to the operating room.
INDICATIONS: This is a 61-year-old man with knee pain. He failed physiotherapy.
COMPLICATIONS: A small tear of the capsule, repaired.
DESCRIPTION OF PROCEDURE: The knee was prepped and draped. A loose body was removed with forceps. Swelling was mild."""


def drafted(text: str, style: str) -> list[tuple[str | None, str]]:
    note = Note("n", text)
    return [(draft.heading, draft.text) for draft in LIGHT.draft(note, style, entities=entities_in(note))]


def brief(text: str) -> list[str]:
    return [said for _, said in drafted(text, "brief")]


def test_diagnoses_and_procedures_are_whole_and_steps_are_not_there() -> None:
    assert brief(REPORT) == [
        "Osteoarthritis of the right knee.",
        "Loose body.",
        "Arthroscopy of the right knee with removal of a loose body, partial synovectomy and debridement of the"
        " medial compartment.",
        "This is a 61-year-old man with knee pain.",
        "A small tear of the capsule, repaired.",
    ]


@pytest.mark.parametrize("same", ["Same.", "The same.", "As above", "Unchanged."])
def test_the_same_diagnosis_is_the_one_before(same: str) -> None:
    text = f"PREOPERATIVE DIAGNOSIS: Gout.\nPOSTOPERATIVE DIAGNOSIS: {same}\nPROCEDURE: Biopsy.\nCOMPLICATIONS: None."
    assert brief(text) == ["Gout.", "Biopsy."]


def test_an_operation_stands_beside_a_diagnosis_that_it_names() -> None:
    text = "POSTOPERATIVE DIAGNOSIS: Necrotic ulcer of the heel.\nPROCEDURE: Debridement of necrotic ulcer of the heel."
    assert brief(text) == ["Necrotic ulcer of the heel.", "Debridement of necrotic ulcer of the heel."]


def test_a_handoff_and_a_summary_for_the_patient_name_diagnosis_and_operation() -> None:
    text = (
        "PREOPERATIVE DIAGNOSIS: Gout.\nPOSTOPERATIVE DIAGNOSIS: Same.\nPROCEDURE: Biopsy.\n"
        "INDICATIONS: A 45-year-old man with pain. The risks, including sepsis and bleeding, were discussed."
    )
    found = drafted(text, "handoff")
    assert ("Active problems", "Gout.") in found
    assert ("Operation", "Biopsy.") in found
    assert "Same." not in [said for _, said in found]
    assert drafted(text, "patient")[:2] == [("What you had", "Gout."), ("What was done", "Biopsy.")]
    assert sorted(str(name) for name, _ in drafted(text, "problems")) == ["Gout", "pain"]


def test_a_long_history_is_told_only_where_no_diagnosis_stands() -> None:
    history = (
        "This is a 61-year-old man who fell from a ladder in the spring, had two injections and a brace, and comes now "
        "for what we had planned."
    )
    head = f"PROCEDURE: Arthroscopy.\nINDICATIONS: {history}\n"
    assert brief(head + "POSTOPERATIVE DIAGNOSIS: Loose body.") == ["Arthroscopy.", "Loose body."]
    assert brief(head + "FINDINGS: Loose body. Cartilage was worn.") == [
        "Arthroscopy.",
        history,
        "Loose body.",
        "Cartilage was worn.",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("EPIDIDYMECTOMY\n\nOPERATIVE NOTE: The patient was placed supine.", ["EPIDIDYMECTOMY"]),
        ("CIRCUMCISION - CHILD,OPERATIVE NOTE:  ,The child was held.", ["CIRCUMCISION - CHILD"]),
        (
            "OPERATIVE REPORT\nPROCEDURE IN DETAIL: Informed consent was obtained. A cyst was excised.",
            ["A cyst was excised."],
        ),
    ],
)
def test_where_no_heading_names_it_the_title_does_or_the_first_step(text: str, said: list[str]) -> None:
    assert brief(text) == said


def test_a_stay_with_an_operation_in_it_is_none() -> None:
    stay = "ADMISSION DIAGNOSIS: Gout.\nPROCEDURES: Arthroscopy.\nHOSPITAL COURSE: She did well."
    assert not is_operation(find_units(stay))
    assert is_operation(find_units(REPORT))
    assert is_operation(find_units("PROCEDURE: Colonoscopy.\nFINDINGS: A polyp."))
