"""Free answers of a server, tied to what was asked: what cannot be verified is left out and counted.

A model that was not held to a constraint drops words, mends spelling and talks about what it does. A marked
stretch of a tagged copy is taken over when it stands in the source word for word at the place the answer has
it (`exact`), but for case and white space (`normalized`), or nearly so (`fuzzy`); else it is dropped.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from clinical.documents.annotations import Grounding
from clinical.models.language_model import NONE, OneOf, Selection, TaggedCopy, TaggedSpan

FUZZY = 0.85
"""How alike (`difflib` ratio) a marked stretch must be to the stretch of the source that it is taken for."""

_TAG = re.compile(r"<(/?)\s*([^<>\n]+?)\s*>")
# "Sentences 2, 3 and 7." but not "2 of the 12 sentences tell".
_NUMBERS = re.compile(r"(?:sentences?|numbers?|and|[\s,;.:&()\[\]-]|\d+)+", re.IGNORECASE)


@dataclass(frozen=True)
class _Mark:
    label: str
    start: int
    end: int


def tie(answer: str, constraint: TaggedCopy) -> tuple[tuple[TaggedSpan, ...], int]:
    """Return the stretches that a free answer marks in the source, and how many it marks elsewhere."""
    read = constraint.parse(answer)
    if read is not None:
        return tuple(TaggedSpan(span.start, span.end, span.label, None, "exact") for span in read), 0
    plain, marks, lost = _marks(answer, constraint.labels)
    matcher = SequenceMatcher(None, plain, constraint.source, autojunk=False)
    blocks = [(block.a, block.b, block.size) for block in matcher.get_matching_blocks()]
    spans: list[TaggedSpan] = []
    for mark in marks:
        span = _tied(mark, plain, constraint.source, blocks)
        if span is None or any(span.start < other.end and other.start < span.end for other in spans):
            lost += 1
        else:
            spans.append(span)
    return tuple(sorted(spans, key=lambda span: span.start)), lost


def _marks(answer: str, labels: Sequence[str]) -> tuple[str, list[_Mark], int]:
    """Return the answer without tags, what was marked in it, and how many tags have no partner."""
    names = {label.casefold(): label for label in labels}
    plain: list[str] = []
    marks: list[_Mark] = []
    lost = length = done = 0
    inside: tuple[str, int] | None = None
    for match in _TAG.finditer(answer):
        label = names.get(match[2].casefold())
        if label is None:
            continue
        plain.append(answer[done : match.start()])
        length += match.start() - done
        done = match.end()
        if match[1] and inside and inside[0] == label:
            marks.append(_Mark(label, inside[1], length))
            inside = None
        elif match[1]:
            lost += 1
        else:
            lost += inside is not None
            inside = (label, length)
    return "".join([*plain, answer[done:]]), marks, lost + (inside is not None)


def _tied(mark: _Mark, plain: str, source: str, blocks: Sequence[tuple[int, int, int]]) -> TaggedSpan | None:
    said = plain[mark.start : mark.end]
    start = mark.start + len(said) - len(said.lstrip())
    said = said.strip()
    if not said:
        return None
    end = start + len(said)
    places = [b + max(start - a, 0) for a, b, size in blocks if a < end and start < a + size]
    for a, b, size in blocks:
        if a <= start and end <= a + size and _is_whole(source, b + start - a, b + end - a):
            return TaggedSpan(b + start - a, b + end - a, mark.label, None, "exact")
    found = _words_in(said, source, places[0] if places else start)
    if found is None and places:
        ends = [b + min(end - a, size) for a, b, size in blocks if a < end and start < a + size]
        found = _nearly(said, source, places[0], ends[-1])
    return None if found is None else TaggedSpan(found[0], found[1], mark.label, None, found[2])


def _words_in(said: str, source: str, near: int) -> tuple[int, int, Grounding] | None:
    """Return the nearest place where the source has these words, whatever their case and the space between."""
    pattern = r"\s+".join(map(re.escape, said.split()))
    places = [match.span() for match in re.finditer(pattern, source, re.IGNORECASE)]
    whole = [place for place in places if _is_whole(source, *place)]
    if not whole:
        return None
    start, end = min(whole, key=lambda place: abs(place[0] - near))
    return start, end, "exact" if source[start:end] == said else "normalized"


def _nearly(said: str, source: str, start: int, end: int) -> tuple[int, int, Grounding] | None:
    while start and source[start - 1].isalnum() and source[start].isalnum():
        start -= 1
    while end < len(source) and source[end - 1].isalnum() and source[end].isalnum():
        end += 1
    alike = SequenceMatcher(None, said.casefold(), source[start:end].casefold(), autojunk=False).ratio()
    return (start, end, "fuzzy") if alike >= FUZZY and source[start:end].strip() else None


def _is_whole(source: str, start: int, end: int) -> bool:
    """Return whether no word is cut at either end."""
    left = start == 0 or not (source[start - 1].isalpha() and source[start].isalpha())
    return left and (end == len(source) or not (source[end - 1].isalpha() and source[end].isalpha()))


def numbers_in(answer: str, constraint: Selection) -> tuple[int, ...] | None:
    """Return the numbers that a free answer names, `None` when it is not a list of numbers of sentences."""
    plain = answer.strip().strip("`*\"'").strip()
    if plain.casefold().rstrip(".") == NONE:
        return ()
    if not _NUMBERS.fullmatch(plain):
        return None
    numbers = sorted({int(number) for number in re.findall(r"\d{1,9}", plain)})
    if not numbers or numbers[0] < 1 or numbers[-1] > constraint.count:
        return None
    return tuple(numbers[: constraint.limit])


def option_in(answer: str, constraint: OneOf) -> str | None:
    """Return the option that a free answer gives, but for case and punctuation; `None` when it is no option."""
    plain = answer.strip().strip("`*\"'.! \n").casefold()
    return next((option for option in constraint.options if option.casefold() == plain), None)
