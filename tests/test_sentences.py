"""Sentences: what clinicians write with full stops, lists and lines, and offsets that always hold."""

from __future__ import annotations

import textwrap

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clinical.documents.sentences import split_sentences


def sentences(text: str) -> list[str]:
    return [text[start:end] for start, end in split_sentences(text)]


@pytest.mark.parametrize(
    "expected",
    [
        ["Dr. Adams saw the patient.", "She is stable."],
        ["Lasix 20 mg p.o. b.i.d. was started.", "No edema since."],
        ["He takes aspirin 81 mg q.d.", "Lisinopril was stopped."],
        ["Ceftriaxone 1 g i.v. q.24h. was given.", "He improved."],
        ["Mild vs. moderate stenosis.", "See Fig. 2 for details."],
        ["Seen by M. Jones, R.N., at 10 a.m. today."],
        ["Creatinine was 2.1, potassium 4.5.", "Sodium was 138."],
        ["Creatinine was 2.", "Sodium was 138."],
        ["Urine grew E. coli.", "Blood grew S. aureus."],
        ["She has hepatitis C.", "The viral load is low."],
        ["Pain?", "None today.", "Fever?", "No."],
        ["? pneumonia in the right base, no effusion."],
        ["The left knee (see above.) is swollen."],
        ["Denies sob.", "Has cough."],
        ["No effusion was seen.", "heart size normal."],
        ["A 3 cm. mass was felt.", "It was firm."],
        ["Weight 72 kg.", "Three days later he weighed 70 kg."],
        ["He said: “No pain.”", "Then he left."],
        ["Improved!", "Discharged..."],
        ["Oxycodone 5 mg prn pain, No. 20 dispensed."],
    ],
    ids=lambda expected: expected[0][:24],
)
def test_full_stops(expected: list[str]) -> None:
    assert sentences(" ".join(expected)) == expected


def test_a_missing_blank_after_the_full_stop_does_not_join_sentences() -> None:
    assert sentences("No effusion.Heart size is normal.") == ["No effusion.", "Heart size is normal."]
    assert sentences("Mail clinic@example.Org or www.Example.org") == [
        "Mail clinic@example.Org or www.Example.org"
    ]


def test_rows_of_a_table_are_sentences_of_their_own() -> None:
    rows = [
        "Test              Result    Flag   Reference       Units",
        "Sodium            128       L      135-145         mmol/L",
        "Potassium         5.9       H      3.5-5.1         mmol/L",
        "Blood culture\tno growth",
    ]
    prose = (
        "1.\tThe patient is to come back to the clinic in two weeks to have the potassium\n\tchecked again."
    )
    assert sentences("\n".join([*rows, prose])) == [*rows, prose]


def test_numbered_items_inside_a_line() -> None:
    assert sentences("IMPRESSION: 1. Pneumonia. 2. No effusion. 3. Old rib fracture.") == [
        "IMPRESSION: 1. Pneumonia.",
        "2. No effusion.",
        "3. Old rib fracture.",
    ]


def test_comma_style_of_transcription_archives() -> None:
    assert sentences("SUBJECTIVE:,  He coughs.,PLAN: ,1.  Rest.,2.  Fluids.,DRAINS:,  None.") == [
        "SUBJECTIVE:,  He coughs.,",
        "PLAN: ,1.  Rest.,",
        "2.  Fluids.,",
        "DRAINS:,  None.",
    ]


def test_wrapped_prose_is_not_cut_at_the_margin() -> None:
    prose = (
        "The patient is a 71-year-old man who was admitted with three days of worsening shortness of breath. "
        "Dr. Marsh found bilateral crackles, an elevated venous pressure and pitting edema to the knees. "
        "Chest radiograph showed pulmonary edema without Kerley B lines."
    )
    whole = sentences(prose)
    assert len(whole) == 3
    for width in (55, 60, 72, 80, 100):
        wrapped = textwrap.fill(prose, width)
        assert [sentence.replace("\n", " ") for sentence in sentences(wrapped)] == whole


def test_one_finding_per_line_is_one_sentence_per_line() -> None:
    lines = [
        "DISCHARGE MEDICATIONS",
        "Aspirin 81 mg daily",
        "Metoprolol succinate 50 mg daily",
        "furosemide 40 mg every morning",
        "- Lisinopril 10 mg",
        "* Warfarin",
        "3) Vitamin D",
        "Neck: supple, no masses",
        "Lungs: clear",
    ]
    assert sentences("\n".join(lines)) == lines
    assert sentences("\r\n".join(lines)) == lines


def test_a_list_item_may_go_on_in_the_next_line() -> None:
    note = "PLAN:\n1. Continue furosemide and check the potassium in the\n   morning.\n2. Home oxygen.\n"
    assert sentences(note) == [
        "PLAN:",
        "1. Continue furosemide and check the potassium in the\n   morning.",
        "2. Home oxygen.",
    ]


def test_paragraphs_and_headings_end_sentences() -> None:
    assert sentences("Chief complaint\nCough\n\nHISTORY\n\nHe has coughed\n\nfor weeks") == [
        "Chief complaint",
        "Cough",
        "HISTORY",
        "He has coughed",
        "for weeks",
    ]


def test_nothing_in_nothing() -> None:
    assert split_sentences("") == []
    assert split_sentences(" \n\t\x0c ") == []


# fmt: off
CLINICAL_BITS = st.sampled_from([
    "Dr.", "b.i.d.", "2.5", "mg", "No.", "1.", "- ", "PLAN:", "IMPRESSION: ", "He", "she", "pain", ".", "?", ",",
    ":", "(", ")", '"', "”", "\n", "\r\n", "\r", "\n\n", "\t", "\f", "\0", "\u2028", "\xa0", " ", "  ", "é", "µ", "😀",
    "\ufeff", "\u200b", "e\u0301", "𝒳", "שלום", "癌", "\x85", "…",
])
# fmt: on


@given(st.one_of(st.text(), st.lists(CLINICAL_BITS, max_size=60).map("".join)))
@example("x.\x00 \x0c.\r\n\r1. \ufeffA")
def test_every_character_that_is_not_blank_is_in_exactly_one_sentence(text: str) -> None:
    spans = split_sentences(text)
    assert spans == sorted(spans)
    covered = [index for start, end in spans for index in range(start, end)]
    assert len(covered) == len(set(covered))
    assert set(covered) >= {index for index, character in enumerate(text) if not character.isspace()}
    for start, end in spans:
        assert text[start:end] == text[start:end].strip() != ""
