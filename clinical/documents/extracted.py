"""What a reader of one format hands on: the text of a document, or why there is none.

A reader knows bytes and nothing of files or ids; `clinical.documents.reading` adds those.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Extracted:
    """The text of one document with what its format tells about it.

    `place` says where inside a file the document stands (a line number, "DiagnosticReport/12"); `id` is the
    document's own id, when records have one.
    """

    text: str
    title: str | None = None
    date: str | None = None
    warnings: tuple[str, ...] = ()
    place: str | None = None
    id: str | None = None


class Unreadable(Exception):
    """A document has no text that could be read. Its reason is a clause without the name of the file."""

    def __init__(self, reason: str, place: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.place = place
