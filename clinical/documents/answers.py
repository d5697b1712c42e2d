"""What an answer is made of: sentences, the places in the notes that they stand on, and what else was near."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from clinical.documents.annotations import Assertion
from clinical.documents.summaries import SupportLevel

Decision = Literal["yes", "no", "maybe"]
"""The answer to a question that asks for no more."""


@dataclass(frozen=True)
class Reading:
    """A stretch of one note to look for answers in: its title, and its sentences, each with its heading."""

    title: str
    lines: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Citation:
    """A stretch `[start, end)` of a note, in code points: `note.text[start:end] == text`, always.

    `line` counts from 1. `score` says how likely the stretch is to belong to the answer, from 0 to 1, where the
    system tells. `assertion` is what the note says there of the things asked for, when it is not simply so.
    """

    id: str
    path: str
    start: int
    end: int
    text: str
    line: int
    section: str | None = None
    title: str | None = None
    date: str | None = None
    score: float | None = None
    assertion: Assertion | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the citation as the output contract has it; the score is rounded to four digits."""
        return {
            "id": self.id,
            "path": self.path,
            "start": self.start,
            "end": self.end,
            "text": self.text,
            "line": self.line,
            "section": self.section,
            "title": self.title,
            "date": self.date,
            "score": None if self.score is None else round(self.score, 4),
            "assertion": self.assertion.as_dict() if self.assertion else None,
        }


@dataclass(frozen=True)
class AnswerSentence:
    """A sentence of an answer. `citations` are numbers of the answer's citations, from 1.

    A quotation is `supported` by nature. `reasons` say what speaks against a sentence that a model wrote, as
    "40 mg is not in what it cites".
    """

    text: str
    citations: tuple[int, ...]
    support: SupportLevel = "supported"
    reasons: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the sentence as the output contract has it."""
        return {
            "text": self.text,
            "citations": list(self.citations),
            "support": self.support,
            "reasons": list(self.reasons),
        }


@dataclass(frozen=True)
class Answer:
    """What the notes say to a question, or, `abstained`, that they do not tell; then `nearest` is what comes nearest.

    `score` is how sure the system is that the notes answer at all, from 0 to 1. `searched` is what the sentences were
    compared with when that is not the whole question. `decision` and the likelihood of each belong to yes/no
    questions.
    """

    question: str
    system: str
    model: str
    sentences: tuple[AnswerSentence, ...] = ()
    citations: tuple[Citation, ...] = ()
    abstained: bool = False
    score: float | None = None
    nearest: tuple[Citation, ...] = ()
    searched: str | None = None
    decision: Decision | None = None
    likelihoods: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The sentences alone, in their order; empty when the system abstained."""
        return " ".join(sentence.text for sentence in self.sentences)

    def as_dict(self) -> dict[str, Any]:
        """Return the answer as the output contract has it."""
        return {
            "question": self.question,
            "answer": self.text,
            "abstained": self.abstained,
            "citations": [citation.as_dict() for citation in self.citations],
            "sentences": [sentence.as_dict() for sentence in self.sentences],
            "system": self.system,
            "model": self.model,
            "score": None if self.score is None else round(self.score, 4),
            "searched": self.searched,
            "decision": self.decision,
            "likelihoods": {name: round(value, 4) for name, value in self.likelihoods.items()},
            "nearest": [citation.as_dict() for citation in self.nearest],
            "warnings": list(self.warnings),
        }
