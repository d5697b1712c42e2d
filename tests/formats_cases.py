"""Notes and entities for the tests of the formats: one small example, and strategies for all that may come."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from clinical.documents.annotations import Assertion, Entity, Extraction, Span
from clinical.documents.note import Note

# Drawing a document takes milliseconds, and each of these tests has one thing to find.
FEW = settings(max_examples=80, deadline=None)


def span(text: str, words: str, nth: int = 0) -> Span:
    """Return where the words stand, the `nth` time."""
    start = -1
    for _ in range(nth + 1):
        start = text.index(words, start + 1)
    return Span(start, start + len(words), words)


def entity(text: str, words: str, label: str, nth: int = 0, **more: Any) -> Entity:
    place = span(text, words, nth)
    return Entity(place.start, place.end, words, label, **more)


TEXT = (
    "HISTORY: 67-year-old with COPD.\r\n"
    "She denies chest pain.\tMother died of breast\ncancer.\r\n"
    "PLAN:\r\n"
    "Aspirin 81mg, “daily” 👍.\r\n"
)
NOTE = Note("visit-1", TEXT, "notes/visit-1.txt", date="2024-05-02")


def example() -> tuple[Note, Extraction]:
    """Return a note with nested, touching and wrapped entities, and every field in use."""
    entities = [
        entity(TEXT, "67-year-old", "Age", score=0.61804),
        entity(TEXT, "COPD", "Disease", score=0.98, expansion="chronic obstructive pulmonary disease"),
        entity(
            TEXT,
            "chest pain",
            "Symptom",
            score=1.0,
            assertion=Assertion("negated", span(TEXT, "denies")),
            section="history",
        ),
        entity(TEXT, "breast", "Anatomy", section="history"),
        entity(
            TEXT,
            "breast\ncancer",
            "Disease",
            score=0.5,
            grounding="normalized",
            assertion=Assertion("family", span(TEXT, "Mother")),
            section="history",
        ),
        entity(TEXT, "Aspirin 81", "Drug & dose", assertion=Assertion("present"), section="plan"),
        entity(TEXT, "81mg", "Dosage", section="plan"),
    ]
    return NOTE, Extraction(NOTE.id, NOTE.path, "light", "light-1", entities, ("one warning",))


# What moves offsets in careless hands: line ends, tabs, NUL, astral characters, marks, right-to-left, markup.
PIECES = (
    "fever", "no evidence of ", "500mg", ".", ",", " ", "  ", "\n", "\r\n", "\r", "\t", "\x00", "\x1b[31m", "\x85",
    "\u2028", "\u00a0", "é", "e\u0301", "👩‍⚕️", "🫀", "שלום", "כאב ראש", "حمى", "\ufeff", "<b>", "&amp;", "</script>",
    "{{x}}", '"', "'", "#", "T1", "-DOCSTART-", "\\n", ";", "=1", "PLAN:\n", "HISTORY: ",
)  # fmt: skip
characters = st.characters(codec="utf-8")
texts = st.lists(st.sampled_from(PIECES) | characters, max_size=12).map("".join)
labels = st.sampled_from(["Disease", "Symptom", "Lab value", "Größe", "a-b_c", "<x>"])
scores = st.sampled_from([None, 0.0, 0.5, 0.9999, 1.0])
groundings = st.sampled_from(["decoded", "exact", "normalized", "fuzzy"])
statuses = st.sampled_from(["present", "negated", "possible", "historical", "hypothetical", "family"])
words = st.sampled_from([None, "plan", "past_medical_history", "a\tb", "x\r\n", "<i>&", "\u2028", "🫀"])


@st.composite
def spans(draw: st.DrawFn, text: str, trimmed: bool = True) -> Span:
    """Draw a piece of the text; a trimmed one neither begins nor ends with white space."""
    start = draw(st.integers(0, len(text) - 1))
    end = draw(st.integers(start + 1, len(text)))
    if trimmed:
        while start < end and text[start].isspace():
            start += 1
        while start < end and text[end - 1].isspace():
            end -= 1
    return Span(start, end, text[start:end])


@st.composite
def documents(draw: st.DrawFn, trimmed: bool = True) -> tuple[Note, Extraction]:
    """Draw a note with its extraction: entities overlap, nest, repeat and cross as they like."""
    text = draw(texts)
    note = Note(
        draw(words) or "note",
        text,
        draw(words),
        title=draw(words),
        date=draw(st.sampled_from([None, "2024-01-31"])),
    )
    found = draw(st.lists(spans(text, trimmed), max_size=5)) if text else []
    entities = []
    for place in found:
        if place.text:
            cue = draw(st.none() | spans(text)) if text else None
            assertion = draw(
                st.none() | st.builds(Assertion, statuses, st.just(cue if cue and cue.text else None))
            )
            entities.append(
                Entity(
                    place.start,
                    place.end,
                    place.text,
                    draw(labels),
                    draw(scores),
                    draw(groundings),
                    assertion,
                    draw(words),
                    draw(words),
                )
            )
    entities.sort(key=lambda entity: (entity.start, entity.end))
    warnings = draw(st.lists(words.filter(bool), max_size=1))
    return note, Extraction(note.id, note.path, "light", "light-1", entities, tuple(warnings))


def places(extraction: Extraction) -> list[tuple[int, int, str]]:
    """Return what every format must keep: where, and which label. In an order of their own."""
    return sorted((entity.start, entity.end, entity.label) for entity in extraction.entities)
