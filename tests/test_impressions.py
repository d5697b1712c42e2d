"""The impression of a radiology report: what is abnormal, in words of imaging, and that nothing else is."""

from __future__ import annotations

import pytest
from summary_cases import HashEmbedder, entities_in

from clinical.documents.note import Note
from clinical.tasks.extracts import LightSummarizer

LIGHT = LightSummarizer(HashEmbedder())


def impression(text: str) -> list[str]:
    note = Note("r", text)
    return [draft.text for draft in LIGHT.draft(note, "impression", entities=entities_in(note))]


def test_what_is_described_is_found_without_a_name_for_it() -> None:
    assert impression(
        "FINDINGS: The heart is normal in size. There is a 9 mm density in the right lower lobe, not seen before. "
        "The lungs are otherwise clear. No acute abnormality of the bones. Clips of an old operation."
    ) == [
        "There is a 9 mm density in the right lower lobe, not seen before.",
        "No acute abnormality of the bones.",
    ]


@pytest.mark.parametrize(
    "denied",
    [
        "No focal consolidation, effusion or pneumothorax.",
        "There is no evidence of a fracture or dislocation.",
        "The lungs are clear without focal opacity.",
    ],
)
def test_what_is_denied_is_the_rest(denied: str) -> None:
    assert impression(f"FINDINGS: {denied} The heart is moderately enlarged.") == [
        "The heart is moderately enlarged.",
        denied,
    ]


def test_what_is_old_gives_way_to_what_is_new() -> None:
    found = impression(
        "FINDINGS: Old healed fracture of a rib. Degenerative narrowing of the spine. New opacity of the left base. "
        "Small effusion."
    )
    assert found == ["New opacity of the left base.", "Small effusion."]


def test_of_a_normal_report_one_sentence_is_left() -> None:
    assert impression("FINDINGS: Normal heart. No acute disease. Clear lungs.") == ["No acute disease."]


def test_an_impression_that_is_there_is_taken_as_it_is() -> None:
    assert impression("FINDINGS: Mass of 3 cm.\nIMPRESSION: Tumor. Biopsy.") == ["Tumor.", "Biopsy."]
