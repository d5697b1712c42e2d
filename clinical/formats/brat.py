r"""brat standoff: the note in `.txt`, its entities in `.ann` (https://brat.nlplab.org/standoff.html).

    T1	Disease 21 30	pneumonia
    A1	Assertion T1 negated
    #1	AnnotatorNotes T1	{"score": 0.98, "cue": {"start": 3, "end": 17, "text": "no evidence of"}}

Offsets count code points, as brat itself does. The text of a span must stay on one line, so a span over
line breaks or tabs is written in fragments (`0 5;6 10`), its text with blanks between them; its first and
last offset are the entity's. A type is made of letters, digits, `-` and `_`: other characters of a label
become `_`, and the label as it was goes into the remarks. What standoff has no field for stands in the
remarks (`AnnotatorNotes`) as JSON.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO

from clinical.documents.annotations import Entity, Extraction
from clinical.documents.note import Note
from clinical.errors import UsageError
from clinical.formats.json_records import dumps
from clinical.formats.streams import binary_sink, encode
from clinical.formats.tokens import LINE_BREAKS

_PIECE = re.compile(rf"[^\t{LINE_BREAKS}]+")


class StandoffWriter:
    """Writes the `.ann` of one document; a second one would want a file of its own."""

    def __init__(self, stream: IO[str] | IO[bytes]) -> None:
        self._sink = binary_sink(stream)
        self._written = False

    def write(self, note: Note, extraction: Extraction) -> None:
        """Write the document. Raises `UsageError` if it is the second."""
        if self._written:
            raise UsageError("brat writes a pair of files for each document: give a folder with -o")
        self._written = True
        self._sink(standoff(note, extraction))

    def close(self) -> None:
        """Nothing follows the document."""


def standoff(note: Note, extraction: Extraction) -> bytes:
    """Return the `.ann` file of one document."""
    lines: list[bytes] = []
    for number, entity in enumerate(extraction.entities, 1):
        lines.extend(_lines(note, entity, number))
    return b"".join(line + b"\n" for line in lines)


def _lines(note: Note, entity: Entity, number: int) -> Iterator[bytes]:
    pieces = list(_PIECE.finditer(note.text, entity.start, entity.end))
    if not pieces:  # nothing but line breaks: standoff cannot say it, and no system should have
        return
    where = ";".join(f"{piece.start()} {piece.end()}" for piece in pieces)
    text = " ".join(piece.group() for piece in pieces)
    yield encode(f"T{number}\t{_type(entity.label)} {where}\t{text}")
    if entity.assertion:
        yield encode(f"A{number}\tAssertion T{number} {entity.assertion.status}")
    if remarks := _remarks(entity):
        yield encode(f"#{number}\tAnnotatorNotes T{number}\t") + dumps(remarks)


def _type(label: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", label)


def _remarks(entity: Entity) -> dict[str, object]:
    record = entity.as_dict()
    remarks = {key: record[key] for key in ("score", "grounding", "section", "expansion")}
    remarks["cue"] = (record["assertion"] or {}).get("cue")
    remarks["label"] = entity.label if _type(entity.label) != entity.label else None
    return {key: value for key, value in remarks.items() if value is not None}
