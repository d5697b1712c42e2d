"""Abbreviations that a note defines itself: "congestive heart failure (CHF)".

The algorithm: Schwartz, Hearst. A simple algorithm for identifying abbreviation definitions in biomedical text.
Pac Symp Biocomput 2003, 451-462.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from clinical.documents.annotations import Entity, Span


@dataclass(frozen=True, slots=True)
class Definition:
    """A short form and the long form that the note gives for it, each at its characters."""

    short: Span
    long: Span


_SHORT_IN_BRACKETS = re.compile(r"(?<=[ \t])\(([A-Za-z0-9][\w\-/.]{1,9})\)")


def find_definitions(text: str) -> list[Definition]:
    """Return the definitions of the note in the order of the text."""
    found = []
    for match in _SHORT_IN_BRACKETS.finditer(text):
        short = match.group(1)
        words = list(re.finditer(r"\S+", re.split(r"[.;:()\n]\s", text[: match.start()])[-1]))
        before = match.start() - len(re.split(r"[.;:()\n]\s", text[: match.start()])[-1])
        nearest = words[-min(len(short) + 5, len(short) * 2) :]
        if not nearest:
            continue
        start = before + nearest[0].start()
        candidate = text[start : match.start()].rstrip()
        offset = _long_form_start(short, candidate)
        if offset is not None:
            found.append(
                Definition(
                    Span(match.start(1), match.end(1), short),
                    Span(start + offset, start + len(candidate), candidate[offset:]),
                )
            )
    return found


def expand_abbreviations(text: str, entities: Sequence[Entity]) -> list[Entity]:
    """Return the entities in the same order; those that are defined short forms carry their long form."""
    long_forms = {definition.short.text: definition.long.text for definition in find_definitions(text)}
    return [replace(entity, expansion=long_forms.get(entity.text, entity.expansion)) for entity in entities]


def _long_form_start(short: str, candidate: str) -> int | None:
    """Return where the long form begins: the letters of the short form are matched from right to left."""
    at = len(candidate)
    for index in range(len(short) - 1, -1, -1):
        letter = short[index].lower()
        if not letter.isalnum():
            continue
        at -= 1
        while at >= 0 and (
            candidate[at].lower() != letter or (index == 0 and at > 0 and candidate[at - 1].isalnum())
        ):
            at -= 1
        if at < 0:
            return None
    return at
