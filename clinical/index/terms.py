"""Takes texts apart into the stems that are compared, exactly as SQLite's FTS5 does it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing

from clinical.index.words import TOKENIZER


def count_stems(texts: Sequence[str]) -> list[tuple[str, int, int]]:
    """Return each stem with the number of its text and how often it stands there, in the order of the stems.

    >>> count_stems(["Chest pains, chest pain", "No pain"])
    [('chest', 0, 2), ('no', 1, 1), ('pain', 0, 2), ('pain', 1, 1)]
    """
    return _asked(texts, "SELECT term, doc, count(*) FROM stems GROUP BY term, doc ORDER BY term, doc")


def stems_of(words: Sequence[str]) -> list[list[str]]:
    """Return the stems of each word, in their order: most have one, "x-ray" has two, "?" has none.

    >>> stems_of(["pains", "x-rays", "?"])
    [['pain'], ['x', 'rai'], []]
    """
    found: list[list[str]] = [[] for _ in words]
    for stem, word, _ in _asked(words, "SELECT term, doc, offset FROM stems ORDER BY doc, offset"):
        found[word].append(stem)
    return found


def _asked(texts: Sequence[str], question: str) -> list[tuple[str, int, int]]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as memory:
        memory.execute(f"CREATE VIRTUAL TABLE texts USING fts5 (body, content='', tokenize='{TOKENIZER}')")
        memory.execute("CREATE VIRTUAL TABLE stems USING fts5vocab (texts, instance)")
        memory.execute("BEGIN")
        memory.executemany(
            "INSERT INTO texts (rowid, body) VALUES (?, ?)",
            # For SQLite a NUL would end the text.
            ((number, text.replace("\0", " ")) for number, text in enumerate(texts)),
        )
        rows: list[tuple[str, int, int]] = memory.execute(question).fetchall()
    return rows
