"""Where a mention ends: in its cell, at its bracket, before its value."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinical.documents.annotations import Entity
from clinical.models.mention_edges import with_clean_edges
from clinical.prompts.labels import clinical_labels

ALL = frozenset(label.name for label in clinical_labels())


def entity(text: str, words: str, label: str) -> Entity:
    start = text.index(words)
    return Entity(start, start + len(words), words, label, score=0.4, grounding="decoded")


@pytest.mark.parametrize(
    ("text", "words", "label", "clean"),
    [
        # A test without its result.
        ("BUN 38, K 4.1, Na", "K 4.1", "Test", [("K", "Test"), ("4.1", "Result")]),
        ("K 5.9 (H) today", "K 5.9 (H", "Test", [("K", "Test"), ("5.9 (H)", "Result")]),
        ("BRCA neg.", "BRCA neg", "Test", [("BRCA", "Test"), ("neg", "Result")]),
        ("Depression screen neg", "Depression screen neg", "Test", [("Depression screen", "Test"), ("neg", "Result")]),
        ("CA 125 and Ki-67", "CA 125", "Test", [("CA 125", "Test")]),
        # A drug without its dose.
        ("Cefazolin 2 g IV", "Cefazolin 2 g", "Medication", [("Cefazolin", "Medication"), ("2 g", "Dosage")]),
        ("albuterol prn", "albuterol prn", "Medication", [("albuterol", "Medication"), ("prn", "Frequency")]),
        ("vitamin B12", "vitamin B12", "Medication", [("vitamin B12", "Medication")]),
        # Cells of a table.
        ("Na   128    L   135-145", "128    L   135-145", "Result", [("128    L", "Result")]),
        ("HIV Ag/Ab\tNon-reactive\tNon-reactive", "HIV Ag/Ab\tNon-reactive", "Test", [("HIV Ag/Ab", "Test")]),
        ("pain for\n   four days", "for\n   four days", "Duration", [("for\n   four days", "Duration")]),
        # Brackets, full stops and decimal points.
        ("pT1c pN0(sn), R0", "pN0(sn", "Result", [("pN0(sn)", "Result")]),
        ("CD3+ (C and D)", "CD3+ (C", "Result", [("CD3+", "Result")]),
        ("Take 5 mg.", "5 mg.", "Dosage", [("5 mg", "Dosage")]),
        ("Take 5 mg b.i.d.", "b.i.d.", "Frequency", [("b.i.d.", "Frequency")]),
        ("Take 5 mg b.i.d.", "5 mg b.", "Dosage", [("5 mg b.i.d.", "Dosage")]),
        ("WBC 14.2 K", "14.", "Result", [("14.2", "Result")]),
        ("NT-proBNP 8,420 pg/mL", "8", "Result", [("8,420", "Result")]),
        ("RR 24, T 36.8 C", "24, T", "Result", [("24", "Result"), ("T", "Test")]),
        ("SpO2 93%, RA only", "93%, RA", "Result", [("93%, RA", "Result")]),
    ],
)  # fmt: skip
def test_a_mention_ends_where_its_form_says(
    text: str, words: str, label: str, clean: list[tuple[str, str]]
) -> None:
    found = with_clean_edges(text, [entity(text, words, label)], ALL)
    assert [(one.text, one.label) for one in found] == clean


def test_what_is_not_asked_for_does_not_come_in() -> None:
    text = "K 4.1"
    (found,) = with_clean_edges(text, [entity(text, text, "Test")], frozenset({"Test"}))
    assert (found.text, found.label) == ("K", "Test")


def test_a_number_that_was_cut_is_one() -> None:
    text = "WBC 14.2 K"
    found = with_clean_edges(text, [entity(text, "14.", "Result"), entity(text, "2 K", "Dosage")], ALL)
    assert [(one.text, one.label) for one in found] == [("14.2", "Result"), ("K", "Dosage")]
    text = "NT-proBNP 8,420 pg/mL"
    found = with_clean_edges(text, [entity(text, "8", "Result"), entity(text, "420 pg/mL", "Result")], ALL)
    assert [one.text for one in found] == ["8,420 pg/mL"]


PIECES = ["K", "4.1", "(", ")", "\t", "    ", "neg", "mg", "2", ".", "aspirin", "H", "\n", "é", "🫀"]


@given(st.data())
def test_every_part_is_a_piece_of_the_text(data: st.DataObject) -> None:
    text = " ".join(data.draw(st.lists(st.sampled_from(PIECES), min_size=1, max_size=12)))
    ends = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=8)))
    found = [
        Entity(start, end, text[start:end], data.draw(st.sampled_from(["Test", "Medication", "Result"])))
        for start, end in zip(ends[::2], ends[1::2], strict=False)
    ]
    parts = with_clean_edges(text, found, ALL)
    assert all(text[one.start : one.end] == one.text for one in parts)
    assert all(one.end <= two.start for one, two in pairwise(parts))
