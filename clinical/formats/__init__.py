"""Output formats: how the entities of notes are written, for people and for programs.

    with contextlib.closing(open_writer("jsonl", sys.stdout)) as writer:
        for note, extraction in results:
            writer.write(note, extraction)

    for suffix, data in render("brat", note, extraction).items():   # one document: ".ann", ".txt"
        ...

`open_writer` takes any stream, text or binary. What it writes is UTF-8 with line ends as they are; a text
stream over a binary one (`sys.stdout`) is written below its encoding, so neither the locale nor the platform
changes a byte. Documents are written one at a time and not kept (`docbin` apart). `close` writes what has to
follow the last one and leaves the stream open; a run of no documents still gives a valid file. Nothing is
written before the first `write` or `close`, so a call that turns out to be wrong leaves the output empty.

A format is one entry of the table below: a suffix, and a function from one document to bytes, with what
stands before, between and after documents. Only `table` (the console knows its width) and `docbin` (spaCy
compresses all documents together) have writers of their own.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Protocol

from clinical.documents.annotations import Extraction
from clinical.documents.note import Note
from clinical.errors import UsageError
from clinical.formats import bioc, brat, conll, csv_rows, json_records
from clinical.formats.streams import binary_sink

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["FORMATS", "Writer", "is_binary", "open_writer", "render"]

Stream = IO[str] | IO[bytes]


class Writer(Protocol):
    """Writes documents one after another. `close` ends the output and leaves the stream open."""

    def write(self, note: Note, extraction: Extraction) -> None:
        """Write one document."""
        ...

    def close(self) -> None:
        """Write what follows the last document."""
        ...


@dataclass(frozen=True)
class _Format:
    """A format that is written document by document, each independent of the others."""

    suffix: str
    document: Callable[[Note, Extraction], bytes]
    header: Callable[[], bytes] = bytes
    between: bytes = b""
    footer: Callable[[], bytes] = bytes
    holds_one: bool = False


_FORMATS = {
    "jsonl": _Format(".jsonl", json_records.line),
    "json": _Format(".json", json_records.item, lambda: b"[\n", b",\n", lambda: b"\n]\n"),
    "csv": _Format(".csv", csv_rows.rows, csv_rows.header),
    "brat": _Format(".ann", brat.standoff, holds_one=True),
    "bioc": _Format(".bioc.json", bioc.document, bioc.header, b",\n", lambda: bioc.FOOTER),
    "conll": _Format(".conll", conll.document),
}
FORMATS = ("table", *_FORMATS, "html", "docbin")
"""The names that `--format` accepts."""


def is_binary(format: str) -> bool:
    """Return whether the format is not text, so that it should not go to a terminal."""
    return format == "docbin"


def open_writer(format: str, stream: Stream, *, console: Console | None = None) -> Writer:
    """Return a writer of this format to the stream; `console` stands for `table` in place of the stream.

    Raises `UsageError` for a format that there is not. The writer of `brat` raises it at a second document,
    since each wants a pair of files.
    """
    if format == "table":
        from clinical.formats.table import TableWriter

        return TableWriter(stream, console)
    if format == "html":
        from clinical.formats.page import PageWriter

        return PageWriter(stream)
    if format == "docbin":
        from clinical.formats.docbin import DocBinWriter

        return DocBinWriter(stream)
    if format not in _FORMATS:
        raise UsageError(f"no format {format!r}; available: {', '.join(FORMATS)}")
    return _DocumentWriter(_FORMATS[format], stream)


def render(format: str, note: Note, extraction: Extraction) -> dict[str, bytes]:
    """Return the files of one document, complete each: a map from suffix (".ann") to content.

    Beware of `brat`, which writes the note itself as `.txt`: in the folder of the notes it would replace
    them.
    """
    if format == "brat":
        return brat.files(note, extraction)
    stream = io.BytesIO()
    writer = open_writer(format, stream)
    writer.write(note, extraction)
    writer.close()
    suffix = {"table": ".txt", "html": ".html", "docbin": ".spacy"}.get(format) or _FORMATS[format].suffix
    return {suffix: stream.getvalue()}


class _DocumentWriter:
    """Writes header, documents with what stands between them, and footer."""

    def __init__(self, format: _Format, stream: Stream) -> None:
        self._format = format
        self._sink = binary_sink(stream)
        self._count = 0

    def write(self, note: Note, extraction: Extraction) -> None:
        if self._count and self._format.holds_one:
            raise UsageError("brat writes a pair of files for each document: give a folder with -o")
        self._sink(self._format.between if self._count else self._format.header())
        self._sink(self._format.document(note, extraction))
        self._count += 1

    def close(self) -> None:
        if not self._count:
            self._sink(self._format.header())
        self._sink(self._format.footer())
