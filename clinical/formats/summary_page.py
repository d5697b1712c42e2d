"""One web page for all summaries: each beside its note, and a click on a sentence shows where it is from.

It carries all it needs and loads nothing. The notes are cut here, in code points, since a browser counts UTF-16 units.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import IO, Any

from clinical.documents.note import Note
from clinical.documents.summaries import Omission, Source, Summary, SummarySentence
from clinical.formats.display import one_line, visible
from clinical.formats.streams import binary_sink
from clinical.formats.summary_parts import (
    LABELS,
    MOST_OMITTED,
    Place,
    base_name,
    facts_of,
    headed,
    name_of,
    places,
    rest_of,
)
from clinical.formats.templates import fill


class SummaryPageWriter:
    """Writes the page summary by summary."""

    def __init__(self, stream: IO[str] | IO[bytes]) -> None:
        self._sink = binary_sink(stream)
        self._count = 0

    def write(self, notes: Sequence[Note], summary: Summary) -> None:
        """Write one summary with its notes."""
        if not self._count:
            self._sink(fill("summary_head.html"))
        self._count += 1
        self._sink(fill("summary_note.html", **_article(self._count, notes, summary)))

    def close(self) -> None:
        """Write the end of the page."""
        if not self._count:
            self._sink(fill("summary_head.html"))
        self._sink(fill("summary_foot.html"))


@dataclass(frozen=True)
class _Row:
    """A sentence of the summary: `spots` are the anchors of its sources in the notes."""

    text: str
    heading: str | None
    support: str
    reasons: str
    spots: str
    where: str


@dataclass(frozen=True)
class _Left:
    """Something that was left out, and its anchor in the notes."""

    text: str
    kind: str
    spot: str


@dataclass(frozen=True)
class _Piece:
    """A stretch of a note with the anchors of everything that covers it; `opens` are those that begin here."""

    text: str
    spots: str
    opens: tuple[str, ...]
    is_omission: bool


def _article(number: int, notes: Sequence[Note], summary: Summary) -> dict[str, Any]:
    """Return what the template of a summary wants."""
    numbers = places(notes, summary)
    omitted = summary.omitted[:MOST_OMITTED]
    spans: dict[str, list[tuple[int, int, str]]] = {note.id: [] for note in notes}
    for source, place in numbers.items():
        spans[source.id or notes[0].id].append((source.start, source.end, _spot(number, place)))
    for place_of_omission, omission in enumerate(omitted, 1):
        anchor = f"d{number}o{place_of_omission}"
        spans[omission.id or notes[0].id].append((omission.start, omission.end, anchor))
    return {
        "number": number,
        "name": name_of(notes, summary),
        "facts": facts_of(notes, summary),
        "warnings": [one_line(warning) for warning in summary.warnings],
        "rows": [_row(number, heading, sentence, numbers) for heading, sentence in headed(summary)],
        "conflicts": [
            (conflict.kind, one_line(conflict.text), _spots(number, conflict.sources, numbers))
            for conflict in summary.conflicts
        ],
        "omitted": [_left(number, place, omission) for place, omission in enumerate(omitted, 1)],
        "rest": rest_of(summary.omitted),
        "notes": [(one_line(note.id), list(_pieces(note.text, spans[note.id]))) for note in notes],
        "several": len(notes) > 1,
    }


def _row(
    number: int, heading: str | None, sentence: SummarySentence, numbers: Mapping[Source, Place]
) -> _Row:
    where = dict.fromkeys(_where(numbers[source]) for source in sentence.sources)
    return _Row(
        text=one_line(sentence.text),
        heading=None if heading is None else one_line(heading),
        support=sentence.support,
        reasons=one_line("; ".join(sentence.reasons)),
        spots=_spots(number, sentence.sources, numbers),
        where=", ".join(where) or "no source",
    )


def _where(place: Place) -> str:
    return f"{base_name(place.document)}:{place.line}" if place.document else f"line {place.line}"


def _left(number: int, place: int, omission: Omission) -> _Left:
    kind = LABELS.get(omission.label, omission.label.lower())
    return _Left(one_line(omission.text), kind, f"d{number}o{place}")


def _spots(number: int, sources: Sequence[Source], numbers: Mapping[Source, Place]) -> str:
    return " ".join(_spot(number, numbers[source]) for source in sources)


def _spot(number: int, place: Place) -> str:
    return f"d{number}s{place.number}"


def _pieces(text: str, spans: Sequence[tuple[int, int, str]]) -> Iterator[_Piece]:
    """Yield the note cut wherever a span begins or ends; spans may overlap, and each piece knows all of its own."""
    shown = visible(text)
    edges = sorted({0, len(text), *(start for start, _, _ in spans), *(end for _, end, _ in spans)})
    ordered = sorted(spans)
    for start, end in pairwise(edges):
        inside = [spot for first, last, spot in ordered if first <= start and end <= last]
        opens = tuple(spot for first, _, spot in ordered if first == start and spot in inside)
        is_omission = bool(inside) and all("o" in spot for spot in inside)
        yield _Piece(shown[start:end], " ".join(inside), opens, is_omission)
