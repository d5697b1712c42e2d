"""What a question names is said by its answer: of "Any fever?", "No." the fever is denied.

    entities = assert_answers(entities, find_units(note.text))

`clinical.facts.assertion` reads one sentence at a time and cannot know. What is asked and not answered by yes or no
stays open: `hypothetical`; but "How long have you had the pain?" takes the pain for granted.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace

from clinical.documents.annotations import Assertion, AssertionStatus, Entity
from clinical.facts.units import Unit, polarity_of_answer

__all__ = ["assert_answers"]

_TAKES_FOR_GRANTED = re.compile(r"\b(?:how|when|where|why|what|which|who)\b", re.IGNORECASE)


def assert_answers(entities: Sequence[Entity], units: Sequence[Unit]) -> list[Entity]:
    """Return the entities in their order, those of a spoken question with the assertion that its answer gives."""
    questions: list[tuple[int, int, AssertionStatus | None]] = sorted(
        (*unit.spans[0], polarity_of_answer(unit) or _of_question(unit))
        for unit in units
        if unit.speaker and (len(unit.spans) == 2 or unit.is_question)
    )
    starts = [start for start, _, _ in questions]

    def answered(entity: Entity) -> Entity:
        place = bisect_right(starts, entity.start) - 1
        if entity.assertion is None or place < 0 or entity.start >= questions[place][1]:
            return entity
        status = questions[place][2]
        return entity if status is None else replace(entity, assertion=Assertion(status))

    return [answered(entity) for entity in entities]


def _of_question(unit: Unit) -> AssertionStatus | None:
    return None if _TAKES_FOR_GRANTED.search(unit.text) else "hypothetical"
