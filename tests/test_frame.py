"""What stands around a note: letterhead and greetings are left out, paragraphs after a list are no list."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from summary_cases import HashEmbedder, entities_in

from clinical.documents.note import Note
from clinical.facts.units import find_units
from clinical.tasks.extracts import LightSummarizer
from clinical.tasks.frame import without_frame

LETTER = """Mill Lane Surgery
12 Mill Lane

Dear Dr. Ames,

Re: Mrs. Joan Pell, DOB 02/11/1948

Diagnoses:
1. Gout
2. Asthma

Medications: Allopurinol 100 mg daily

Thank you for referring this 76-year-old woman with pain of the right knee. She has no fever.

In summary, her gout is worse. I have increased allopurinol to 200 mg daily.

Yours sincerely,

P. Lund, MD
cc: patient
"""
LABS = """LABORATORY REPORT
Patient: J. Pell   Collected: 04/02/2025

Sodium       128   mmol/L   135-145   L
Potassium    6.1   mmol/L   3.5-5.1   HH
Glucose      101   mg/dL    70-110
Calcium      8.9   mg/dL    8.5-10.5
Creatinine   3.2   mg/dL    0.6-1.2   H
"""


def drafted(text: str, style: str) -> list[tuple[str | None, str]]:
    note = Note("n", text)
    found = LightSummarizer(HashEmbedder()).draft(note, style, entities=entities_in(note))
    return [(draft.heading, draft.text) for draft in found]


def test_of_a_letter_only_what_is_about_the_patient_is_left() -> None:
    units = without_frame(LETTER, find_units(LETTER))
    assert [(unit.section, unit.text) for unit in units] == [
        ("diagnosis", "Gout"),
        ("diagnosis", "Asthma"),
        ("medications", "Allopurinol 100 mg daily"),
        (None, "Thank you for referring this 76-year-old woman with pain of the right knee."),
        (None, "She has no fever."),
        (None, "In summary, her gout is worse."),
        (None, "I have increased allopurinol to 200 mg daily."),
    ]


def test_a_letter_is_handed_off_with_its_plan_and_its_drugs_alone() -> None:
    found = drafted(LETTER, "handoff")
    assert [text for heading, text in found if heading == "Medications"] == ["Allopurinol 100 mg daily"]
    assert [text for heading, text in found if heading == "Plan"] == [
        "I have increased allopurinol to 200 mg daily."
    ]
    assert ("Assessment", "In summary, her gout is worse.") in drafted(LETTER, "soap")
    assert drafted(LETTER, "question") == []


def test_a_list_of_results_is_what_is_out_of_range() -> None:
    for style in ("brief", "handoff", "problems", "impression", "patient"):
        assert [text.split()[0] for _, text in drafted(LABS, style)] == ["Sodium", "Potassium", "Creatinine"]


def test_the_title_of_a_document_is_no_sentence_of_it() -> None:
    text = "ICU Progress Note, hospital day 2\n\nHe has gout.\nClinic visit was missed."
    assert [unit.text for unit in without_frame(text, find_units(text))] == [
        "He has gout.",
        "Clinic visit was missed.",
    ]


def test_titles_of_the_entries_of_a_chart_are_no_sentences() -> None:
    text = (
        "Test Result Range\n\nHe has gout.\n\nPROGRESS NOTE - hospital day 3\n\nNo fever.\n"
        "The SUMMARY of the letter was lost."
    )
    assert [unit.text for unit in without_frame(text, find_units(text))] == [
        "He has gout.",
        "No fever.",
        "The SUMMARY of the letter was lost.",
    ]


def test_a_sentence_that_follows_the_greeting_in_its_line_is_kept() -> None:
    text = "Dear Dr. Ames, thank you for referring this 76-year-old woman with pain.\nShe has no fever."
    units = without_frame(text, find_units(text))
    assert [unit.text for unit in units] == [
        "thank you for referring this 76-year-old woman with pain.",
        "She has no fever.",
    ]
    assert [text[slice(*unit.spans[0])] for unit in units] == [unit.text for unit in units]


def test_a_note_that_is_nothing_but_its_frame_is_kept() -> None:
    text = "Dear Dr. Ames,\nYours sincerely,"
    assert without_frame(text, find_units(text)) == find_units(text)


@settings(deadline=None)
@given(st.text(max_size=200) | st.text("dear re: \n.I", max_size=120))
def test_of_any_text_something_is_left(text: str) -> None:
    units = find_units(text)
    left = without_frame(text, units)
    assert {unit.end for unit in left} <= {unit.end for unit in units}
    assert bool(left) == bool(units)
