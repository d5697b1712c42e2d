"""Cuts a note into passages: windows of three sentences that stay within a section.

A window tells more than its sentences alone, and says where it is said. The next window begins with the last
sentence of the one before, so that what two neighbours say together is in some window together.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from clinical.documents.sections import Section, find_sections
from clinical.documents.sentences import split_sentences

SENTENCES = 3
STEP = 2
MAX_SENTENCE = 600
"""In characters; a longer "sentence" is a table or has lost its full stops, and is cut at a blank."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece `[start, end)` of a note. `section` is its canonical name, `heading` its title as written."""

    start: int
    end: int
    section: str | None = None
    heading: str = ""


def cut(text: str) -> list[Passage]:
    """Return the passages in order; every character that is not blank is in at least one."""
    sections = find_sections(text)
    starts = [section.start for section in sections]
    pieces = [piece for sentence in split_sentences(text) for piece in _shortened(text, *sentence)]
    by_section = groupby(pieces, lambda piece: bisect_right(starts, piece[0]) - 1)
    return [
        passage for place, group in by_section for passage in _windows(list(group), sections[max(place, 0)])
    ]


def _windows(sentences: Sequence[tuple[int, int]], section: Section) -> Iterator[Passage]:
    for first in range(0, max(len(sentences) - SENTENCES + STEP, 1), STEP):
        window = sentences[first : first + SENTENCES]
        yield Passage(window[0][0], window[-1][1], section.name, section.title)


def _shortened(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the sentence, in pieces when it is too long; none begins or ends with a blank."""
    while end - start > MAX_SENTENCE:
        blanks = (place for place in range(start + MAX_SENTENCE, start, -1) if text[place].isspace())
        stop = next(blanks, start + MAX_SENTENCE)
        yield start, start + len(text[start:stop].rstrip())
        start = stop + len(text[stop:end]) - len(text[stop:end].lstrip())
    if start < end:
        yield start, end
