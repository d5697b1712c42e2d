"""Named-entity extraction: what is in this document, each finding at exact characters of the file.

    clinical ner note.txt
    clinical ner notes/ -o out/ --system light

Three systems stand behind one interface, `Recognizer`: `light` (a small token classifier on any CPU), `mistral`
(a language model whose answer can only be the note itself with tags in it) and `scispacy` (the baseline).
What a recognizer finds is then placed in its section, its abbreviations are resolved, and its assertion is read
from the words around it; that part is the same for every system.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

from clinical.documents.annotations import Entity, Extraction
from clinical.documents.note import Note
from clinical.documents.sections import find_sections, section_at
from clinical.prompts.labels import Label
from clinical.tasks.abbreviations import expand_abbreviations
from clinical.tasks.assertion import assess

SYSTEMS = ("light", "mistral", "scispacy")


class Recognizer(Protocol):
    """One way to find entities. `system` and `model` are printed with every result."""

    system: str
    model: str

    def recognize(self, texts: Sequence[str], labels: Sequence[Label]) -> list[list[Entity]]:
        """Return the entities of each text, sorted by start, only of these labels; offsets count its code points.

        Raises `UsageError` when the system does not know one of the labels.
        """
        ...
