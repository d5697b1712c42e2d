"""Spans as nested marks: what a page needs, where a mark must end inside the mark it began in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Piece:
    """One step of writing a text with marks.

    `opens` and `closes` are places in the list of spans; neither means the text `[start, end)`. A span that
    crosses the end of another is written in fragments: `whole` tells its first opening and last closing.
    """

    start: int
    end: int
    opens: int | None = None
    closes: int | None = None
    whole: bool = False


def nest(length: int, spans: Sequence[tuple[int, int]]) -> Iterator[Piece]:
    """Yield the pieces of a text of this length, marks properly nested, the longer ones outside.

    Empty spans have no piece.

    >>> [p.opens if p.opens is not None else p.closes for p in nest(9, [(0, 6), (3, 9)])]
    [None, 0, None, 1, None, 1, 0, 1, None, 1]
    """
    starting: defaultdict[int, list[int]] = defaultdict(list)
    for place, (start, end) in enumerate(spans):
        if start < end:
            starting[start].append(place)
    points = sorted({0, length, *(point for start, end in spans if start < end for point in (start, end))})
    stack: list[int] = []
    for number, point in enumerate(points):
        cut_short: list[int] = []
        while any(spans[place][1] == point for place in stack):
            place = stack.pop()
            ends = spans[place][1] == point
            yield Piece(point, point, closes=place, whole=ends)
            if not ends:
                cut_short.append(place)
        for place in sorted([*cut_short, *starting[point]], key=lambda place: (-spans[place][1], place)):
            stack.append(place)
            yield Piece(point, point, opens=place, whole=place not in cut_short)
        if point < length:
            yield Piece(point, points[number + 1])
