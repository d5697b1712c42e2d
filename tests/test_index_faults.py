"""What goes wrong with an index is one line that says what to do, and loses nothing."""

from __future__ import annotations

import errno
import os
import resource
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from test_search import WordBag

from clinical.cli import cli
from clinical.errors import ClinicalError
from clinical.index import segment
from clinical.index import store as storing
from clinical.index.location import VARIABLE, index_file, index_folder
from clinical.index.opening import Kind, open_index
from clinical.index.update import Changes, update
from clinical.tasks.search import find

KINDS: list[Kind] = ["sqlite", "lance"]


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    for number in range(30):
        (folder / f"{number}.txt").write_text(
            f"Visit {number}.\n" + "Plan: Warfarin was stopped. Fever.\n" * 40
        )
    return folder


def make(notes: Path, kind: Kind = "sqlite") -> Changes:
    paths = [str(notes)]
    with open_index(paths, "words", kind) as index:
        return update(index, paths, WordBag())


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["index", *arguments])


def test_a_data_folder_that_cannot_be_written(
    notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "file" / "index"))
    with pytest.raises(
        ClinicalError,
        match=r"^no index can be kept in .*/file/index: Not a directory; set CLINICAL_INDEX to a folder",
    ):
        find("warfarin", [str(notes)], WordBag())


def test_a_disk_that_is_read_only(notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(notes)
    connect = storing._connect

    def read_only(path: Path) -> sqlite3.Connection:
        connection = connect(path)
        connection.execute("PRAGMA query_only = ON")
        return connection

    (notes / "new.txt").write_text("Xylophonist.")
    with monkeypatch.context() as patch:
        patch.setattr(storing, "_connect", read_only)
        with pytest.raises(
            ClinicalError, match=r"cannot be used: attempt to write a readonly database .*nothing was"
        ):
            make(notes)
        # What is there can be searched as long as there is nothing to write.
        (notes / "new.txt").unlink()
        assert find("warfarin", [str(notes)], WordBag()).hits


def test_a_full_disk_keeps_what_was_there(notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(notes)
    connect = storing._connect
    pages = index_file([str(notes)]).stat().st_size // 4096

    def nearly_full(path: Path) -> sqlite3.Connection:
        connection = connect(path)
        connection.execute(f"PRAGMA max_page_count = {pages + 4}")
        return connection

    (notes / "new.txt").write_text("Xylophonist. " * 20_000)
    with monkeypatch.context() as patch:
        patch.setattr(storing, "_connect", nearly_full)
        with pytest.raises(
            ClinicalError, match=r"cannot be used: database or disk is full .*; nothing was lost$"
        ):
            make(notes)
    assert run("verify").exit_code == 0
    assert str(make(notes)) == "1 added, 30 unchanged"


def test_a_full_disk_costs_the_copy_only(
    notes: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(storing, "COPY_FROM", 1)
    monkeypatch.setattr(segment.os, "fsync", full)
    make(notes)
    assert "searches will be slow: " in caplog.text
    assert "No space left on device" in caplog.text
    assert find("warfarin", [str(notes)], WordBag()).hits
    assert not list(index_folder().glob("*.scan*"))


DRIVER = """
import sys
sys.path.insert(0, sys.argv[1])
from test_search import WordBag
from clinical.errors import ClinicalError
from clinical.index.opening import open_index
from clinical.index.update import update
try:
    with open_index([sys.argv[2]], "words", sys.argv[3]) as index:
        update(index, [sys.argv[2]], WordBag())
except ClinicalError as error:
    print(error)
"""


@pytest.mark.parametrize("kind", KINDS)
def test_writes_that_fail_in_earnest(notes: Path, kind: Kind) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    command = [sys.executable, "-c", DRIVER, str(Path(__file__).parent), str(notes), kind]
    done = subprocess.run(command, preexec_fn=limit, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert line.startswith(f"the index of {notes} cannot be used: ")
    assert make(notes, kind).changed + make(notes, kind).added <= 30
    assert run("verify").stdout == f"{notes}: whole\n"
    assert len(find("warfarin", [str(notes)], WordBag(), k=10).hits) == 10


@pytest.mark.embedded
def test_a_damaged_lance_index_is_told_and_made_anew_on_request(notes: Path) -> None:
    make(notes, "lance")
    sources = {path: path.read_bytes() for path in notes.iterdir()}
    for file in index_folder().rglob("*.manifest"):
        if "passages" in str(file):
            file.write_bytes(b"nonsense" * 40)
    checked = run("verify")
    assert (checked.exit_code, checked.stdout) == (1, "")
    (line,) = checked.stderr.splitlines()
    assert line.startswith(f"the index of {notes} cannot be used: ")
    assert line.endswith(f"make it anew: clinical index add --rebuild {notes}")
    for path in list(notes.iterdir())[3:]:
        path.unlink()
    rebuilt = run("add", "--rebuild", str(notes))
    assert (rebuilt.exit_code, rebuilt.stderr.splitlines()[-1]) == (0, "index: 3 added")
    assert run("verify").stdout == f"{notes}: whole\n"
    assert all(path.read_bytes() == sources[path] for path in notes.iterdir())
    make_damaged = next(file for file in index_folder().rglob("*.manifest"))
    make_damaged.write_bytes(b"")
    assert run("forget", str(notes)).exit_code == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_that_vanished_empties_no_index(notes: Path, kind: Kind) -> None:
    make(notes, kind)
    notes.rename(notes.with_name("unplugged"))
    with pytest.raises(
        ClinicalError, match=r"no such file or folder; if it is gone for good, clinical index forget"
    ):
        find("warfarin", [str(notes)], WordBag())
    assert run("status").stdout.split("\t")[1] == "30 files"
    assert run("forget", str(notes)).output == "0 files forgotten, 1 index erased\n"


def test_a_place_on_s3_that_cannot_be_reached(notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        VARIABLE: "s3://hospital/search",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
    }.items():
        monkeypatch.setenv(name, value)
    result = run("status")
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: s3://hospital/search cannot be reached: ")
    assert line.endswith("; check CLINICAL_INDEX and the AWS_… variables")
    assert len(line) < 300
