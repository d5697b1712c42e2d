"""Names whose kind is known, and what they put right in what a tagger found."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinical.documents.annotations import Entity
from clinical.facts.kinds import is_department, is_nothing, known_names
from clinical.models.known_names import KNOWN, with_known_names
from clinical.prompts.labels import clinical_labels

ALL = frozenset(label.name for label in clinical_labels())


def named(text: str) -> list[tuple[str, str | None]]:
    return [(text[name.start : name.end], name.label) for name in known_names(text)]


def entity(text: str, words: str, label: str, score: float = 0.4) -> Entity:
    start = text.index(words)
    return Entity(start, start + len(words), words, label, score=score, grounding="decoded")


def shown(found: list[Entity]) -> list[tuple[str, str]]:
    return [(one.text, one.label) for one in found]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("CKD on Lasix.", [("CKD", "Disease"), ("Lasix", "Medication")]),
        ("hx of Type 2 Diabetes", [("Type 2 Diabetes", "Disease")]),
        ("two kidney stones, UTIs", [("kidney stones", "Disease"), ("UTIs", "Disease")]),
        ("N/V and SOB", [("N/V", "Symptom"), ("SOB", "Symptom")]),
        ("Crohn’s disease", [("Crohn’s disease", "Disease")]),
        ("EF 25 %, ef not known", [("EF", "Test")]),
        ("John Doe, DOE; Na 130, vitamin K", [("DOE", "Symptom"), ("Na", "Test"), ("vitamin K", "Medication")]),
        ("flu shot, ST depression, metformin XR", [("flu shot", "Medication"), ("metformin", "Medication")]),
        ("dabigatran and bisoprolol in April", [("dabigatran", "Medication"), ("bisoprolol", "Medication")]),
        ("after hemicolectomy; bronchoscopy", [("hemicolectomy", "Procedure"), ("bronchoscopy", "Test")]),
        ("cystatin C by topography", []),
        ("CTA neg for PE", [("CTA", "Test"), ("PE", "Disease")]),
        ("On PE the abdomen is soft.", []),
        ("SpO2 93% RA", [("SpO2", "Test"), ("RA", None)]),
        ("72M c/o cough x3d", [("72", "Age"), ("M", "Sex"), ("cough", "Symptom"), ("x3d", "Duration")]),
        ("54yo F, temp 98F", [("54yo", "Age"), ("F", "Sex"), ("temp", "Test")]),
        ("68 y.o. M", [("68 y.o.", "Age"), ("M", "Sex")]),
        ("ALL NORMAL IN US", []),
        ("Sex: F     Age: 71\tDate: 12 Mar 2025", [("F", "Sex"), ("71", "Age"), ("12 Mar 2025", "Date")]),
        ("MRN: 55-20-981, seen 2025-01-20", [("55-20-981", None), ("2025-01-20", "Date")]),
        ("calf TTP", []),
        ("ADHF, CKD3, hyponatremia, hx ovarian ca, abx", [("ADHF", "Disease"), ("CKD3", "Disease"),
         ("hyponatremia", "Disease"), ("ovarian ca", "Disease"), ("abx", "Medication")]),
    ],
)  # fmt: skip
def test_names_are_known_by_themselves(text: str, names: list[tuple[str, str | None]]) -> None:
    assert named(text) == names


def test_departments_are_known() -> None:
    assert [
        words
        for words in ("Cardiology", "Neurology clinic", "clinic", "Cardiology note")
        if is_department(words)
    ] == ["Cardiology", "Neurology clinic"]


def test_jots_are_nothing() -> None:
    assert [word for word in ("c/o", "Hx", "NKDA", "pts.", "pt", "PT", "cough") if is_nothing(word)] == [
        "c/o",
        "Hx",
        "NKDA",
        "pts.",
        "pt",
    ]


@pytest.mark.parametrize(
    ("text", "found", "put_right"),
    [
        ("Lasix today", [("Lasix", "Test", 0.96)], [("Lasix", "Medication")]),
        ("no CKD", [], [("CKD", "Disease")]),
        ("hx DVT", [("hx DVT", "Medication", 0.53)], [("DVT", "Disease")]),
        ("old DVT", [("old DVT", "Medication", 0.3)], [("DVT", "Disease")]),
        ("old DVT", [("old DVT", "Medication", 0.6)], [("old DVT", "Medication")]),
        ("past DVT", [("past DVT", "History", 0.1)], [("past DVT", "History")]),
        ("DVT in 2011", [("DVT", "History", 0.9)], [("DVT", "History")]),
        ("bad knee pain", [("bad knee pain", "Disease", 0.1)], [("bad knee pain", "Disease")]),
        ("acute pulmonary embolism", [("pulmonary", "Anatomy", 0.9), ("embolism", "Symptom", 0.9)],
         [("pulmonary embolism", "Disease")]),
        ("with asthma attack", [("with asthma", "Event", 0.4)], [("with asthma", "Event")]),
        ("flow of CT scan", [("of CT", "Test", 0.4)], [("of CT", "Test")]),
        ("BNP 410, EF low", [("BNP 410", "Test", 0.5), ("EF low", "Test", 0.5)],
         [("BNP", "Test"), ("410", "Result"), ("EF", "Test"), ("low", "Result")]),
        ("BP cuff", [("BP cuff", "Test", 0.5)], [("BP cuff", "Test")]),
        ("temp 36.8 HR 104", [("36.8 HR", "Result", 0.8)],
         [("temp", "Test"), ("36.8", "Result"), ("HR", "Test")]),
        ("SpO2 93% RA", [("SpO2", "Test", 0.7), ("RA", "Test", 0.7)], [("SpO2", "Test")]),
        ("- Margins, clear", [("- Margins,", "Test", 0.2)], [("Margins", "Test")]),
        ("3yo M w/ gout", [("3yo M w", "Duration", 0.03)], [("3yo", "Age"), ("M", "Sex"), ("gout", "Disease")]),
        ("no hx", [("hx", "Disease", 0.15)], []),
        ("CRP > 12, node #1", [(">", "Result", 0.4), ("#", "Result", 0.4)], [("CRP", "Test")]),
        ("ketones +", [("+", "Result", 0.8), ("(", "Test", 0.3)] , [("+", "Result")]),
        ("1. Gout\n2. Warts", [("2", "Result", 0.7)], [("Gout", "Disease")]),
        ("seen by Dr. S. Okafor", [("Okafor", "Disease", 0.4)], []),
        ("Mr. K. Adeyemi has gout", [("Adeyemi", "Medication", 0.8)], [("gout", "Disease")]),
        ("SURGICAL PATHOLOGY REPORT\nGout", [("SURGICAL", "Test", 0.5), ("PATHOLOGY", "Test", 0.4)],
         [("Gout", "Disease")]),
        ("Service: Cardiology", [("Cardiology", "Test", 0.96)], []),
        ("Cardiology", [("Cardiology", "Location", 0.9)], [("Cardiology", "Location")]),
        ("Patient: Kowalski, Piotr  DOB", [("Piotr", "Test", 0.5)], []),
        ("Patient: Ibuprofen, twice a day", [("twice a day", "Dosage", 0.5)],
         [("Ibuprofen", "Medication"), ("twice a day", "Dosage")]),
        ("SURGEON: Priya Raman, MD", [("Raman", "Disease", 0.5), ("MD", "Procedure", 0.7)], []),
        ("MRN 4471120", [("4471120", "Date", 0.2)], []),
        ("seen 09/30/2024", [("09/30/2024", "Result", 0.1)], [("09/30/2024", "Date")]),
        ("Gout\nPROGRESS NOTE - day 2", [("PROGRESS", "Test", 0.5)], [("Gout", "Disease")]),
        ("c/o back pain", [("c/", "Test", 0.1), ("o back", "Anatomy", 0.1), ("pain", "Symptom", 0.9)],
         [("back pain", "Symptom")]),
        ("c/o chest wall", [("o chest", "Anatomy", 0.1)], [("chest", "Anatomy")]),
        ("Clinic note 06/15/2024", [("06/15/2024", "Date", 0.8)], [("06/15/2024", "Date")]),
    ],
)  # fmt: skip
def test_a_name_overrules_what_was_guessed(
    text: str, found: list[tuple[str, str, float]], put_right: list[tuple[str, str]]
) -> None:
    entities = [entity(text + "(", *one) for one in found]
    assert shown(with_known_names(text + "(", entities, ALL)) == put_right


def test_what_is_known_by_its_name_is_sure() -> None:
    text = "old CKD, EF 20"
    found = with_known_names(
        text, [entity(text, "CKD", "Disease", 0.7), entity(text, "EF 20", "Test", 0.6)], ALL
    )
    assert [one.score for one in found] == [KNOWN, 0.6, 0.6]
    (new,) = with_known_names("CKD", [], ALL)
    assert (new.score, new.grounding) == (KNOWN, "exact")


def test_only_labels_asked_for_come_in() -> None:
    text = "CKD on Lasix, BNP 410"
    found = [entity(text, "BNP 410", "Test")]
    assert shown(with_known_names(text, found, frozenset({"Test"}))) == [("BNP", "Test")]


WORDS = [
    "CKD",
    "Lasix",
    "BNP",
    "410",
    "hx",
    "2.",
    "\n",
    "- ",
    "Dr. Moore",
    "PE",
    "CTA",
    "x3d",
    "72M",
    ",",
    "é",
    "🫀",
    "pain",
]


@given(st.data())
def test_every_entity_is_a_piece_of_the_text(data: st.DataObject) -> None:
    text = " ".join(data.draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=12)))
    ends = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=8)))
    found = [
        Entity(start, end, text[start:end], data.draw(st.sampled_from(sorted(ALL))), score=0.4)
        for start, end in zip(ends[::2], ends[1::2], strict=False)
    ]
    put_right = with_known_names(text, found, ALL)
    assert all(text[one.start : one.end] == one.text and one.text for one in put_right)
    assert put_right == sorted(put_right, key=lambda one: (one.start, one.end))


def test_a_long_note_costs_no_more_a_word_than_a_short_one() -> None:
    text = "cough, CKD, Lasix 20. " * 4_000
    found = [entity_at(text, place, place + 5) for place in range(0, len(text), 22)]
    started = time.process_time()
    put_right = with_known_names(text, found, ALL)
    assert len(put_right) == 12_000
    assert time.process_time() - started < 20, "every name against every entity takes minutes"


def entity_at(text: str, start: int, end: int) -> Entity:
    return Entity(start, end, text[start:end], "Test", score=0.4)
