"""The index file: whole after a kill at any moment, for its owner alone, and truly empty of what was forgotten."""

from __future__ import annotations

import signal
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from test_search import WordBag

from clinical.cli import cli
from clinical.errors import ClinicalError
from clinical.index.location import index_file, index_folder
from clinical.index.passages import MAX_SENTENCE, SENTENCES, cut
from clinical.index.store import Busy, Store, lock
from clinical.index.update import update
from clinical.models import cache
from clinical.tasks.search import find

FILES = 40
# Two files a transaction, and twenty milliseconds for each.
DRIVER = """
import sys, time
sys.path.insert(0, sys.argv[1])
from test_search import WordBag
from clinical.index.location import index_file
from clinical.index.store import Store
from clinical.index import update as updating
updating.BYTES_AT_ONCE = 5000
paths = [sys.argv[2]]
with Store.open(index_file(paths), paths, "words") as store:
    print("go", flush=True)
    updating.update(store, paths, WordBag(), lambda files, of: time.sleep(0.02))
"""


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "one.txt").write_text("Plan: Warfarin was stopped after a bleed.", encoding="utf-8")
    (folder / "two.txt").write_text("Xylophonist with tremor. Takes propranolol.", encoding="utf-8")
    return folder


def make(folder: Path) -> Path:
    """Return the file of a fresh index of the folder."""
    paths = [str(folder)]
    with Store.open(index_file(paths), paths, "words") as store:
        update(store, paths, WordBag())
    return index_file(paths)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["index", *arguments])


def on_disk(file: Path) -> bytes:
    return b"".join(part.read_bytes() for part in file.parent.iterdir()).lower()


# --- passages ---


@given(st.text(st.sampled_from("ab.\n :*-1é🫀"), max_size=300) | st.text("abc ", max_size=3000))
def test_passages_cover_the_text_in_order(text: str) -> None:
    passages = cut(text)
    covered = {place for passage in passages for place in range(passage.start, passage.end)}
    assert all(place in covered or character.isspace() for place, character in enumerate(text))
    assert [(passage.start, passage.end) for passage in passages] == sorted(
        {(passage.start, passage.end) for passage in passages}
    )
    for passage in passages:
        assert text[passage.start : passage.end].strip() == text[passage.start : passage.end] != ""


def test_windows_overlap_by_a_sentence_and_stay_in_their_section() -> None:
    text = "History: One is here. Two is here. Three is here. Four is here.\nPlan: Rest at home."
    assert [(text[p.start : p.end], p.section, p.heading) for p in cut(text)] == [
        ("History: One is here. Two is here. Three is here.", "history_of_present_illness", "History"),
        ("Three is here. Four is here.", "history_of_present_illness", "History"),
        ("Plan: Rest at home.", "plan", "Plan"),
    ]


def test_a_text_without_full_stops_is_cut_at_blanks() -> None:
    passages = cut("pain and fever " * 500)
    assert max(passage.end - passage.start for passage in passages) <= SENTENCES * MAX_SENTENCE + SENTENCES


# --- the file ---


def test_only_the_owner_may_read(notes: Path) -> None:
    file = make(notes)
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    with Store.existing(file):
        assert {stat.S_IMODE(part.stat().st_mode) for part in file.parent.iterdir()} == {0o600}


@pytest.mark.parametrize("seconds", [0.0, 0.03, 0.07, 0.15, 0.25])
def test_a_kill_at_any_moment_leaves_a_whole_index(tmp_path: Path, seconds: float) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    text = "Plan: Warfarin was stopped. A bleed came first. INR was 4. He felt well.\n" * 30
    for number in range(FILES):
        (folder / f"{number}.txt").write_text(f"Visit {number}.\n{text}", encoding="utf-8")
    command = [sys.executable, "-c", DRIVER, str(Path(__file__).parent), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "go\n"
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        process.wait()
    paths = [str(folder)]
    with Store.open(index_file(paths), paths, "words") as store:
        assert store.faults() == []
        done = store.size().files
        assert done < FILES, "it was to be killed before the end"
        changes = update(store, paths, WordBag())
        assert (changes.added, changes.unchanged) == (FILES - done, done)
        assert (store.size().files, store.faults()) == (FILES, [])


def test_there_is_one_writer(notes: Path) -> None:
    file = make(notes)
    with (
        lock(file, ["notes"]),
        pytest.raises(Busy, match="another process is writing the index of notes"),
        lock(file, ["notes"]),
    ):
        pass
    with lock(file, ["notes"]):
        pass


# --- the commands ---


def test_status_and_verify(notes: Path) -> None:
    assert "no indexes" in run("status").stderr
    file = make(notes)
    (row,) = run("status").stdout.splitlines()
    assert row.split("\t")[:4] == [notes.as_posix(), "2 files", "2 documents", "2 passages"]
    assert row.endswith(str(file))
    assert run("verify", str(notes)).stdout == f"{notes.as_posix()}: whole\n"


def test_verify_tells_what_does_not_fit(notes: Path) -> None:
    with sqlite3.connect(make(notes)) as connection:
        connection.execute("DELETE FROM passages WHERE id = 1")
    connection.close()
    result = run("verify")
    assert result.exit_code == 1
    assert "one.txt: vectors, words and passages differ in number" in result.stderr


@pytest.mark.parametrize("damage", ["not a database at all", "zeros in the middle"])
@pytest.mark.embedded
def test_a_damaged_index_is_told_and_made_anew_on_request(notes: Path, damage: str) -> None:
    file = make(notes)
    sources = {path: path.read_bytes() for path in notes.iterdir()}
    whole = file.read_bytes()
    file.write_bytes(
        b"nonsense " * 1000
        if damage.startswith("not")
        else whole[:200] + bytes(len(whole) - 400) + whole[-200:]
    )
    with pytest.raises(ClinicalError, match=r"is damaged \(.*\); make it anew: clinical index add --rebuild"):
        find("warfarin", [str(notes)], WordBag())
    checked = run("verify")
    assert checked.exit_code == 1
    assert "is damaged" in checked.stderr
    rebuilt = run("add", "--rebuild", str(notes))
    assert (rebuilt.exit_code, rebuilt.stderr.splitlines()[-1]) == (0, "index: 2 added")
    assert run("verify").exit_code == 0
    assert {path: path.read_bytes() for path in notes.iterdir()} == sources


def test_an_index_of_another_version_is_told(notes: Path) -> None:
    with sqlite3.connect(make(notes)) as connection:
        connection.execute("UPDATE about SET value = '0' WHERE key = 'format'")
    connection.close()
    with pytest.raises(ClinicalError, match="is of another version; make it anew"):
        find("warfarin", [str(notes)], WordBag())
    said = f"the index of {notes} is of another version; make it anew: clinical index add --rebuild {notes}\n"
    assert [run(command).stderr.removeprefix("Error: ") for command in ("status", "verify", "compact")] == [
        said
    ] * 3
    # Nothing is taken out of what cannot be made whole again.
    kept = run("forget", str(notes / "two.txt"))
    assert (kept.exit_code, kept.stderr.splitlines()[0]) == (2, f"not looked into: {said.rstrip()}")
    assert run("forget", str(notes)).output == "0 files forgotten, 1 index erased\n"


def test_an_index_of_what_we_made_ourselves_is_made_anew_without_asking(notes: Path) -> None:
    cached = cache.folder("evaluation") / "articles"
    notes.rename(cached)
    file = make(cached)
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE about SET value = '0' WHERE key = 'format'")
    connection.close()
    assert [hit.text for hit in find("warfarin", [str(cached)], WordBag()).hits[:1]] == [
        "Plan: Warfarin was stopped after a bleed."
    ]
    file.write_bytes(b"no database")
    assert find("xylophonist", [str(cached)], WordBag()).changes.added == 2


def test_forgetting_a_file_leaves_no_trace_of_it(notes: Path) -> None:
    file = make(notes)
    assert b"xylophonist" in on_disk(file)
    result = run("forget", str(notes / "two.txt"))
    assert result.output == "1 file forgotten, 0 indexes erased\n"
    assert b"xylophon" not in on_disk(file)
    assert b"propranolol" not in on_disk(file)
    with Store.existing(file) as store:
        assert (store.size().files, store.faults()) == (1, [])


def test_forgetting_a_folder_erases_its_index(notes: Path) -> None:
    file = make(notes)
    assert run("forget", str(notes)).output == "0 files forgotten, 1 index erased\n"
    assert not [part for part in index_folder().iterdir() if part.suffix != ".lock"]
    assert not file.exists()
    assert sorted(path.name for path in notes.iterdir()) == ["one.txt", "two.txt"]
    again = run("forget", str(notes))
    assert (again.exit_code, again.stdout) == (2, "")
    assert "no index holds" in again.stderr


def test_a_damaged_index_can_be_forgotten(notes: Path) -> None:
    file = make(notes)
    file.write_bytes(b"nonsense")
    assert run("forget", str(notes)).exit_code == 0
    assert not file.exists()


def test_a_damaged_index_hides_no_other(notes: Path) -> None:
    make(notes)
    make(notes / "one.txt").write_bytes(b"nonsense" * 500)
    listed = run("status")
    assert listed.stdout.startswith(f"{notes.as_posix()}\t2 files\t")
    assert "is damaged" in listed.stderr
    forgotten = run("forget", str(notes / "two.txt"))
    assert (forgotten.exit_code, forgotten.stdout) == (1, "1 file forgotten, 0 indexes erased\n")
    assert "not looked into: the index of an unknown folder is damaged" in forgotten.stderr


def test_compacting_gives_space_back(notes: Path) -> None:
    long = notes / "long.txt"
    long.write_text("Fever and cough since Monday. " * 3000, encoding="utf-8")
    file = make(notes)
    long.unlink()
    make(notes)
    with Store.existing(file) as store:
        before = store.size().bytes
    assert run("compact", str(notes)).exit_code == 0
    with Store.existing(file) as store:
        assert store.size().bytes < before / 5
        assert store.faults() == []


def test_there_is_no_index_of_these(notes: Path) -> None:
    for command in ("status", "verify", "compact"):
        result = run(command, str(notes))
        assert (result.exit_code, result.stdout) == (2, "")
        assert "make one: clinical index add" in result.stderr
