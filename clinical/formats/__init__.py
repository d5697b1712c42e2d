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

Most formats are one function from a document to bytes, with what stands before, between and after documents.
`table` and `html` (they count), `brat` (a pair of files) and `docbin` (compressed as one) have writers of
their own. Modules are imported when their format is asked for, so that the command line starts at once.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Protocol

from clinical.documents.annotations import Extraction
from clinical.documents.note import Note
from clinical.errors import UsageError
from clinical.formats.streams import binary_sink, encode

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["FORMATS", "Writer", "is_binary", "open_writer", "render"]

Stream = IO[str] | IO[bytes]

FORMATS = ("table", "jsonl", "json", "csv", "html", "brat", "conll", "bioc", "docbin")
"""The names that `--format` accepts."""

_SUFFIXES = {"table": ".txt", "brat": ".ann", "bioc": ".bioc.json", "docbin": ".spacy"}


class Writer(Protocol):
    """Writes documents one after another. `close` ends the output and leaves the stream open."""

    def write(self, note: Note, extraction: Extraction) -> None:
        """Write one document."""
        ...

    def close(self) -> None:
        """Write what follows the last document."""
        ...


def is_binary(format: str) -> bool:
    """Return whether the format is not text, so that it should not go to a terminal."""
    return format == "docbin"


def open_writer(format: str, stream: Stream, *, console: Console | None = None) -> Writer:
    """Return a writer of this format to the stream; `console` stands for `table` in place of the stream.

    Raises `UsageError` for a format that there is not. The writer of `brat` raises it at a second document,
    since each wants a pair of files.
    """
    match format:
        case "table":
            from clinical.formats.table import TableWriter

            return TableWriter(stream, console)
        case "jsonl":
            from clinical.formats import json_records

            return _JoinedWriter(stream, json_records.line)
        case "json":
            from clinical.formats import json_records

            return _JoinedWriter(stream, json_records.item, b"[\n", b",\n", b"\n]\n")
        case "csv":
            from clinical.formats import csv_rows

            return _JoinedWriter(stream, csv_rows.rows, csv_rows.header())
        case "html":
            from clinical.formats.page import PageWriter

            return PageWriter(stream)
        case "brat":
            from clinical.formats.brat import StandoffWriter

            return StandoffWriter(stream)
        case "conll":
            from clinical.formats import conll

            return _JoinedWriter(stream, conll.document)
        case "bioc":
            from clinical.formats import bioc

            return _JoinedWriter(stream, bioc.document, bioc.header(), b",\n", bioc.FOOTER)
        case "docbin":
            from clinical.formats.docbin import DocBinWriter

            return DocBinWriter(stream)
    raise UsageError(f"no format {format!r}; available: {', '.join(FORMATS)}")


def render(format: str, note: Note, extraction: Extraction) -> dict[str, bytes]:
    """Return the files of one document, complete each: a map from suffix (".ann") to content.

    Beware of `brat`, which writes the note itself as `.txt`: in the folder of the notes it would replace them.
    """
    stream = io.BytesIO()
    writer = open_writer(format, stream)
    writer.write(note, extraction)
    writer.close()
    files = {_SUFFIXES.get(format, f".{format}"): stream.getvalue()}
    if format == "brat":
        files[".txt"] = encode(note.text)
    return files


class _JoinedWriter:
    """Writes header, documents with what stands between them, and footer."""

    def __init__(
        self,
        stream: Stream,
        document: Callable[[Note, Extraction], bytes],
        header: bytes = b"",
        between: bytes = b"",
        footer: bytes = b"",
    ) -> None:
        self._sink = binary_sink(stream)
        self._document = document
        self._header, self._between, self._footer = header, between, footer
        self._count = 0

    def write(self, note: Note, extraction: Extraction) -> None:
        self._sink((self._between if self._count else self._header) + self._document(note, extraction))
        self._count += 1

    def close(self) -> None:
        self._sink(self._footer if self._count else self._header + self._footer)
