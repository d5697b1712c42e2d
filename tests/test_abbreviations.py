"""Abbreviations that a note defines itself, by hand-made sentences and against scispaCy's detector."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinical.documents.annotations import Assertion, Entity
from clinical.facts.abbreviations import _match_from_right, expand_abbreviations, find_definitions


def pairs(text: str) -> list[tuple[str, str]]:
    found = find_definitions(text)
    for definition in found:
        for span in (definition.short, definition.long):
            assert text[span.start : span.end] == span.text
    return [(definition.short.text, definition.long.text) for definition in found]


DEFINED = [
    ("He has congestive heart failure (CHF).", [("CHF", "congestive heart failure")]),
    ("CHF (congestive heart failure) since 2010.", [("CHF", "congestive heart failure")]),
    ("Congestive heart failure (CHF), on furosemide.", [("CHF", "Congestive heart failure")]),
    ("frequent premature ventricular contractions (PVCs)", [("PVCs", "premature ventricular contractions")]),
    ("a premature ventricular contraction (PVCs)", [("PVCs", "premature ventricular contraction")]),
    ("blood pressure (BP) 120/80, heart rate (HR) 70", [("BP", "blood pressure"), ("HR", "heart rate")]),
    ("human immunodeficiency virus (HIV (type 1))", [("HIV", "human immunodeficiency virus")]),
    ("HIV (human immunodeficiency virus (HIV))", [("HIV", "human immunodeficiency virus")]),
    ("adult (or acute (type A)) respiratory distress (RD)", [("RD", "respiratory distress")]),
    ("deep vein thrombosis (DVT, left leg)", [("DVT", "deep vein thrombosis")]),
    ("ejection fraction (EF; by echo)", [("EF", "ejection fraction")]),
    ("gastroesophageal reflux disease (or GERD)", [("GERD", "gastroesophageal reflux disease")]),
    ("chronic kidney disease (“CKD”)", [("CKD", "chronic kidney disease")]),
    ("physical therapy(PT) twice a week", [("PT", "physical therapy")]),
    ("estimated glomerular filtration rate (eGFR)", [("eGFR", "estimated glomerular filtration rate")]),
    ("interleukin 2 (IL-2)", [("IL-2", "interleukin 2")]),
    ("hemoglobin A1c (HbA1c)", [("HbA1c", "hemoglobin A1c")]),
    ("5-fluorouracil (5-FU)", [("5-FU", "5-fluorouracil")]),
    ("hemoglobin (Hb) of 9", [("Hb", "hemoglobin")]),
    (
        "This is a pleasant 61-year-old man with known coronary artery\n"
        "disease (CAD) who is here today for his regular visit at our\n"
        "clinic and has no new complaints.",
        [("CAD", "coronary artery\ndisease")],
    ),
    ("Größe der Läsion, magnetic resonance imaging (MRI)", [("MRI", "magnetic resonance imaging")]),
]

NOT_DEFINED = [
    "The heart is large. Failure (HF) was not seen.",
    "He has heart\n\nFAILURE (HF)",
    "a lesion of the left lower extremity, femoral artery thrombosis (left)",
    "acetaminophen was taken yearly, now less often (Tylenol)",
    "WBC count (WBC)",
    "(CHF)",
    "CHF ()",
    "MRI (multiple lesions)",
    "CT (done on the tenth of May by Dr. Smith)",
    "fever (T 39)",
    "unbalanced heart failure (HF",
    "unbalanced heart failure HF)",
    "one two three four five six seven hearts and then eight more words and failure of it all (HF)",
    "",
]


@pytest.mark.parametrize(("text", "expected"), DEFINED)
def test_definition(text: str, expected: list[tuple[str, str]]) -> None:
    assert pairs(text) == expected


@pytest.mark.parametrize("text", NOT_DEFINED)
def test_no_definition(text: str) -> None:
    assert pairs(text) == []


def entities(text: str, *mentions: str) -> list[Entity]:
    """One entity for each mention, each found after the one before."""
    found, at = [], 0
    for mention in mentions:
        at = text.index(mention, at)
        found.append(Entity(at, at + len(mention), mention, "Disease"))
        at += len(mention)
    return found


def expansions(text: str, *mentions: str) -> list[str | None]:
    return [entity.expansion for entity in expand_abbreviations(text, entities(text, *mentions))]


def test_every_occurrence_is_expanded_before_and_after_its_definition() -> None:
    text = "CHF. Congestive heart failure (CHF) was treated. CHF improved; chf, CHFX."
    mentions = ("CHF", "Congestive heart failure", "CHF", "CHF", "chf", "CHFX")
    long = "Congestive heart failure"
    assert expansions(text, *mentions) == [long, None, long, long, None, None]


def test_plural_and_singular_share_a_definition() -> None:
    text = (
        "Premature ventricular contractions (PVCs). One PVC. More PVCs. Deep vein thrombosis (DVT), two DVTs."
    )
    long = "Premature ventricular contractions"
    assert expansions(text, "PVC", "PVCs", "DVTs") == [long, long, "Deep vein thrombosis"]


def test_the_last_definition_before_the_entity_holds() -> None:
    text = "Pulmonary embolism (PE). No PE. Pleural effusion (PE) drained. PE gone."
    assert expansions(text, "PE)", "PE", "PE)", "PE") == [
        None,
        "Pulmonary embolism",
        None,
        "Pleural effusion",
    ]


def test_given_sentences_are_kept_apart() -> None:
    text = "heart failure (HF)"
    assert find_definitions(text, [(0, 5), (6, 18)]) == []
    (entity,) = expand_abbreviations(text, entities(text, "HF"), [(0, 18)])
    assert entity.expansion == "heart failure"


def test_a_known_expansion_is_kept() -> None:
    entity = Entity(0, 2, "MI", "Disease", expansion="myocardial infarction")
    assert expand_abbreviations("MI today", [entity]) == [entity]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["congestive", "heart", "failure", "(CHF)", "CHF", "(", ")", ".", "\n", "HF", "(HF)", "İ", "PVCs"]
        ),
        max_size=30,
    ).map(" ".join),
    st.lists(st.tuples(st.integers(0, 150), st.integers(1, 8))),
)
def test_only_the_expansion_changes(text: str, places: list[tuple[int, int]]) -> None:
    found = [
        Entity(
            start,
            min(start + length, len(text)),
            text[start : start + length],
            "Own",
            0.4,
            assertion=Assertion("present"),
        )
        for start, length in places
        if start < len(text)
    ]
    expanded = expand_abbreviations(text, found)
    assert [replace(entity, expansion=None) for entity in expanded] == found
    assert all(entity.expansion in {None, *(long for _, long in pairs(text))} for entity in expanded)


# --- scispaCy's detector as the oracle ---


@pytest.fixture(scope="module")
def blank_english() -> Any:
    spacy = pytest.importorskip("spacy")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import scispacy.abbreviation  # noqa: F401  registers the component

        pipeline = spacy.blank("en")
        pipeline.add_pipe("abbreviation_detector")
    return pipeline


AGREED = [
    "He has congestive heart failure (CHF).",
    "She has SBMA (spinal and bulbar muscular atrophy) since 2010",
    "spinal and bulbar muscular atrophy (SBMA)",
    "acute respiratory distress syndrome (ARDS) and deep vein thrombosis (DVT)",
    "the forced expiratory volume in one second (FEV1) fell",
    "left anterior descending artery (LAD)",
    "computed tomography (CT) and magnetic resonance imaging (MRI) of the brain",
    "the estimated glomerular filtration rate (eGFR) is low",
    "a cardiologist was called (ECG)",
]


@pytest.mark.parametrize("text", AGREED)
def test_same_definitions_as_scispacy(text: str, blank_english: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        found = blank_english(text)._.abbreviations
    assert sorted(set(pairs(text))) == sorted({(short.text, short._.long_form.text) for short in found})


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.text("abcdefgh", min_size=1, max_size=6), min_size=1, max_size=8),
    st.text("ABCDEFGHab1-", min_size=2, max_size=6),
)
def test_same_long_form_as_scispacy(blank_english: Any, words: list[str], short: str) -> None:
    from scispacy.abbreviation import find_abbreviation
    from spacy.tokens import Doc

    if not short[0].isalnum():
        return
    candidate = Doc(blank_english.vocab, words)[:]
    _, long = find_abbreviation(candidate, Doc(blank_english.vocab, [short])[:])
    text = " ".join(words)
    begin = _match_from_right(short, text)
    assert (None if begin is None else text[begin:]) == (long if long is None else long.text)
