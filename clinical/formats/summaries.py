"""How summaries are written, for people and for programs.

    with contextlib.closing(open_summary_writer("md", sys.stdout)) as writer:
        writer.write([note], summary)

Like the formats of entities (`clinical.formats`): documents one at a time, UTF-8 whatever the stream, nothing written
before the first `write` or `close`. A timeline is one summary of several notes.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import IO, TYPE_CHECKING, Protocol

from clinical.documents.note import Note
from clinical.documents.summaries import Summary
from clinical.errors import UsageError
from clinical.formats.streams import binary_sink

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["SUMMARY_FORMATS", "SummaryWriter", "open_summary_writer", "render_summary"]

SUMMARY_FORMATS = ("table", "jsonl", "json", "md", "html")
"""The names that `--format` accepts."""

_SUFFIXES = {"table": ".txt"}

Notes = Sequence[Note]


class SummaryWriter(Protocol):
    """Writes summaries one after another. `close` ends the output and leaves the stream open."""

    def write(self, notes: Notes, summary: Summary) -> None:
        """Write the summary of these notes: of one, or of all those of a timeline."""
        ...

    def close(self) -> None:
        """Write what follows the last summary."""
        ...


def open_summary_writer(
    format: str, stream: IO[str] | IO[bytes], *, console: Console | None = None
) -> SummaryWriter:
    """Return a writer of this format; `console` stands for `table` in place of the stream.

    Raises `UsageError` for a format that there is not.
    """
    match format:
        case "table":
            from clinical.formats.summary_table import SummaryTableWriter

            return SummaryTableWriter(stream, console)
        case "jsonl":
            return _Joined(stream, _line)
        case "json":
            return _Joined(stream, _item, b"[\n", b",\n", b"\n]\n")
        case "md":
            from clinical.formats.summary_markdown import document

            return _Joined(stream, document, b"", b"\n---\n\n")
        case "html":
            from clinical.formats.summary_page import SummaryPageWriter

            return SummaryPageWriter(stream)
    raise UsageError(f"no format {format!r} for summaries; available: {', '.join(SUMMARY_FORMATS)}")


def render_summary(format: str, notes: Notes, summary: Summary) -> dict[str, bytes]:
    """Return the files of one summary, complete each: a map from suffix (".md") to content."""
    stream = io.BytesIO()
    writer = open_summary_writer(format, stream)
    writer.write(notes, summary)
    writer.close()
    return {_SUFFIXES.get(format, f".{format}"): stream.getvalue()}


def record(notes: Notes, summary: Summary) -> dict[str, object]:
    """Return the record of the output contract; a timeline has the id `together` and no path of its own."""
    if len(notes) == 1:
        return summary.as_dict(notes[0].id, notes[0].path)
    return summary.as_dict("together", None)


def _line(notes: Notes, summary: Summary) -> bytes:
    from clinical.formats.json_records import dumps

    return dumps(record(notes, summary)) + b"\n"


def _item(notes: Notes, summary: Summary) -> bytes:
    from clinical.formats.json_records import dumps

    return dumps(record(notes, summary), indent=2)


class _Joined:
    """Writes summaries with what stands before, between and after them."""

    def __init__(
        self,
        stream: IO[str] | IO[bytes],
        one: Callable[[Notes, Summary], bytes],
        header: bytes = b"",
        between: bytes = b"",
        footer: bytes = b"",
    ) -> None:
        self._sink = binary_sink(stream)
        self._one = one
        self._header, self._between, self._footer = header, between, footer
        self._count = 0

    def write(self, notes: Notes, summary: Summary) -> None:
        self._sink((self._between if self._count else self._header) + self._one(notes, summary))
        self._count += 1

    def close(self) -> None:
        self._sink(self._footer if self._count else self._header + self._footer)
