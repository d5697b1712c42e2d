"""The support check: what contradicts a note is found, what it says in other words is not doubted."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from summary_cases import WordRecognizer, entities_in

from clinical.documents.note import Note
from clinical.documents.summaries import Draft, Source, SummarySentence
from clinical.facts.quantities import find_dates, find_quantities
from clinical.facts.terms import content, is_in, plain_words, stem, with_plain_words, without_plain_words
from clinical.tasks.support import Support

NOTE = Note(
    "n",
    """HISTORY: 71-year-old woman with HTN, seen on 4 March 2024. She denies fever and cough. Mother had asthma.
She fell and has pain and swelling of the left ankle for two weeks.
MEDICATIONS: Furosemide 40 mg by mouth b.i.d., metoprolol 25 mg daily.
LABS: Creatinine 1.6 mg/dL, WBC 1,200. Possible pneumonia.
PLAN: Start lisinopril. Blood pressure decreased.""",
)
SUPPORT = Support(NOTE, entities_in(NOTE))


def check(text: str, *sources: Source) -> SummarySentence:
    (checked,) = SUPPORT.check([Draft(text, sources)], WordRecognizer())
    return checked


@pytest.mark.parametrize(
    "text",
    [
        "She is a 71-year-old woman with high blood pressure.",
        "Pain of the left ankle for 2 weeks.",
        "Lasix 40 mg twice a day and metoprolol 25 milligrams.",
        "She has no fever.",
        "The white count was 1200.",
        "Seen March 4, 2024.",
        "Creatinine was 1.60.",
        "Lisinopril was started.",
        "She has no swelling of the face.",
        "Mother had asthma.",
        "Her doctor said that he would start lisinopril.",
    ],
)
def test_what_the_note_says_in_other_words_is_supported(text: str) -> None:
    checked = check(text)
    assert (checked.support, checked.reasons) == ("supported", ())
    assert checked.sources


@pytest.mark.parametrize(
    ("text", "support", "reason"),
    [
        ("Furosemide 80 mg by mouth.", "unsupported", "80 mg is not in the note"),
        ("Furosemide 25 mg by mouth.", "unsupported", "the note gives Furosemide 40 mg, not 25 mg"),
        ("Furosemide 40 mcg by mouth.", "unsupported", "40 mcg is 40 mg in the note"),
        ("Pain of the right ankle after a fall.", "unsupported", "the note says left ankle"),
        ("She has fever and swelling.", "unsupported", "the note denies fever"),
        ("She denies swelling of the left ankle.", "unsupported", "the note does not deny swelling"),
        ("He fell and has pain.", "unsupported", "the note never says he of the patient"),
        ("Mother had no asthma.", "unsupported", "the note does not deny asthma"),
        ("Seen without furosemide 40 mg by mouth.", "unsupported", "the note does not deny furosemide"),
        ("Digoxin was started for the left ankle.", "unsupported", "Digoxin is not in the note"),
        ("Seen on 5 March 2024 with pain.", "unsupported", "the date 5 March 2024 is not in the note"),
        ("Blood pressure increased.", "unsupported", "the note says decreased"),
        ("She has pneumonia.", "weak", "the note has pneumonia as possible"),
        ("She has gout of the left ankle.", "weak", "gout is not in the note in these words"),
        ("Zebras gallop over distant plains.", "unsupported", "no sentence of the note says anything of it"),
    ],
)
def test_what_the_note_does_not_say_is_found(text: str, support: str, reason: str) -> None:
    checked = check(text)
    assert checked.support == support
    assert reason in checked.reasons


def test_a_quote_is_supported_and_keeps_its_sources() -> None:
    start = NOTE.text.index("She denies")
    source = Source(start, start + 27, NOTE.text[start : start + 27])
    assert check("She denies fever and cough.", source) == SummarySentence(
        "She denies fever and cough.", (source,), "supported"
    )


def test_plain_words_in_brackets_leave_a_quote_a_quote() -> None:
    start = NOTE.text.index("Furosemide")
    source = Source(start, start + 33, NOTE.text[start : start + 33])
    text = with_plain_words(source.text, set())
    assert text != source.text
    assert check(text, source).support == "supported"


def test_a_source_that_is_not_what_stands_there_is_not_believed() -> None:
    invented = Source(0, 12, "She has gout")
    checked = check("She has gout.", invented)
    assert invented not in checked.sources
    assert checked.support != "supported"


def test_answers_decide_what_a_question_names() -> None:
    note = Note("d", "Doctor: Any fever?\nPatient: No.\nDoctor: Any cough?\nPatient: Yes, a bad one.")
    support = Support(note, entities_in(note))
    levels = [
        checked.support
        for checked in support.check(
            [Draft("Patient has fever."), Draft("Patient has cough.")], WordRecognizer()
        )
    ]
    assert levels == ["unsupported", "supported"]


def test_an_empty_note_supports_nothing() -> None:
    (checked,) = Support(Note("e", ""), ()).check([Draft("She has fever.")], WordRecognizer())
    assert (checked.support, checked.sources) == ("unsupported", ())


@settings(deadline=None)
@given(st.text(max_size=200))
def test_any_text_can_be_checked(text: str) -> None:
    checked = check(text)
    assert checked.text == text
    assert checked.support in ("supported", "weak", "unsupported")
    assert (checked.support == "supported") == (not checked.reasons)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Furosemide 40 mg, BP 158/92 mmHg", [("40", "mg"), ("158/92", "mmhg")]),
        (
            "1,000 mcg, .50 mg/dL and twenty five milligrams",
            [("1000", "mcg"), ("0.5", "mg/dl"), ("25", "mg")],
        ),
        ("the 5th rib, in their 70s, on 4 March 2024", []),
        ("71-year-old for two weeks", [("71", "year"), ("2", "week")]),
    ],
)
def test_quantities(text: str, found: list[tuple[str, str | None]]) -> None:
    assert [(quantity.value, quantity.unit) for quantity in find_quantities(text)] == found


def test_dates() -> None:
    text = "4 March 2024, March 3rd, 03/04/24, 2024-03-05, May 2020; she may 5 times"
    assert [(day.year, day.month, day.day) for day in find_dates(text)] == [
        (2024, 3, 4), (None, 3, 3), (2024, 3, 4), (2024, 3, 5), (2020, 5, None),
    ]  # fmt: skip


def test_names_that_mean_the_same() -> None:
    assert content("She has HTN.") == content("high blood pressure") == {"hypertension"}
    assert is_in("CHF", content("known congestive heart failure"))
    assert not is_in("hypotension", content("hypertension"))
    assert not is_in("the", content("the patient"))
    assert stem("diagnoses") == stem("diagnosis")
    assert plain_words("Take it p.r.n. for edema.") == [
        ("p.r.n", "only when you need it"), ("edema", "swelling from fluid"),
    ]  # fmt: skip


@settings(deadline=None)
@given(st.text(max_size=80))
def test_plain_words_can_be_taken_away_again(text: str) -> None:
    if " [in plain words: " not in text:
        assert without_plain_words(with_plain_words(text, set())) == text
