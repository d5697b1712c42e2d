"""The unit of work: one clinical document with its text exactly as decoded."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Note:
    """One document. Every offset in the package counts code points of `text`, half-open `[start, end)`.

    `id` is unique within a run; `path` is the file it came from (`None` for standard input and for text
    made in memory). `date` is an ISO 8601 string when the source has one. `warnings` are lines about how it
    was read ("decoded as Windows-1252"); they name the form of the document, never its content.
    """

    id: str
    text: str
    path: str | None = None
    title: str | None = None
    date: str | None = None
    warnings: tuple[str, ...] = ()

    @cached_property
    def sha256(self) -> str:
        """The hash of the text in UTF-8, hexadecimal: what manifests and indexes know a document by."""
        return hashlib.sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest()
