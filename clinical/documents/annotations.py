"""What a system marks in a note: entities, their assertion, and the record of one extraction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Grounding = Literal["decoded", "exact", "normalized", "fuzzy"]
AssertionStatus = Literal["present", "negated", "possible", "historical", "hypothetical", "family"]


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A half-open piece `[start, end)` of a note, in code points, with its text."""

    start: int
    end: int
    text: str

    def as_dict(self) -> dict[str, Any]:
        """Return the span as the output contract writes it."""
        return {"start": self.start, "end": self.end, "text": self.text}


@dataclass(frozen=True, slots=True)
class Assertion:
    """Whether the note says that the entity holds, for whom and when, with the words that say so.

    `cue` is the span of the deciding words ("no evidence of"); it is `None` when nothing in the note
    speaks against a plain present finding of the patient.
    """

    status: AssertionStatus
    cue: Span | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the assertion as the output contract writes it."""
        return {"status": self.status, "cue": self.cue.as_dict() if self.cue else None}


@dataclass(frozen=True, slots=True)
class Entity:
    """A mention in a note: `note.text[start:end] == text`, always.

    `score` is a probability in `[0, 1]`, or `None` for systems that have none. `grounding` says how the
    span was tied to the source. `assertion` is `None` when it was not assessed. `section` is the canonical
    name of the section it stands in. `expansion` is the long form of an abbreviation defined in the note.
    """

    start: int
    end: int
    text: str
    label: str
    score: float | None = None
    grounding: Grounding = "exact"
    assertion: Assertion | None = None
    section: str | None = None
    expansion: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the entity as the output contract writes it; the score is rounded to four digits."""
        return {
            "start": self.start,
            "end": self.end,
            "text": self.text,
            "label": self.label,
            "score": None if self.score is None else round(self.score, 4),
            "grounding": self.grounding,
            "assertion": self.assertion.as_dict() if self.assertion else None,
            "section": self.section,
            "expansion": self.expansion,
        }


@dataclass(frozen=True, slots=True)
class Extraction:
    """All entities that one system found in one note, sorted by start, then end."""

    id: str
    path: str | None
    system: str
    model: str
    entities: Sequence[Entity]
    warnings: Sequence[str] = field(default_factory=tuple)

    def as_dict(self) -> dict[str, Any]:
        """Return the record of the output contract: one such object per document."""
        return {
            "id": self.id,
            "path": self.path,
            "system": self.system,
            "model": self.model,
            "entities": [entity.as_dict() for entity in self.entities],
            "warnings": list(self.warnings),
        }
