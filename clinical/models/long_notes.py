"""What a long note is while it is made shorter: lines, each with the stretches of the note that it stands on.

A line is a sentence of the note under the title of its section, or a sentence that a model wrote of such lines. However
often it is rewritten, it keeps its place in the note; what its own sources do not bear out goes no further.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from clinical.documents.annotations import Span
from clinical.documents.sections import Section
from clinical.documents.summaries import Source
from clinical.facts.quantities import find_quantities
from clinical.facts.terms import content

MOST_SOURCES = 3

LEAST_KNOWN = 0.5
"""Share of the content words of a written sentence that what it was written from must have."""

_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class Line:
    """A sentence, the stretches of the note that it stands on, and the title of the section that it is from."""

    text: str
    spans: tuple[Span, ...]
    title: str = ""


def lines_of(sentences: Sequence[Span], sections: Sequence[Section]) -> list[Line]:
    """Return the sentences of a note as lines, without the headings that they begin with; what is said again, once."""
    lines: dict[str, Line] = {}
    place = 0
    for sentence in sentences:
        while place + 1 < len(sections) and sections[place + 1].start <= sentence.start:
            place += 1
        section = sections[place] if sections else None
        start = sentence.start if section is None else max(sentence.start, section.body_start)
        if start < sentence.end:
            span = stretch(sentence, start, sentence.end)
            # Charts are copied forward: what is written each day again is read once.
            lines.setdefault(
                " ".join(span.text.lower().split()),
                Line(span.text, (span,), section.title if section else ""),
            )
    return list(lines.values())


def shown(lines: Sequence[Line]) -> str:
    """Return the lines as a model reads them, each section under its title."""
    texts: list[str] = []
    title = ""
    for line in lines:
        if line.title != title and line.title:
            texts.append(f"{line.title}:")
        title = line.title
        texts.append(" ".join(line.text.split()))
    return "\n".join(texts)


def packed(
    lines: Sequence[Line], room: int, cost: Callable[[Line], int], most: float = math.inf
) -> Iterator[list[Line]]:
    """Yield the lines in groups that cost so many tokens, and are so many, at most; whole sections where they fit.

    A section that does not fit into what is left of a group begins a new one, and is cut only where it is longer
    than a whole group.
    """
    group: list[Line] = []
    used = 0
    for section in _by_title(lines):
        costs = [cost(line) for line in section]
        if group and (used + sum(costs) > room or len(group) + len(section) > most):
            yield group
            group, used = [], 0
        for line, tokens in zip(section, costs, strict=True):
            if group and (used + tokens > room or len(group) == most):
                yield group
                group, used = [], 0
            group.append(line)
            used += tokens
    if group:
        yield group


def _by_title(lines: Sequence[Line]) -> Iterator[list[Line]]:
    section: list[Line] = []
    for line in lines:
        if section and line.title != section[-1].title:
            yield section
            section = []
        section.append(line)
    if section:
        yield section


class Ground:
    """What written sentences must stand on: the lines that they were written from."""

    def __init__(self, lines: Sequence[Line]) -> None:
        text = "\n".join(line.text for line in lines)
        self._lines = lines
        self._words = [telling_words(line.text) for line in lines]
        self._stems = content(text)
        self._values = {quantity.value for quantity in find_quantities(text)}

    def bears(self, sentence: str) -> bool:
        """Return whether the lines have the numbers of a sentence, half of its words, and one line that it is from.

        This keeps inventions out of what is written next; whether the note bears the summary out is judged at the
        end, by more than this (`clinical.tasks.support`).
        """
        stems = content(sentence)
        numbers = {quantity.value for quantity in find_quantities(sentence)}
        known = len(stems & self._stems) >= LEAST_KNOWN * len(stems)
        return known and numbers <= self._values and bool(self.spans(sentence))

    def spans(self, sentence: str) -> tuple[Span, ...]:
        """Return the stretches of the note, at most three, that share most words with a sentence, in their order."""
        words = telling_words(sentence)
        spans = dict.fromkeys(span for line in self._nearest(sentence) for span in line.spans)
        # What a line was written from may be said there in other words: then the line's word is taken for it.
        best = sorted(spans, key=lambda span: -len(words & telling_words(span.text)))[:MOST_SOURCES]
        return tuple(sorted(best))

    def line(self, sentence: str) -> Line:
        """Return a written sentence as a line, in the section of what it shares most words with."""
        nearest = self._nearest(sentence)
        return Line(sentence, self.spans(sentence), nearest[0].title if nearest else "")

    def _nearest(self, sentence: str) -> list[Line]:
        words = telling_words(sentence)
        shared = [(len(words & known), line) for known, line in zip(self._words, self._lines, strict=True)]
        best = sorted((each for each in shared if each[0]), key=lambda each: -each[0])[:MOST_SOURCES]
        return [line for _, line in best]

    def sources(self, sentence: str) -> tuple[Source, ...]:
        """Return the same as sources of a summary."""
        return tuple(Source(span.start, span.end, span.text) for span in self.spans(sentence))


def telling_words(text: str) -> set[str]:
    """Return the words of a text that tell what it is about: long ones and numbers."""
    return {word.lower() for word in _WORD.findall(text) if len(word) > 3 or word.isdigit()}


def stretch(sentence: Span, start: int, end: int) -> Span:
    """Return a stretch of a sentence, without white space at its edges."""
    text = sentence.text[start - sentence.start : end - sentence.start]
    start += len(text) - len(text.lstrip())
    return Span(start, start + len(text.strip()), text.strip())
