"""No allergy, and one allergy less: what the words say."""

from __future__ import annotations

import pytest

from clinical.facts.allergies import denies_allergy, is_no_allergy


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Seen today. NKDA. Well.", "NKDA"),
        ("No known drug allergies.", "No known drug allergies"),
        ("no known food or drug allergies", "no known food or drug allergies"),
        ("No known allergies to medications.", "No known allergies"),
        ("She denies any allergies.", "denies any allergies"),
        ("Allergies: none", "Allergies: none"),
        ("He is not allergic.", "not allergic"),
        ("No allergy to latex.", None),
        ("Not allergic to eggs.", None),
        ("No known drug allergies except penicillin.", None),
        ("Allergies: nonsteroidals", None),
        ("Allergic to penicillin, no rash now.", None),
    ],
)
def test_a_text_that_denies_allergies(text: str, said: str | None) -> None:
    found = denies_allergy(text)
    assert (found[0] if found else None) == said


@pytest.mark.parametrize(
    "line",
    [
        "None",
        "- none known.",
        "NKDA",
        "No",
        "Denies",
        "No latex allergy",
        "Not allergic to eggs.",
        "nil",
        "None to medications",
        "Patient denies any.",
        "The patient has no history of allergies.",
    ],
)
def test_a_line_that_names_no_allergy(line: str) -> None:
    assert is_no_allergy(line)


@pytest.mark.parametrize(
    "line",
    [
        "Penicillin: rash, no anaphylaxis",
        "Penicillin (denies current rash)",
        "NKDA except sulfa",
        "No known allergies but latex",
        "Nickel",
        "No egg allergy, penicillin causes hives",
    ],
)
def test_a_line_that_names_one(line: str) -> None:
    assert not is_no_allergy(line)
