"""The comparison of systems: what is matched with what, and how it is shown."""

from __future__ import annotations

import io
import json

import pytest
from bs4 import BeautifulSoup
from formats_cases import FEW, documents, entity
from hypothesis import given
from rich.console import Console

from clinical.documents.annotations import Entity, Extraction
from clinical.documents.note import Note
from clinical.errors import UsageError
from clinical.formats.agreement import Finding, compare
from clinical.formats.comparison import COMPARISON_FORMATS, open_comparison

TEXT = "Severe chest pain, no fever. Aspirin 81 mg daily. CT of chest."
NOTE = Note("n", TEXT, "n.txt")
A = [
    entity(TEXT, "chest pain", "Symptom", score=0.9),
    entity(TEXT, "fever", "Symptom"),
    entity(TEXT, "Aspirin", "Medication"),
    entity(TEXT, "81 mg", "Dosage"),
    entity(TEXT, "CT", "Test"),
]
B = [
    entity(TEXT, "Severe chest pain", "Symptom"),
    entity(TEXT, "chest", "Anatomy"),
    entity(TEXT, "fever", "Disease"),
    entity(TEXT, "Aspirin", "Medication"),
    entity(TEXT, "daily", "Frequency"),
    entity(TEXT, "CT of chest", "Procedure"),
]


def extraction(system: str, entities: list[Entity], model: str = "") -> Extraction:
    return Extraction(
        "n", "n.txt", system, model or f"{system}-1", sorted(entities, key=lambda e: (e.start, e.end))
    )


def relations(*systems: list[Entity]) -> list[tuple[str, ...]]:
    return [
        (finding.relation, *(f"{one.text}/{one.label}" if one else "" for one in finding.entities))
        for finding in compare(systems)
    ]


def test_each_entity_is_in_one_finding_by_its_best_match() -> None:
    assert relations(A, B) == [
        ("boundary", "chest pain/Symptom", "Severe chest pain/Symptom"),
        ("only", "", "chest/Anatomy"),
        ("conflict", "fever/Symptom", "fever/Disease"),
        ("agreement", "Aspirin/Medication", "Aspirin/Medication"),
        ("only", "81 mg/Dosage", ""),
        ("only", "", "daily/Frequency"),
        ("conflict", "CT/Test", "CT of chest/Procedure"),
    ]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        # The same label on the same characters wins over another label there, whichever comes first.
        (
            [("chest", "Anatomy"), ("chest", "Symptom")],
            [("chest", "Symptom")],
            [("only", "chest/Anatomy", ""), ("agreement", "chest/Symptom", "chest/Symptom")],
        ),
        # The same characters win over the same label elsewhere.
        (
            [("chest", "Symptom"), ("chest pain", "Symptom")],
            [("chest pain", "Anatomy")],
            [("only", "chest/Symptom", ""), ("conflict", "chest pain/Symptom", "chest pain/Anatomy")],
        ),
        # Of two overlaps with the same label, the longer one.
        (
            [("Severe chest pain", "Symptom")],
            [("pain", "Symptom"), ("Severe chest", "Symptom")],
            [("boundary", "Severe chest pain/Symptom", "Severe chest/Symptom"), ("only", "", "pain/Symptom")],
        ),
        # Touching is not overlapping.
        (
            [("Severe ", "Severity")],
            [("chest", "Anatomy")],
            [("only", "Severe /Severity", ""), ("only", "", "chest/Anatomy")],
        ),
        ([], [], []),
    ],
)
def test_what_is_matched_first(
    one: list[tuple[str, str]], other: list[tuple[str, str]], expected: list[tuple[str, ...]]
) -> None:
    assert (
        relations([entity(TEXT, *spec) for spec in one], [entity(TEXT, *spec) for spec in other]) == expected
    )


def test_three_systems() -> None:
    one, two = entity(TEXT, "fever", "Symptom"), entity(TEXT, "Aspirin", "Medication")
    other, three = entity(TEXT, "fever", "Disease"), entity(TEXT, "CT", "Test")
    assert compare([[one, two], [one], [other, two, three]]) == [
        Finding((one, one, other)),
        Finding((two, None, two)),
        Finding((None, None, three)),
    ]
    assert [finding.relation for finding in compare([[one, two], [one], [other, two, three]])] == [
        "conflict",
        "some",
        "only",
    ]


@FEW
@given(documents(), documents())
def test_every_entity_is_in_exactly_one_finding(
    one: tuple[Note, Extraction], other: tuple[Note, Extraction]
) -> None:
    systems = [list(one[1].entities), list(other[1].entities)]
    findings = compare(systems)
    for place, entities in enumerate(systems):
        found = [finding.entities[place] for finding in findings if finding.entities[place]]
        assert sorted(map(repr, found)) == sorted(map(repr, entities))
    for finding in findings:
        assert finding.found
        if len(finding.found) == 2:
            assert max(e.start for e in finding.found) < min(e.end for e in finding.found)
    mirrored = compare(systems[::-1])
    assert sum(f.relation == "agreement" for f in findings) == sum(
        f.relation == "agreement" for f in mirrored
    )


@given(documents())
def test_a_system_agrees_with_itself(pair: tuple[Note, Extraction]) -> None:
    assert {finding.relation for finding in compare([pair[1].entities, pair[1].entities])} <= {"agreement"}


def written(format: str, *, scores: bool = False, documents: int = 1) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=80, color_system=None) if format == "table" else None
    writer = open_comparison(format, stream, console=console)
    for _ in range(documents):
        writer.write(NOTE, [extraction("light", A), extraction("scispacy", B)])
    if scores:
        writer.close(
            [{"system": "light", "F1": 0.84213, "gold": 31}, {"system": "b", "F1": None, "gold": 31}],
            ["A remark."],
        )
    else:
        writer.close()
    return stream.getvalue()


def test_in_the_terminal() -> None:
    lines = [line.rstrip() for line in written("table", scores=True).splitlines()]
    assert "\n".join(lines) == TABLE


TABLE = """\
light (light-1) and scispacy (scispacy-1)

n · n.txt
       light                 scispacy                     Offsets
──────────────────────────────────────────────────────────────────
edges  chest pain  Symptom   Severe chest pain  Symptom      0-17
only   ·                     chest  Anatomy                  7-12
label  fever  Symptom        fever  Disease                 22-27
same   Aspirin  Medication   Aspirin  Medication            29-36
only   81 mg  Dosage         ·                              37-42
only   ·                     daily  Frequency               43-48
label  CT  Test              CT of chest  Procedure         50-61

1 document, 7 findings
                                        label                      only
Label       agreement  boundary      conflict  only light      scispacy  agreed
────────────────────────────────────────────────────────────────────────────────
Symptom             ·         1             1           ·             ·      0%
Anatomy             ·         ·             ·           ·             1      0%
Disease             ·         ·             1           ·             ·      0%
Dosage              ·         ·             ·           1             ·      0%
Frequency           ·         ·             ·           ·             1      0%
Medication          1         ·             ·           ·             ·    100%
Procedure           ·         ·             1           ·             ·      0%
Test                ·         ·             1           ·             ·      0%
all                 1         1             2           1             2     14%
label conflict: light Symptom, scispacy Disease (1)
label conflict: light Test, scispacy Procedure (1)

system    F1  gold
───────────────────
light   84.2    31
b               31
A remark."""


def test_json_lines() -> None:
    (line,) = written("jsonl").splitlines()
    record = json.loads(line)
    assert list(record) == ["id", "path", "systems", "findings"]
    assert record["systems"] == [
        {"name": "light", "system": "light", "model": "light-1", "warnings": []},
        {"name": "scispacy", "system": "scispacy", "model": "scispacy-1", "warnings": []},
    ]
    assert [finding["relation"] for finding in record["findings"]] == [
        "boundary",
        "only scispacy",
        "label conflict",
        "agreement",
        "only light",
        "only scispacy",
        "label conflict",
    ]
    assert record["findings"][0] == {
        "relation": "boundary",
        "start": 0,
        "end": 17,
        "entities": {"light": A[0].as_dict(), "scispacy": B[0].as_dict()},
    }
    assert record["findings"][1]["entities"] == {"light": None, "scispacy": B[1].as_dict()}


def test_scores_are_the_last_json_line() -> None:
    first, last = written("jsonl", scores=True).splitlines()
    assert json.loads(first) == json.loads(written("jsonl"))
    assert json.loads(last)["scores"] == [
        {"system": "light", "F1": 0.84213, "gold": 31},
        {"system": "b", "F1": None, "gold": 31},
    ]


def test_json_is_one_object_with_the_totals() -> None:
    record = json.loads(written("json", documents=2))
    assert record["documents"] == [json.loads(written("jsonl"))] * 2
    none = {"agreement": 0, "boundary": 0, "label conflict": 0, "only light": 0, "only scispacy": 0}
    assert record["totals"] == {
        "documents": 2,
        "all": {"agreement": 2, "boundary": 2, "label conflict": 4, "only light": 2, "only scispacy": 4},
        "by_label": {
            "Symptom": none | {"boundary": 2, "label conflict": 2},
            "Anatomy": none | {"only scispacy": 2},
            "Disease": none | {"label conflict": 2},
            "Dosage": none | {"only light": 2},
            "Frequency": none | {"only scispacy": 2},
            "Medication": none | {"agreement": 2},
            "Procedure": none | {"label conflict": 2},
            "Test": none | {"label conflict": 2},
        },
        "conflicts": [
            {"labels": {"light": "Symptom", "scispacy": "Disease"}, "count": 2},
            {"labels": {"light": "Test", "scispacy": "Procedure"}, "count": 2},
        ],
    }
    assert json.loads(written("json", documents=0))["documents"] == []


def test_two_models_of_one_system_are_told_apart() -> None:
    stream = io.StringIO()
    writer = open_comparison("jsonl", stream)
    writer.write(
        NOTE, [extraction("mistral", A, "mini"), extraction("mistral", B, "7b"), extraction("light", [])]
    )
    assert [system["name"] for system in json.loads(stream.getvalue())["systems"]] == [
        "mistral mini",
        "mistral 7b",
        "light",
    ]


def test_on_a_page() -> None:
    soup = BeautifulSoup(written("html", scores=True), "html.parser")
    segments = [
        (segment.get_text(), segment["class"][1:], segment["data-cover"])
        for segment in soup.find_all(class_="segment")
    ]
    assert segments == [
        ("Severe ", ["s1", "boundary"], "1:0"),
        ("chest", ["s0", "s1", "boundary", "only"], "0:0 1:0 1:1"),
        (" pain", ["s0", "s1", "boundary"], "0:0 1:0"),
        ("fever", ["s0", "s1", "conflict"], "0:2 1:2"),
        ("Aspirin", ["s0", "s1", "agreement"], "0:3 1:3"),
        ("81 mg", ["s0", "only"], "0:4"),
        ("daily", ["s1", "only"], "1:5"),
        ("CT", ["s0", "s1", "conflict"], "0:6 1:6"),
        (" of chest", ["s1", "conflict"], "1:6"),
    ]
    tags = [(tag["id"], tag.get_text(), tag["title"]) for tag in soup.find_all(class_="tag")]
    assert tags[0] == (
        "d1f1",
        "Anatomy",
        "only scispacy\nlight: nothing\nscispacy: chest – Anatomy\ncharacters 7–12",
    )
    assert [
        (row["data-relation"], row["data-label"]) for row in soup.find_all("tr", attrs={"data-label": True})
    ] == [
        ("boundary", "Symptom"),
        ("only scispacy", "Anatomy"),
        ("label conflict", "Symptom\nDisease"),
        ("agreement", "Medication"),
        ("only light", "Dosage"),
        ("only scispacy", "Frequency"),
        ("label conflict", "Test\nProcedure"),
    ]
    totals = soup.find(class_="totals")
    assert totals.h2.get_text() == "1 document · light (light-1) and scispacy (scispacy-1)"
    assert [cell.get_text() for cell in totals.find(class_="sum").find_all(["th", "td"])] == [
        "all",
        "1",
        "1",
        "2",
        "1",
        "2",
        "14%",
    ]
    scores = totals.find(class_="scores")
    assert [cell.get_text() for cell in scores.find_all("td")] == ["light", "84.2", "31", "b", "", "31"]
    assert [remark.get_text() for remark in totals.find_all(class_="remark")] == ["A remark."]


def test_a_comparison_of_no_documents_is_still_whole() -> None:
    assert written("html", documents=0).rstrip().endswith("</html>")
    assert written("jsonl", documents=0) == ""
    assert written("table", documents=0) == "0 documents, 0 findings\n"


def test_an_unknown_format_names_the_known_ones() -> None:
    assert COMPARISON_FORMATS == ("table", "jsonl", "json", "html")
    with pytest.raises(
        UsageError, match=r"^no format 'csv' for a comparison; available: table, jsonl, json, html$"
    ):
        open_comparison("csv", io.StringIO())
