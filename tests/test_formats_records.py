"""JSON lines, JSON and CSV, and what all formats share: streams, files of a document, runs of no documents."""

from __future__ import annotations

import csv
import io
import json
import weakref

import pytest
from formats_cases import FEW, documents, example
from hypothesis import given

from clinical.documents.annotations import Extraction
from clinical.documents.note import Note
from clinical.errors import UsageError
from clinical.formats import FORMATS, is_binary, open_writer, render

TEXT_FORMATS = [format for format in FORMATS if not is_binary(format)]
EMPTY = {
    "table": b"",
    "jsonl": b"",
    "json": b"[\n\n]\n",
    "csv": b"id,path,start,end,text,label,score,grounding,assertion,cue,section,expansion,system,model\r\n",
    "brat": b"",
    "conll": b"",
}


def written(format: str, *pairs: tuple[Note, Extraction]) -> bytes:
    stream = io.BytesIO()
    writer = open_writer(format, stream)
    for note, extraction in pairs:
        writer.write(note, extraction)
    writer.close()
    return stream.getvalue()


def test_formats_are_those_of_the_contract() -> None:
    assert FORMATS == ("table", "jsonl", "json", "csv", "html", "brat", "conll", "bioc", "docbin")
    assert [format for format in FORMATS if is_binary(format)] == ["docbin"]


def test_an_unknown_format_names_the_known_ones() -> None:
    with pytest.raises(UsageError) as raised:
        open_writer("xml", io.StringIO())
    assert str(raised.value) == (
        "no format 'xml'; available: table, jsonl, json, csv, html, brat, conll, bioc, docbin"
    )


@pytest.mark.parametrize("format", EMPTY)
def test_a_run_of_no_documents_is_still_valid(format: str) -> None:
    assert written(format) == EMPTY[format]


@pytest.mark.parametrize("format", TEXT_FORMATS)
def test_a_text_stream_gets_the_same_as_a_binary_one(format: str) -> None:
    stream = io.StringIO(newline="")
    writer = open_writer(format, stream)
    writer.write(*example())
    writer.close()
    assert stream.getvalue() == written(format, example()).decode("utf-8")


@pytest.mark.parametrize("format", FORMATS)
def test_neither_locale_nor_platform_changes_a_byte(format: str) -> None:
    below = io.BytesIO()
    stream = io.TextIOWrapper(below, encoding="ascii", newline="\r\n")
    stream.write("first\n")
    writer = open_writer(format, stream)
    writer.write(*example())
    writer.close()
    assert below.getvalue() == b"first\r\n" + written(format, example())


@pytest.mark.parametrize("format", [format for format in FORMATS if format != "docbin"])
def test_documents_are_not_kept(format: str) -> None:
    writer = open_writer(format, io.BytesIO())
    note, extraction = example()
    note = Note("other", note.text)
    kept = weakref.ref(note)
    writer.write(note, extraction)
    del note
    assert kept() is None


@FEW
@given(documents(trimmed=False))
def test_every_format_takes_every_document(pair: tuple[Note, Extraction]) -> None:
    for format in FORMATS:
        assert all(isinstance(data, bytes) for data in render(format, *pair).values())


def test_files_of_a_document() -> None:
    assert {format: list(render(format, *example())) for format in FORMATS} == {
        "table": [".txt"],
        "jsonl": [".jsonl"],
        "json": [".json"],
        "csv": [".csv"],
        "html": [".html"],
        "brat": [".ann", ".txt"],
        "conll": [".conll"],
        "bioc": [".bioc.json"],
        "docbin": [".spacy"],
    }


def test_a_json_line() -> None:
    note = Note("a", "Größe", "a.txt")
    extraction = Extraction("a", "a.txt", "light", "light-1", [], ("careful",))
    assert written("jsonl", (note, extraction)) == (
        b'{"id": "a", "path": "a.txt", "system": "light", "model": "light-1", "entities": [],'
        b' "warnings": ["careful"]}\n'
    )


@FEW
@given(documents(), documents())
def test_json_lines_hold_the_contract_and_nothing_breaks_a_line(
    one: tuple[Note, Extraction], other: tuple[Note, Extraction]
) -> None:
    lines = written("jsonl", one, other).decode("utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [one[1].as_dict(), other[1].as_dict()]


@FEW
@given(documents(), documents())
def test_json_is_one_array(one: tuple[Note, Extraction], other: tuple[Note, Extraction]) -> None:
    assert json.loads(written("json", one, other)) == [one[1].as_dict(), other[1].as_dict()]


def test_half_a_surrogate_pair_survives_json_and_moves_no_offset_elsewhere() -> None:
    note = Note("\ud83d", "a\ud83d fever")
    extraction = Extraction(note.id, None, "light", "light-1", [])
    assert json.loads(written("jsonl", (note, extraction)))["id"] == "\ud83d"
    assert render("brat", note, extraction)[".txt"] == b"a? fever"


def test_csv_rows() -> None:
    header = EMPTY["csv"].decode()
    assert written("csv", example()).decode("utf-8") == header + (
        "visit-1,notes/visit-1.txt,9,20,67-year-old,Age,0.618,exact,,,,,light,light-1\r\n"
        "visit-1,notes/visit-1.txt,26,30,COPD,Disease,0.98,exact,,,,"
        "chronic obstructive pulmonary disease,light,light-1\r\n"
        "visit-1,notes/visit-1.txt,44,54,chest pain,Symptom,1.0,exact,negated,denies,history,,light,light-1\r\n"
        "visit-1,notes/visit-1.txt,71,77,breast,Anatomy,,exact,,,history,,light,light-1\r\n"
        'visit-1,notes/visit-1.txt,71,84,"breast\ncancer",Disease,0.5,normalized,family,Mother,history,,'
        "light,light-1\r\n"
        "visit-1,notes/visit-1.txt,94,104,Aspirin 81,Drug & dose,,exact,present,,plan,,light,light-1\r\n"
        "visit-1,notes/visit-1.txt,102,106,81mg,Dosage,,exact,,,plan,,light,light-1\r\n"
    )


@FEW
@given(documents())
def test_csv_can_be_read_back(pair: tuple[Note, Extraction]) -> None:
    note, extraction = pair
    rows = list(csv.DictReader(io.StringIO(written("csv", pair).decode("utf-8"), newline="")))
    assert [(int(row["start"]), int(row["end"]), row["text"], row["label"]) for row in rows] == [
        (entity.start, entity.end, entity.text, entity.label) for entity in extraction.entities
    ]
    assert all(row["id"] == note.id and row["path"] == (note.path or "") for row in rows)
    for row, entity in zip(rows, extraction.entities, strict=True):
        assertion = entity.assertion
        assert row["assertion"] == (assertion.status if assertion else "")
        assert row["cue"] == (assertion.cue.text if assertion and assertion.cue else "")
        assert row["score"] == ("" if entity.score is None else str(entity.score))
