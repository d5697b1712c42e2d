"""What a query says in words, made safe for the word index: no query of a user is a syntax error."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

TOKENIZER = "porter unicode61 remove_diacritics 2"
"""How words are told apart and compared: without accents and case, by their stems (Porter 1980)."""

MAX_WORDS = 64
"""A whole letter as a query is searched for by the words that it repeats most."""

_WORD = re.compile(r"\w+")
# What nearly every passage holds. "No" is among them: "no fever" asks for what is said of fever.
_COMMON_WORDS = """a about after all also am an and any are as at be because been being but by can could did do does for
from get had has have having he her hers him his how i if in into is it its just like me my need no not of
off on or our out over please she should so some such than thank thanks that the their them then there these
they this to up us was we were what when where which while who whom why will with would you your
hello hi dear sir madam somebody someone anybody anyone anything something hope"""
_COMMON = frozenset(_COMMON_WORDS.split())


@dataclass(frozen=True, slots=True)
class PlacedWord:
    """A word of a query as written, the character at which it begins, and how many words stand before it."""

    text: str
    start: int
    index: int


def words_in(query: str) -> list[PlacedWord]:
    """Return every word of the query that is not a common one, in order; those too when there are no others."""
    found = [
        PlacedWord(word.group(), word.start(), index)
        for index, word in enumerate(_WORD.finditer(query))
        if word.group().strip("_")
    ]
    shouts = query.isupper()
    return [word for word in found if not _is_common(word.text, shouts)] or found


def words_of(query: str) -> list[str]:
    """Return the words to look for, each once, in their order; common words only when there are no others."""
    counts = Counter(word.text.lower() for word in words_in(query))
    kept = {word for word, _ in counts.most_common(MAX_WORDS)}
    return [word for word in counts if word in kept]


def _is_common(word: str, shouts: bool) -> bool:
    """Return whether a word says nothing. Of capitals it does: ALL is a leukaemia, US an ultrasound.

    In a query that `shouts`, all in capitals, they tell nothing.
    """
    stands_out = len(word) > 1 and word.isupper() and not shouts
    return word.lower() in _COMMON and not stands_out


def match_expression(words: Sequence[str]) -> str:
    """Return the FTS5 expression that matches any of the words; each is quoted, so none is an operator."""
    return " OR ".join('"{}"'.format(word.replace('"', " ")) for word in words)


def word_spans(words: Sequence[str], text: str) -> Iterator[tuple[int, int]]:
    """Yield where the words, or phrases, stand in the text, in order, as the word index compares them.

    "Exertion" stands in "exertional": the index's own tokenizer says so.
    """
    opened, closed = "\ue000", "\ue001"
    # One character for one, so that places stay; a NUL would end the text for SQLite.
    plain = text.translate({0: " ", ord(opened): " ", ord(closed): " "})
    with closing(sqlite3.connect(":memory:")) as memory:
        memory.execute(f"CREATE VIRTUAL TABLE passage USING fts5 (body, tokenize='{TOKENIZER}')")
        memory.execute("INSERT INTO passage VALUES (?)", (plain,))
        row = memory.execute(
            "SELECT highlight(passage, 0, ?, ?) FROM passage WHERE passage MATCH ?",
            (opened, closed, match_expression(words)),
        ).fetchone()
    place = start = 0
    for character in row[0] if row else "":
        if character == opened:
            start = place
        elif character == closed:
            yield start, place
        else:
            place += 1
