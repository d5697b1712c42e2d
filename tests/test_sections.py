"""Sections: which lines are headings, what they are called, and offsets that always hold."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clinical.documents.sections import Section, find_sections, section_at


def outline(text: str) -> list[tuple[str | None, str]]:
    """The name of each section and the text below its heading."""
    return [(section.name, text[section.body_start : section.end].strip()) for section in find_sections(text)]


def test_a_section_says_where_its_heading_and_its_text_are() -> None:
    text = "Jane Roe\n\n2. PAST MEDICAL HISTORY:  Asthma.\r\nPlan\nRest.\n"
    assert find_sections(text) == (
        Section(name=None, title="", start=0, end=10, body_start=0),
        Section(name="past_medical_history", title="PAST MEDICAL HISTORY", start=10, end=45, body_start=36),
        Section(name="plan", title="Plan", start=45, end=56, body_start=50),
    )


@pytest.mark.parametrize(
    "text", ["All of this\nwas said.", "All\nis well.", "PMH\nALL: 2010", "Seen. All: well."]
)
def test_all_is_seldom_a_heading(text: str) -> None:
    assert "allergies" not in {section.name for section in find_sections(text)}


def test_a_result_in_passing_opens_no_section_in_the_course() -> None:
    text = "Hospital Course\nAdmitted with stroke. Echocardiogram: EF 60%. Aspirin was stopped.\nLabs: Na 130"
    assert [(section.name, section.title) for section in find_sections(text)] == [
        ("hospital_course", "Hospital Course"),
        ("laboratory_data", "Labs"),
    ]
    assert find_sections("History: Cough. Echocardiogram: EF 60%.")[1].name == "cardiac_studies"


@pytest.mark.parametrize(
    ("heading", "name"),
    [
        ("CHIEF COMPLAINT:", "chief_complaint"),
        ("Chief complaint:", "chief_complaint"),
        ("CC:", "chief_complaint"),
        ("hpi:", "history_of_present_illness"),
        ("History of Present Illness", "history_of_present_illness"),
        ("HISTORY OF PRESENT ILLNESS/HOSPITAL COURSE:", "history_of_present_illness"),
        ("PMH:", "past_medical_history"),
        ("Family Hx:", "family_history"),
        ("ALLERGIES", "allergies"),
        ("All:", "allergies"),
        ("HOME MEDICATIONS:", "medications_on_admission"),
        ("Discharge medications:", "discharge_medications"),
        ("PHYSICAL EXAM (on admission):", "physical_examination"),
        ("P.E.:", "physical_examination"),
        ("PERTINENT LABORATORY DATA:", "laboratory_data"),
        ("BRIEF HOSPITAL COURSE:", "hospital_course"),
        ("ASSESSMENT & PLAN:", "assessment_and_plan"),
        ("A/P:", "assessment_and_plan"),
        ("Impression and Plan", "assessment_and_plan"),
        ("3. IMPRESSION:", "impression"),
        ("IV. FINDINGS:", "findings"),
        ("## Findings", "findings"),
        ("**Impression:**", "impression"),
        ("INDICATIONS FOR THE OPERATION:", "indication"),
        ("Indication of procedure:", "indication"),
        ("PREOPERATIVE DIAGNOSIS (ES):", "preoperative_diagnosis"),
        ("Post-operative diagnosis:", "postoperative_diagnosis"),
        ("DESCRIPTION OF PROCEDURE:", "procedure_description"),
        ("EBL:", "estimated_blood_loss"),
        ("GROSS DESCRIPTION:", "gross_description"),
        ("Reason for Consultation:", "reason_for_consultation"),
        ("RECOMMENDATIONS - TESTS:", "recommendations"),
        ("MEDICATIONS - ", "medications"),
        ("TREATMENT GOALS MET:", "treatment_goals_met"),
        ("PATIENT'S OWN WORDS:", "patients_own_words"),
    ],
)
def test_headings(heading: str, name: str) -> None:
    assert outline(f"Seen today.\n\n{heading}\nSome text below.\n") == [
        (None, "Seen today."),
        (name, "Some text below."),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "Pain: 5/10",
        "BP: 120/80  HR: 72",
        "P: 80",
        "POTASSIUM: 3.2",
        "HEART RATE: 88",
        "WBC: 11.2",
        "COPD: stable",
        "PATIENT NAME: Jane Roe",
        "Date of birth: 3 March 1950",
        "DISCHARGE SUMMARY",
        "He was told the following: rest.",
        "The plan: none yet.",
        "allergies and medications were reviewed",
        "2. CORONARY DISEASE: continue aspirin",
        "- Medications: unchanged",
        "NKDA",
        "LUNGS: no nodules.",
        "Aspirin 81 mg - daily",
        "History was taken from the wife.",
    ],
)
def test_lines_that_open_no_section(line: str) -> None:
    assert outline(f"{line}\nmore\n") == [(None, f"{line}\nmore")]
    assert outline(f"FINDINGS:\n{line}\nmore") == [("findings", f"{line}\nmore")]


def test_headings_inside_a_line() -> None:
    assert outline(
        "No effusion. IMPRESSION: Normal. Recommendation: None. ANESTHESIA: General EBL: 5 mL."
    ) == [
        (None, "No effusion."),
        ("impression", "Normal."),
        ("recommendations", "None."),
        ("anesthesia", "General"),
        ("estimated_blood_loss", "5 mL."),
    ]


def test_comma_style_of_transcription_archives() -> None:
    text = (
        "SUBJECTIVE:,  This 23-year-old coughs.,MEDICATIONS: , ,1.  Albuterol.,2.  PEAK FLOW METER:,  Daily."
    )
    assert outline(text) == [
        ("subjective", "This 23-year-old coughs.,"),
        ("medications", "1.  Albuterol.,2.  PEAK FLOW METER:,  Daily."),
    ]


def test_letters_are_headings_only_in_a_soap_note() -> None:
    assert outline("S: coughs\n  O: T: 37\nP: 80 regular\nA: cold\nP: 1. rest\n") == [
        ("subjective", "coughs"),
        ("objective", "T: 37\nP: 80 regular"),
        ("assessment", "cold"),
        ("plan", "1. rest"),
    ]
    assert outline("T: 37\nP: eighty") == [(None, "T: 37\nP: eighty")]


def test_parts_of_an_examination_stay_in_it() -> None:
    text = "VITALS: stable\nGENERAL: well\nHEENT: clear\nLAB: fine\nABDOMEN: soft"
    assert outline(text) == [
        ("vital_signs", "stable"),
        ("physical_examination", "well\nHEENT: clear"),
        ("laboratory_data", "fine\nABDOMEN: soft"),
    ]


def test_problems_of_a_plan_stay_in_it() -> None:
    text = "ASSESSMENT AND PLAN:\nHYPERTENSION: continue lisinopril\n1. Diet: low salt\n\nFAMILY MEETING\nHeld today."
    assert outline(text) == [
        ("assessment_and_plan", "HYPERTENSION: continue lisinopril\n1. Diet: low salt"),
        ("family_meeting", "Held today."),
    ]


def test_a_note_typed_in_capitals_has_the_headings_it_marks() -> None:
    text = "HISTORY: PATIENT FELL.\n\nNO LOSS OF CONSCIOUSNESS\n\nPLAN: X-RAY."
    assert outline(text) == [
        ("history_of_present_illness", "PATIENT FELL.\n\nNO LOSS OF CONSCIOUSNESS"),
        ("plan", "X-RAY."),
    ]


def test_section_at_every_offset() -> None:
    sections = find_sections("x\nPLAN: rest\nALLERGIES: none")
    assert [section_at(sections, offset) for offset in (0, 1, 2, 12, 13, 27, 99)] == [
        None,
        None,
        "plan",
        "plan",
        "allergies",
        "allergies",
        "allergies",
    ]
    assert section_at((), 0) is None


def test_an_empty_text_has_no_sections() -> None:
    assert find_sections("") == ()
    assert find_sections("\n") == (Section(None, "", 0, 1, 0),)


# fmt: off
BITS = st.sampled_from([
    "PLAN", "Impression", "HPI", "S", "O", "A", "P", "UNKNOWN WORDS", "1. ", "## ", "**", ":", ":,", " - ", ".", ",",
    "(", ")", "\n", "\r\n", "\r", "\n\n", "\t", "\f", "\0", "\u2028", "\xa0", " ", "text", "5/10", "é", "😀", "\ufeff",
    "e\u0301", "שלום", "\x85",
])
# fmt: on


@given(st.one_of(st.text(), st.lists(BITS, max_size=60).map("".join)))
@example("\ufeffPLAN:\r\n\x00 \rA:")
def test_sections_cover_the_text_without_gap_or_overlap(text: str) -> None:
    sections = find_sections(text)
    assert "".join(text[section.start : section.end] for section in sections) == text
    assert [section.end for section in sections[:-1]] == [section.start for section in sections[1:]]
    for section in sections:
        assert section.start <= section.body_start <= section.end
        assert section.title in text[section.start : section.body_start]
        assert section_at(sections, section.start) == section_at(sections, section.end - 1) == section.name


@pytest.mark.parametrize(
    ("rest", "name"),
    [
        ("TECHNIQUE: Two views.\nFINDINGS: No fracture.\nIMPRESSION: Normal.", "clinical_information"),
        ("GROSS DESCRIPTION: A core of 12 mm.\nDIAGNOSIS: Benign.", "clinical_information"),
        ("COMPARISON: None.\nPHYSICAL EXAM: Hip tender.\nPLAN: Rest.", "history_of_present_illness"),
        ("IMPRESSION: Contusion.\nPLAN: Rest.", "history_of_present_illness"),
    ],
)
def test_history_in_a_report_on_a_study_is_what_the_referrer_wrote(rest: str, name: str) -> None:
    assert outline(f"HISTORY: Fall, hip pain.\n{rest}\n")[0] == (name, "Fall, hip pain.")
    told = outline(f"HISTORY OF PRESENT ILLNESS: Fall.\n{rest}\n")
    assert told[0] == ("history_of_present_illness", "Fall.")


def test_a_title_before_a_list_needs_no_colon_when_it_is_known() -> None:
    text = "PREOPERATIVE DIAGNOSES,1.  Abscess.,2.  Caries.,PROCEDURE 1. Extraction of teeth. GOUT 1. Allopurinol."
    assert [(section.name, text[section.body_start : section.end]) for section in find_sections(text)] == [
        ("preoperative_diagnosis", "1.  Abscess.,2.  Caries.,"),
        ("procedure", "1. Extraction of teeth. GOUT 1. Allopurinol."),
    ]
    assert [section.name for section in find_sections("HISTORY: We changed PLAN 12 times.")] == [
        "history_of_present_illness"
    ]
