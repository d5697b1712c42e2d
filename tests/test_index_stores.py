"""What every store of an index has to do: SQLite, LanceDB in a folder, LanceDB on S3."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from test_search import WordBag

from clinical.cli import cli
from clinical.errors import ClinicalError, UsageError
from clinical.index import lance_store
from clinical.index.backend import Busy, Index
from clinical.index.filters import Filter
from clinical.index.lance_places import connect, table_names
from clinical.index.lance_store import LanceStore
from clinical.index.location import VARIABLE, index_folder
from clinical.index.opening import Kind, all_places, open_index, place_of
from clinical.index.ranking import MODES, Mode, rank
from clinical.index.update import Changes, update
from clinical.tasks.search import find

VISITS = [
    {"id": "ward/a-1", "text": "Plan: warfarin again.", "date": "2024-05-03T10:15:00+01:00"},
    {"id": "ward/a-2", "text": "Medications: warfarin.", "date": "20240610", "title": "Ward's round"},
    {"id": "clinic/b-1", "text": "Plan: warfarin at home.", "date": "2024-05"},
    {"id": "undated", "text": "Plan: aspirin. \U0001fac0 Naïve patient."},
]
SECRET = "zq7xk2vwj9pqhx4t"


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """A server of our own that speaks S3."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    ).create_bucket(Bucket="hospital")
    yield endpoint
    server.stop()


class Kept:
    """An index of a folder of notes, in one of the stores."""

    def __init__(self, kind: Kind, notes: Path) -> None:
        self.kind = kind
        self.notes = notes
        self.paths = [str(notes)]

    def open(self, embedder: str = "words") -> Index:
        return open_index(self.paths, embedder, self.kind)

    def update(self, embedder: WordBag | None = None) -> Changes:
        with self.open() as index:
            return update(index, self.paths, embedder or WordBag())


def found_in(index: Index, filter: Filter, mode: Mode) -> set[str]:
    """Return the names of what "warfarin" finds."""
    (vector,) = WordBag().embed(["warfarin"])
    found = [index.passage(one.id) for one in rank(index, "warfarin", vector, mode, 50, filter)]
    return {passage.own_id or Path(passage.path).name for passage in found if passage}


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes of o'hara"
    (folder / "cardio").mkdir(parents=True)
    (folder / "visits.jsonl").write_text("".join(json.dumps(visit) + "\n" for visit in VISITS))
    (folder / "cardio" / "echo.txt").write_text("Medications: warfarin since the echo.")
    (folder / "letter.txt").write_text("Warfarin was begun. The letter says so.")
    return folder


@pytest.fixture(params=["sqlite", "lance", "s3"])
def kept(request: pytest.FixtureRequest, notes: Path, monkeypatch: pytest.MonkeyPatch) -> Kept:
    if request.param != "s3":
        return Kept(request.param, notes)
    for name, value in {
        VARIABLE: f"s3://hospital/{notes.parent.name}",
        "AWS_ENDPOINT_URL": request.getfixturevalue("s3"),
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    return Kept("lance", notes)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["index", *arguments])


def test_lance_ranks_weighted_words_as_sqlite_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its idf is ln(1 + x) where SQLite has ln x: for words that are not in every tenth passage that is nearly one."""
    chance = random.Random(7)
    rare, often = [f"drug{n}" for n in range(60)], [f"word{n}" for n in range(12)]
    (tmp_path / "notes").mkdir()
    notes = [
        {"id": f"{n}", "text": " ".join([*chance.choices(rare, k=3), *chance.choices(often, k=5 + n % 20)])}
        for n in range(500)
    ]
    (tmp_path / "notes" / "notes.jsonl").write_text("".join(json.dumps(note) + "\n" for note in notes))
    queries = [{word: chance.uniform(0.1, 1) for word in chance.sample(rare, 4)} for _ in range(10)]
    alike = [dict.fromkeys(query, 1.0) for query in queries]
    ranked: dict[Kind, list[dict[str, float]]] = {"sqlite": [], "lance": []}
    for kind, rankings in ranked.items():
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / kind))
        with open_index([str(tmp_path / "notes")], "words", kind) as index:
            update(index, [str(tmp_path / "notes")], WordBag())
            own = index.own_ids()
            for query in queries + alike:
                rankings.append({own[id]: score for id, score in index.lexical(query, 500)})
    for sqlite, lance in zip(*ranked.values(), strict=True):
        assert lance == pytest.approx(sqlite, rel=0.05)
        order = sorted(sqlite, key=lambda id: -lance[id])
        assert max(sqlite[later] / sqlite[one] for one, later in itertools.pairwise(order)) < 1.02
    for rankings in ranked.values():
        for weighted, plain in zip(rankings[:10], rankings[10:], strict=True):
            assert list(weighted)[:10] != list(plain)[:10], "or the weights would not be tested"


class TestEveryStore:
    """The same for all."""

    def test_files_come_change_move_and_go(self, kept: Kept) -> None:
        embedder = WordBag()
        assert str(kept.update(embedder)) == "3 added"
        before = embedder.texts
        assert str(kept.update(embedder)) == "3 unchanged"
        (kept.notes / "letter.txt").rename(kept.notes / "old letter.txt")
        (kept.notes / "cardio" / "echo.txt").unlink()
        assert str(kept.update(embedder)) == "1 renamed, 1 removed, 1 unchanged"
        os.utime(kept.notes / "old letter.txt", (1, 1))
        assert str(kept.update(embedder)) == "2 unchanged"
        assert embedder.texts == before
        (kept.notes / "old letter.txt").write_text("Heparin was begun.")
        assert str(kept.update(embedder)) == "1 changed, 1 unchanged"
        assert embedder.texts == before + 1
        with kept.open() as index:
            assert sorted(index.files()) == sorted(
                str(kept.notes / name) for name in ("old letter.txt", "visits.jsonl")
            )
            size = index.size()
            assert (size.files, size.documents, size.passages) == (2, 5, 5)
            assert index.faults() == []
            assert index.lexical("echo", 10) == []
            ((heparin, score),) = index.lexical("heparin", 10)
            assert score > 0
            passage = index.passage(heparin)
            assert passage is not None
            assert (passage.path, passage.text) == (str(kept.notes / "old letter.txt"), "Heparin was begun.")

    def test_a_passage_comes_back_as_it_was_put(self, kept: Kept) -> None:
        kept.update()
        with kept.open() as index:
            ((id, _),) = index.lexical("naive patient", 1)
            found = index.passage(id)
            assert found is not None
            assert found.text == VISITS[3]["text"]
            assert (found.own_id, found.title, found.date) == ("undated", None, None)
            span = found.passage
            assert (span.start, span.end, span.section, span.heading) == (0, len(found.text), "plan", "Plan")
            ((id, _),) = index.lexical("round", 1)
            found = index.passage(id)
            assert found is not None
            assert (found.own_id, found.title, found.date) == ("ward/a-2", "Ward's round", "20240610")
            assert index.passage(10**9) is None
            assert sorted(index.own_ids().values()) == sorted(visit["id"] for visit in VISITS)
            assert index.sections() == ["medications", "plan"]

    def test_words_and_meanings_are_ranked(self, kept: Kept) -> None:
        kept.update()
        (vector,) = WordBag().embed(["warfarin at home"])
        with kept.open() as index:
            nearest = index.nearest(vector, 3)
            assert len(nearest) == 3
            assert [score for _, score in nearest] == sorted((score for _, score in nearest), reverse=True)
            best = index.passage(nearest[0][0])
            assert best is not None
            assert best.own_id == "clinic/b-1"
            cosines = index.cosines_of(vector, [id for id, _ in nearest])
            assert cosines == pytest.approx(dict(nearest), abs=0.02)
            assert index.cosines_of(vector, []) == {}
            vectors = index.vectors_of([id for id, _ in nearest])
            assert sorted(vectors @ vector) == pytest.approx(sorted(cosines.values()), abs=0.02)
            both = index.lexical(["begun", "echo"], 10)
            assert len(both) == 2
            weighed = index.lexical({"begun": 0.1, "echo": 5.0}, 10)
            first = index.passage(weighed[0][0])
            assert first is not None
            assert Path(first.path).name == "echo.txt"
            assert len(index.lexical(["letter says", "letter echo"], 10)) == 1
            assert index.lexical("zebra", 10) == []

    def test_documents_are_ranked_as_wholes(self, kept: Kept) -> None:
        text = "Plan: heparin. One. Two. Three. Four heparin. Medications: aspirin."
        (kept.notes / "long.txt").write_text(text)
        (kept.notes / "blank.txt").write_text("\n\n")
        kept.update()
        with kept.open() as index:
            inside: dict[int, list[str]] = {}
            for id, document in index.passages_in(Filter(path="*.txt")).items():
                found = index.passage(id)
                assert found is not None
                assert found.document == document
                inside.setdefault(document, []).append(found.text[found.passage.start : found.passage.end])
            (long,) = (document for document, passages in inside.items() if len(passages) > 1)
            assert [passage in text for passage in inside[long]] == [True] * len(inside[long])
            assert set(index.passages_in(Filter(documents=(long,))).values()) == {long}
            assert [id for id, _ in index.lexical("heparin", 10, by="document")] == [long]
            # No passage has both words.
            assert index.lexical(["heparin aspirin"], 10) == []
            ((id, alone),) = index.lexical(["heparin aspirin"], 10, by="document")
            assert id == long
            assert alone > 0
            vectors = index.vectors_of(list(index.passages_in(Filter(documents=(long,)))))
            mean = vectors.mean(axis=0) / np.linalg.norm(vectors.mean(axis=0))
            nearest = index.nearest(mean, 1, by="document")
            assert nearest == [(long, pytest.approx(1, abs=0.02))]
            assert index.cosines_of(mean, [long], "document") == pytest.approx(dict(nearest), abs=0.02)
            assert index.vectors_of([long], "document") @ mean == pytest.approx([1], abs=0.02)
            assert sorted(index.own_ids("document").values()) == sorted(visit["id"] for visit in VISITS)
            for filter, expected in (
                (Filter(sections=("medications",), path="long.txt"), {long}),
                (Filter(sections=("allergies",), path="long.txt"), set()),
                (Filter(since="2024", path="long.txt"), set()),
            ):
                for ranked in (
                    index.lexical("heparin", 10, filter, "document"),
                    index.nearest(mean, 10, filter, "document"),
                ):
                    assert {id for id, _ in ranked} == expected

    @pytest.mark.parametrize("mode", MODES)
    def test_filters_narrow_the_ranking(self, kept: Kept, mode: Mode) -> None:
        kept.update()
        folder = kept.notes.as_posix()
        every = {"ward/a-1", "ward/a-2", "clinic/b-1", "echo.txt", "letter.txt"}
        cases = [
            (Filter(sections=("medications",)), {"ward/a-2", "echo.txt"}),
            (Filter(path=folder), every),
            (Filter(path=f"{folder}/cardio"), {"echo.txt"}),
            (Filter(path="*.txt"), {"echo.txt", "letter.txt"}),
            (Filter(path="ward"), {"ward/a-1", "ward/a-2"}),
            (Filter(path="ward/a-[13]"), {"ward/a-1"}),
            (Filter(path="100%_'"), set()),
            (Filter(since="2024-05-04"), {"ward/a-2", "clinic/b-1"}),
            (Filter(until="2024-05"), {"ward/a-1", "clinic/b-1"}),
            (Filter(sections=("plan",), path="ward", since="2024"), {"ward/a-1"}),
        ]
        with kept.open() as index:
            for filter, expected in cases:
                assert found_in(index, filter, mode) - {"undated"} == expected, filter
            assert index.undated(Filter(since="2024")) == 3
            assert index.undated(Filter(since="2024", path="*.txt", sections=("medications",))) == 1

    def test_a_search_finds_and_shows(self, kept: Kept) -> None:
        kept.update()
        found = find("warfarin since the echo", kept.paths, WordBag(), k=1)
        assert [hit.text for hit in found.hits] == ["Medications: warfarin since the echo."]
        documents = find(
            "warfarin", kept.paths, WordBag(), by="document", section="medications", assertion="present"
        )
        assert sorted((Path(hit.path).name, hit.text, hit.by) for hit in documents.hits) == [
            ("echo.txt", "Medications: warfarin since the echo.", "document"),
            ("visits.jsonl", "Medications: warfarin.", "document"),
        ]
        # Another process, or machine, sees what came in between.
        (kept.notes / "new.txt").write_text("Xylophonist.")
        assert [hit.text for hit in find("xylophonist", kept.paths, WordBag(), k=1).hits] == ["Xylophonist."]

    def test_another_embedder_or_version_is_refused(self, kept: Kept) -> None:
        kept.update()
        with pytest.raises(
            ClinicalError, match=r"was embedded with words, not with others; name that one .*--rebuild"
        ):
            kept.open("others")

    def test_there_is_one_writer(self, kept: Kept) -> None:
        kept.update()
        with kept.open() as one, kept.open() as other, one.writing():
            with pytest.raises(Busy, match="another process is writing the index of "), other.writing():
                pass
            (kept.notes / "new.txt").write_text("Fever.")
            found = find("warfarin", kept.paths, WordBag())
            assert found.hits
            assert any("another process is writing" in remark for remark in found.remarks)
        assert str(kept.update()) == "1 added, 3 unchanged"

    def test_forgetting_a_file_erases_it(self, kept: Kept) -> None:
        (kept.notes / "secret.txt").write_text(f"Plan: {SECRET} {SECRET[::-1]}.")
        kept.update()
        with kept.open() as index:
            assert len(index.lexical(SECRET, 5)) == 1
        result = run("forget", str(kept.notes / "secret.txt"))
        assert (result.exit_code, result.output) == (0, "1 file forgotten, 0 indexes erased\n")
        with kept.open() as index:
            assert index.lexical(SECRET, 5) == []
            assert len(index.lexical("warfarin", 50)) == 5
            assert index.faults() == []
            assert index.size().files == 3
        if kept.kind == "lance":
            place = place_of(kept.paths)
            assert place is not None
            for name in table_names(connect(place.uri)):
                assert len(connect(place.uri).open_table(name).list_versions()) <= 4, name

    def test_status_verify_compact_and_forgetting_all(self, kept: Kept) -> None:
        kept.update()
        (row,) = run("status").stdout.splitlines()
        assert row.split("\t")[:4] == [kept.notes.as_posix(), "3 files", "6 documents", "6 passages"]
        assert row.endswith(f".{kept.kind}")
        assert run("verify").stdout == f"{kept.notes.as_posix()}: whole\n"
        assert run("compact").exit_code == 0
        with kept.open() as index:
            assert found_in(index, Filter(path="ward"), "hybrid") == {"ward/a-1", "ward/a-2"}
        assert run("forget", str(kept.notes)).output == "0 files forgotten, 1 index erased\n"
        assert all_places() == []
        assert "no indexes" in run("status").stderr

    def test_an_unfinished_file_is_read_again(self, kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
        """A kill between any two changes of the tables: the next update mends it."""
        # On S3 each change takes long, and is the same.
        for step in (2, 4, 5) if place_is_far() else range(1, 9):
            (kept.notes / "letter.txt").write_text(f"Warfarin was begun. Letter {step}.")
            with monkeypatch.context() as patch:
                fail_at(patch, step)
                with contextlib.suppress(KeyboardInterrupt):
                    kept.update()
            kept.update()
            with kept.open() as index:
                assert index.faults() == []
                assert len(index.lexical("warfarin", 50)) == 5
                assert len(index.lexical(["letter"], 50)) == 1


def place_is_far() -> bool:
    return "://" in os.environ.get(VARIABLE, "")


def fail_at(patch: pytest.MonkeyPatch, step: int) -> None:
    """Break off at the n-th change of a table."""
    changes = 0

    def counted(name: str) -> None:
        real = getattr(LanceStore, name)

        def change(self: LanceStore, *arguments: object, **named: object) -> object:
            nonlocal changes
            changes += 1
            if changes == step:
                raise KeyboardInterrupt
            return real(self, *arguments, **named)

        patch.setattr(LanceStore, name, change)

    counted("_write")
    counted("_delete")


# --- where an index is ---


def test_the_searches_find_the_store_by_themselves(notes: Path) -> None:
    lance = Kept("lance", notes)
    lance.update()
    with open_index(lance.paths, "words") as index:
        assert isinstance(index, LanceStore)
    with pytest.raises(
        UsageError, match=r"is kept by lance; to change it: clinical index add --rebuild --store sqlite"
    ):
        open_index(lance.paths, "words", "sqlite")


def test_files_of_lance_are_the_owners(notes: Path) -> None:
    Kept("lance", notes).update()
    modes = {stat.S_IMODE(path.stat().st_mode) for path in index_folder().rglob("*")}
    assert modes <= {0o600, 0o700}


def test_clinical_index_can_be_a_folder(notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "elsewhere"))
    Kept("sqlite", notes).update()
    assert [path.suffix for path in (tmp_path / "elsewhere").glob("*.sqlite")] == [".sqlite"]
    monkeypatch.setenv(VARIABLE, "gs://bucket/prefix")
    with pytest.raises(UsageError, match="give a folder, or s3://bucket/prefix"):
        place_of([str(notes)])


def test_without_the_extra_it_says_what_to_type(notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lancedb", None)
    result = run("add", "--store", "lance", str(notes))
    assert (result.exit_code, result.stderr) == (
        2,
        "Error: LanceDB is not installed: pip install 'clinical[lance]'\n",
    )


def test_a_lease_of_the_dead_runs_out(notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lance_store, "is_remote", lambda uri: True)
    one, other = (LanceStore(str(tmp_path / "far"), "a", ["a"]) for _ in range(2))
    dead = one.writing()
    dead.__enter__()
    with (
        pytest.raises(Busy, match=r"process \d+\); wait for it, or, if it was killed, 15 minutes"),
        other.writing(),
    ):
        pass
    monkeypatch.setattr(lance_store, "LEASE_SECONDS", 0)
    with other.writing():
        pass
    with one.writing():
        pass


LANCE_DRIVER = """
import sys
sys.path.insert(0, sys.argv[1])
from test_search import WordBag
from clinical.index.opening import open_index
from clinical.index import update as updating
updating.BYTES_AT_ONCE = 2000
paths = [sys.argv[2]]
with open_index(paths, "words", "lance") as index:
    print("go", flush=True)
    updating.update(index, paths, WordBag())
"""


@pytest.mark.parametrize("seconds", [0.05, 0.4])
def test_a_kill_leaves_a_whole_lance_index(tmp_path: Path, seconds: float) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    for number in range(60):
        (folder / f"{number}.txt").write_text(f"Visit {number}.\n" + "Plan: Warfarin was stopped.\n" * 40)
    command = [sys.executable, "-c", LANCE_DRIVER, str(Path(__file__).parent), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "go\n"
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        process.wait()
    kept = Kept("lance", folder)
    with kept.open() as index:
        done = sum(state.sha256 != "" for state in index.files().values())
        assert done < 60, "it was to be killed before the end"
    kept.update()
    with kept.open() as index:
        assert (index.size().files, index.size().documents, index.faults()) == (60, 60, [])
