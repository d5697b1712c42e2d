"""Records: JSON lines and CSV files of documents, one a line or row, read as a stream.

A record has `text` and, if it can, `id`, `title` and `date`; other fields are passed over. A record without an id
is known by its line. A faulty record is one error with its line number; the others come out. A line of a .jsonl or
.ndjson file may also be a FHIR resource, as bulk exports have them.
"""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from io import BufferedReader, TextIOWrapper
from typing import Any

from clinical.documents.dates import from_iso
from clinical.documents.extracted import Extracted, Unreadable
from clinical.documents.text import Encoding, decode, decodes, recognize_encoding

Records = Iterator[Extracted | Unreadable]

DELIMITERS = (",", ";", "\t", "|")

CHUNK_BYTES = 1 << 20
SAMPLE_BYTES = 1 << 18


def read_jsonl(lines: Iterable[bytes | Unreadable]) -> Records:
    """Yield the documents of JSON lines, as `lines_of` gives them."""
    for number, line in enumerate(lines, 1):
        if isinstance(line, Unreadable):
            yield Unreadable(line.reason, str(number))
        elif line.strip():
            yield from _json_record(line, number)


def lines_of(stream: BufferedReader, max_bytes: int) -> Iterator[bytes | Unreadable]:
    """Yield the lines of a stream as bytes; one longer than `max_bytes` is passed over without being kept."""
    if stream.peek(2)[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        lines = TextIOWrapper(stream, encoding="utf-16", newline="\n")
        try:
            yield from (line.encode("utf-8") for line in lines)
        except UnicodeDecodeError:
            yield Unreadable("not valid UTF-16 from here on")
        finally:
            lines.detach()  # closing the stream is for whoever opened it
        return
    while line := stream.readline(max_bytes + 1):
        if len(line) > max_bytes and not line.endswith(b"\n"):
            while (rest := stream.readline(CHUNK_BYTES)) and not rest.endswith(b"\n"):
                pass
            yield Unreadable(f"longer than {max_bytes:,} bytes; raise --max-bytes")
        else:
            yield line


def _json_record(line: bytes, number: int) -> Records:
    try:
        text, warnings = decode(line)
        record = json.loads(text)
    except Unreadable as error:
        yield Unreadable(error.reason, str(number))
    except (ValueError, RecursionError):
        yield Unreadable("not valid JSON", str(number))
    else:
        if not isinstance(record, dict):
            yield Unreadable("not a record: a JSON object with id and text is expected", str(number))
        elif isinstance(record.get("resourceType"), str):
            yield from _resource(record, number)
        else:
            yield _record(record, number, warnings)


def _resource(resource: Mapping[str, Any], number: int) -> Records:
    """Yield the documents of a FHIR resource on a line."""
    from clinical.documents.fhir import read_resource

    name = f"{resource['resourceType']}/{resource['id']}" if resource.get("id") else str(number)
    try:
        for document in read_resource(resource):
            place = f"{number}#{document.place}" if document.place else name
            if isinstance(document, Unreadable):
                yield Unreadable(document.reason, place)
            else:
                yield replace(document, place=place)
    except Unreadable as error:
        yield Unreadable(error.reason, name)


def _record(record: Mapping[str, Any], number: int, warnings: tuple[str, ...]) -> Extracted | Unreadable:
    """The document of one record."""
    text, identifier, date = record.get("text"), record.get("id"), record.get("date")
    if text is None:
        return Unreadable("a record without text", str(number))
    if not isinstance(text, str):
        return Unreadable("a record whose text is not a string", str(number))
    known = from_iso(str(date)) if date not in (None, "") else None
    if date not in (None, "") and known is None:
        warnings = (*warnings, "its date is not ISO 8601 and was left out")
    return Extracted(
        text,
        title=str(record["title"]) if record.get("title") else None,
        date=known,
        warnings=warnings,
        place=str(number),
        id=str(identifier) if identifier not in (None, "") else None,
    )


def read_csv(open_stream: Callable[[], BufferedReader], max_bytes: int) -> Records:
    """Yield the documents of a CSV file with a header; comma, semicolon, tab and bar are recognised."""
    # Read twice: one row in ten thousand may have the only "é", and it decides the encoding of all.
    with open_stream() as stream:
        encoding = _encoding(stream, max_bytes)
    with open_stream() as stream:
        stream.read(encoding.skip)
        with TextIOWrapper(stream, encoding=encoding.codec, newline="") as lines:
            yield from _rows(lines, encoding, max_bytes)


def _encoding(stream: BufferedReader, max_bytes: int) -> Encoding:
    """The encoding of a stream: UTF-8 when all of it is, else what its lines beyond ASCII look like."""
    beginning = stream.peek(4)[:4]
    if beginning.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return recognize_encoding(beginning)
    telling, is_utf8 = bytearray(), True
    while line := stream.readline(max_bytes):
        if not line.isascii():
            is_utf8 = is_utf8 and decodes(line, "utf-8")
            if len(telling) < SAMPLE_BYTES:
                telling += line
    return Encoding("utf-8") if is_utf8 else recognize_encoding(bytes(telling))


def _rows(lines: TextIOWrapper, encoding: Encoding, max_bytes: int) -> Records:
    csv.field_size_limit(max_bytes)
    delimiter, columns = _header(lines.readline())
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    number = 2
    while True:
        try:
            row = next(rows, None)
        except (csv.Error, UnicodeDecodeError) as error:
            # From here on quotes or bytes are out of step: no later row can be trusted.
            yield Unreadable(f"not valid CSV from here on ({_csv_fault(error, max_bytes)})", str(number))
            return
        if row is None:
            return
        if row:
            yield _record(dict(zip(columns, row, strict=False)), number, encoding.warnings)
        number = rows.line_num + 2


def _csv_fault(error: Exception, max_bytes: int) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"a byte that is not {error.encoding}"
    if "field limit" in str(error):
        return f"a field longer than {max_bytes:,} bytes; close the quotes or raise --max-bytes"
    return str(error)


def _header(line: str) -> tuple[str, list[str]]:
    """The delimiter and the names of the columns, in lower case: the delimiter is the one that gives a `text`."""
    for delimiter in DELIMITERS:
        try:
            columns = next(csv.reader([line], delimiter=delimiter), [])
        except csv.Error:
            continue
        names = [column.strip().lower() for column in columns]
        if "text" in names:
            return delimiter, names
    # What the first line has is not told: of a table without a heading it is a note.
    raise Unreadable(
        "has no column named text in its first line; name the column of the notes text, of their ids id"
    )
