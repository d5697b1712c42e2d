"""What a summary is made of: sentences, each with its sources in the note, and what was left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from clinical.documents.annotations import Assertion

TIMELINE = "timeline"
"""The style of a summary of several documents of one patient."""

GAP = " … "
"""What stands between two stretches of a note that are quoted as one sentence."""

SupportLevel = Literal["supported", "weak", "unsupported"]
"""How far a sentence of a summary is borne out by its sources."""


@dataclass(frozen=True)
class Source:
    """A stretch of the note, `[start, end)` in code points, that a sentence of a summary stands on.

    `id` names the document where a summary is of several.
    """

    start: int
    end: int
    text: str
    id: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the source as the output contract has it."""
        found: dict[str, Any] = {"start": self.start, "end": self.end, "text": self.text}
        return found if self.id is None else {**found, "id": self.id}


@dataclass(frozen=True)
class Draft:
    """A sentence as a system proposes it, before anybody has checked whether the note bears it out.

    `sources` is empty where the system does not say what the sentence stands on. `heading` is the part of the
    summary that it belongs to, for styles that have parts. `weight` says which of them stay when only so many may.
    """

    text: str
    sources: tuple[Source, ...] = ()
    heading: str | None = None
    weight: float = 0.0


@dataclass(frozen=True)
class SummarySentence:
    """A sentence of a summary. `reasons` say what speaks against it, as "dose 40 mg is not in the note".

    `heading` is the part of the summary that it belongs to, for styles that have parts.
    """

    text: str
    sources: tuple[Source, ...]
    support: SupportLevel
    reasons: tuple[str, ...] = ()
    heading: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the sentence as the output contract has it."""
        return {
            "text": self.text,
            "sources": [source.as_dict() for source in self.sources],
            "support": self.support,
            "reasons": list(self.reasons),
            "heading": self.heading,
        }


@dataclass(frozen=True)
class Omission:
    """Something of weight that the note says and the summary does not; a problem, drug, allergy or result."""

    start: int
    end: int
    text: str
    label: str
    assertion: Assertion | None = None
    section: str | None = None
    id: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the omission as the output contract has it."""
        found: dict[str, Any] = {
            "start": self.start,
            "end": self.end,
            "text": self.text,
            "label": self.label,
            "assertion": self.assertion.as_dict() if self.assertion else None,
            "section": self.section,
        }
        return found if self.id is None else {**found, "id": self.id}


@dataclass(frozen=True)
class Conflict:
    """Two or more documents, or places of one, that do not say the same. `text` puts it in words.

    `kind` is `allergy`, `side`, `dose`, `problem` or `patient`. A dose that differs from day to day is a `change`.
    """

    kind: Literal["allergy", "side", "dose", "change", "problem", "patient"]
    text: str
    sources: tuple[Source, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the conflict as the output contract has it."""
        return {
            "kind": self.kind,
            "text": self.text,
            "sources": [source.as_dict() for source in self.sources],
        }


@dataclass(frozen=True)
class Summary:
    """What a note comes to. `dropped`: how many unsupported sentences were left out on request.

    `conflicts` are those between the documents of a timeline.
    """

    style: str
    system: str
    model: str
    sentences: tuple[SummarySentence, ...]
    omitted: tuple[Omission, ...] = ()
    warnings: tuple[str, ...] = ()
    dropped: int = 0
    details: Mapping[str, Any] = field(default_factory=dict)
    conflicts: tuple[Conflict, ...] = ()

    @property
    def text(self) -> str:
        """The sentences alone, one to a line."""
        return "\n".join(sentence.text for sentence in self.sentences)

    def as_dict(self, id: str, path: str | None) -> dict[str, Any]:
        """Return the summary of this document as the output contract has it."""
        record = {
            "id": id,
            "path": path,
            "system": self.system,
            "model": self.model,
            "style": self.style,
            "sentences": [sentence.as_dict() for sentence in self.sentences],
            "omitted": [omission.as_dict() for omission in self.omitted],
            "dropped": self.dropped,
            "warnings": list(self.warnings),
            **self.details,
        }
        if self.conflicts or self.style == TIMELINE:
            record["conflicts"] = [conflict.as_dict() for conflict in self.conflicts]
        return record
