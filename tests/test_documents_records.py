"""Record files: each line or row a document, each faulty one an error with its number."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clinical.documents.note import Note
from clinical.documents.reading import read
from clinical.errors import DocumentError


def lines_of(*paths: Path, max_bytes: int = 1_000_000) -> list[Note | str]:
    """What is read: notes, and errors as their line."""
    documents = read([str(path) for path in paths], max_bytes=max_bytes)
    return [str(document) if isinstance(document, DocumentError) else document for document in documents]


def test_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    path.write_bytes(
        b'\xef\xbb\xbf{"id": "a", "text": "No fever.\\r\\nStable.", "title": "Ward", "date": "2024-03-05", "x": 1}\r\n'
        b"\n"
        b'{"id": 7, "text": "na\xc3\xafve"}\n'
        b'{"text": "without id", "date": "last week"}'
    )
    assert lines_of(path) == [
        Note("a", "No fever.\r\nStable.", str(path), "Ward", "2024-03-05"),
        Note("7", "naïve", str(path)),
        Note(f"{path}:4", "without id", str(path), warnings=("its date is not ISO 8601 and was left out",)),
    ]


def test_faulty_json_lines_are_numbered_and_the_others_come_out(tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    path.write_bytes(
        b'{"id": "a", "text": "one"}\n{"id": "b", "text": \n["c", "text"]\n{"id": "d"}\n{"id": "e", "text": 5}\n'
        b'{"id": "f", "text": " "}\n{"id": "g", "text": "\\ud83d"}\n{"id": "h", "text": "'
        + b"x"
        * 2000
        + b'"}\n'
        b'{"id": "i", "text": "5 \xb5g daily"}\n{"id": "a", "text": "two"}\n{"id": "j", "text": ""}\n'
        b'{"id": "z", "text": "last"}\n'
    )
    assert lines_of(path, max_bytes=1000) == [
        Note("a", "one", str(path)),
        f"{path}:2: not valid JSON",
        f"{path}:3: not a record: a JSON object with id and text is expected",
        f"{path}:4: a record without text",
        f"{path}:5: a record whose text is not a string",
        f"{path}:6: nothing but white space",
        f"{path}:7: half a surrogate pair at character 0; no encoding can write it",
        f"{path}:8: longer than 1,000 bytes; raise --max-bytes",
        Note("i", "5 µg daily", str(path), warnings=("decoded as Windows-1252, a guess: it is not UTF-8",)),
        f"{path}:10: the id 'a' is that of {path}:1 already; make the ids unique",
        f"{path}:11: empty",
        Note("z", "last", str(path)),
    ]


def test_json_lines_of_fhir(tmp_path: Path) -> None:
    path = tmp_path / "export.ndjson"
    path.write_text(
        '{"resourceType": "DocumentReference", "id": "a", "content": [{"attachment": '
        '{"contentType": "text/plain", "data": "Tm8gZmV2ZXI="}}]}\n{"resourceType": "Patient", "id": "p"}\n'
    )
    assert lines_of(path) == [
        Note(f"{path}:DocumentReference/a", "No fever", str(path)),
        f"{path}:Patient/p: a FHIR Patient, which holds no document; readable are DocumentReference, "
        "DiagnosticReport, Composition and Bundle",
    ]


def test_compressed_and_wide_json_lines(tmp_path: Path) -> None:
    packed, wide = tmp_path / "a.jsonl.gz", tmp_path / "b.jsonl"
    packed.write_bytes(gzip.compress(b'{"id": "a", "text": "packed"}\n'))
    wide.write_bytes('{"id": "b", "text": "wide µ"}\r\n'.encode("utf-16"))
    assert lines_of(packed, wide) == [Note("a", "packed", str(packed)), Note("b", "wide µ", str(wide))]


def test_damaged_gzip_gives_what_comes_before_the_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    noise = random.Random(0)
    lines = b"".join(b'{"id": "%d", "text": "%x"}\n' % (n, noise.getrandbits(128)) for n in range(5000))
    whole = gzip.compress(lines)
    path.write_bytes(whole[: len(whole) // 2])
    read_lines = lines_of(path)
    assert read_lines[-1] == (
        f"{path}: its gzip data is cut off; the records before are read, the rest is lost"
    )
    assert 1000 < len(read_lines) < 5000
    path.write_bytes(b"hello")
    assert lines_of(path) == [
        f"{path}: its gzip data is damaged; the records before are read, the rest is lost"
    ]


def test_csv(tmp_path: Path) -> None:
    path = tmp_path / "notes.csv"
    path.write_bytes(
        b'ID,Text ,date,ward\r\na,"Line one\r\nline, two ""quoted""",2024-03-05,3\r\n\r\nb,short\r\n,no id,,\r\nc\r\n'
    )
    assert lines_of(path) == [
        Note("a", 'Line one\r\nline, two "quoted"', str(path), date="2024-03-05"),
        Note("b", "short", str(path)),
        Note(f"{path}:6", "no id", str(path)),
        f"{path}:7: a record without text",
    ]


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_csv_delimiters_and_encodings(tmp_path: Path, delimiter: str, codec: str) -> None:
    path = tmp_path / "notes.csv"
    rows = "".join(f"n{number}{delimiter}plain, {number}\n" for number in range(2000))
    text = f"id{delimiter}text\n{rows}last{delimiter}38,5 °C, naïve “x”\n"
    path.write_bytes(text.encode(codec))
    documents = lines_of(path)
    assert len(documents) == 2001
    warnings = ("decoded as Windows-1252, a guess: it is not UTF-8",) if codec == "cp1252" else ()
    assert documents[0] == Note("n0", "plain, 0", str(path), warnings=warnings)
    assert documents[-1] == Note("last", "38,5 °C, naïve “x”", str(path), warnings=warnings)


def test_csv_that_cannot_be_read(tmp_path: Path) -> None:
    no_text, open_quote, empty = tmp_path / "a.csv", tmp_path / "b.csv", tmp_path / "c.csv"
    no_text.write_text("id,note\n1,x\n")
    open_quote.write_text('id,text\n1,fine\n2,"never closed\n3,lost\n')
    empty.write_text("id,text\n")
    assert lines_of(open_quote, max_bytes=10) == [
        Note("1", "fine", str(open_quote)),
        f"{open_quote}:3: not valid CSV from here on (a field longer than 10 bytes; close the quotes or raise "
        "--max-bytes)",
    ]
    assert lines_of(no_text, open_quote, empty) == [
        f"{no_text}: has no column named text in its first line; name the column of the notes text, of their ids id",
        Note("1", "fine", str(open_quote)),
        f"{open_quote}:3: not valid CSV from here on (unexpected end of data)",
        f"{empty}: no records in it",
    ]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.text(st.characters(exclude_categories=("Cs",)), min_size=1).filter(
            lambda text: text.strip("\0\ufeff\u200b \t\r\n\f\v") and not text.isspace()
        ),
        min_size=1,
        max_size=5,
    )
)
def test_any_text_comes_back_from_json_lines(tmp_path: Path, texts: list[str]) -> None:
    path = tmp_path / "notes.jsonl"
    path.write_text(
        "".join(
            json.dumps({"id": n, "text": text}, ensure_ascii=n % 2 == 0) + "\n"
            for n, text in enumerate(texts)
        ),
        encoding="utf-8",
        newline="",
    )
    assert lines_of(path) == [Note(str(n), text, str(path)) for n, text in enumerate(texts)]
