"""Words, for the formats made of words (CoNLL, spaCy): every entity begins and ends with one."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from itertools import groupby, pairwise

LINE_BREAKS = r"\n\v\f\r\x1c-\x1e\x85\u2028\u2029"
"""All that Python takes for the end of a line, to stand in the brackets of a regular expression."""


def cut(text: str, boundaries: Iterable[int]) -> list[tuple[int, int]]:
    """Return offsets of pieces that cover the text: words, runs of white space, and single other characters.

    A word is a run of letters, marks and digits, so that a combining accent stays with its letter. Every
    boundary is the start or end of a piece: with one at 3, "500mg" is two words.
    """
    stops = {stop for stop in boundaries if 0 < stop < len(text)}
    stops.update(_natural_stops(text))
    edges = [0, *sorted(stops)]
    return list(pairwise(edges))


def _natural_stops(text: str) -> Iterator[int]:
    position = 0
    for kind, run in groupby(text, _kind):
        length = sum(1 for _ in run)
        step = 1 if kind == "other" else length
        yield from range(position + step, position + length + 1, step)
        position += length


def _kind(character: str) -> str:
    if character.isspace():
        return "space"
    return "word" if unicodedata.category(character)[0] in "LMN" else "other"
