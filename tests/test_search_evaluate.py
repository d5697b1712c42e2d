"""The measures of search: right on cases done by hand, honest about what nobody judged, and readable."""

from __future__ import annotations

import gzip
import itertools
import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from test_search import WordBag

from clinical.cli import cli
from clinical.commands.evaluate_search import _run
from clinical.corpora.retrieval import read_collection
from clinical.documents.note import Note
from clinical.errors import UsageError
from clinical.index.backend import Busy
from clinical.index.collection import open_collection
from clinical.index.ranking import CHOSEN, MODES, fuse
from clinical.scoring.retrieval import (
    MEASURES,
    Ranking,
    RetrievalEvaluation,
    mean_difference,
    mean_interval,
    render_retrieval,
    score_run,
)
from clinical.tasks.query import read_query
from clinical.tasks.search import find

DOCUMENTS = {
    "heart": ("Heart attack", "A myocardial infarction damages the muscle of the heart."),
    "sugar": ("Diabetes", "Metformin lowers the glucose in the blood."),
    "bone": ("", "A fracture of the wrist heals in a cast."),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with gzip.open(tmp_path / "corpus.jsonl.gz", "wt", encoding="utf-8") as file:
        for id, (title, text) in DOCUMENTS.items():
            file.write(json.dumps({"id": id, "title": title, "text": text}) + "\n")
    queries = [
        {"id": "q1", "text": "heart attack", "summary": "infarction"},
        {"id": "q2", "text": "metformin", "summary": ""},
        {"id": "q3", "text": "nobody answers this", "summary": ""},
    ]
    (tmp_path / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)), encoding="utf-8")
    (tmp_path / "qrels.tsv").write_text(
        "q1 0 heart 1\nq1 0 heart 2\nq1 0 heart 0\nq2\t0\tsugar\t1\nq3 0 bone 0\n", encoding="utf-8"
    )
    return tmp_path


def test_a_collection_as_it_is_read(folder: Path) -> None:
    collection = read_collection(str(folder), wording="summary")
    assert [(note.id, note.title, note.text) for note in collection.documents] == [
        (id, title or None, text) for id, (title, text) in DOCUMENTS.items()
    ]
    assert collection.queries == {"q1": "infarction", "q2": "metformin"}, "q3 has nothing to find"
    assert collection.judgements == {"q1": {"heart": 2}, "q2": {"sugar": 1}}, "the better grade counts"


def test_a_split_may_add_documents(folder: Path) -> None:
    (folder / "qrels_reference.tsv").write_text("q2 0 reference 1\n", encoding="utf-8")
    (folder / "corpus_reference.jsonl").write_text(
        '{"id": "reference", "text": "Metformin."}', encoding="utf-8"
    )
    root = folder.parent / "corpora"
    (root / "retrieval").mkdir(parents=True)
    folder.rename(root / "retrieval" / "medquad_liveqa")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLINICAL_CORPORA", str(root))
        collection = read_collection("medquad_liveqa:reference")
        assert [note.id for note in collection.documents] == [*DOCUMENTS, "reference"]
        assert collection.judgements == {"q2": {"reference": 1}}
        assert [note.id for note in read_collection("medquad_liveqa").documents] == list(DOCUMENTS)


def test_a_damaged_index_of_a_collection_is_made_anew(folder: Path) -> None:
    documents, embedder = read_collection(str(folder)).documents, WordBag()
    with open_collection("mine", documents, embedder) as store:
        file = store.path
    for damaged in (False, True):
        if damaged:
            file.write_bytes(b"no database")
        with open_collection("mine", documents, embedder) as store:
            assert sorted(store.own_ids().values()) == sorted(DOCUMENTS)
        assert embedder.texts == len(DOCUMENTS) * (1 + damaged)


class Beginnings(WordBag):
    """An embedder that reads so few words that it knows of the beginning alone."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return super().embed([" ".join(text.split()[:8]) for text in texts])


def test_two_at_once_do_not_make_the_same_collection(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    documents = read_collection(str(folder)).documents[:2]  # of all there is an index already
    tried = []

    def meanwhile(*of: object, **how: object) -> None:
        with pytest.raises(Busy, match="another process is writing the index of mine; wait for it"):
            open_collection("mine", documents, WordBag())
        tried.append(of)

    monkeypatch.setattr("clinical.index.collection._fill", meanwhile)
    with open_collection("mine", documents, WordBag()):
        assert len(tried) == 1


def test_all_of_a_long_document_counts_or_its_beginning() -> None:
    sentences = ("The heart beats.", "Blood flows.", "Rest helps.", "Sleep well.", "A wrist heals in a cast.")
    documents = [
        Note("long", " ".join(sentences), title="Leaflet"),
        Note("short", "Rest."),
    ]
    embedder = Beginnings()
    wrist, cosines = embedder.embed(["wrist"])[0], {}
    for whole in (True, False):
        with open_collection("mine", documents, embedder, whole=whole) as store:
            own_ids = store.own_ids("document")
            found = {own_ids[id]: cosine for id, cosine in store.nearest(wrist, 10, by="document")}
            cosines[whole] = {name: round(found[name], 2) for name in own_ids.values()}
    windows = embedder.embed(["Leaflet\n" + " ".join(sentences[:3]), "Leaflet\n" + " ".join(sentences[2:])])
    mean = windows.mean(axis=0)
    expected = float(mean @ wrist / np.linalg.norm(mean))
    assert cosines[True]["long"] == pytest.approx(expected, abs=0.02)
    assert cosines[True]["long"] > 0.15 > 0.05 > cosines[False]["long"]
    assert cosines[True]["short"] == cosines[False]["short"], "one window is the whole"


def test_a_folder_searched_by_document_ranks_as_the_evaluation_does(tmp_path: Path) -> None:
    chance = random.Random(5)
    words = [f"word{number}" for number in range(60)]
    sentences = [" ".join(chance.choices(words, k=6)).capitalize() + "." for _ in range(200)]
    documents = [
        Note(f"{number}", " ".join(chance.choices(sentences, k=chance.randint(1, 12))), title=words[number])
        for number in range(30)
    ]
    (tmp_path / "notes.jsonl").write_text(
        "".join(
            json.dumps({"id": note.id, "title": note.title, "text": note.text}) + "\n" for note in documents
        )
    )
    embedder = WordBag()
    queries = {f"{number}": " ".join(chance.sample(words, 4)) for number in range(8)}
    asked = {id: read_query(query) for id, query in queries.items()}
    with open_collection("mine", documents, embedder) as store:
        runs = {mode: _run(store, asked, mode, embedder) for mode in MODES}
    for mode, id in itertools.product(MODES, queries):
        hits = find(queries[id], [str(tmp_path)], embedder, k=100, by="document", mode=mode).hits
        assert {hit.id: pytest.approx(hit.score) for hit in hits} == runs[mode][id]
        assert [hit.score for hit in hits] == sorted(runs[mode][id].values(), reverse=True)


def test_the_halves_are_apart_and_together_all(folder: Path) -> None:
    ids = [f"q{number}" for number in range(40)]
    (folder / "queries.jsonl").write_text(
        "\n".join(json.dumps({"id": id, "text": "pain"}) for id in ids), encoding="utf-8"
    )
    (folder / "qrels.tsv").write_text("\n".join(f"{id} 0 heart 1" for id in ids), encoding="utf-8")
    tune, report = (set(read_collection(str(folder), half=half).queries) for half in ("tune", "report"))  # type: ignore[arg-type]
    assert tune | report == set(ids)
    assert not tune & report
    assert min(len(tune), len(report)) > 10


def test_what_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(UsageError, match="queries have no 'title'; they have: id, text, summary"):
        read_collection(str(folder), wording="title")
    with pytest.raises(UsageError, match="bc5cdr is no retrieval collection"):
        read_collection("bc5cdr:test")
    (folder / "qrels.tsv").rename(folder / "qrels_dev.tsv")
    with pytest.raises(UsageError, match=r"qrels.tsv is missing; judgements there: qrels_dev.tsv"):
        read_collection(str(folder))


def test_measures_of_a_case_done_by_hand() -> None:
    judgements = {"one": {"a": 1, "b": 0, "c": 1}, "two": {"z": 1}, "none found": {"x": 1}}
    run = {"one": {"new": 3.0, "a": 2.0, "b": 1.0, "c": 0.5}, "two": {"z": 1.0}, "none found": {}}
    ranking = score_run("hand", run, judgements)
    ideal = 1 + 1 / 1.584963
    assert {name: [round(value, 4) for value in values] for name, values in ranking.values.items()} == {
        "nDCG@10": [round((1 / 1.584963 + 1 / 2.321928) / ideal, 4), 1, 0],
        "condensed nDCG@10": [round((1 + 1 / 2) / ideal, 4), 1, 0],
        "MAP": [0.5, 1, 0],
        "MRR": [0.5, 1, 0],
        "recall@10": [1, 1, 0],
        "recall@100": [1, 1, 0],
        "judged@10": [0.75, 1, 0],
    }
    assert list(ranking.values) == list(MEASURES)


def test_intervals_hold_the_mean() -> None:
    interval = mean_interval([0.0, 1.0] * 50)
    assert interval.value == 0.5
    assert 0.38 < interval.low < 0.45 < 0.55 < interval.high < 0.62
    assert mean_interval([0.25] * 9) == mean_interval([0.25])


def test_a_difference_is_paired() -> None:
    worse = [0.1 * (number % 9) for number in range(60)]
    clear = mean_difference([value + 0.1 for value in worse], worse)
    assert clear.interval.low == pytest.approx(0.1)
    assert mean_difference(worse, worse).p == 1.0


def test_the_fused_score_weighs_words_and_meaning() -> None:
    lexical, cosines = {1: 8.0, 2: 4.0}, {1: 0.2, 2: 0.2, 3: 0.6}
    for meaning in (CHOSEN.meaning, 0.4):
        words = 1 - meaning
        expected = {1: words + 0.2 * meaning, 2: words / 2 + 0.2 * meaning, 3: 0.6 * meaning}
        assert fuse(lexical, cosines, meaning) == pytest.approx(expected)
    assert fuse({}, {3: 0.6}) == pytest.approx({3: 0.6 * CHOSEN.meaning})


def test_the_table_is_what_is_read() -> None:
    values = {name: [0.5, 0.5] for name in MEASURES}
    evaluation = RetrievalEvaluation(
        "notes",
        1200,
        2,
        [Ranking("hybrid", values), Ranking("lexical", {name: [0.25, 0.25] for name in MEASURES})],
    )
    assert render_retrieval([evaluation], "table") == (
        "notes: 1,200 documents, 2 queries\n"
        "Intervals: 95%, 1,000 bootstrap draws of the queries.\n"
        "\n"
        "mode     nDCG@10     interval  condensed nDCG@10    MAP    MRR  recall@10  recall@100  judged@10\n"
        "hybrid   0.500    0.500-0.500              0.500  0.500  0.500      0.500       0.500      0.500\n"
        "lexical  0.250    0.250-0.250              0.250  0.250  0.250      0.250       0.250      0.250\n"
        "\n"
        "hybrid minus lexical: nDCG@10 +0.250 [+0.250, +0.250], p = 0.001\n"
    )


@pytest.mark.embedded
def test_the_command_measures_each_mode(folder: Path) -> None:
    result = CliRunner().invoke(
        cli, ["evaluate", "search", "--gold", str(folder), "--wording", "summary", "--format", "json"]
    )
    assert result.exit_code == 0
    (evaluation,) = json.loads(result.stdout)
    assert (evaluation["documents"], evaluation["queries"]) == (3, 2)
    assert {ranking["mode"]: ranking["nDCG@10"]["mean"] for ranking in evaluation["rankings"]} == {
        "hybrid": 1.0,
        "lexical": 1.0,
        "dense": 1.0,
        "bm25": 1.0,
        "cosine": 1.0,
        "rrf": 1.0,
    }


@pytest.mark.embedded
def test_the_modes_come_in_the_order_in_which_they_are_named(folder: Path) -> None:
    result = CliRunner().invoke(
        cli,
        ["evaluate", "search", "--gold", str(folder), "--modes", "cosine,hybrid,bm25", "--format", "json"],
    )
    (evaluation,) = json.loads(result.stdout)
    assert [ranking["mode"] for ranking in evaluation["rankings"]] == ["cosine", "hybrid", "bm25"]


def test_an_unknown_mode_is_named(folder: Path) -> None:
    result = CliRunner().invoke(cli, ["evaluate", "search", "--gold", str(folder), "--modes", "bm26"])
    assert result.exit_code == 2
    assert "no mode bm26; available: hybrid, lexical, dense, bm25, cosine, rrf" in result.stderr
