"""Evidence: the sentences around the hits of a search, where an answer may stand.

A hit is a window of three sentences. What follows it may be the reason, and what stands before it may say what
"it" was, so a few sentences on both sides are read too. Every sentence keeps its place: `note.text[start:end] == text`.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import groupby

from clinical.documents.note import Note
from clinical.documents.reading import read
from clinical.documents.sections import find_sections
from clinical.documents.sentences import split_sentences
from clinical.index.hits import Hit
from clinical.index.terms import count_stems, stems_of
from clinical.tasks.query import Query, read_query

__all__ = ["Stretch", "Subject", "Told", "gather", "is_stranger", "is_title", "sections_of", "stretch_of"]

AROUND = 3
"""How many sentences are read before and after a hit."""

MOST = 120
"""How many sentences are read in all, those around the best hits first."""

IN_TITLE, IN_LINE = 0.5, 0.9
"""An article is about what is asked when its title names so much of it, by weight, or else one of its sentences does.
Chosen on MedQuAD's development articles (benchmarks/ask.md)."""

SHORTEST_ARTICLE = 400
"""In characters. What is shorter is taken for a note."""

_KIND_OF_NOTE = re.compile(
    r"\b(?:notes?|summary|letters?|reports?|records?|visits?|consult\w*|lists?|messages?|admission|discharge|clinics?"
    r"|progress)\b",
    re.IGNORECASE,
)
_OF_A_PATIENT = re.compile(
    # Not "his or her doctor", as articles have it.
    r"(?<!he or )(?<!his or )\b(?:he|she|pt|y/?o|\w+[- ](?:year|month|week)-old|mrs|mr|ms|denie[sd]|c/o)\b"
    r"(?! or (?:she|her)\b)",
    re.IGNORECASE,
)
_DATE_WORDS = re.compile(
    r"\b(?:jan|feb|mar|apr|may|june?|july?|aug|sept?|oct|nov|dec)[a-z]*\b\.?|\d+(?:st|nd|rd|th)?\b",
    re.IGNORECASE,
)


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


@dataclass(frozen=True)
class Subject:
    """What a question is about: its words, each with its weight, and their other names."""

    query: Query

    @staticmethod
    def of(question: str) -> Subject:
        """Return the subject of a question."""
        return Subject(read_query(question))

    def known(self, texts: Sequence[str]) -> list[frozenset[str]]:
        """Return of each text which words of the question, as stems, it mentions by these or other names."""
        asked = {word.stem for word in self.query.words}
        found: list[set[str]] = [set() for _ in texts]
        for stem, group in groupby(count_stems(texts), key=lambda counted: counted[0]):
            of_one_root = {word for word in asked if _of_one_root(word, stem)}
            for _, number, _ in group if of_one_root else ():
                found[number] |= of_one_root
        for pattern, stems in self._other_names:
            for stems_found, text in zip(found, texts, strict=True):
                if pattern.search(text):
                    stems_found |= stems & asked
        return [frozenset(stems) for stems in found]

    def share(self, known: AbstractSet[str]) -> float:
        """Return the share of the weight that these words have, from 0 to 1; 1 where nothing has any."""
        total = sum(word.weight for word in self.query.words)
        return sum(word.weight for word in self.query.words if word.stem in known) / total if total else 1.0

    @cached_property
    def _other_names(self) -> list[tuple[re.Pattern[str], set[str]]]:
        return [
            (
                re.compile(rf"\b(?:{'|'.join(re.escape(other) for other in name.others)})\b", re.IGNORECASE),
                {stem for found in stems_of(name.text.split()) for stem in found},
            )
            for name in self.query.names
            if name.others
        ]


def _of_one_root(one: str, other: str) -> bool:
    """Return whether two stems are of one word, as far as their letters tell: allergi(es) and allerg(ic).

    >>> _of_one_root("azithromycin", "azithro"), _of_one_root("smoke", "smoker"), _of_one_root("hyperten", "hyperkal")
    (True, True, False)
    """
    if one == other:
        return True
    shorter = min(len(one), len(other))
    return shorter >= 5 and one[: max(5, shorter - 1)] == other[: max(5, shorter - 1)]


def is_stranger(subject: Subject, stretch: Stretch) -> bool:
    """Return whether a stretch is of an article on something else than the question.

    What is asked of a disease is told of every other one in the same words; only the name tells them apart. A note on a
    patient is no stranger: its title ("Progress note", "Cough") need not say what is in it.
    """
    title = stretch.note.title or ""
    if not title.strip() or _is_note(title, stretch.note.text):
        return False
    known = subject.known([title, *(told.text for told in stretch.told)])
    in_title, *in_lines = map(subject.share, known)
    # "Gout" is little of "What is the treatment of gout?", but all of the title.
    is_named = {stem for stem, _, _ in count_stems([title])} <= known[0]
    return not (is_named or in_title >= IN_TITLE or max(in_lines, default=0.0) >= IN_LINE)


def _is_note(title: str, text: str) -> bool:
    """Return whether a title and a text are those of a note on a patient, as far as the words and sections tell."""
    if len(text) < SHORTEST_ARTICLE or _KIND_OF_NOTE.search(title) or _OF_A_PATIENT.search(text):
        return True
    return any(section.name for section in sections_of(text))


def is_title(note: Note, told: Told) -> bool:
    """Return whether a sentence is no more than the title that a note begins with: "STROKE UNIT PROGRESS NOTES"."""
    if told.line > 1 or note.text[: told.start].strip() or note.text.isupper():
        return False
    bare = _DATE_WORDS.sub("", told.text).strip()
    return (not bare or bare.isupper()) and bare[-1:] not in ".!?:"


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
