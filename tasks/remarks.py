"""What a reader should know before trusting a summary: no English, nothing to read, orders to the model.

    remarks(note.text, drafts)          ("this looks like no English; the models know English only",)

Each remark is one line, names the form of the document and never its content.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from clinical.documents.summaries import Draft

__all__ = ["remarks"]

SAMPLE = 20_000
LEAST_WORDS = 30
"""Of fewer words nobody can tell the language."""

LEAST_ENGLISH = 0.06
"""Share of the commonest words of English. Notes in shorthand have some 10 %, prose 30 %, Spanish below 3 %."""

LEAST_FOREIGN = 0.12

_ENGLISH_WORDS = (
    "the of and to in with was is for on at no he she her his had has by from are this that not patient"
)
_FOREIGN_WORDS = """de la el los las en que y con por del una un se su para al no es sin le les des et du est dans une
avec pour sur pas der die und den von mit ist im nicht das ein eine zu il di che per non con da het een van niet o a os
as em um uma do da não"""
_ENGLISH = frozenset(_ENGLISH_WORDS.split())
_FOREIGN = frozenset(_FOREIGN_WORDS.split())

_WORD = re.compile(r"[^\W\d_]+")
_ORDERS = re.compile(
    r"\b(?:ignore|disregard|forget)\b[^.\n]{0,40}\b(?:instructions?|prompts?|above|previous|rules)\b|"
    r"\byou are (?:now )?an? (?:ai|assistant|language model)\b|\b(?:as|to) (?:the|an) (?:ai|language model)\b",
    re.IGNORECASE,
)


def remarks(text: str, drafts: Sequence[Draft]) -> tuple[str, ...]:
    """Return the remarks on a text and what was made of it; none for an ordinary note."""
    found = []
    if not drafts:
        found.append("there is nothing to summarize in this style: no sentence was found")
    if not _is_english(text[:SAMPLE]):
        found.append(
            "this does not look like English, the only language the models know; read the document itself"
        )
    if _ORDERS.search(text):
        found.append("the document speaks to a language model; its words are treated as text, as all others")
    return tuple(found)


def _is_english(text: str) -> bool:
    words = [word.lower() for word in _WORD.findall(text)]
    if len(words) < LEAST_WORDS:
        return True
    english = sum(word in _ENGLISH for word in words) / len(words)
    foreign = sum(word in _FOREIGN for word in words) / len(words)
    return not (english < LEAST_ENGLISH and foreign > LEAST_FOREIGN)
