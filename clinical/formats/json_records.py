"""JSON: the record of the output contract, one a document, by the line (`jsonl`) or in an array (`json`)."""

from __future__ import annotations

import json
import re

from clinical.documents.annotations import Extraction
from clinical.documents.note import Note

_LINE_ENDS = re.compile("[\x85\u2028\u2029]")


def dumps(value: object, indent: int | None = None) -> bytes:
    r"""Return the value as JSON in UTF-8.

    Half a surrogate pair is escaped (`\ud83d`), so it survives; and so are the characters beside `\n` that
    some readers take for the end of a line.
    """
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    text = _LINE_ENDS.sub(lambda match: f"\\u{ord(match.group()):04x}", text)
    return text.encode("utf-8", "backslashreplace")


def line(note: Note, extraction: Extraction) -> bytes:
    """Return the record as one line."""
    return dumps(extraction.as_dict()) + b"\n"


def item(note: Note, extraction: Extraction) -> bytes:
    """Return the record as an indented item of the array."""
    return dumps(extraction.as_dict(), indent=2)
