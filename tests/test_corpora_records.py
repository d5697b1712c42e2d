"""The catalogue is whole, and the reader returns what is stored, with our labels."""

import gzip
import json
from pathlib import Path

import pytest

from clinical.corpora.catalog import CORPORA, find
from clinical.corpora.folder import corpora_folder
from clinical.corpora.records import GoldDocument, Mention, read, read_records
from clinical.documents.annotations import Entity
from clinical.errors import UsageError
from clinical.prompts.labels import clinical_labels

MAY_TRAIN = {
    *("bc5cdr", "ncbi_disease", "anatem", "bc2gm", "craft", "linnaeus", "maccrobat"),
    *("medquad", "pubmedqa", "mts_dialog", "aci_bench", "meqsum"),
}
NER = [corpus for corpus in CORPORA if corpus.task == "ner"]


def folder_of_this_machine() -> Path | None:
    try:
        return corpora_folder()
    except UsageError:
        return None


# Looked up here, because every test gets a corpora folder of its own.
REAL_CORPORA = folder_of_this_machine()


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("CLINICAL_CORPORA", str(tmp_path))

    def write(name: str, split: str, *lines: dict[str, object]) -> None:
        folder = tmp_path / find(name).folder
        folder.mkdir(parents=True, exist_ok=True)
        with gzip.open(folder / f"{split}.jsonl.gz", "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)

    return write


def test_only_corpora_whose_terms_allow_it_train():
    assert {corpus.name for corpus in CORPORA if corpus.may_train} == MAY_TRAIN


def test_names_are_unique_and_rows_complete():
    assert len({corpus.name for corpus in CORPORA}) == len(CORPORA)
    for corpus in CORPORA:
        assert all((corpus.folder, corpus.licence, corpus.citation, corpus.address, corpus.origin))
        assert bool(corpus.labels) == (corpus.task == "ner"), corpus.name


@pytest.mark.parametrize("corpus", NER, ids=lambda corpus: corpus.name)
def test_labels_map_into_the_clinical_label_set(corpus):
    assert corpus.clinical_labels
    assert set(corpus.clinical_labels) <= {label.name for label in clinical_labels()}


def test_labels_are_mapped_and_what_has_none_is_kept_apart(store):
    text = "No cough  in 2009; her mother."
    store(
        "maccrobat",
        "dev",
        {
            "id": "7",
            "text": text,
            "entities": [
                {
                    "start": 3,
                    "end": 9,
                    "label": "Sign_symptom",
                    "text": "cough ",
                    "attributes": {"POLARITY": "NEG"},
                },
                {"start": 13, "end": 17, "label": "Date", "text": "2009"},
                {"start": 23, "end": 29, "label": "Subject", "text": "mother"},
            ],
        },
    )
    (document,) = read("maccrobat", "dev")
    assert document == GoldDocument(
        "7",
        text,
        (
            # The blank at its end is cut off.
            Mention(3, 8, "cough", "Sign_symptom", "Symptom", {"POLARITY": "NEG"}),
            Mention(13, 17, "2009", "Date", "Date"),
            Mention(23, 29, "mother", "Subject", None),
        ),
    )
    assert document.entities == (Entity(3, 8, "cough", "Symptom"), Entity(13, 17, "2009", "Date"))


def test_a_label_split_by_an_attribute_and_hulls(store):
    store(
        "e3c",
        "dev",
        {
            "id": "a",
            "text": "for 2 days since May",
            "entities": [
                {
                    "start": 4,
                    "end": 10,
                    "label": "TIMEX3",
                    "text": "2 days",
                    "attributes": {"timex3Class": "DURATION"},
                },
                {
                    "start": 17,
                    "end": 20,
                    "label": "TIMEX3",
                    "text": "May",
                    "attributes": {"timex3Class": "DATE"},
                },
                {
                    "start": 0,
                    "end": 20,
                    "label": "EVENT",
                    "text": "for 2 days since May",
                    "discontinuous": True,
                },
            ],
        },
    )
    (document,) = read("e3c", "dev")
    assert [(m.raw_label, m.label, m.discontinuous) for m in document.mentions] == [
        ("TIMEX3:DURATION", "Duration", False),
        ("TIMEX3:DATE", "Date", False),
        ("EVENT", None, True),
    ]


def test_two_mentions_that_become_the_same_entity_are_one(store):
    entity = {"start": 0, "end": 4, "text": "2 cm"}
    line = {
        "id": "1",
        "text": "2 cm",
        "entities": [entity | {"label": "Area"}, entity | {"label": "Distance"}],
    }
    store("maccrobat", "train", line)
    (document,) = read("maccrobat", "train")
    assert document.entities == (Entity(0, 4, "2 cm", "Size"),)


def test_a_span_that_does_not_hold_its_text_is_refused(store):
    store(
        "bc5cdr",
        "dev",
        {"id": "x", "text": "ab", "entities": [{"start": 0, "end": 1, "label": "Disease", "text": "b"}]},
    )
    with pytest.raises(ValueError, match="bc5cdr x: characters 0-1"):
        list(read("bc5cdr", "dev"))


def test_a_label_that_the_catalogue_lacks_is_refused(store):
    store(
        "bc5cdr",
        "dev",
        {"id": "x", "text": "a", "entities": [{"start": 0, "end": 1, "label": "New", "text": "a"}]},
    )
    with pytest.raises(ValueError, match="label New"):
        list(read("bc5cdr", "dev"))


@pytest.mark.parametrize(
    ("name", "split", "said"),
    [
        ("bc5cdx", "dev", "no corpus 'bc5cdx'; did you mean bc5cdr"),
        ("ncbi_disease", "test", "ncbi_disease has no split 'test'; available: train, dev"),
        ("ncbi_disease", "dev", "the corpora folder does not hold ncbi_disease"),
        ("medquad", "dev", "medquad is a corpus for qa, not for ner"),
    ],
)
def test_a_wrong_call_says_what_there_is(store, name, split, said):
    with pytest.raises(UsageError, match=said):
        list(read(name, split))


def test_records_of_other_tasks_come_as_they_are_stored(store):
    store("medquad", "dev", {"id": "q", "question": "?", "answer": "!"})
    assert list(read_records("medquad", "dev")) == [{"id": "q", "question": "?", "answer": "!"}]


def test_the_folder_is_the_variable_else_beside_the_checkout_else_an_error(tmp_path, monkeypatch):
    inside = tmp_path / "checkout" / "deep"
    beside = tmp_path / "shared" / "corpora"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    monkeypatch.delenv("CLINICAL_CORPORA", raising=False)
    (tmp_path / "checkout" / ".git").write_text("gitdir: elsewhere\n")
    with pytest.raises(UsageError, match="set CLINICAL_CORPORA"):
        corpora_folder()
    beside.mkdir(parents=True)
    assert corpora_folder() == beside
    monkeypatch.setenv("CLINICAL_CORPORA", str(inside))
    assert corpora_folder() == inside
    monkeypatch.setenv("CLINICAL_CORPORA", str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match="is not a folder"):
        corpora_folder()


THE_USERS_TO_BRING = ("mashqa", "baize", "gath_baize")
"""Terms unclear, or for research only: nobody else keeps them for the user."""


@pytest.fixture
def real_corpora(monkeypatch) -> Path:
    if REAL_CORPORA is None:
        pytest.skip("no corpora on this machine (CLINICAL_CORPORA)")
    monkeypatch.setenv("CLINICAL_CORPORA", str(REAL_CORPORA))
    return REAL_CORPORA


@pytest.mark.parametrize(
    "corpus",
    [corpus for corpus in CORPORA if corpus.name not in THE_USERS_TO_BRING],
    ids=lambda corpus: corpus.name,
)
def test_every_file_of_the_catalogue_is_there(real_corpora, corpus):
    folder = real_corpora / corpus.folder
    assert {file.name for file in folder.iterdir()} - {"TERMS.md"} == set(corpus.files)


@pytest.mark.parametrize("corpus", NER, ids=lambda corpus: corpus.name)
def test_every_stored_document_reads(real_corpora, corpus):
    splits = ("train", "dev")
    mentions = [m for split in splits for document in read(corpus.name, split) for m in document.mentions]
    assert {m.label for m in mentions} - {None} == set(corpus.clinical_labels)
    assert all(m.text == m.text.strip() != "" for m in mentions)
