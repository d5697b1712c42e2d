"""One web page for all documents: it carries all it needs and loads nothing.

Each note is shown with its entities marked, beside a table of them; labels, assertions, scores and words
filter both. The cutting is done here, in code points, since a browser counts UTF-16 units.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import IO, Any

from clinical.documents.annotations import Entity, Extraction
from clinical.documents.note import Note
from clinical.formats.colors import color
from clinical.formats.display import one_line, title, visible
from clinical.formats.nesting import Piece, nest
from clinical.formats.streams import binary_sink
from clinical.formats.templates import fill


class PageWriter:
    """Writes the page document by document."""

    def __init__(self, stream: IO[str] | IO[bytes]) -> None:
        self._sink = binary_sink(stream)
        self._count = 0

    def write(self, note: Note, extraction: Extraction) -> None:
        """Write one document."""
        if not self._count:
            self._sink(fill("page_head.html"))
        self._count += 1
        self._sink(fill("page_note.html", **_article(self._count, note, extraction)))

    def close(self) -> None:
        """Write the end of the page."""
        if not self._count:
            self._sink(fill("page_head.html"))
        self._sink(fill("page_foot.html"))


@dataclass(frozen=True)
class _Mark:
    """What the page says of an entity, in the text and in the table."""

    anchor: str
    text: str
    label: str
    hue: int
    saturation: int
    score: float | None
    status: str
    cue_text: str
    section: str
    expansion: str
    start: int
    end: int
    cue: bool = False

    @property
    def tag(self) -> str:
        """The words behind the mention: its label, and its assertion unless it is present."""
        return self.label if self.status in ("", "present") else f"{self.label} · {self.status}"

    @property
    def tip(self) -> str:
        """The lines of the tooltip."""
        score = "" if self.score is None else f" · score {self.score:.2f}"
        cue = f" (“{self.cue_text}”)" if self.cue_text else ""
        lines = (
            f"{self.label}{score}",
            f"{self.status}{cue}",
            self.section,
            self.expansion,
            f"characters {self.start}–{self.end}",
        )
        return "\n".join(line for line in lines if line)


def _article(number: int, note: Note, extraction: Extraction) -> dict[str, Any]:
    """Return what the template of a note wants."""
    rows = [_mark(f"d{number}e{place}", entity) for place, entity in enumerate(extraction.entities, 1)]
    cues = sorted(_cues(extraction.entities))
    spans = [(entity.start, entity.end) for entity in extraction.entities] + cues
    return {
        "number": number,
        "name": one_line(note.title or note.id),
        "facts": _facts(note, extraction),
        "warnings": extraction.warnings,
        "text": visible(note.text),
        "pieces": _pieces(len(note.text), spans, extraction.entities),
        "marks": [*rows, *(_Cue() for _ in cues)],
        "sections": [(section, list(group)) for section, group in groupby(rows, lambda row: row.section)],
        "has_scores": any(row.score is not None for row in rows),
        "has_assertions": any(row.status for row in rows),
    }


def _pieces(
    length: int, spans: Sequence[tuple[int, int]], entities: Sequence[Entity]
) -> Iterator[tuple[Piece, bool]]:
    """Yield the pieces of the text, each with whether it is struck through, as all of a negated entity is."""
    negated = {
        place
        for place, entity in enumerate(entities)
        if entity.assertion and entity.assertion.status == "negated"
    }
    depth = 0
    for piece in nest(length, spans):
        depth += (piece.opens in negated) - (piece.closes in negated)
        yield piece, depth > 0


@dataclass(frozen=True)
class _Cue:
    """The words that decide an assertion, in the text."""

    cue: bool = True


def _mark(anchor: str, entity: Entity) -> _Mark:
    hue, saturation = color(entity.label)
    assertion = entity.assertion
    return _Mark(
        anchor=anchor,
        text=one_line(entity.text),
        label=one_line(entity.label),
        hue=hue,
        saturation=saturation,
        score=None if entity.score is None else round(entity.score, 4),
        status=assertion.status if assertion else "",
        cue_text=one_line(assertion.cue.text) if assertion and assertion.cue else "",
        section=title(entity.section or ""),
        expansion=one_line(entity.expansion or ""),
        start=entity.start,
        end=entity.end,
    )


def _cues(entities: Sequence[Entity]) -> set[tuple[int, int]]:
    assertions = [entity.assertion for entity in entities]
    return {(cue.start, cue.end) for assertion in assertions if assertion and (cue := assertion.cue)}


def _facts(note: Note, extraction: Extraction) -> list[str]:
    """Return the line below the name: where the note is from, its date, and what read it."""
    name = one_line(note.title or note.id)
    source = dict.fromkeys(one_line(part) for part in (note.id, note.path, note.date) if part)
    count = len(extraction.entities)
    return [
        *(part for part in source if part != name),
        f"{extraction.system} ({extraction.model})",
        f"{count} {'entity' if count == 1 else 'entities'}",
    ]
