"""What a reader should know before trusting a summary: no English, nothing to read, orders to the model.

    remarks(note.text, drafts)          ("this looks like Spanish; …",)

Each remark is one line, names the form of the document and never its content.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from clinical.documents.summaries import Draft
from clinical.facts.language import foreign_document

__all__ = ["remarks", "speaks_to_model"]

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
    if language := foreign_document(text):
        found.append(
            f"this looks like {language}; the models know English only, so read the document itself; "
            "what the summary leaves out is not listed"
        )
    if speaks_to_model(text):
        found.append(
            "the document speaks to a language model; what it orders is treated as text and not followed"
        )
    return tuple(found)


def speaks_to_model(text: str) -> bool:
    """Return whether the text gives orders to a language model. It is text like any other, but nobody's history."""
    return _ORDERS.search(text) is not None
