"""CSV by RFC 4180: one row per entity. A document without entities has no row.

The text of an entity is written as it stands in the note. A spreadsheet takes a cell that begins with `=`,
`+` or `-` for a formula ("+1 edema"): import the column `text` as text.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from clinical.documents.annotations import Entity, Extraction
from clinical.documents.note import Note
from clinical.formats.streams import encode

COLUMNS = (
    "id", "path", "start", "end", "text", "label", "score", "grounding",
    "assertion", "cue", "section", "expansion", "system", "model",
)  # fmt: skip


def header() -> bytes:
    """Return the row of column names."""
    return _csv([COLUMNS])


def rows(note: Note, extraction: Extraction) -> bytes:
    """Return one row per entity; a value that there is not is an empty cell."""
    return _csv(_row(extraction, entity) for entity in extraction.entities)


def _row(extraction: Extraction, entity: Entity) -> tuple[object, ...]:
    record = entity.as_dict()
    assertion = entity.assertion
    record["assertion"] = assertion.status if assertion else None
    record["cue"] = assertion.cue.text if assertion and assertion.cue else None
    record |= {
        "id": extraction.id,
        "path": extraction.path,
        "system": extraction.system,
        "model": extraction.model,
    }
    return tuple(record[column] for column in COLUMNS)


def _csv(rows: Iterable[tuple[object, ...]]) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer).writerows(rows)
    return encode(buffer.getvalue())
