"""What a question names is said by its answer: of "Any fever?", "No." the fever is denied.

    entities = assert_answers(note.text, entities, find_units(note.text))

`clinical.facts.assertion` reads one sentence at a time and cannot know. What is asked and not answered by yes or no
stays open: `hypothetical`; but "How long have you had the pain?" takes the pain for granted.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace

from clinical.documents.annotations import Assertion, Entity, Span
from clinical.facts.units import Unit, polarity_of_answer

__all__ = ["assert_answers"]

_TAKES_FOR_GRANTED = re.compile(r"\b(?:how|when|where|why|what|which|who)\b", re.IGNORECASE)


def assert_answers(text: str, entities: Sequence[Entity], units: Sequence[Unit]) -> list[Entity]:
    """Return the entities in their order, those of a spoken question with the assertion that its answer gives.

    The cue is the answer.
    """
    questions = sorted(
        (unit for unit in units if unit.speaker and (len(unit.spans) == 2 or unit.is_question)),
        key=lambda unit: unit.start,
    )
    starts = [unit.start for unit in questions]

    def answered(entity: Entity) -> Entity:
        place = bisect_right(starts, entity.start) - 1
        if entity.assertion is None or place < 0 or entity.start >= questions[place].spans[0][1]:
            return entity
        return replace(entity, assertion=_answered(text, questions[place], entity.assertion))

    return [answered(entity) for entity in entities]


def _answered(text: str, question: Unit, asked: Assertion) -> Assertion:
    """Return what the answer says of something in the question, which is `asked` by the question's own words.

    "Any diabetes in the family?", "Yes." does not make it the patient's.
    """
    said = polarity_of_answer(question)
    if said == "negated" or (said == "present" and asked.status not in ("family", "historical")):
        start, end = question.spans[1]
        return Assertion(said, Span(start, end, text[start:end]))
    open_question = said is None and asked.status in ("present", "negated")
    if open_question and not _TAKES_FOR_GRANTED.search(question.text):
        return Assertion("hypothetical")
    return asked
