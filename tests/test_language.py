"""Documents that the English models cannot read are told from shorthand."""

from __future__ import annotations

import pytest

from clinical.facts.language import foreign_document

GERMAN = (
    "Wir berichten über Ihren Patienten, der sich vom 2. bis 9. Mai in unserer stationären Behandlung befand. Es wurde "
    "eine Koronarangiographie durchgeführt und ein Stent in die LAD eingesetzt. Der Verlauf war ohne Besonderheiten, "
    "und er wurde nach einer Woche mit ASS entlassen."
)
SHORTHAND = (
    "34F G2P1 28w c/o HA x3d, blurry vision, +RUQ pain. BP 168/112, 3+ prot. Denies VB/LOF/ctx. Plt 92, AST 210. Imp: "
    "severe preeclampsia w/ HELLP. Mg 4g load, labetalol 20 IV. OB to bedside. r/o abruption. h/o migraine "
    "(different per pt). All: codeine - itching. Fhx: mom preeclampsia, dad htn. NKDA."
)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        (GERMAN, "German"),
        (SHORTHAND, None),
        ("The patient was seen in the clinic. " * 6, None),
        ("El paciente no refiere dolor.", None),  # too short to tell
        ("El paciente no refiere dolor y se inicia tratamiento con la furosemida. " * 4, "Spanish"),
    ],
)
def test_the_language_of_a_document(text: str, language: str | None) -> None:
    assert foreign_document(text) == language
