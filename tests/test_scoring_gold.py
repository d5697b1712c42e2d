"""Gold standards: every kind is read exactly, sentences are joined exactly, and what is wrong is named."""

import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinical.corpora.records import GoldDocument, Mention
from clinical.errors import UsageError
from clinical.scoring.gold import join, read_gold

# Machines are shared: the time of one example says nothing.
ANY_SPEED = settings(deadline=None)

NOTE = {
    "id": "a",
    "text": "Fever since May.",
    "entities": [{"start": 0, "end": 5, "label": "SYMPTOM", "text": "Fever"}],
}


def lines(path, *records):
    text = "".join(json.dumps(record) + "\n" for record in records)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return str(path)


@pytest.fixture
def bc5cdr(tmp_path, monkeypatch):
    monkeypatch.setenv("CLINICAL_CORPORA", str(tmp_path))
    folder = tmp_path / "ner" / "bc5cdr"
    folder.mkdir(parents=True)

    def sentence(number, start, end, label, text="Parkinson ' s disease ."):
        mention = {"start": start, "end": end, "label": label, "text": text[start:end]}
        return {"id": str(number), "text": text, "entities": [mention]}

    every = [sentence(1, 0, 21, "Disease"), sentence(2, 14, 21, "Chemical"), sentence(3, 0, 9, "Disease")]
    lines(folder / "test.jsonl.gz", *every)
    lines(folder / "train.jsonl.gz", sentence(9, 0, 21, "Disease", "PARKINSON ' S DISEASE"))
    return tmp_path


@pytest.mark.parametrize("name", ["notes.jsonl", "notes.jsonl.gz"])
def test_records(tmp_path, name):
    gold = read_gold(lines(tmp_path / name, NOTE, {"id": 7, "text": "No pain.", "entities": []}))
    assert gold.documents == (
        GoldDocument("a", "Fever since May.", (Mention(0, 5, "Fever", "SYMPTOM", "Symptom"),)),
        GoldDocument("7", "No pain.", ()),
    )
    assert (gold.labels, gold.words, gold.block, gold.sentences_per_text) == (("Symptom",), 5, 1, None)


def test_a_limit_keeps_the_first_and_all_labels(tmp_path):
    gold = read_gold(lines(tmp_path / "n.jsonl", {"id": "b", "text": "x", "entities": []}, NOTE), limit=1)
    assert ([document.id for document in gold.documents], gold.labels) == (["b"], ("Symptom",))


def test_brat(tmp_path):
    text = "Mild fever.\r\nLeft and right lung; naïve."
    (tmp_path / "one.txt").write_bytes(text.encode())
    (tmp_path / "one.ann").write_bytes(
        "T1\tSymptom 5 10\tfever\n"
        "T2\tAnatomy 13 17;28 32\tLeft lung\n"
        "T3\tDescriptor 34 39\tnaïve\n"
        "A1\tNegation T1\n"
        "#1\tAnnotatorNotes T1\tsure\n".encode()
    )
    assert read_gold(str(tmp_path)).documents == (
        GoldDocument(
            "one.txt",
            text,
            (
                Mention(5, 10, "fever", "Symptom", "Symptom"),
                Mention(13, 32, "Left and right lung", "Anatomy", "Anatomy", discontinuous=True),
                Mention(34, 39, "naïve", "Descriptor", "Descriptor"),
            ),
        ),
    )


def test_a_brat_span_over_a_line_break_is_whole(tmp_path):
    (tmp_path / "one.txt").write_text("heart\nfailure", encoding="utf-8")
    (tmp_path / "one.ann").write_text("T1\tDisease 0 5;6 13\theart failure\n", encoding="utf-8")
    (document,) = read_gold(str(tmp_path)).documents
    assert document.mentions == (Mention(0, 13, "heart\nfailure", "Disease", "Disease"),)


def test_sentences_of_a_corpus_are_joined_with_their_mentions(bc5cdr):
    gold = read_gold("bc5cdr:test", context_sentences=2)
    text = "Parkinson ' s disease ."
    assert gold.documents == (
        GoldDocument(
            "1",
            f"{text}\n{text}",
            (
                Mention(0, 21, "Parkinson ' s disease", "Disease", "Disease"),
                Mention(38, 45, "disease", "Chemical", "Medication"),
            ),
        ),
        GoldDocument("3", text, (Mention(0, 9, "Parkinson", "Disease", "Disease"),)),
    )
    assert (gold.labels, gold.block, gold.sentences_per_text) == (("Disease", "Medication"), 5, 2)
    assert gold.training == {("parkinson ' s disease", "Disease")}
    assert read_gold("bc5cdr:test").block == 1
    assert read_gold("bc5cdr:test", context_sentences=1).block == 10


def test_tokens_as_a_note_would_write_them(bc5cdr):
    gold = read_gold("bc5cdr:test", detokenize=True, limit=1)
    assert gold.documents == (
        GoldDocument(
            "1", "Parkinson's disease.", (Mention(0, 19, "Parkinson's disease", "Disease", "Disease"),)
        ),
    )
    assert gold.training == {("parkinson's disease", "Disease")}


@ANY_SPEED
@given(st.lists(st.tuples(st.text(max_size=8), st.data()), min_size=1, max_size=5))
def test_joined_mentions_hold_their_text(parts):
    sentences = []
    for number, (text, data) in enumerate(parts):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, len(text)))
        sentences.append(
            GoldDocument(str(number), text, (Mention(start, end, text[start:end], "x", "Test"),))
        )
    joined = join(sentences)
    assert [m.text for m in joined.mentions] == [m.text for s in sentences for m in s.mentions]
    assert all(joined.text[m.start : m.end] == m.text for m in joined.mentions)


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ("{", "line 1: not JSON"),
        ('["a"]', "line 1: not an object with named values"),
        ('{"note": "a", "entities": []}', 'line 1: no "text"'),
        ('{"text": "a"}', 'line 1: no "entities"'),
        ('{"text": "a", "entities": [{"start": 0}]}', 'an entity wants "start", "end" and "label"'),
        (
            '{"text": "a", "entities": [{"start": 0, "end": 2, "label": "Test"}]}',
            "0-2 lies outside the text of 1 ",
        ),
        (
            '{"text": "ab", "entities": [{"start": 0, "end": 1, "label": "T", "text": "b"}]}',
            "0-1 does not hold",
        ),
    ],
)
def test_a_broken_record_is_named(tmp_path, record, said):
    path = tmp_path / "gold.jsonl"
    path.write_text(record + "\n", encoding="utf-8")
    with pytest.raises(UsageError, match=said):
        read_gold(str(path))


def test_other_mistakes_are_named(tmp_path, bc5cdr):
    (tmp_path / "latin.jsonl").write_bytes(b'{"text": "\xe9"}')
    (tmp_path / "plain.jsonl.gz").write_bytes(b"{}")
    (tmp_path / "empty").mkdir()
    (tmp_path / "lone").mkdir()
    (tmp_path / "lone" / "a.ann").write_text("", encoding="utf-8")
    (tmp_path / "wrong").mkdir()
    (tmp_path / "wrong" / "a.txt").write_text("fever", encoding="utf-8")
    (tmp_path / "wrong" / "a.ann").write_text("R1\tx\nT1\tSymptom 0 3\tfev!\n", encoding="utf-8")
    for source, said in {
        str(tmp_path / "nowhere.jsonl"): "no such file or folder, nor a split of a corpus",
        str(tmp_path / "latin.jsonl"): "not JSON lines in UTF-8",
        str(tmp_path / "plain.jsonl.gz"): "not JSON lines in UTF-8",
        str(tmp_path / "empty"): "no annotated document",
        str(tmp_path / "lone"): "a.txt is missing beside it",
        str(tmp_path / "wrong"): "a.ann line 2: the characters of Symptom 0 3 are not its text",
        "bc5cdr:eval": "no split 'eval'",
        "bc5cdx:test": "did you mean bc5cdr",
    }.items():
        with pytest.raises(UsageError, match=said):
            read_gold(source)


def test_a_file_that_calls_things_otherwise(tmp_path):
    record = {"note": "Fever since May.", "label": [[0, 5, "Symptom"]], "id": 3}
    gold = read_gold(lines(tmp_path / "n.jsonl", record), columns={"text": "note", "entities": "label"})
    assert gold.documents == (
        GoldDocument("3", "Fever since May.", (Mention(0, 5, "Fever", "Symptom", "Symptom"),)),
    )


def test_all_faulty_records_are_named(tmp_path):
    path = lines(tmp_path / "n.jsonl", NOTE, {"text": "x"}, {"text": "Pain", "entities": [[0, 9, "Symptom"]]})
    with pytest.raises(UsageError) as raised:
        read_gold(path)
    assert str(raised.value).splitlines() == [
        f'{path} line 2: no "entities" (annotated records hold the text beside its entities); it has: text',
        f"{path} line 3: Symptom 0-9 lies outside the text of 4 characters",
    ]
    (tmp_path / "n.csv").write_text("text,label\nFever,Symptom\n")
    with pytest.raises(UsageError, match="annotated texts are JSON lines"):
        read_gold(str(tmp_path / "n.csv"))
