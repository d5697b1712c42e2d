"""JSON: the record of the output contract, one per document, by the line (`jsonl`) or in one array (`json`)."""

from __future__ import annotations

import json

from clinical.documents.annotations import Extraction
from clinical.documents.note import Note


def dumps(value: object, indent: int | None = None) -> bytes:
    r"""Return the value as JSON in UTF-8; half a surrogate pair is escaped (`\ud83d`), so it survives the way back."""
    return json.dumps(value, ensure_ascii=False, indent=indent).encode("utf-8", "backslashreplace")


def line(note: Note, extraction: Extraction) -> bytes:
    """Return the record as one line."""
    return dumps(extraction.as_dict()) + b"\n"


def item(note: Note, extraction: Extraction) -> bytes:
    """Return the record as an indented item of the array."""
    return dumps(extraction.as_dict(), indent=2)
