"""The promise of the package, over thousands of notes: `text[start:end]` is the mention, whatever the text holds."""

import random
from pathlib import Path

import pytest

from clinical.documents.annotations import Extraction
from clinical.documents.note import Note
from clinical.documents.reading import read
from clinical.prompts.labels import by_name
from clinical.tasks.ner import extract, load_recognizer

pytestmark = pytest.mark.embedded

EXAMPLES = Path(__file__).parent.parent / "examples"

FINDINGS = [
    "chest pain",
    "fever",
    "type 2 diabetes",
    "congestive heart failure (CHF)",
    "CHF",
    "naïve β-thalassaemia",
]
DRUGS = ["metformin 500 mg b.i.d.", "aspirin", "5-FU", "i.v. vancomycin 1 g", "L-dopa/carbidopa"]
SENTENCES = [
    "{who} denies {finding}.", "No evidence of {finding}, but {finding} cannot be excluded.",
    "ASSESSMENT: {finding}.", "Started on {drug} for {finding}.", "Mother had {finding}.", "Plan:\n- {drug}\n- {drug}",
    "Return if {finding} develops.", "{finding};{drug}",
]  # fmt: skip
BETWEEN = [" ", "  ", "\n", "\r\n", "\t", "\n\n", "\u00a0", "\u2028", "\x0c", ""]
ODD = ["", "🙂", "e\u0301", "\x00", "\ufeff", "漢字", "אבג", "𝒳", "\u200d", "½", "ﬁ", "İ", "\u202e"]


def generated_note(seed: int) -> str:
    """Return a short note, with signs between and within its words that upset careless offsets."""
    rng = random.Random(seed)
    pieces = []
    for _ in range(rng.randint(0, 6)):
        sentence = rng.choice(SENTENCES).format(
            who=rng.choice(["He", "The patient", "Mrs. Müller"]),
            finding=rng.choice(FINDINGS),
            drug=rng.choice(DRUGS),
        )
        place = rng.randint(0, len(sentence))
        pieces.append(
            sentence[:place] + rng.choice(ODD) * rng.randint(0, 1) + sentence[place:] + rng.choice(BETWEEN)
        )
    return rng.choice(ODD) + "".join(pieces)


LABELS = ("Disease", "Symptom", "Medication", "Dosage", "Test", "Procedure", "Anatomy", "Date", "Severity")


def assert_offsets_hold(note: Note, extraction: Extraction) -> None:
    """Check every entity of a note, and its cue, against the text."""
    for entity in extraction.entities:
        assert note.text[entity.start : entity.end] == entity.text, repr(note.text)
        assert entity.text.strip() == entity.text != "", repr(note.text)
        assert entity.label in LABELS
        if entity.assertion and entity.assertion.cue:
            cue = entity.assertion.cue
            assert note.text[cue.start : cue.end] == cue.text, repr(note.text)
    places = [(entity.start, entity.end) for entity in extraction.entities]
    assert places == sorted(places)


def found_in(notes: list[Note]) -> dict[str, int]:
    """Return how many entities each note has, every one of them checked."""
    extractions = extract(notes, load_recognizer("light"), by_name(LABELS))
    for note, extraction in zip(notes, extractions, strict=True):
        assert_offsets_hold(note, extraction)
    return {extraction.id: len(extraction.entities) for extraction in extractions}


def test_offsets_hold_in_thousands_of_generated_notes() -> None:
    found = found_in([Note(str(seed), generated_note(seed)) for seed in range(3000)])
    assert sum(found.values()) > 6000


def test_offsets_hold_in_every_example() -> None:
    notes = [note for note in read([str(EXAMPLES)]) if isinstance(note, Note)]
    found = found_in([note for note in notes if not note.id.endswith("README.md")])
    assert len(found) >= 20
    assert min(found.values()) > 0, found
