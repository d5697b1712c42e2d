"""What a reader should know before trusting a summary: no English, nothing to read, orders to the model.

    remarks(note.text, drafts)          ("this looks like Spanish; …",)

Each remark is one line, names the form of the document and never its content.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from clinical.documents.summaries import Draft
from clinical.facts.language import foreign

__all__ = ["remarks", "speaks_to_model"]

SAMPLE = 20_000
LEAST_WORDS = 30
"""Of fewer words nobody can tell the language."""

LEAST_ENGLISH = 0.06
"""Share of the commonest words of English. Notes in shorthand have some 10 %, prose 30 %, Spanish below 3 %."""

_ENGLISH_WORDS = (
    "the of and to in with was is for on at no he she her his had has by from are this that not patient"
)
_ENGLISH = frozenset(_ENGLISH_WORDS.split())

_WORD = re.compile(r"[^\W\d_]+")
_ORDERS = re.compile(
    r"\b(?:ignore|disregard|forget)\b[^.\n]{0,40}\b(?:instructions?|prompts?|above|previous|rules)\b|"
    r"\b(?:output|answer|respond|reply) (?:only )?with\b|\boutput only\b|"
    r"\byou are (?:now )?an? (?:ai|assistant|language model)\b|\b(?:as|to) (?:the|an) (?:ai|language model)\b",
    re.IGNORECASE,
)


def remarks(text: str, drafts: Sequence[Draft]) -> tuple[str, ...]:
    """Return the remarks on a text and what was made of it; none for an ordinary note."""
    found = []
    if not drafts:
        found.append("nothing of it can be summarized in this style; try --style brief or sections")
    if language := _foreign(text[:SAMPLE]):
        found.append(f"this looks like {language}; the models know English only, so read the document itself")
    if speaks_to_model(text):
        found.append(
            "the document speaks to a language model; what it orders is treated as text and not followed"
        )
    return tuple(found)


def speaks_to_model(text: str) -> bool:
    """Return whether the text gives orders to a language model. It is text like any other, but nobody's history."""
    return _ORDERS.search(text) is not None


def _foreign(text: str) -> str | None:
    """The language of a text that is not English; `None` for English, and for lists that are no language at all."""
    words = [word.lower() for word in _WORD.findall(text)]
    if len(words) < LEAST_WORDS or sum(word in _ENGLISH for word in words) >= LEAST_ENGLISH * len(words):
        return None
    return foreign(text)
