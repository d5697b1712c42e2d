"""Evidence: the sentences around the hits of a search, where an answer may stand.

A hit is a window of three sentences. What follows it may be the reason, and what stands before it may say what
"it" was, so a few sentences on both sides are read too. Every sentence keeps its place: `note.text[start:end] == text`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

from clinical.documents.note import Note
from clinical.documents.reading import read
from clinical.documents.sections import find_sections
from clinical.documents.sentences import split_sentences
from clinical.index.hits import Hit
from clinical.index.terms import count_stems, stems_of
from clinical.tasks.query import read_query

__all__ = ["Stretch", "Told", "gather", "known_share", "sections_of", "stretch_of"]

AROUND = 3
"""How many sentences are read before and after a hit."""

MOST = 120
"""How many sentences are read in all, those around the best hits first."""


@dataclass(frozen=True)
class Told:
    """A sentence of a note with its place. `heading` is the title of its section as written, `section` its name."""

    start: int
    end: int
    text: str
    line: int
    heading: str = ""
    section: str | None = None


@dataclass(frozen=True)
class Stretch:
    """Sentences of one note that follow each other; `rank` is that of the best hit among them, from 1."""

    note: Note
    path: str
    told: tuple[Told, ...]
    rank: int = 1


def gather(hits: Sequence[Hit], most: int = MOST) -> list[Stretch]:
    """Return the sentences of the hits and around them, in stretches, those of the best hits first.

    A file that has changed since it was searched, or is gone, gives none.
    """
    found: list[Stretch] = []
    for path, group in groupby(sorted(hits, key=lambda hit: (hit.path, hit.rank)), key=lambda hit: hit.path):
        of_path = list(group)
        notes = _notes(path, {hit.id for hit in of_path})
        for id, note in notes.items():
            own = [hit for hit in of_path if hit.id == id and note.text[hit.start : hit.end] == hit.text]
            found += _stretches(note, path, own)
    kept, left = [], most
    for stretch in sorted(found, key=lambda stretch: stretch.rank):
        if left > 0:
            kept.append(stretch)
        left -= len(stretch.told)
    return kept


def stretch_of(note: Note, spans: Sequence[tuple[int, int]] | None = None) -> Stretch:
    """Return a whole note as one stretch; `spans` are its sentences where they are known."""
    return Stretch(note, note.path or note.id, tuple(_told(note, spans)))


def known_share(question: str, stretch: Stretch) -> float:
    """Return how much of what the question is about the stretch mentions, by these or other names, from 0 to 1.

    What a question about a disease asks for is often told of another one; only the name tells them apart.
    """
    asked = read_query(question)
    text = "\n".join([stretch.note.title or "", *(told.text for told in stretch.told)])
    stems = {stem for stem, _, _ in count_stems([text])}
    lower = text.lower()
    known = {word.stem for word in asked.words if word.stem in stems}
    for name in asked.names:
        if any(other.lower() in lower for other in name.others):
            known |= {stem for found in stems_of(name.text.split()) for stem in found}
    total = sum(word.weight for word in asked.words)
    return sum(word.weight for word in asked.words if word.stem in known) / total if total else 1.0


def _notes(path: str, ids: set[str]) -> dict[str, Note]:
    """Return the notes of a file that have these ids; the rest of a file of records is not read."""
    found: dict[str, Note] = {}
    for note in read([path]):
        if isinstance(note, Note) and note.id in ids:
            found[note.id] = note
            if len(found) == len(ids):
                break
    return found


def _stretches(note: Note, path: str, hits: Sequence[Hit]) -> Iterator[Stretch]:
    told = list(_told(note))
    starts = [sentence.start for sentence in told]
    wanted: dict[int, int] = {}
    for hit in hits:
        first = max(bisect_right(starts, hit.start) - 1, 0) - AROUND
        last = bisect_right(starts, hit.end - 1) + AROUND
        for number in range(max(first, 0), min(last, len(told))):
            wanted[number] = min(wanted.get(number, hit.rank), hit.rank)
    # Numbers that follow each other differ from their place among the wanted ones by the same amount.
    for _, run in groupby(enumerate(sorted(wanted)), key=lambda pair: pair[1] - pair[0]):
        numbers = [number for _, number in run]
        yield Stretch(
            note, path, tuple(told[number] for number in numbers), min(wanted[number] for number in numbers)
        )


def _told(note: Note, spans: Sequence[tuple[int, int]] | None = None) -> Iterator[Told]:
    sections = sections_of(note.text)
    starts = [section.start for section in sections]
    line, before = 1, 0
    for start, end in _sentences(note.text) if spans is None else spans:
        line += note.text.count("\n", before, start)
        before = start
        section = sections[max(bisect_right(starts, start) - 1, 0)] if sections else None
        if section is None:
            yield Told(start, end, note.text[start:end], line)
        elif not (section.title and end <= section.body_start):
            yield Told(start, end, note.text[start:end], line, section.title, section.name)


sections_of = lru_cache(maxsize=64)(find_sections)


@lru_cache(maxsize=64)
def _sentences(text: str) -> list[tuple[int, int]]:
    return split_sentences(text)
