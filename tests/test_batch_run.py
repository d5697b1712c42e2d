"""A run over documents: what it writes, what it skips, what it does when documents or workers fail."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable
from pathlib import Path

import pytest
from fakes import FakeJob

from clinical.batch.manifest import Manifest
from clinical.batch.progress import PlainProgress, Tally
from clinical.batch.run import run
from clinical.documents.note import Note
from clinical.errors import ClinicalError, DocumentError, UsageError

SECRET = "Xanthippe"


def note(name: str, text: str = "Pain in the Knee") -> Note:
    return Note(f"in/{name}", text, f"in/{name}")


def go(
    out: Path,
    documents: Iterable[Note | DocumentError],
    job: FakeJob | None = None,
    *,
    workers: int = 1,
    force: bool = False,
) -> Tally:
    quiet = PlainProgress(None)
    return run(job or FakeJob(), documents, out, quiet, root=Path("in"), workers=workers, force=force)


def files(out: Path) -> dict[str, str]:
    found = [path for path in out.rglob("*") if path.is_file() and path.name != "manifest.jsonl"]
    return {path.relative_to(out).as_posix(): path.read_text() for path in found}


def events(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]


def test_one_result_per_document_beside_its_path(tmp_path: Path) -> None:
    tally = go(tmp_path / "out", [note("a.txt"), note("b/a.txt", "no word")])
    assert tally == Tally(done=2)
    assert files(tmp_path / "out") == {
        "a.txt.txt": "in/a.txt plain ['Pain', 'Knee']\n",
        "b/a.txt.txt": "in/b/a.txt plain []\n",
    }


def test_manifest_says_what_was_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    go(tmp_path, [note("a.txt"), DocumentError("in/b.pdf", "encrypted")])
    started, failed, done = events(tmp_path)
    assert started["event"] == "run"
    assert started["chosen"] == {"option": "plain", "system": "fake", "model": "capitals"}
    assert failed["event"] == "failed"
    assert (failed["id"], failed["reason"]) == ("in/b.pdf", "encrypted")
    assert {key: done[key] for key in ("event", "id", "path", "sha256", "counts")} == {
        "event": "done",
        "id": "in/a.txt",
        "path": "in/a.txt",
        "sha256": note("a.txt").sha256,
        "counts": {"words": 2},
    }
    assert capsys.readouterr().err == "using fake, model capitals\nfailed: in/b.pdf: encrypted\n"


def test_second_run_skips_what_is_done(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    job = FakeJob(journal=journal)
    documents = [note("a.txt"), note("b.txt"), note("c.txt", "BUG")]
    assert go(tmp_path / "out", documents, job) == Tally(done=2, failed=1)
    journal.unlink()
    assert go(tmp_path / "out", documents, job) == Tally(skipped=2, failed=1)
    assert journal.read_text() == "in/c.txt\n"


@pytest.mark.parametrize(
    ("change", "tally"),
    [
        ("text", Tally(done=1, skipped=1)),
        ("option", Tally(done=2)),
        ("model", Tally(done=2)),
        ("force", Tally(done=2)),
        ("missing result", Tally(done=1, skipped=1)),
        ("spoiled result", Tally(done=1, skipped=1)),
        ("no manifest", Tally(done=2)),
        ("nothing", Tally(skipped=2)),
    ],
)
def test_what_changed_is_done_again(tmp_path: Path, change: str, tally: Tally) -> None:
    go(tmp_path, [note("a.txt"), note("b.txt")])
    match change:
        case "missing result":
            (tmp_path / "a.txt.txt").unlink()
        case "spoiled result":
            (tmp_path / "a.txt.txt").write_text("half a res")
        case "no manifest":
            (tmp_path / "manifest.jsonl").unlink()
    job = FakeJob(
        option="other" if change == "option" else "plain", model="new" if change == "model" else "capitals"
    )
    first = note("a.txt", "A new Text" if change == "text" else "Pain in the Knee")
    assert go(tmp_path, [first, note("b.txt")], job, force=change == "force") == tally
    words = "['A', 'Text']" if change == "text" else "['Pain', 'Knee']"
    assert files(tmp_path)["a.txt.txt"] == f"in/a.txt {job.option} {words}\n"


def test_going_back_to_former_options_does_not_trust_overwritten_results(tmp_path: Path) -> None:
    for option in ("one", "two", "one"):
        assert go(tmp_path, [note("a.txt")], FakeJob(option=option)) == Tally(done=1)
        assert files(tmp_path) == {"a.txt.txt": f"in/a.txt {option} ['Pain', 'Knee']\n"}


@pytest.mark.parametrize(
    "torn",
    [
        "",
        "{",
        '{"event": "done", "id": "b.txt", "sha2',
        '{"event": "done"}\nnot json\n[]\n{"event": "done", "files": 3}\n7\n',
    ],
)
def test_torn_or_spoiled_lines_of_the_manifest_cost_one_document(tmp_path: Path, torn: str) -> None:
    go(tmp_path, [note("a.txt"), note("b.txt")])
    lines = (tmp_path / "manifest.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "manifest.jsonl").write_text("".join(lines[:-1]) + torn)
    assert go(tmp_path, [note("a.txt"), note("b.txt")]) == Tally(done=1, skipped=1)
    assert go(tmp_path, [note("a.txt"), note("b.txt")]) == Tally(skipped=2)


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("workers", [1, 2])
def test_one_bad_document_costs_no_other(tmp_path: Path, batch_size: int, workers: int) -> None:
    names = [f"{n}.txt" for n in range(6)]
    documents = [note(name, "BUG" if name == "2.txt" else "Fine") for name in names]
    job = FakeJob(batch_size=batch_size)
    assert go(tmp_path, documents, job, workers=workers) == Tally(done=5, failed=1)
    assert sorted(files(tmp_path)) == [f"{n}.txt.txt" for n in range(6) if n != 2]


@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_document_that_kills_its_worker_is_tried_twice_and_named(
    tmp_path: Path, batch_size: int, capsys: pytest.CaptureFixture[str]
) -> None:
    documents = [note(f"{n}.txt", "KILL" if n == 2 else "Fine") for n in range(6)]
    job = FakeJob(batch_size=batch_size, journal=tmp_path / "journal")
    assert go(tmp_path / "out", documents, job, workers=2) == Tally(done=5, failed=1)
    assert (tmp_path / "journal").read_text().split().count("in/2.txt") == 2
    assert (
        "failed: in/2.txt: its worker process died twice (SIGKILL, out of memory?)" in capsys.readouterr().err
    )


def test_what_workers_remark_is_said_once_beside_the_progress(tmp_path: Path) -> None:
    lines: list[str] = []

    class Shown(PlainProgress):
        def say(self, line: str) -> None:
            lines.append(line)

    documents = [note(f"{n}.txt", "REMARK") for n in range(4)]
    run(FakeJob(), documents, tmp_path, Shown(None), workers=2)
    assert lines == ["using fake, model capitals", "there are notes like this"]


def test_a_worker_that_dies_by_chance_costs_nothing(tmp_path: Path) -> None:
    documents = [note(f"{n}.txt", "KILL ONCE" if n == 1 else "Fine") for n in range(4)]
    assert go(tmp_path / "out", documents, FakeJob(journal=tmp_path / "journal")) == Tally(done=4)


def test_when_only_deaths_come_the_run_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clinical.batch.workers.MOST_DEATHS_IN_A_ROW", 4)
    documents = [note(f"{n}.txt", "KILL") for n in range(200)]
    with pytest.raises(ClinicalError, match="the workers keep dying"):
        go(tmp_path, documents, FakeJob(batch_size=4))


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ("usage", UsageError, "no such model"),
        ("bug", RuntimeError, "KeyError: 'weights'"),
        ("kill", ClinicalError, "keep dying"),
    ],
)
def test_a_job_that_cannot_be_loaded_stops_the_run(
    tmp_path: Path, fault: str, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        go(tmp_path, [note("a.txt")], FakeJob(cannot_load=fault), workers=2)


def test_a_wrong_call_that_only_the_model_can_see_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no label 'Diseese'"):
        go(tmp_path, [note("a.txt", "WRONG CALL")])


def test_no_word_of_a_note_is_in_manifest_or_messages(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kinds = ("BUG", "KILL", "UNREADABLE", "fine")
    documents = [note(f"{kind}.txt", f"{SECRET} {kind}") for kind in kinds]
    assert go(tmp_path, documents) == Tally(done=1, failed=3)
    assert SECRET not in (tmp_path / "manifest.jsonl").read_text()
    said = capsys.readouterr()
    assert SECRET not in said.err + said.out
    assert "failed: in/BUG.txt: ValueError in fakes line " in said.err


def test_a_second_run_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    with Manifest(tmp_path), pytest.raises(ClinicalError, match="another run is writing to"):
        go(tmp_path, [note("a.txt")])
    assert go(tmp_path, [note("a.txt")]) == Tally(done=1)


def test_a_name_that_cannot_be_written_fails_alone(tmp_path: Path) -> None:
    # A result that another document needs as a folder: the file "a.txt.txt" and the folder "a.txt.txt/".
    documents = [note("a.txt"), note("a.txt.txt/b"), note("c.txt")]
    assert go(tmp_path, documents) == Tally(done=2, failed=1)
    assert [event["id"] for event in events(tmp_path) if event["event"] == "failed"] == ["in/a.txt.txt/b"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ClinicalError, match=r"cannot write to .*Permission denied"):
        go(tmp_path / "out", [note("a.txt")])


def test_a_full_disk_stops_the_run_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    documents = [note("a.txt"), note("b.txt")]
    with monkeypatch.context() as patched:
        calls = iter(range(10))

        def full(_: int) -> None:
            if next(calls) == 1:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        patched.setattr(os, "fsync", full)
        with pytest.raises(ClinicalError, match="No space left on device; what is done is kept"):
            go(tmp_path, documents)
    assert go(tmp_path, documents) == Tally(done=1, skipped=1)
    assert len(files(tmp_path)) == 2


def test_a_file_is_no_output_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(UsageError, match="is a file; give a folder"):
        go(tmp_path / "out", [note("a.txt")])


def test_documents_keep_their_names_when_others_come_and_go(tmp_path: Path) -> None:
    upper, lower = note("Anna.txt", "Upper"), note("anna.txt", "Lower")
    go(tmp_path, [upper, lower])
    before = files(tmp_path)
    assert len(before) == 2
    assert go(tmp_path, [lower], force=True) == Tally(done=1)
    assert files(tmp_path) == before


def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    def documents() -> Iterable[Note]:
        for n in range(3):
            yield note(f"{n}.txt")
        raise KeyboardInterrupt

    with pytest.raises(
        KeyboardInterrupt, match=r"^Interrupted: \d done, 0 skipped \(already done\), 0 failed\. The same"
    ):
        go(tmp_path, documents())
    go(tmp_path, [note(f"{n}.txt") for n in range(3)])
    assert len(files(tmp_path)) == 3
