"""Assertion: does the note say that a finding is there, absent, possible, past, conditional, or somebody else's?

The ConText algorithm: Harkema, Dowling, Thornblade, Chapman. ConText: an algorithm for determining negation,
experiencer, and temporal status from clinical reports. J Biomed Inform 42 (2009) 839-851.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from clinical.documents.annotations import Assertion, Entity, Span

if TYPE_CHECKING:
    from clinical.documents.sections import Section

# What can be present or absent in a patient. An age, a dose or a body part cannot be denied.
ASSESSED_LABELS = frozenset({"Disease", "Symptom", "Medication", "Test", "Procedure", "Event", "Activity"})

_NEGATION = re.compile(r"\b(?:no evidence of|negative for|denies|denied|without|no|not)\b", re.IGNORECASE)
_END = re.compile(r"[.;\n]|\b(?:but|however|except|although)\b", re.IGNORECASE)


def assess(
    text: str,
    entities: Sequence[Entity],
    sections: Sequence[Section],
    sentences: Sequence[tuple[int, int]] | None = None,
) -> list[Entity]:
    """Return the entities in the same order, each with its assertion; `None` where the label has none."""
    return [
        replace(entity, assertion=_assertion(text, entity) if entity.label in ASSESSED_LABELS else None)
        for entity in entities
    ]


def _assertion(text: str, entity: Entity) -> Assertion:
    ends = [found.end() for found in _END.finditer(text, 0, entity.start)]
    cues = list(_NEGATION.finditer(text, ends[-1] if ends else 0, entity.start))
    if not cues:
        return Assertion("present")
    return Assertion("negated", Span(cues[-1].start(), cues[-1].end(), cues[-1].group()))
