"""CoNLL and DocBin: words cut at the edges of entities, exact output, and the way back."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from formats_cases import FEW, TEXT, documents, example, places
from hypothesis import given
from hypothesis import strategies as st

from clinical.documents.annotations import Entity, Extraction
from clinical.documents.note import Note
from clinical.formats import open_writer, render
from clinical.formats.tokens import cut

EXAMPLE = """\
-DOCSTART-	visit-1	-X-	O	O

HISTORY	0	7	O	O
:	7	8	O	O
67	9	11	O	B-Age
-	11	12	O	I-Age
year	12	16	O	I-Age
-	16	17	O	I-Age
old	17	20	O	I-Age
with	21	25	O	O
COPD	26	30	O	B-Disease
.	30	31	O	O

She	33	36	O	O
denies	37	43	O	O
chest	44	49	O	B-Symptom
pain	50	54	O	I-Symptom
.	54	55	O	O

Mother	56	62	O	O
died	63	67	O	O
of	68	70	O	O
breast	71	77	B-Anatomy	B-Disease
cancer	78	84	O	I-Disease
.	84	85	O	O

PLAN	87	91	O	O
:	91	92	O	O

Aspirin	94	101	O	B-Drug_&_dose
81	102	104	B-Dosage	I-Drug_&_dose
mg	104	106	I-Dosage	O
,	106	107	O	O
“	108	109	O	O
daily	109	114	O	O
”	114	115	O	O
👍	116	117	O	O
.	117	118	O	O

"""


def test_conll() -> None:
    assert render("conll", *example()) == {".conll": EXAMPLE.encode("utf-8")}


def test_a_document_of_nothing() -> None:
    empty = Note("an id\twith\nbreaks", " \n ")
    extraction = Extraction(empty.id, None, "light", "light-1", [])
    assert render("conll", empty, extraction) == {".conll": b"-DOCSTART-\tan id with breaks\t-X-\tO\n\n"}


def test_a_sentence_does_not_end_inside_an_entity() -> None:
    text = "Seen. Then gone."
    note = Note("n", text)
    extraction = Extraction("n", None, "light", "light-1", [Entity(0, 10, text[:10], "Odd")])
    assert render("conll", note, extraction)[".conll"].decode() == (
        "-DOCSTART-\tn\t-X-\tO\n\nSeen\t0\t4\tB-Odd\n.\t4\t5\tI-Odd\nThen\t6\t10\tI-Odd\ngone\t11\t15\tO\n.\t15\t16\tO\n\n"
    )


def read_conll(data: str) -> tuple[str, list[tuple[int, int, str]]]:
    """Read it back: the text with a blank for each white space, and the entities of every column."""
    text = ""
    found: list[tuple[int, int, str]] = []
    first, *lines = data.split("\n")
    open_: dict[int, list[Any]] = {}
    assert first.startswith("-DOCSTART-\t")
    for line in lines:
        if not line:
            found += [tuple(entity) for entity in open_.values()]
            open_.clear()
            continue
        word, start, end, *tags = line.split("\t")
        text = text.ljust(int(start)) + word
        assert len(text) == int(end)
        for column, tag in enumerate(tags):
            if not tag.startswith("I-") and column in open_:
                found.append(tuple(open_.pop(column)))
            if tag.startswith("B-"):
                open_[column] = [int(start), int(end), tag[2:]]
            elif tag.startswith("I-"):
                assert open_[column][2] == tag[2:], "a sentence ends inside an entity"
                open_[column][1] = int(end)
    assert not open_
    return text, sorted(found)


@FEW
@given(documents())
def test_conll_can_be_read_back(pair: tuple[Note, Extraction]) -> None:
    note, extraction = pair
    text, found = read_conll(render("conll", note, extraction)[".conll"].decode("utf-8"))
    blank = "".join(" " if character.isspace() else character for character in note.text).rstrip()
    assert text == blank
    assert found == sorted((start, end, label.replace(" ", "_")) for start, end, label in places(extraction))


@FEW
@given(documents())
def test_the_last_column_alone_is_plain_bio(pair: tuple[Note, Extraction]) -> None:
    """Readers of CoNLL-2003 split on any white space, take the first and last column, and lose no line."""
    before = "O"
    for line in render("conll", *pair)[".conll"].decode("utf-8").split("\n"):
        if not line.strip() or line.startswith("-DOCSTART-\t"):
            before = "O"
            continue
        columns = line.split()
        assert columns == line.split("\t")
        if columns[-1].startswith("I-"):
            assert before[2:] == columns[-1][2:]
        before = columns[-1]


@FEW
@given(st.data(), documents())
def test_pieces_cover_the_text_and_meet_every_boundary(
    data: st.DataObject, pair: tuple[Note, Extraction]
) -> None:
    text = pair[0].text
    boundaries = data.draw(st.lists(st.integers(0, len(text)), max_size=5))
    pieces = cut(text, boundaries)
    assert "".join(text[start:end] for start, end in pieces) == text
    assert {edge for edge in boundaries if 0 < edge < len(text)} <= {start for start, _ in pieces}
    assert all(start < end for start, end in pieces)


def test_a_word_keeps_its_accents_and_vowel_signs() -> None:
    text = "cafe\u0301 हिन्दी 3.5mg"
    assert [text[start:end] for start, end in cut(text, [])] == [
        "cafe\u0301",
        " ",
        "हिन्दी",
        " ",
        "3",
        ".",
        "5mg",
    ]


@pytest.fixture(scope="module")
def vocab() -> Any:
    return pytest.importorskip("spacy.vocab", reason="DocBin is spaCy's").Vocab()


def read_docbin(data: bytes, vocab: Any) -> list[Any]:
    from spacy.tokens import DocBin

    return list(DocBin().from_bytes(data).get_docs(vocab))


def as_json(value: object) -> object:
    """Return the value with lists where spaCy gives tuples back."""
    return json.loads(json.dumps(value))


def test_docbin(vocab: Any) -> None:
    note, extraction = example()
    (doc,) = read_docbin(render("docbin", note, extraction)[".spacy"], vocab)
    assert doc.text == TEXT
    assert [(span.start_char, span.end_char, span.label_, span.id_) for span in doc.spans["clinical"]] == [
        (9, 20, "Age", "0"),
        (26, 30, "Disease", "1"),
        (44, 54, "Symptom", "2"),
        (71, 77, "Anatomy", "3"),
        (71, 84, "Disease", "4"),
        (94, 104, "Drug & dose", "5"),
        (102, 106, "Dosage", "6"),
    ]
    assert [(span.text, span.label_) for span in doc.ents] == [
        ("67-year-old", "Age"),
        ("COPD", "Disease"),
        ("chest pain", "Symptom"),
        ("breast\ncancer", "Disease"),
        ("Aspirin 81", "Drug & dose"),
    ]
    assert as_json(doc.user_data["clinical"]) == extraction.as_dict()


@FEW
@given(documents(trimmed=False), documents())
def test_docbin_can_be_read_back(
    vocab: Any, one: tuple[Note, Extraction], other: tuple[Note, Extraction]
) -> None:
    stream = io.BytesIO()
    writer = open_writer("docbin", stream)
    writer.write(*one)
    writer.write(*other)
    writer.close()
    docs = read_docbin(stream.getvalue(), vocab)
    for doc, (note, extraction) in zip(docs, (one, other), strict=True):
        assert doc.text == note.text
        found = [(span.start_char, span.end_char, span.label_) for span in doc.spans["clinical"]]
        assert found == [(entity.start, entity.end, entity.label) for entity in extraction.entities]
        assert as_json(doc.user_data["clinical"]) == extraction.as_dict()
        assert {(span.start_char, span.end_char, span.label_) for span in doc.ents} <= set(places(extraction))
