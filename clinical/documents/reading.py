"""Reads documents of every supported format, one after the other, in constant memory.

    from clinical.documents.reading import read

    for document in read(["notes/", "letters.jsonl"]):
        ...  # a Note, or a DocumentError that says why one could not be read

Formats: .txt .md .html .htm .xhtml .rtf .pdf .docx, CDA and FHIR in .xml, FHIR in .json, records in .jsonl .ndjson
.csv .tsv, the last four also with .gz. In a folder, hidden files, README files and files of another kind are passed
over; a named file of another kind is tried by its content. `-` is standard input.

Ids. A file has its path as given, with "/" on every system; a document inside a FHIR Bundle the path, "#" and its
resource; a record its own `id`, without one its file and line ("letters.jsonl:7"). An id names one document of a run:
a second document with the same id is an error that names both places and is left out, for neither a guess which one is
meant nor an invented suffix would let results be joined back to their source. A file that is given twice, by itself
and by its folder, is read once.
"""

from __future__ import annotations

import gzip
import io
import os
import stat
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO, cast

from clinical.documents.extracted import Extracted, Unreadable
from clinical.documents.note import Note
from clinical.errors import DocumentError

__all__ = ["MAX_BYTES", "count", "files", "read"]

MAX_BYTES = 100_000_000
"""Larger files, and larger lines of record files, are refused."""

STDIN = "-"

FORMATS = {
    ".txt": "text",
    ".text": "text",
    ".md": "text",
    ".markdown": "text",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".rtf": "rtf",
    ".pdf": "pdf",
    ".docx": "docx",
    ".xml": "xml",
    ".json": "fhir_json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
}
RECORDS = ("jsonl", "csv")

Parts = Iterator[Extracted | Unreadable]


@dataclass(frozen=True, slots=True)
class _Source:
    """A file to read, or standard input (`-`), and its format; `None` when its content has to tell."""

    path: str
    format: str | None
    packed: bool = False

    @property
    def name(self) -> str:
        """What ids and messages call the source."""
        return _shown(self.path)


def read(
    paths: Sequence[str],
    *,
    stdin: BinaryIO | None = None,
    max_bytes: int = MAX_BYTES,
    skipped: Counter[str] | None = None,
) -> Iterator[Note | DocumentError]:
    """Yield the documents of the paths in order, and an error in the place of each that cannot be read.

    `skipped` counts, by suffix, the files that were passed over in folders.
    """
    places: dict[str, str] = {}
    for source in _find_sources(paths, skipped):
        if isinstance(source, DocumentError):
            yield source
            continue
        for document, place in _placed(source, stdin, max_bytes):
            if isinstance(document, Note) and document.id in places:
                first = places[document.id]
                document = DocumentError(
                    place, f"the id {document.id!r} is that of {first} already; make the ids unique"
                )
            elif isinstance(document, Note):
                places[document.id] = place
            yield document


def count(paths: Sequence[str]) -> int | None:
    """Return how many documents and errors `read` will yield, for a progress bar; `None` when nobody knows yet.

    Files are counted without being opened, the lines of .jsonl files by their line ends; a FHIR Bundle counts
    as one. What is compressed, a CSV file or standard input is not counted.
    """
    total = 0
    for source in _find_sources(paths):
        if isinstance(source, DocumentError) or source.format not in (*RECORDS, None):
            total += 1
        elif source.path == STDIN or source.packed or source.format == "csv":
            return None
        else:
            total += _lines_in(source.path) if source.format == "jsonl" else 1
    return total


def files(paths: Sequence[str]) -> Iterator[str | DocumentError]:
    """Yield the files that `read` reads, in its order, each once; an error for each path that cannot be entered."""
    for source in _find_sources(paths):
        yield source if isinstance(source, DocumentError) else source.path


def _find_sources(
    paths: Iterable[str], skipped: Counter[str] | None = None
) -> Iterator[_Source | DocumentError]:
    """Yield the files behind the paths, folders in sorted order, each file once."""
    seen: set[str] = set()
    for path in paths:
        for source in _sources_of(path, skipped):
            if isinstance(source, DocumentError):
                yield source
            elif source.path not in seen:
                seen.add(source.path)
                yield source


# --- files and folders ---


def _sources_of(path: str, skipped: Counter[str] | None) -> Iterator[_Source | DocumentError]:
    if path == STDIN:
        yield _Source(STDIN, None)
        return
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        yield DocumentError(_shown(path), _reason(error, path))
        return
    if stat.S_ISDIR(mode):
        yield from _folder(path, skipped)
    else:
        yield _source(path)


def _source(path: str) -> _Source:
    """The source of a file, its format by its suffix."""
    name = path.lower()
    packed = name.endswith(".gz")
    format_ = FORMATS.get(os.path.splitext(name.removesuffix(".gz"))[1])
    if packed and format_ not in RECORDS:
        format_ = None
    return _Source(str(Path(path)), format_, packed)


def _folder(path: str, skipped: Counter[str] | None) -> Iterator[_Source | DocumentError]:
    """Yield the documents below a folder; one error when there is none."""
    passed_over: Counter[str] = Counter()
    found = False
    for entry in _walk(path):
        if isinstance(entry, DocumentError):
            found = True
            yield entry
            continue
        source = _source(entry)
        stem, suffix = os.path.splitext(os.path.basename(entry).lower())
        if source.format is None or stem == "readme":
            passed_over["readme" if stem == "readme" else suffix or "without suffix"] += 1
        else:
            found = True
            yield source
    if not found:
        yield DocumentError(_shown(path), _nothing_readable(passed_over))
    if skipped is not None:
        skipped.update(passed_over)


def _nothing_readable(passed_over: Counter[str]) -> str:
    if not passed_over:
        return "an empty folder"
    kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(passed_over.items()))
    return f"a folder with nothing readable (skipped: {kinds}); readable are {' '.join(FORMATS)}"


def _walk(folder: str, above: tuple[tuple[int, int], ...] = ()) -> Iterator[str | DocumentError]:
    """Yield the files below a folder in sorted order, links followed; hidden ones are passed over."""
    try:
        status = os.stat(folder)
        names = sorted(os.listdir(folder))
    except OSError as error:
        yield DocumentError(_shown(folder), _reason(error, folder))
        return
    identity = (status.st_dev, status.st_ino)
    if identity in above:
        yield DocumentError(_shown(folder), "a link back to a folder that holds it; not followed")
        return
    for name in names:
        if name.startswith("."):
            continue
        path = os.path.join(folder, name)
        try:
            mode = os.stat(path).st_mode
        except OSError as error:
            yield DocumentError(_shown(path), _reason(error, path))
            continue
        if stat.S_ISDIR(mode):
            yield from _walk(path, (*above, identity))
        elif stat.S_ISREG(mode):
            yield path


def _shown(path: str) -> str:
    """A path as ids and messages have it: with "/", and with escapes for what no text encoding can write."""
    return os.fsencode(Path(path).as_posix()).decode("utf-8", "backslashreplace")


def _reason(error: Exception, path: str) -> str:
    """Why a path cannot be read, in the words of its user."""
    if isinstance(error, FileNotFoundError):
        return "a link to a file that is not there" if os.path.islink(path) else "no such file or folder"
    if isinstance(error, PermissionError):
        return "permission denied"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return "not a path"


def _lines_in(path: str) -> int:
    """The lines of a file, of which an unreadable one has a single error."""
    lines, last = 0, b"\n"
    try:
        with open(path, "rb") as file:
            while chunk := file.read(1 << 20):
                lines += chunk.count(b"\n")
                last = chunk[-1:]
    except OSError:
        return 1
    return lines + (last != b"\n")


# --- one source ---


def _placed(
    source: _Source, stdin: BinaryIO | None, max_bytes: int
) -> Iterator[tuple[Note | DocumentError, str]]:
    """Yield the documents of a source, each with the place that it came from."""
    found = False
    try:
        for part in _parts(source, stdin, max_bytes):
            found = True
            yield _note(part, source)
        if not found:
            raise Unreadable("no records in it")
    except Unreadable as error:
        yield DocumentError(source.name, error.reason), source.name
    except OSError as error:
        yield DocumentError(source.name, _reason(error, source.path)), source.name


def _note(part: Extracted | Unreadable, source: _Source) -> tuple[Note | DocumentError, str]:
    joint = ":" if source.format in RECORDS or source.path == STDIN else "#"
    place = f"{source.name}{joint}{part.place}" if part.place else source.name
    if isinstance(part, Unreadable):
        return DocumentError(place, part.reason), place
    fault = _fault(part.text)
    if fault:
        return DocumentError(place, fault), place
    path = None if source.path == STDIN else source.name
    return Note(part.id or place, part.text, path, part.title, part.date, part.warnings), place


def _fault(text: str) -> str | None:
    """Why a text is no document, if it is none."""
    if not text:
        return "empty"
    if not text.strip("\0\ufeff\u200b \t\r\n\f\v") or text.isspace():
        return "nothing but white space"
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        return f"half a surrogate pair at character {error.start}; no encoding can write it"
    return None


def _parts(source: _Source, stdin: BinaryIO | None, max_bytes: int) -> Parts:
    if source.path == STDIN:
        yield from _standard_input(stdin, max_bytes)
    elif source.format == "jsonl":
        from clinical.documents.records import lines_of, read_jsonl

        with _open(source) as stream:
            yield from _unpacking(read_jsonl(lines_of(stream, max_bytes)))
    elif source.format == "csv":
        from clinical.documents.records import read_csv

        yield from _unpacking(read_csv(lambda: _open(source), max_bytes))
    else:
        data = _bytes(source.path, max_bytes)
        yield from _read_format(source.format or _format_of(data), data)


def _read_format(format_: str, data: bytes) -> Parts:
    """Yield the documents of a whole file."""
    if not data:
        raise Unreadable("empty")
    if format_ == "xml":
        from clinical.documents.xml_files import read_xml

        yield from read_xml(data)
    elif format_ == "fhir_json":
        from clinical.documents.fhir import read_fhir_json

        yield from read_fhir_json(data)
    else:
        yield _single_reader(format_)(data)


def _single_reader(format_: str) -> Callable[[bytes], Extracted]:
    """The reader of a format that holds one document; its libraries are imported only now."""
    if format_ == "html":
        from clinical.documents.html import read_html

        return read_html
    if format_ == "rtf":
        from clinical.documents.rtf import read_rtf

        return read_rtf
    if format_ == "pdf":
        from clinical.documents.pdf import read_pdf

        return read_pdf
    if format_ == "docx":
        from clinical.documents.docx import read_docx

        return read_docx
    from clinical.documents.text import read_text

    return read_text


def _format_of(data: bytes) -> str:
    """The format that the content shows, when no suffix tells: text unless it begins like something else."""
    start = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(b"%pdf-"):
        return "pdf"
    if start.startswith(b"{\\rtf"):
        return "rtf"
    if start.startswith(b"pk\x03\x04") and b"word/" in data:
        return "docx"
    if start.startswith((b"<!doctype html", b"<html")):
        return "html"
    if start.startswith((b"<?xml", b"<clinicaldocument")):
        return "html" if b"<html" in start else "xml"
    if start.startswith(b"{") and b'"resourceType"' in data:
        return "fhir_json"
    return "text"


def _bytes(path: str, max_bytes: int) -> bytes:
    """The content of a file; refused by its size before it is read."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > max_bytes:
            raise Unreadable(f"{_size(size)}, {_too_large(max_bytes)}")
        return _bounded(file.read(max_bytes + 1), max_bytes)


def _bounded(data: bytes, max_bytes: int) -> bytes:
    """The bytes, unless they are too many: pipes and devices have no size to tell beforehand."""
    if len(data) > max_bytes:
        raise Unreadable(_too_large(max_bytes))
    return data


def _too_large(max_bytes: int) -> str:
    return f"larger than the limit of {_size(max_bytes)}; raise --max-bytes"


def _size(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 1e6 else f"{size:,} bytes"


def _open(source: _Source) -> io.BufferedReader:
    if source.packed:
        return io.BufferedReader(cast(io.RawIOBase, gzip.open(source.path, "rb")))
    return open(source.path, "rb")


def _unpacking(parts: Parts) -> Parts:
    """Yield the parts of a record file; a damaged gzip ends it with an error after what could be read."""
    try:
        yield from parts
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        cut = "cut off" if isinstance(error, EOFError) else "damaged"
        raise Unreadable(f"its gzip data is {cut}; the records before are read, the rest is lost") from error


def _standard_input(stdin: BinaryIO | None, max_bytes: int) -> Parts:
    """Yield the documents of standard input: JSON lines when the first line is one, else one document."""
    from clinical.documents.records import lines_of, read_jsonl

    if stdin is None:
        raise Unreadable("there is no standard input")
    stream = stdin if isinstance(stdin, io.BufferedReader) else io.BufferedReader(cast(io.RawIOBase, stdin))
    first = b""
    if stream.peek(1)[:1] == b"{":
        first = stream.readline(max_bytes + 1)
        if _is_json(first):
            yield from read_jsonl(chain([first], lines_of(stream, max_bytes)))
            return
    data = _bounded(first + stream.read(max_bytes + 1), max_bytes)
    yield from _read_format(_format_of(data), data)


def _is_json(line: bytes) -> bool:
    import json

    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True
