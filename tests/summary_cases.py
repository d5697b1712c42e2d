"""What the tests of summaries share: a recognizer that knows a word list, an embedder without a model, a summarizer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from clinical.documents.annotations import Entity
from clinical.documents.note import Note
from clinical.documents.summaries import Draft
from clinical.facts.mentions import whole_mentions
from clinical.prompts.labels import Label
from clinical.tasks.ner import extract

WORDS = {
    "Disease": "pneumonia|gout|hypertension|HTN|asthma|diabetes|ankle fracture|heart failure|osteoarthritis|sepsis",
    "Symptom": "fever|cough|chest pain|hives|swelling|edema|headache|nausea|pain",
    "Medication": "lisinopril|metoprolol|furosemide|Lasix|amoxicillin|allopurinol|penicillin|digoxin|aspirin",
    "Anatomy": "left ankle|right ankle|right knee|left knee|knee|lung",
}


class WordRecognizer:
    """Marks the words of a list: what it finds does not depend on a model."""

    system = "fake"
    model = "words"

    def recognize(self, texts: Sequence[str], labels: Sequence[Label]) -> list[list[Entity]]:
        names = {label.name for label in labels}
        return [sorted(self._found(text, names), key=lambda entity: entity.start) for text in texts]

    def _found(self, text: str, names: set[str]) -> Iterator[Entity]:
        for label, words in WORDS.items():
            if label in names:
                for found in re.finditer(rf"\b(?:{words})\b", text, re.IGNORECASE):
                    yield Entity(found.start(), found.end(), found.group(), label, score=0.9)


class HashEmbedder:
    """Gives every text a vector of its own, the same at each call."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = np.array(
            [np.random.default_rng(crc32(text.encode())).normal(size=384) for text in texts], np.float32
        ).reshape(len(texts), 384)
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)


@dataclass(frozen=True)
class Writer:
    """A summarizer that writes what it is told to."""

    drafts: Sequence[Draft]
    system: str = "fake"
    model: str = "writer"

    def draft(self, note: Note, style: str, *, entities: Sequence[Entity]) -> Sequence[Draft]:
        return self.drafts


def entities_in(note: Note) -> list[Entity]:
    """Return the entities of the word list, placed, asserted and whole."""
    (found,) = extract([note], WordRecognizer())
    return whole_mentions(note.text, found.entities)
