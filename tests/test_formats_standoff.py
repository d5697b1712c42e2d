"""brat and BioC: exact output, and the way back."""

from __future__ import annotations

import io
import json

import pytest
from formats_cases import FEW, TEXT, documents, example, places
from hypothesis import given

from clinical.documents.annotations import Extraction
from clinical.documents.note import Note
from clinical.documents.sections import find_sections
from clinical.errors import UsageError
from clinical.formats import open_writer, render


def test_brat_files() -> None:
    assert render("brat", *example()) == {
        ".ann": b"""\
T1\tAge 9 20\t67-year-old
#1\tAnnotatorNotes T1\t{"score": 0.618, "grounding": "exact"}
T2\tDisease 26 30\tCOPD
#2\tAnnotatorNotes T2\t{"score": 0.98, "grounding": "exact", \
"expansion": "chronic obstructive pulmonary disease"}
T3\tSymptom 44 54\tchest pain
A3\tAssertion T3 negated
#3\tAnnotatorNotes T3\t{"score": 1.0, "grounding": "exact", "section": "history", \
"cue": {"start": 37, "end": 43, "text": "denies"}}
T4\tAnatomy 71 77\tbreast
#4\tAnnotatorNotes T4\t{"grounding": "exact", "section": "history"}
T5\tDisease 71 77;78 84\tbreast cancer
A5\tAssertion T5 family
#5\tAnnotatorNotes T5\t{"score": 0.5, "grounding": "normalized", "section": "history", \
"cue": {"start": 56, "end": 62, "text": "Mother"}}
T6\tDrug___dose 94 104\tAspirin 81
A6\tAssertion T6 present
#6\tAnnotatorNotes T6\t{"grounding": "exact", "section": "plan", "label": "Drug & dose"}
T7\tDosage 102 106\t81mg
#7\tAnnotatorNotes T7\t{"grounding": "exact", "section": "plan"}
""",
        ".txt": TEXT.encode("utf-8"),
    }


def read_brat(files: dict[str, bytes]) -> list[dict[str, object]]:
    """Read standoff by its own rules, line by line, with every character that ends a line for someone."""
    text = files[".txt"].decode("utf-8")
    found: dict[str, dict[str, object]] = {}
    for line in files[".ann"].decode("utf-8").splitlines():
        name, rest, *more = line.split("\t")
        if name.startswith("T"):
            label, offsets = rest.split(" ", 1)
            pieces = [tuple(map(int, piece.split(" "))) for piece in offsets.split(";")]
            assert more == [" ".join(text[start:end] for start, end in pieces)]
            found[name] = {"start": pieces[0][0], "end": pieces[-1][1], "label": label, "assertion": None}
        elif name.startswith("A"):
            kind, target, status = rest.split(" ")
            assert kind == "Assertion"
            found[target]["assertion"] = status
        else:
            kind, target = rest.split(" ")
            assert kind == "AnnotatorNotes"
            found[target] |= json.loads(more[0])
    return list(found.values())


@FEW
@given(documents())
def test_brat_can_be_read_back(pair: tuple[Note, Extraction]) -> None:
    note, extraction = pair
    files = render("brat", note, extraction)
    assert files[".txt"].decode("utf-8") == note.text
    expected = []
    for entity in extraction.entities:
        record = {key: value for key, value in entity.as_dict().items() if value is not None}
        del record["text"]
        assertion = record.get("assertion")
        record["assertion"] = assertion["status"] if assertion else None
        if assertion and assertion["cue"]:
            record["cue"] = assertion["cue"]
        expected.append(record)
    assert read_brat(files) == expected


def test_a_second_document_wants_a_folder() -> None:
    stream = io.BytesIO()
    writer = open_writer("brat", stream)
    writer.write(*example())
    with pytest.raises(
        UsageError, match=r"^brat writes a pair of files for each document: give a folder with -o$"
    ):
        writer.write(*example())
    assert stream.getvalue() == render("brat", *example())[".ann"]


def test_bioc_of_a_small_note() -> None:
    text = "Lungs clear.\nPLAN: Aspirin."
    note = Note("n", text, "n.txt")
    _, full = example()
    entity = full.entities[2]
    extraction = Extraction(
        "n", "n.txt", "light", "light-1", [entity.__class__(19, 26, "Aspirin", "Drug", 0.5)]
    )
    assert json.loads(render("bioc", note, extraction)[".bioc.json"]) == {
        "source": "clinical",
        "date": "",
        "key": "",
        "version": "1.0",
        "infons": {"offset_unit": "Unicode code point"},
        "documents": [
            {
                "id": "n",
                "infons": {"path": "n.txt", "system": "light", "model": "light-1"},
                "passages": [
                    {
                        "offset": 0,
                        "infons": {},
                        "text": "Lungs clear.\n",
                        "sentences": [],
                        "annotations": [],
                        "relations": [],
                    },
                    {
                        "offset": 13,
                        "infons": {"type": "plan", "title": "PLAN"},
                        "text": "PLAN: Aspirin.",
                        "sentences": [],
                        "annotations": [
                            {
                                "id": "T1",
                                "infons": {"score": "0.5", "grounding": "exact", "type": "Drug"},
                                "text": "Aspirin",
                                "locations": [{"offset": 19, "length": 7}],
                            }
                        ],
                        "relations": [],
                    },
                ],
                "annotations": [],
                "relations": [],
            }
        ],
    }


def test_bioc_infons_are_text() -> None:
    record = json.loads(render("bioc", *example())[".bioc.json"])
    annotations = [note for passage in record["documents"][0]["passages"] for note in passage["annotations"]]
    assert annotations[2]["infons"] == {
        "score": "1.0",
        "grounding": "exact",
        "section": "history",
        "type": "Symptom",
        "assertion": "negated",
        "cue": "denies",
        "cue_offset": "37",
    }


@FEW
@given(documents(), documents())
def test_bioc_can_be_read_back_by_its_own_package(
    one: tuple[Note, Extraction], other: tuple[Note, Extraction]
) -> None:
    biocjson = pytest.importorskip("bioc.biocjson", reason="the package bioc reads BioC back")
    stream = io.BytesIO()
    writer = open_writer("bioc", stream)
    writer.write(*one)
    writer.write(*other)
    writer.close()
    collection = biocjson.loads(stream.getvalue().decode("utf-8"))
    for document, (note, extraction) in zip(collection.documents, (one, other), strict=True):
        assert document.id == note.id
        text = ""
        found = []
        for passage in document.passages:
            assert passage.offset == len(text)
            text += passage.text
            for annotation in passage.annotations:
                (location,) = annotation.locations
                start, end = location.offset, location.offset + location.length
                assert passage.offset <= start < end <= len(text)
                assert annotation.text == note.text[start:end]
                found.append((start, end, annotation.infons["type"]))
        assert text == note.text
        assert sorted(found) == places(extraction)


def test_a_section_does_not_cut_an_entity() -> None:
    text = "HISTORY: fever\nPLAN: rest"
    assert [section.start for section in find_sections(text)] == [0, 15]
    note = Note("n", text)
    _, full = example()
    crossing = full.entities[0].__class__(9, 19, text[9:19], "Odd")
    record = json.loads(render("bioc", note, Extraction("n", None, "light", "l", [crossing]))[".bioc.json"])
    assert [passage["text"] for passage in record["documents"][0]["passages"]] == [text]
