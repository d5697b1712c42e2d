"""Training rows: one shape from every kind of source, each fault with its line, nothing dropped in silence."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinical.corpora.chat_tags import read_tagged
from clinical.corpora.row_files import UNANSWERED, parse_columns, read_file
from clinical.corpora.rows import Row, Turn, conversation, question_and_answer
from clinical.corpora.training import read_rows
from clinical.errors import UsageError

ASTHMA = (Turn("user", "What is asthma?"), Turn("assistant", "A disease of the airways."))
MORE = (Turn("user", "Is it rare?"), Turn("assistant", "No."))


def written(path: Path, *lines: object) -> Path:
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    return path


# --- the shape ---------------------------------------------------------------------------------------


def test_a_row_as_json() -> None:
    assert Row("a", ASTHMA).to_record() == {
        "id": "a",
        "messages": [
            {"role": "user", "content": "What is asthma?"},
            {"role": "assistant", "content": "A disease of the airways."},
        ],
    }
    assert Row("b", text="Plain.").to_record() == {"id": "b", "text": "Plain."}


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        ([], "without turns"),
        ([Turn("system", "Be brief.")], "without turns"),
        ([Turn("user", "Hi")], "last turn is not of the assistant"),
        ([Turn("assistant", "Hi")], "turn 1 is of assistant, where user is expected"),
        (
            [Turn("user", "a"), Turn("user", "b"), Turn("assistant", "c")],
            "turn 2 is of user, where assistant",
        ),
        ([Turn("user", "a"), Turn("assistant", " \n")], r"turn 2 \(assistant\) is empty"),
        ([*ASTHMA, Turn("system", "late"), Turn("assistant", "c")], "turn 3 is of system"),
    ],
)
def test_what_is_no_conversation(turns: list[Turn], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        conversation(turns)


def test_a_context_stands_before_the_question() -> None:
    assert question_and_answer(" Why? ", "So.", "Note.", "Be brief.") == (
        Turn("system", "Be brief."),
        Turn("user", "Note.\n\nWhy?"),
        Turn("assistant", "So."),
    )


# --- tags --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "The conversation between human and AI assistant.\n[|Human|] What is asthma?\n[|AI|] A disease of the airways."
        "\n[|Human|] Is it rare?\n[|AI|] No.\n[|Human|] ",
        "The conversation between Human and AI named X\n[INST] What is asthma? [/INST] A disease of the airways. "
        "[INST] Is it rare? [/INST] No.",
        "<s>[INST] What is asthma? [/INST] A disease of the airways. </s><s>[INST] Is it rare? [/INST] No. </s>",
    ],
)
def test_both_styles_of_tags_give_the_same_turns(text: str) -> None:
    assert read_tagged(text) == ((*ASTHMA, *MORE), "")


def test_the_system_words_of_llama_are_a_turn() -> None:
    turns, _ = read_tagged(
        "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nWhat is asthma? [/INST] A disease. </s>"
    )
    assert turns == (
        Turn("system", "Be brief."),
        Turn("user", "What is asthma?"),
        Turn("assistant", "A disease."),
    )


def test_an_open_question_at_the_end_is_told() -> None:
    assert read_tagged("[|Human|] a [|AI|] b [|Human|] c") == (
        (Turn("user", "a"), Turn("assistant", "b")),
        "c",
    )


@pytest.mark.parametrize(
    "text",
    [
        "[INST] a [INST] b [/INST] c",
        "[/INST] a",
        "[|AI|] a",
        "[|Human|] a [|AI|] [|Human|] b",
        "[INST] a [|AI|] b",
    ],
)
def test_tags_that_are_no_conversation(text: str) -> None:
    with pytest.raises(ValueError, match=r"tag|empty|expected"):
        read_tagged(text)


words = st.text("abc é\n", min_size=1).map(str.strip).filter(bool)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(words, words), min_size=1, max_size=4))
def test_what_is_written_with_tags_is_read_back(pairs: list[tuple[str, str]]) -> None:
    turns = tuple(
        Turn(role, said) for pair in pairs for role, said in zip(("user", "assistant"), pair, strict=True)
    )
    piped = (
        "Intro\n"
        + "".join(f"[|Human|] {question}\n[|AI|] {answer}\n" for question, answer in pairs)
        + "[|Human|] "
    )
    instructed = "".join(f"[INST] {question} [/INST] {answer} " for question, answer in pairs)
    assert read_tagged(piped) == (turns, "")
    assert read_tagged(instructed) == (turns, "")


# --- files -------------------------------------------------------------------------------------------


def test_every_way_to_write_an_entry_is_one_shape(tmp_path: Path) -> None:
    path = written(
        tmp_path / "rows.jsonl",
        {"id": 7, "messages": [{"role": t.role, "content": t.content} for t in ASTHMA]},
        {"messages": [{"role": t.role, "content": [{"type": "text", "text": t.content}]} for t in ASTHMA]},
        {
            "conversations": [
                {"from": "human", "value": "What is asthma?"},
                {"from": "gpt", "value": ASTHMA[1].content},
            ]
        },
        {
            "topic": "asthma",
            "input": "Intro\n[|Human|] What is asthma?\n[|AI|] A disease of the airways.\n[|Human|] ",
        },
        {
            "chat_sample": "Intro [INST] What is asthma? [/INST] A disease of the airways.",
            "dataset_origin": "x",
        },
        {"question": "What is asthma?", "answer": "A disease of the airways."},
        {"Prompt": "What is asthma?", "Completion": "A disease of the airways."},
        {"instruction": "What is asthma?", "input": "", "output": "A disease of the airways."},
        {"source": "What is asthma?", "target": "A disease of the airways."},
        {"text": "<s>[INST] What is asthma? [/INST] A disease of the airways. </s>"},
    )
    read = read_file(path)
    assert read.faults == []
    assert [row.messages for row in read.rows] == [ASTHMA] * 10
    assert [row.id for row in read.rows] == ["7", *(f"rows.jsonl:{line}" for line in range(2, 11))]
    assert read.rows[3].place == "rows.jsonl line 4"


def test_plain_text_stays_text(tmp_path: Path) -> None:
    (row,) = read_file(written(tmp_path / "rows.jsonl", {"id": "a", "text": " Plain.\n"})).rows
    assert (row.messages, row.text) == ((), " Plain.\n")


def test_every_fault_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(
        "\n".join(
            [
                '{"question": "a", "answer": "b"}',
                "{",
                "",
                "[1]",
                '{"question": "a", "answer": " "}',
                '{"question": "", "answer": "b"}',
                '{"question": 3, "answer": "b"}',
                '{"frage": "a"}',
                '{"messages": "a"}',
                '{"messages": [{"role": "tool", "content": "a"}]}',
                '{"messages": [{"role": "user", "content": null}]}',
                '{"text": "  "}',
                '{"question": "c", "answer": "d"}',
            ]
        ),
        encoding="utf-8",
    )
    read = read_file(path)
    assert [row.id for row in read.rows] == ["rows.jsonl:1", "rows.jsonl:13"]
    assert [(fault.line, fault.reason) for fault in read.faults] == [
        (2, "not valid JSON (Expecting property name enclosed in double quotes, column 2)"),
        (4, "not an object with named values"),
        (5, "the answer is empty"),
        (6, "the question is empty"),
        (7, "its question is no text"),
        (8, "neither messages, nor question and answer, nor text among its names (frage); "
            "say how it calls them: question=…,answer=…"),
        (9, "its messages are no list"),
        (10, "turn 1 has the role 'tool'; there are system, user, assistant"),
        (11, "turn 1 has no text"),
        (12, "the text is empty"),
    ]  # fmt: skip
    assert str(read.faults[0]).startswith(f"{path} line 2: not valid JSON")


def test_a_json_list_counts_its_entries(tmp_path: Path) -> None:
    path = tmp_path / "baize.json"
    entries = [
        {"topic": "a", "input": "[|Human|] a\n[|AI|] b\n[|Human|] c"},
        {"topic": "a", "input": "[|Human|] a"},
    ]
    path.write_text(json.dumps(entries), encoding="utf-8")
    read = read_file(path)
    assert [row.messages for row in read.rows] == [(Turn("user", "a"), Turn("assistant", "b"))]
    assert dict(read.passed_over) == {UNANSWERED: 1}
    assert [str(fault) for fault in read.faults] == [f"{path} entry 2: a conversation without turns"]


def test_a_table_with_a_column_map(tmp_path: Path) -> None:
    path = tmp_path / "fragen.csv"
    path.write_text(
        '\ufeffNr;Frage;Antwort\n1;"Was ist\nAsthma?";Eine Krankheit.\n\n2;Nur zwei\n3;;Leer\n4;Was?;Das.\n',
        encoding="utf-8",
    )
    read = read_file(path, parse_columns("id=Nr,question=Frage,answer=Antwort"))
    assert [(row.id, row.messages[0].content, row.place) for row in read.rows] == [
        ("1", "Was ist\nAsthma?", "fragen.csv line 2"),
        ("4", "Was?", "fragen.csv line 7"),
    ]
    assert [(fault.line, fault.reason) for fault in read.faults] == [
        (5, "2 cells under 3 columns"),
        (6, "the question is empty"),
    ]
    assert {fault.reason for fault in read_file(path, {"question": "Frage", "answer": "Reply"}).faults} == {
        "no Reply; it has: Nr, Frage, Antwort",
        "2 cells under 3 columns",
    }


def test_quotes_that_do_not_close_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('question,answer\na,b\nc,"d\ne,f\n', encoding="utf-8")
    read = read_file(path)
    assert len(read.rows) == 1
    assert [(fault.line, fault.reason) for fault in read.faults] == [
        (3, "not a valid table from here on (unexpected end of data)")
    ]


def test_other_bytes_than_utf8_are_told_with_their_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("question,answer\na,b\nc,dé\n".encode("latin-1"))
    assert [fault.line for fault in read_file(tmp_path / "a.csv").faults] == [3]


def test_where_keeps_some_and_counts_the_rest(tmp_path: Path) -> None:
    rows = [{"question": "a", "answer": "b", "origin": origin} for origin in ("medical", "quora", "medical")]
    read = read_file(written(tmp_path / "a.jsonl", *rows), where={"origin": "medical"})
    assert (len(read.rows), dict(read.passed_over)) == (2, {"entries whose origin is not medical": 1})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("question", "write question=Frage"),
        ("frage=question", "no column 'frage' of ours"),
        ("", "write question"),
    ],
)
def test_a_column_map_that_is_none(text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        parse_columns(text)


def test_packed_files_and_broken_packing(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'{"question": "a", "answer": "b"}\n'))
    assert len(read_file(tmp_path / "a.jsonl.gz").rows) == 1
    (tmp_path / "b.jsonl.gz").write_bytes(b"nothing packed")
    with pytest.raises(UsageError, match="cannot be read"):
        read_file(tmp_path / "b.jsonl.gz")


cell = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).map(str.strip).filter(bool)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(cell, cell), min_size=1, max_size=5))
def test_every_row_of_a_two_column_table_comes_out(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("table") / "a.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("question", "answer"), *pairs])
    read = read_file(path)
    assert [tuple(turn.content for turn in row.messages) for row in read.rows] == pairs
    assert read.faults == []


# --- MedQuAD -----------------------------------------------------------------------------------------

PAGES = {
    "1_CancerGov_QA/0000001_1.xml": """<?xml version="1.0" encoding="UTF-8"?>
        <Document id="0000001_1" source="CancerGov" url="http://example.org/1"><Focus>Hay fever</Focus>
        <FocusAnnotations><UMLS><CUIs><CUI>C1</CUI></CUIs></UMLS></FocusAnnotations>
        <QAPairs><QAPair pid="1"><Question qid="0000001_1-1" qtype="information">What is (are) Hay fever ?</Question>
        <Answer>An allergy.

           It comes in spring.</Answer></QAPair>
        <QAPair pid="2"><Question qid="0000001_1-2" qtype="cure">What helps ?</Question><Answer/></QAPair></QAPairs>
        </Document>""",
    "6_NINDS_QA/0000007.xml": """<?xml version="1.0" encoding="UTF-8"?>
        <doc docid="0000007" corpus="NINDS" url="http://example.org/7"><doctitle-focus>Migraine</doctitle-focus>
        <qaPairs><pair pid="1"><question qid="0000007-1" qtype="information">What is Migraine ?</question>
        <answer>A headache.</answer></pair></qaPairs></doc>""",
    "9_CDC_QA/0000397.xml": """<?xml version="1.0" encoding="UTF-8"?>
        <DiseaseFile fid="0000397" source="CDC" url="http://example.org/9"><Focus>Mumps</Focus>
        <UMLS><CUI>C2</CUI></UMLS>
        <QAPairs><QAPair pid="1"><Question qid="0000397-1" qtype="information">What is (are) Mumps ?</Question>
        <Answer>An infection.</Answer></QAPair></QAPairs></DiseaseFile>""",
}  # fmt: skip


def medquad(folder: Path, pages: dict[str, str]) -> Path:
    for name, content in pages.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    return folder


def test_medquad_in_its_three_schemas(tmp_path: Path) -> None:
    read = read_rows(str(medquad(tmp_path, PAGES)))
    assert read.faults == []
    assert dict(read.passed_over) == {"pairs without an answer (emptied for copyright)": 1}
    assert [(row.id, row.messages[0].content, row.messages[1].content) for row in read.rows] == [
        ("CancerGov/0000001_1#1", "What is (are) Hay fever ?", "An allergy.\nIt comes in spring."),
        ("NINDS/0000007#1", "What is Migraine ?", "A headache."),
        ("CDC/0000397#1", "What is (are) Mumps ?", "An infection."),
    ]
    assert [row.fields["focus"] for row in read.rows] == ["Hay fever", "Migraine", "Mumps"]
    assert read.rows[0].fields["url"] == "http://example.org/1"


def test_medquad_pages_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    entity = '<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]><Document><QAPairs><QAPair><Question>q</Question>'
    pages = {
        "1_A_QA/a.xml": "<Document>",
        "1_A_QA/b.xml": "<html/>",
        "1_A_QA/c.xml": "<Document><QAPairs><QAPair><Answer>a</Answer></QAPair></QAPairs></Document>",
        "1_A_QA/d.xml": f"{entity}<Answer>a &x;</Answer></QAPair></QAPairs></Document>",
    }
    read = read_rows(str(medquad(tmp_path, pages)))
    assert [fault.source for fault in read.faults] == ["1_A_QA/a.xml", "1_A_QA/b.xml", "1_A_QA/c.xml"]
    assert [fault.reason for fault in read.faults[1:]] == [
        "its root is <html>; MedQuAD has <Document>, <DiseaseFile> and <doc>",
        "pair 1: the question is empty",
    ]
    assert "root:" not in read.rows[0].answer


# --- corpora and sources -----------------------------------------------------------------------------


@pytest.fixture
def corpora(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A corpora folder with a few records of ours in the stored shape."""
    records: dict[str, list[dict[str, object]]] = {
        "qa/medquad/train": [
            {"id": "a", "question": "What is mumps?", "answer": "An infection."},
            {"id": "b", "question": "What is gout?", "answer": ""},
        ],
        "qa/pubmedqa/dev": [
            {"id": "p", "question": "Does it?", "contexts": ["One.", "Two."], "long_answer": "It does.",
             "final_decision": "yes"}
        ],
        "summarize/mts_dialog/dev": [{"id": "m", "source": "Doctor: Hi.", "target": "Seen.", "section": "HPI"}],
        "ner/maccrobat/train": [
            {
                "id": "n",
                "text": "Chest pain and fever",
                "entities": [
                    {"start": 0, "end": 10, "label": "Sign_symptom", "text": "Chest pain"},
                    {"start": 0, "end": 5, "label": "Biological_structure", "text": "Chest"},
                    {"start": 15, "end": 20, "label": "Sign_symptom", "text": "fever"},
                ],
            }
        ],
        "documents/e3c_layer3/documents": [{"id": "d", "text": "A case.", "title": ""}],
        "qa/liveqa/questions": [
            {"id": "1", "subject": "s", "message": "m?", "reference_answers": [{"id": "x", "answer": "y"}]}
        ],
    }  # fmt: skip
    for name, rows in records.items():
        path = tmp_path / f"{name}.jsonl.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress("".join(f"{json.dumps(row)}\n" for row in rows).encode()))
    monkeypatch.setenv("CLINICAL_CORPORA", str(tmp_path))
    return tmp_path


def test_corpora_as_rows(corpora: Path) -> None:
    names = (
        "medquad:train",
        "pubmedqa:dev",
        "mts_dialog:dev",
        "maccrobat:train",
        "e3c_layer3:documents",
        "liveqa:questions",
    )
    read = read_rows(",".join(names))
    assert [(row.id, row.prompt, row.answer) for row in read.rows] == [
        ("a", "What is mumps?", "An infection."),
        ("p", "One.\nTwo.\n\nDoes it?", "It does."),
        ("m", "Doctor: Hi.", "Seen."),
        ("n", "Chest pain and fever", "<Symptom>Chest pain</Symptom> and<Symptom> fever</Symptom>"),
        ("d", "", "A case."),
        ("1/x", "m?", "y"),
    ]
    assert [str(fault) for fault in read.faults] == ["train.jsonl.gz line 2: the answer is empty"]
    assert dict(read.passed_over) == {"mentions left untagged (nested, or of several pieces)": 1}
    assert read.rows[2].fields == {"text": "Doctor: Hi.", "summary": "Seen.", "section": "HPI"}


def test_mashqa_as_rows(tmp_path: Path) -> None:
    context = "It itches. Rest well. Drink water."
    starts = [[0, 10], [11, 10], [22, 12]]
    sentences = ["It itches.", "Rest well.", "Drink water."]
    answer = {
        "text": "x",
        "answer_start": None,
        "answer_starts": [starts[2], starts[0]],
        "answer_span": [0, 2],
    }
    asked = [
        {"id": "q1", "question": "What now?", "is_impossible": False, "answers": [answer]},
        {"id": "q2", "question": "Why?", "is_impossible": True, "answers": []},
    ]
    paragraph = {"context": context, "sent_list": sentences, "sent_starts": starts, "qas": asked}
    path = tmp_path / "train_webmd_squad_v2_full.json"
    path.write_text(json.dumps({"data": [{"title": "https://example.org/a-b", "paragraphs": [paragraph]}]}))
    read = read_rows(str(path))
    assert [(row.id, row.answer, row.fields["context"]) for row in read.rows] == [
        ("q1", "It itches. Drink water.", context)
    ]
    assert dict(read.passed_over) == {"questions that the article does not answer": 1}


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("medquad", "say which split: medquad:train, medquad:dev"),
        ("medquat:train", "did you mean medquad"),
        ("nfcorpus:train", "has no training rows: it measures retrieval"),
        ("no/such.jsonl", "no such file or folder"),
        ("medquad:test", "has no split 'test'"),
    ],
)
def test_sources_that_there_are_not(source: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        read_rows(source)


def test_a_folder_of_files(tmp_path: Path) -> None:
    written(tmp_path / "b.jsonl", {"question": "b", "answer": "b"})
    (tmp_path / "a.csv").write_text("question,answer\na,a\n")
    (tmp_path / "notes.md").write_text("not rows")
    assert [row.answer for row in read_rows(str(tmp_path)).rows] == ["a", "b"]
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UsageError, match="holds no rows"):
        read_rows(str(empty))
    with pytest.raises(UsageError, match="not a kind of file that is read"):
        read_rows(str(tmp_path / "notes.md"))
