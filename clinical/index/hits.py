"""What a search finds: passages of notes, with the words of the query in them and what the note says of those."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from clinical.documents.annotations import Assertion, Entity
from clinical.index.backend import Unit


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage `[start, end)` of a note, in code points: `note.text[start:end] == text`, always.

    `mentions` are the words of the query in the passage, each with its assertion; `assertion` is that of the
    fullest one, `None` when no word of the query stands in the passage. A mention by another name has the label
    "Query: " and the words that it stands for. `line` counts from 1. `ranks` says at which place each way of
    searching had the passage. One that is not `near` was found for want of better ones: it has few of the words, and
    its meaning is far from that of the query. Where documents were searched for (`by`), `rank`, `score` and `ranks` are
    those of the document, of which this is the best passage, and all before a near one are near.
    """

    rank: int
    score: float
    id: str
    path: str
    start: int
    end: int
    text: str
    line: int
    section: str | None = None
    heading: str = ""
    title: str | None = None
    date: str | None = None
    assertion: Assertion | None = None
    mentions: Sequence[Entity] = field(default_factory=tuple)
    ranks: Mapping[str, int] = field(default_factory=dict)
    near: bool = True
    by: Unit = "passage"

    def as_dict(self) -> dict[str, Any]:
        """Return the hit as the output contract writes it; the score is rounded to six digits."""
        return {
            "rank": self.rank,
            "score": round(self.score, 6),
            "id": self.id,
            "path": self.path,
            "start": self.start,
            "end": self.end,
            "text": self.text,
            "line": self.line,
            "section": self.section,
            "heading": self.heading,
            "title": self.title,
            "date": self.date,
            "assertion": self.assertion.as_dict() if self.assertion else None,
            "mentions": [
                {
                    "start": mention.start,
                    "end": mention.end,
                    "text": mention.text,
                    "for": other_name_of(mention),
                    "assertion": mention.assertion.as_dict() if mention.assertion else None,
                }
                for mention in self.mentions
            ],
            "ranks": dict(self.ranks),
            "near": self.near,
            "by": self.by,
        }


def other_name_of(mention: Entity) -> str | None:
    """Return the words of the query that a mention is another name for; `None` when it is those words."""
    return mention.label.partition(": ")[2] or None
