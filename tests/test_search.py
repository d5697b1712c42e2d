"""Search finds what is said, at the right place, and stays right while notes come, change and go."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
import pytest
from bs4 import BeautifulSoup
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from clinical.cli import cli
from clinical.commands.search import Assertions
from clinical.commands.search import search as search_command
from clinical.documents.annotations import Entity
from clinical.documents.note import Note
from clinical.documents.reading import read
from clinical.errors import ClinicalError, UsageError
from clinical.formats.passages import write_hits
from clinical.index.backend import Busy
from clinical.index.filters import Filter
from clinical.index.hits import Hit
from clinical.index.location import index_file
from clinical.index.ranking import rank
from clinical.index.store import Store, lock
from clinical.index.update import update
from clinical.tasks.search import Found, find, mentions_of

EXAMPLES = Path(__file__).parent.parent / "examples"

ANGINA = "History of present illness: Chest pain on exertion for two weeks.\r\nIt is relieved by rest.\r\n"
DENIAL = "Chief complaint: cough.\nShe denies chest pain. She takes metformin for diabetes.\n"
STROKE = "Medications: Apixaban 5 mg twice daily 🫀.\n\nPlan: Stop apixaban, naïve café bleed.\n"


class WordBag:
    """An embedder that needs no model: each word is a direction. Counts what it is asked for."""

    def __init__(self, id: str = "words") -> None:
        self.id = id
        self.texts = 0

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.texts += len(texts)
        vectors = np.full((len(texts), 384), 1e-3, np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().replace(".", " ").split():
                vectors[row, sum(word.encode()) % 384] += 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def embed_queries(self, queries: Sequence[str]) -> NDArray[np.float32]:
        return self.embed(queries)


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    for name, text in (("angina", ANGINA), ("denial", DENIAL), ("stroke", STROKE)):
        (folder / f"{name}.txt").write_bytes(text.encode())
    return folder


def search(query: str, folder: Path, embedder: WordBag | None = None, **options: object) -> Found:
    return find(query, [str(folder)], embedder or WordBag(), **options)  # type: ignore[arg-type]


def names(found: Found) -> list[str]:
    return [Path(hit.path).stem for hit in found.hits]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


# --- what is found ---


def test_a_hit_in_full(notes: Path) -> None:
    hit = search("apixaban", notes, k=1, mode="lexical", section="medications").hits[0]
    path = f"{notes.as_posix()}/stroke.txt"
    medication = STROKE.index("Apixaban")
    expected = {
        "rank": 1, "id": path, "path": path, "start": 0, "end": len("Medications: Apixaban 5 mg twice daily 🫀."),
        "text": "Medications: Apixaban 5 mg twice daily 🫀.", "line": 1, "section": "medications",
        "heading": "Medications", "title": None, "date": None, "assertion": {"status": "present", "cue": None},
        "mentions": [{
            "start": medication, "end": medication + 8, "text": "Apixaban", "for": None,
            "assertion": {"status": "present", "cue": None},
        }],
        "ranks": {"lexical": 1}, "near": True, "by": "passage",
    }  # fmt: skip
    found = hit.as_dict()
    assert found.pop("score") > 0
    assert found == expected


@pytest.mark.parametrize("mode", ["lexical", "dense", "hybrid"])
def test_every_mode_finds_the_words(notes: Path, mode: str) -> None:
    assert names(search("metformin for diabetes", notes, mode=mode))[0] == "denial"


def test_only_the_affirmed_or_only_the_denied(notes: Path) -> None:
    everything = search("chest pain", notes, mode="lexical")
    assert {Path(hit.path).stem: hit.assertion and hit.assertion.status for hit in everything.hits} == {
        "angina": "present",
        "denial": "negated",
    }
    assert names(search("chest pain", notes, mode="lexical", assertion="present")) == ["angina"]
    assert names(search("chest pain", notes, mode="lexical", assertion="negated")) == ["denial"]


# --- by document ---

LONG = (
    "Plan: She denies stroke. Home soon. Diet.\n\n"
    "Past medical history: Asthma. Stroke in 2010. Gout. Anaemia. Wrist fracture. Stroke again. Gallstones.\n"
)


@pytest.fixture
def chart(notes: Path) -> Path:
    (notes / "long.txt").write_text(LONG, encoding="utf-8")
    (notes / "denied.txt").write_text(
        "Plan: No stroke. Diet.\n\nPast medical history: Gout. Asthma. Walks.\n"
    )
    return notes


def test_each_document_is_one_hit_shown_by_its_best_passage(chart: Path) -> None:
    passages = names(search("stroke", chart, mode="lexical"))
    assert sorted(passages) == ["denied", "long", "long", "long"]
    found = search("stroke", chart, mode="lexical", by="document")
    assert sorted(names(found)) == ["denied", "long"]
    for hit in found.hits:
        assert hit.by == "document"
        assert "stroke" in hit.text.lower()
        assert [mention.text.lower() for mention in hit.mentions] == ["stroke"]
        text = Path(hit.path).read_text()
        assert text[hit.start : hit.end] == hit.text
        assert hit.line == text[: hit.start].count("\n") + 1
        assert hit.ranks == {"lexical": hit.rank}
    assert names(search("stroke", chart, mode="lexical", by="document", k=1)) == names(found)[:1]


def test_a_document_counts_by_what_is_nowhere_in_it_together(chart: Path) -> None:
    between = "The chest is clear. The heart is regular. The abdomen is soft. The skin is dry."
    for name, first, last in (
        ("one", "Scurvy", "Gout"),
        ("other", "Gout", "Beriberi"),
        ("z", "Scurvy", "Beriberi"),
    ):
        text = f"{first} was seen in the port. {between} {last} was not on that ship."
        (chart / f"{name}.txt").write_text(text, encoding="utf-8")
    best, after, *_ = search("scurvy beriberi", chart, mode="lexical").hits
    assert best.score == pytest.approx(after.score), "no passage has both"
    assert names(search("scurvy beriberi", chart, mode="lexical", by="document"))[0] == "z"


@pytest.mark.parametrize("mode", ["lexical", "dense", "hybrid"])
def test_a_document_passes_with_a_passage_that_has_the_words(chart: Path, mode: str) -> None:
    def found(*assertion: str) -> dict[str, str]:
        hits = search("stroke", chart, mode=mode, by="document", assertion=assertion, k=2).hits
        return {Path(hit.path).stem: hit.text for hit in hits if hit.mentions and "troke" in hit.text}

    assert found("negated") == {"denied": "Plan: No stroke. Diet.", "long": LONG[: LONG.index("\n")]}
    assert "denied" not in found("historical", "present")
    assert found("historical") == {"long": "Wrist fracture. Stroke again. Gallstones."}


def test_filters_say_which_passage_is_shown(chart: Path) -> None:
    options = {"mode": "lexical", "by": "document"}
    (hit,) = search("stroke", chart, section="past medical history", **options).hits
    assert (Path(hit.path).stem, hit.section) == ("long", "past_medical_history")
    assert names(search("stroke", chart, filter=Filter(path="denied*"), **options)) == ["denied"]
    assert names(search("stroke", chart, filter=Filter(since="2024"), **options)) == []


def test_a_changed_document_is_read_again_and_one_that_is_gone_is_none(chart: Path) -> None:
    search("stroke", chart, by="document")
    (chart / "long.txt").unlink()
    (chart / "new.txt").write_text("Stroke at last.", encoding="utf-8")
    assert sorted(names(search("stroke", chart, mode="lexical", by="document"))) == ["denied", "new"]


def test_the_command_ranks_documents(chart: Path) -> None:
    arguments = ("search", "stroke", str(chart), "--mode", "lexical", "--by", "document", "--no-expand")
    hits = [json.loads(line) for line in run(*arguments).stdout.splitlines()]
    assert {(Path(hit["path"]).stem, hit["by"]) for hit in hits} == {
        ("long", "document"),
        ("denied", "document"),
    }
    page = BeautifulSoup(run(*arguments, "--format", "html").stdout, "html.parser")
    assert page.find(class_="count").text == "2 documents"
    nothing = run("search", "zebra", *arguments[2:])
    assert nothing.stderr.splitlines()[-1] == "no documents found; try other words, or --mode dense"
    refused = run(*arguments, "--system", "mistral")
    assert refused.exit_code == 2
    assert "--system mistral chooses sentences, not documents" in refused.stderr
    unknown = run(*arguments[:-3], "--by", "file")
    assert "no unit 'file'; available: passage, document" in unknown.stderr


def test_several_assertions_at_once(notes: Path) -> None:
    (notes / "past.txt").write_text("History of chest pain.", encoding="utf-8")
    (notes / "none.txt").write_text("The chest is clear.", encoding="utf-8")

    def found(query: str, *assertion: str) -> set[str]:
        return set(names(search(query, notes, mode="lexical", assertion=assertion)))

    assert found("chest pain", "negated", "historical") == {"denial", "past"}
    assert found("chest pain", "present", "historical") == {"angina", "past", "none"}
    assert found("chest pain", "possible", "family") == set()
    # The words of the title do not stand in the passage: it passes with `present`, whatever else is asked for.
    (notes / "letter.jsonl").write_text(
        '{"id": "1", "title": "Migraine", "text": "Seen today."}', encoding="utf-8"
    )
    assert found("migraine", "family", "present") == {"letter"}
    assert found("migraine", "family", "historical") == set()


def test_only_one_section(notes: Path) -> None:
    found = search("apixaban", notes, section="Medications")
    assert [hit.section for hit in found.hits] == ["medications"]
    with pytest.raises(UsageError, match=r"no section 'allergies' in these notes; there are: .*medications"):
        search("apixaban", notes, section="allergies")


def test_words_are_compared_by_stems_and_joined() -> None:
    text = "Exertional chest pain, no pains at rest."
    assert [mention.text for mention in mentions_of("chest pain on exertion", text, 0, len(text))] == [
        "Exertional chest pain",
        "pains",
    ]


def test_capitals_stand_out_from_common_words(notes: Path) -> None:
    (notes / "blood.txt").write_text("ALL in remission since May.", encoding="utf-8")
    assert names(search("relapse of ALL", notes, mode="lexical")) == ["blood"]


@pytest.mark.parametrize(
    "query",
    ['pain"', "a OR (b", "NEAR(x, y", "body:pain", "pain*", "x' OR 1=1 --", "pain\0", "Schmerz\ud83d"],
)
def test_no_query_is_a_syntax_error(notes: Path, query: str) -> None:
    search(query, notes)


def test_a_query_of_20_000_words(notes: Path) -> None:
    letter = " ".join(f"word{number}" for number in range(20_000)) + " metformin" * 50
    assert names(search(letter, notes, mode="lexical")) == ["denial"]


# --- offsets ---


def check_offsets(found: Found, folder: Path) -> None:
    texts = {note.id: note.text for note in read([str(folder)]) if isinstance(note, Note)}
    assert found.hits
    for hit in found.hits:
        text = texts[hit.id]
        assert text[hit.start : hit.end] == hit.text
        assert text[: hit.start].count("\n") + 1 == hit.line
        for mention in hit.mentions:
            assert hit.start <= mention.start < mention.end <= hit.end
            assert text[mention.start : mention.end] == mention.text


def test_offsets_in_every_kind_of_document() -> None:
    for query in ("pain", "the patient", "mg daily", "history of"):
        check_offsets(search(query, EXAMPLES, k=50), EXAMPLES)


WORDS = st.sampled_from(
    ["pain", "Fever.", "naïve", "🫀", "Plan:", "\r\n", "\n\n", "no", "x" * 700, "\ue000", "a\0b"]
)


@settings(max_examples=25, deadline=None)
@given(texts=st.lists(st.lists(WORDS, min_size=1, max_size=30).map(" ".join), min_size=1, max_size=3))
def test_offsets_of_any_text(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    folder = tmp_path_factory.mktemp("notes")
    lines = [json.dumps({"id": f"n{number}", "text": f"pain {text}"}) for number, text in enumerate(texts)]
    (folder / "notes.jsonl").write_text("\n".join(lines), encoding="utf-8")
    check_offsets(search("pain fever", folder, k=20), folder)


# --- notes come, change and go ---


def test_an_index_keeps_in_step(notes: Path) -> None:
    embedder = WordBag()
    assert str(search("apixaban", notes, embedder).changes) == "3 added"
    before = embedder.texts
    assert str(search("apixaban", notes, embedder, mode="lexical").changes) == "3 unchanged"
    (notes / "stroke.txt").rename(notes / "moved.txt")
    os.utime(notes / "angina.txt", (1, 1))
    found = search("apixaban", notes, embedder, mode="lexical")
    assert (str(found.changes), names(found)[0]) == ("1 renamed, 2 unchanged", "moved")
    assert embedder.texts == before, "neither a look, a new name nor a new time is a reason to embed"

    (notes / "moved.txt").write_text("Warfarin was stopped.", encoding="utf-8")
    (notes / "new.txt").write_text("Heparin drip.", encoding="utf-8")
    (notes / "denial.txt").unlink()
    found = search("apixaban metformin", notes, embedder, mode="lexical")
    assert (str(found.changes), names(found)) == ("1 added, 1 changed, 1 removed, 1 unchanged", [])
    assert names(search("warfarin", notes, embedder, mode="lexical")) == ["moved"]
    assert names(search("heparin", notes, embedder, mode="lexical")) == ["new"]


def test_a_change_that_keeps_size_and_time_is_never_shown(notes: Path) -> None:
    file = notes / "stroke.txt"
    search("apixaban", notes)
    status = file.stat()
    file.write_bytes(STROKE.replace("pixaban", "trovast").encode())
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    found = search("apixaban", notes, mode="lexical")
    assert (names(found), str(found.changes)) == ([], "1 changed, 2 unchanged")
    check_offsets(search("atrovast", notes), notes)


def test_a_file_that_cannot_be_read_is_named_every_time(notes: Path) -> None:
    (notes / "bad.pdf").write_bytes(b"%PDF-1.4 nothing")
    for _ in range(2):
        (fault,) = search("pain", notes).changes.faults
        assert "bad.pdf" in fault


def test_a_file_that_cannot_be_read_is_not_counted_as_added(notes: Path) -> None:
    (notes / "bad.pdf").write_bytes(b"%PDF-1.4 nothing")
    assert str(search("pain", notes).changes) == "3 added, 1 failed"
    assert str(search("pain", notes).changes) == "4 unchanged"


def test_a_folder_that_vanished_empties_no_index(notes: Path) -> None:
    search("pain", notes)
    notes.rename(notes.with_name("elsewhere"))
    with pytest.raises(UsageError, match="no such file or folder"):
        search("pain", notes)
    notes.with_name("elsewhere").rename(notes)
    assert str(search("pain", notes).changes) == "3 unchanged"


def test_the_same_paths_have_one_index(notes: Path) -> None:
    one, two = str(notes / "angina.txt"), str(notes / "denial.txt")
    assert index_file([one, two]) == index_file([two, f"{notes}/./angina.txt", one])
    assert index_file([one]) != index_file([two])


def test_embedders_are_not_mixed(notes: Path) -> None:
    search("pain", notes)
    with pytest.raises(ClinicalError, match=r"was embedded with words, not with .*--rebuild"):
        search("pain", notes, WordBag("others"))


def test_a_reader_sees_the_last_state_while_a_writer_works(notes: Path) -> None:
    search("pain", notes)
    (notes / "new.txt").write_text("Pain in the knee.", encoding="utf-8")
    paths = [str(notes)]
    with Store.open(index_file(paths), paths, "words") as store, store.writing():
        found = search("pain", notes, mode="lexical")
    assert names(found) == ["denial", "angina"] or names(found) == ["angina", "denial"]
    assert "another process is writing" in found.remarks[0]
    assert "new" in names(search("pain", notes, mode="lexical"))


def test_a_thousand_unchanged_notes_are_checked_without_embedding(tmp_path: Path) -> None:
    for number in range(1000):
        (tmp_path / f"{number}.txt").write_text(f"Visit {number}: fever.", encoding="utf-8")
    embedder = WordBag()
    paths = [str(tmp_path)]
    with Store.open(index_file(paths), paths, embedder.id) as store:
        update(store, paths, embedder)
        before = embedder.texts
        assert str(update(store, paths, embedder)) == "1000 unchanged"
        assert embedder.texts == before
        assert store.faults() == []
        (vector,) = embedder.embed(["visit 77"])
        nearest = rank(store, "visit 77", vector, "dense", 10)
        cosines = store.cosines_of(vector, list(range(1, 1001)))
        assert [found.score for found in nearest] == sorted(cosines.values())[::-1][:10]
        assert [found.ranks for found in nearest] == [{"dense": place} for place in range(1, 11)]
        assert cosines[nearest[0].id] == nearest[0].score


# --- the command ---


@pytest.mark.embedded
def test_the_command_finds_meanings_and_writes_by_contract(
    notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run("search", "blood thinner", str(notes), "-k", "1")
    assert result.exit_code == 0
    assert result.stderr.splitlines()[-1] == "index: 3 added"
    (hit,) = map(json.loads, result.stdout.splitlines())
    assert list(hit)[:7] == ["rank", "score", "id", "path", "start", "end", "text"]
    assert Path(hit["path"]).name == "stroke.txt"
    monkeypatch.chdir(notes.parent)  # a table wraps long paths, and that of a temporary folder has any length
    table = run("search", "apixaban", notes.name, "-k", "1", "--format", "table", "--section", "medications")
    assert table.stdout.splitlines() == [
        f"1. {notes.name}/stroke.txt:1  Medications",
        "   Medications: «Apixaban» 5 mg twice daily 🫀.",
    ]
    listed = run("search", "apixaban", str(notes), "-k", "2", "--format", "json")
    assert [entry["rank"] for entry in json.loads(listed.stdout)] == [1, 2]


def test_the_page_marks_what_is_said_and_runs_nothing(notes: Path) -> None:
    (notes / "script.txt").write_text("Chest pain <script>alert(1)</script> today.", encoding="utf-8")
    found = search("chest pain", notes, mode="lexical")
    stream = io.BytesIO()
    write_hits("html", "chest <b>pain", found.hits, stream)
    shown = BeautifulSoup(stream.getvalue(), "html.parser")
    marks = {(mark.text, mark["class"][0]) for mark in shown.find_all("mark")}
    assert marks == {("Chest pain", "present"), ("chest pain", "negated")}
    texts = [article.find(class_="text").text for article in shown.find_all("article")]
    assert texts == [hit.text.replace("\r\n", " \n") for hit in found.hits]
    assert "<script" not in stream.getvalue().decode()
    assert shown.title is not None
    assert shown.title.text == "Search: chest <b>pain"
    assert "denies" in shown.find(class_="said").text


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["", "."], "the query has no words to look for"),
        ([" ?! ", "."], "the query has no words to look for"),
        (["pain", "gone/"], "gone/: no such file or folder"),
        (["pain", "-"], "an index needs files that stay"),
        (["pain", ".", "--mode", "lexicl"], "did you mean lexical?"),
        (["pain", ".", "--assertion", "absent"], "no assertion 'absent'; available: present, negated"),
        (["pain", ".", "--assertion", "denied"], "available: present, negated"),
        (["pain", ".", "--assertion", "not_negated"], "did you mean not-negated?"),
        (
            ["pain", ".", "--assertion", "present,historicl"],
            "no assertion 'historicl'; did you mean historical?",
        ),
        (["pain", ".", "--assertion", "present,"], "no assertion ''; available: present, negated"),
    ],
)
def test_a_wrong_call_is_one_line(
    arguments: list[str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("search", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert line in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.embedded
def test_the_command_takes_several_assertions(notes: Path) -> None:
    (notes / "past.txt").write_text("History of chest pain.", encoding="utf-8")
    result = run(
        "search", "chest pain", str(notes), "--mode", "lexical", "--assertion", "negated, historical"
    )
    hits = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 0
    assert {Path(hit["path"]).stem: hit["assertion"]["status"] for hit in hits} == {
        "denial": "negated",
        "past": "historical",
    }


@pytest.mark.embedded
def test_not_negated_is_every_other_assertion(notes: Path) -> None:
    said = {
        "past": "History of chest pain.",
        "maybe": "Possible chest pain.",
        "mother": "Her mother has chest pain.",
        "later": "Return if chest pain occurs.",
    }
    for name, text in said.items():
        (notes / f"{name}.txt").write_text(text, encoding="utf-8")

    def found(assertion: str) -> set[str]:
        result = run("search", "chest pain", str(notes), "--mode", "lexical", "--assertion", assertion)
        return {Path(json.loads(line)["path"]).stem for line in result.stdout.splitlines()}

    assert found("not-negated") == {"angina", *said}
    assert found("negated") == {"denial"}
    assert found("not-negated,negated") == {"angina", "denial", *said}


def test_what_not_negated_stands_for() -> None:
    everything = ("present", "possible", "historical", "hypothetical", "family")
    assert Assertions().convert("not-negated", None, None) == everything
    assert Assertions().convert("family, not-negated", None, None) == ("family", *everything[:-1])


def test_the_last_of_several_assertions_is_completed() -> None:
    found = Assertions().shell_complete(click.Context(search_command), search_command.params[0], "present,hi")
    assert [item.value for item in found] == ["present,historical"]


@pytest.mark.embedded
def test_no_hits_is_one_line(notes: Path) -> None:
    result = run("search", "zygomycosis", str(notes), "--mode", "lexical")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.splitlines()[-1] == "no passages found; try other words, or --mode dense"


def test_other_names_are_found_marked_and_said(notes: Path) -> None:
    (notes / "heart.txt").write_text("No history of heart attack. Old MI in 2019.", encoding="utf-8")
    found = search("myocardial infarction", notes, k=1, mode="lexical")
    assert [
        (mention.text, mention.assertion and mention.assertion.status) for mention in found.hits[0].mentions
    ] == [
        ("heart attack", "negated"),
        ("MI", "historical"),
    ]
    assert [mention["for"] for mention in found.hits[0].as_dict()["mentions"]] == [
        "myocardial infarction"
    ] * 2
    assert "myocardial infarction = heart attack, MI" in found.remarks[0]
    stream = io.BytesIO()
    write_hits("html", "myocardial infarction", found.hits, stream)
    shown = BeautifulSoup(stream.getvalue(), "html.parser")
    assert [(mark.text, mark["class"], mark["title"]) for mark in shown.find_all("mark")] == [
        ("heart attack", ["negated", "other"], "negated, for myocardial infarction"),
        ("MI", ["historical", "other"], "historical, for myocardial infarction"),
    ]
    assert shown.find(class_="also").text == (
        "also: heart attack for myocardial infarction, mi for myocardial infarction"
    )
    assert search("myocardial infarction", notes, mode="lexical", expand=False).hits == []


def test_what_was_found_by_meaning_is_judged_by_its_nearest_words(notes: Path) -> None:
    (notes / "denied.txt").write_text("The man denies zzz and has a cough.", encoding="utf-8")

    class Meaning(WordBag):
        """For it "qqq" means what "zzz" does."""

        def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
            return super().embed([text.replace("qqq", "zzz") for text in texts])

    found = search("qqq", notes, Meaning(), k=1)
    assert (names(found), found.hits[0].mentions, found.hits[0].assertion) == (["denied"], (), None)
    assert "denied" not in names(search("qqq", notes, Meaning(), assertion="present"))
    (hit,) = search("qqq", notes, Meaning(), k=1, assertion="negated").hits
    assert [mention.text for mention in hit.mentions] == ["zzz"]


class Calibrated(WordBag):
    """An embedder whose cosines can be told apart: so it is with words in common."""

    def __init__(self) -> None:
        super().__init__("all-MiniLM-L6-v2/words")


def test_documents_keep_their_order_and_those_before_a_near_one_are_near(tmp_path: Path) -> None:
    between = "The chest is clear. The heart is regular. The abdomen is soft. The skin is dry."
    texts = {
        "apart": f"Scurvy was seen in the old port. {between} Beriberi was seen in the new port.",
        "together": f"Scurvy and beriberi were seen in the port. {between} {between} {between} {between}",
        "none": between,
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.txt").write_text(text, encoding="utf-8")

    def found(*only: str) -> list[tuple[str, int, bool]]:
        path = f"{tmp_path}/[{''.join(name[0] for name in only)}]*"
        hits = search("scurvy beriberi", tmp_path, Calibrated(), by="document", filter=Filter(path=path)).hits
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        return [(Path(hit.path).stem, hit.rank, hit.near) for hit in hits]

    assert found("apart", "together", "none") == [
        ("apart", 1, True),
        ("together", 2, True),
        ("none", 3, False),
    ]
    assert found("apart", "none") == [("apart", 1, False), ("none", 2, False)]


def test_what_is_far_comes_last_and_is_told(notes: Path) -> None:
    found = search("chest pain on exertion", notes, Calibrated())
    assert (Path(found.hits[0].path).stem, found.hits[0].near) == ("angina", True)
    assert [hit.near for hit in found.hits] == sorted((hit.near for hit in found.hits), reverse=True)
    assert [hit.rank for hit in found.hits] == list(range(1, len(found.hits) + 1))
    far = search("zygomycosis", notes, Calibrated()).hits
    assert far
    assert not any(hit.near for hit in far)
    assert [hit.near for hit in search("pain walking", notes, Calibrated(), mode="lexical").hits] == [
        True,
        True,
    ]
    stream = io.StringIO()
    write_hits("table", "zygomycosis", far, stream)
    assert stream.getvalue().startswith("Nothing near. Farther away:\n\n1. ")
    assert stream.getvalue().count("Farther away") == 1
    mixed = [*search("apixaban", notes, Calibrated(), k=1).hits, *far]
    stream = io.StringIO()
    write_hits("table", "apixaban", mixed, stream)
    assert stream.getvalue().startswith("1. ")
    assert "\n\nFarther away:\n\n1. " in stream.getvalue()
    page = io.BytesIO()
    write_hits("html", "apixaban", mixed, page)
    shown = BeautifulSoup(page.getvalue(), "html.parser")
    assert shown.find(class_="count").text == f"1 passage, {len(far)} farther away"
    assert [tag.name for tag in shown.main.find_all(["article", "h2"], recursive=False)] == [
        "article", "h2", *["article"] * len(far)
    ]  # fmt: skip
    page = io.BytesIO()
    write_hits("html", "zygomycosis", far, page)
    assert BeautifulSoup(page.getvalue(), "html.parser").find(class_="none").text == "Nothing near."


@pytest.mark.embedded
def test_what_the_notes_do_not_speak_of_is_said_and_exits_0(notes: Path) -> None:
    result = run("search", "malaria", str(notes))
    assert result.exit_code == 0
    assert result.stderr.splitlines()[-1].startswith("nothing near 'malaria' in these notes")
    assert {json.loads(line)["near"] for line in result.stdout.splitlines()} == {False}
    assert "nothing near" not in run("search", "water pill", str(notes), "-q").stderr
    here = run("search", "blood thinner", str(notes))
    assert "nothing near" not in here.stderr
    assert json.loads(here.stdout.splitlines()[0])["near"]


def test_a_mention_at_the_very_beginning_is_marked_once() -> None:
    stream = io.StringIO()
    mention = Entity(0, 8, "Apixaban", "Query")
    write_hits(
        "table", "apixaban", [Hit(1, 1.0, "a", "a", 0, 13, "Apixaban 5 mg", 1, mentions=[mention])], stream
    )
    assert stream.getvalue() == "1. a:1\n   «Apixaban» 5 mg\n"


def test_quiet_says_nothing_of_how_the_query_was_read(notes: Path) -> None:
    arguments = ("search", "MI", str(notes), "--mode", "lexical")
    assert "also looked for: MI = myocardial infarction, heart attack" in run(*arguments).stderr
    assert run(*arguments, "-q").stderr == ""


def test_a_filter_by_path_is_said_when_nothing_passes(notes: Path) -> None:
    result = run("search", "apixaban", str(notes), "--path", "*.pdf", "--mode", "lexical", "--no-expand")
    assert result.exit_code == 0
    assert result.stderr.splitlines()[-1] == "no passages found; try other words, or fewer filters"
    result = run("search", "apixaban", str(notes), "--path", "stroke*", "--mode", "lexical", "--no-expand")
    assert {Path(json.loads(line)["path"]).name for line in result.stdout.splitlines()} == {"stroke.txt"}
    assert run("search", "pain", str(notes), "--since", "soon").exit_code == 2


# --- several at once ---


def warnings_of(found: Found) -> list[str]:
    return [remark for remark in found.remarks if remark not in found.reading]


WRITER = """
import sys
sys.path.insert(0, sys.argv[1])
from test_search import WordBag
from clinical.index.opening import open_index
from clinical.index.update import update

class Waiting(WordBag):
    def embed(self, texts):
        print("writing", flush=True)
        sys.stdin.readline()
        return super().embed(texts)

with open_index([sys.argv[2]], "words") as store:
    update(store, [sys.argv[2]], Waiting())
"""


def test_a_first_search_waits_for_another_process_that_makes_the_index(notes: Path) -> None:
    shown: list[tuple[int, int]] = []
    command = [sys.executable, "-c", WRITER, str(Path(__file__).parent), str(notes)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        assert writer.stdout.readline() == "writing\n"
        go_on = writer.stdin

        def done(files: int, of: int) -> None:
            # The other process goes on only when this one waits for it.
            if not shown:
                go_on.write("go\n")
                go_on.flush()
            shown.append((files, of))

        found = search("apixaban", notes, done=done)
    assert writer.returncode == 0
    assert (names(found)[0], warnings_of(found)) == ("stroke", [])
    assert str(found.changes) == "3 unchanged"
    assert shown[0] == (0, 3)


def test_a_first_search_does_not_wait_forever(notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clinical.tasks.search.PATIENCE", 0.3)
    paths = [str(notes)]
    said = f"^another process is writing the index of {notes}; wait for it; nothing is in it yet$"
    with lock(index_file(paths), paths), pytest.raises(Busy, match=said):
        search("apixaban", notes)


def test_an_index_that_is_there_is_searched_while_another_process_writes(notes: Path) -> None:
    paths = [str(notes)]
    search("apixaban", notes)
    (notes / "new.txt").write_text("Plan: Restart apixaban.\n", encoding="utf-8")
    with lock(index_file(paths), paths):
        found = search("apixaban", notes)
    assert "new" not in names(found)
    assert warnings_of(found) == [
        f"another process is writing the index of {notes}; wait for it; searched what is indexed so far"
    ]
