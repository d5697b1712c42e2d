"""`clinical ner`: what it prints, writes and refuses. The recognizer is a fake that marks capitalised words."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from fakes import FakeNerJob

from clinical.cli import cli
from clinical.commands.options import Documents
from clinical.documents.reading import MAX_BYTES
from clinical.errors import UsageError
from clinical.formats import FORMATS
from clinical.prompts.labels import by_name
from clinical.tasks.ner import SYSTEMS

NOTE = "Mrs Jones has no fever.\n"


@pytest.fixture(autouse=True)
def fake_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clinical.batch.ner.NerJob", FakeNerJob)


@pytest.fixture
def note(tmp_path: Path) -> Path:
    path = tmp_path / "note.txt"
    path.write_text(NOTE)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "notes"
    (root / "ward").mkdir(parents=True)
    (root / "a.txt").write_text("Anna coughs.")
    (root / "ward" / "b.txt").write_text("Bert has Asthma.")
    return root


def ner(*arguments: object, input: str | None = None) -> Result:
    return CliRunner().invoke(cli, ["ner", *map(str, arguments)], input=input)


def found(line: str) -> list[str]:
    return [entity["text"] for entity in json.loads(line)["entities"]]


def test_a_pipe_gets_json_lines(note: Path) -> None:
    result = ner(note)
    assert result.exit_code == 0
    record: dict[str, Any] = json.loads(result.stdout)
    assert (record["system"], record["model"]) == ("fake", "capitals")
    first, second = record["entities"]
    assert (first["start"], first["end"], first["text"]) == (0, 3, "Mrs")
    assert NOTE[second["start"] : second["end"]] == second["text"] == "Jones"
    assert result.stderr == "using fake, model capitals\n"


def test_several_documents_are_counted(folder: Path) -> None:
    result = ner(folder)
    assert [found(line) for line in result.stdout.splitlines()] == [["Anna"], ["Bert", "Asthma"]]
    assert result.stderr == "using fake, model capitals\n2 done, 0 skipped (already done), 0 failed\n"


def test_standard_input_is_read_with_a_dash_and_without() -> None:
    for arguments in (["-"], []):
        result = ner(*arguments, input="Anna sleeps.")
        assert result.exit_code == 0, result.stderr
        assert found(result.stdout) == ["Anna"]


def test_quiet_says_nothing_but_failures(folder: Path) -> None:
    (folder / "empty.txt").write_text("")
    result = ner(folder, "--quiet")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "empty.txt" in result.stderr


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_can_be_printed_and_written(format: str, note: Path, tmp_path: Path) -> None:
    printed = ner(note, "--format", format)
    assert printed.exit_code == 0, printed.stderr
    assert printed.stdout_bytes
    written = ner(note, "--format", format, "-o", tmp_path / "out")
    assert written.exit_code == 0, written.stderr
    results = [path for path in (tmp_path / "out").iterdir() if path.name != "manifest.jsonl"]
    assert results
    assert all(path.name.startswith("note.txt.") for path in results)


def test_a_folder_is_written_document_by_document_and_taken_up_again(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = ner(folder, "-o", out)
    assert first.exit_code == 0, first.stderr
    assert found((out / "a.txt.jsonl").read_text()) == ["Anna"]
    assert found((out / "ward" / "b.txt.jsonl").read_text()) == ["Bert", "Asthma"]
    again = ner(folder, "-o", out, "--workers", 2)
    assert again.stderr.splitlines()[-1].startswith("0 done, 2 skipped (already done), 0 failed")
    (folder / "c.txt").write_text("Carl")
    assert ner(folder, "-o", out).stderr.splitlines()[-1].startswith("1 done, 2 skipped")
    changed = ner(folder, "-o", out, "--no-assertion")
    assert changed.stderr.splitlines()[-1].startswith("3 done, 0 skipped")
    assert ner(folder, "-o", out, "--no-assertion", "--force").stderr.splitlines()[-1].startswith("3 done")


def test_records_with_odd_ids_stay_in_the_folder(tmp_path: Path) -> None:
    records = tmp_path / "records.jsonl"
    ids = ["../../up", "a/b", "Ä", "x" * 300, "con"]
    records.write_text("".join(json.dumps({"id": id, "text": f"Note {id[:3]}"}) + "\n" for id in ids))
    before = set(tmp_path.rglob("*"))
    result = ner(records, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    made = {path for path in set(tmp_path.rglob("*")) - before if path.is_file()}
    assert len(made) == len(ids) + 1
    assert all(path.parent == tmp_path / "out" for path in made)


def test_labels_by_name_and_by_file(note: Path, tmp_path: Path) -> None:
    named = json.loads(ner(note, "--labels", "symptom, Disease").stdout)
    assert {entity["label"] for entity in named["entities"]} == {"Symptom"}
    (tmp_path / "labels.yaml").write_text("Ward: a ward of the hospital\n")
    own = json.loads(ner(note, "--labels-file", tmp_path / "labels.yaml").stdout)
    assert {entity["label"] for entity in own["entities"]} == {"Ward"}


def test_threshold_leaves_out_what_scores_lower(note: Path) -> None:
    assert found(ner(note, "--threshold", "0.8").stdout) == ["Mrs", "Jones"]
    assert found(ner(note, "--threshold", "0.95").stdout) == []


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["NOTE", "--labels", "Diseese"], 2, "did you mean Disease?"),
        (["NOTE", "--labels", " , "], 2, "--labels names none"),
        (["NOTE", "--labels", "Disease", "--labels-file", "l.yaml"], 2, "give one of them"),
        (["NOTE", "--labels-file", "missing.yaml"], 2, "cannot read the labels file"),
        (["NOTE", "--system", "lihgt"], 2, "did you mean light? available: light, mistral, scispacy"),
        (["NOTE", "--format", "jsnol"], 2, "did you mean jsonl? available: table, jsonl"),
        (["NOTE", "-o", "NOTE"], 2, "looks like a file"),
        (["NOTE", "-o", "plain"], 2, "is a file; give a folder"),
        (["NOTE", "-o", "plain/below"], 1, "cannot write to"),
        (["NOTE", "-o", "out.jsonl"], 2, "clinical ner … > out.jsonl"),
        (["FOLDER", "-o", "FOLDER/out"], 2, "lies in the folder that is read"),
        (["FOLDER", "-o", "FOLDER"], 2, "lies in the folder that is read"),
        (["NOTE", "--workers", "2"], 2, "go with -o"),
        (["NOTE", "--workers", "0"], 2, "--workers"),
        (["NOTE", "--threshold", "2"], 2, "--threshold"),
        (["NOTE", "--max-bytes", "3"], 1, "note.txt"),
        (["missing.txt"], 2, "missing.txt"),
        (["EMPTY"], 1, "failed: EMPTY: an empty folder"),
        ([], 1, "-"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], code: int, words: str, note: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(note.parent)
    Path("plain").write_text("")
    Path("EMPTY").mkdir()
    places = {"NOTE": str(note), "FOLDER": str(folder), "FOLDER/out": str(folder / "out")}
    result = ner(*[places.get(argument, argument) for argument in arguments])
    assert words in result.stderr
    assert result.exit_code == code, result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    faults = [line for line in result.stderr.splitlines() if line.startswith(("Error: ", "failed: "))]
    assert len(faults) == 1


def test_one_missing_path_does_not_cost_the_others(note: Path) -> None:
    result = ner(note, note.parent / "missing.txt", "-q")
    assert found(result.stdout.splitlines()[0]) == ["Mrs", "Jones"]
    assert result.exit_code == 1
    assert "missing.txt" in result.stderr


def test_nothing_to_read_on_a_terminal_is_a_wrong_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clinical.commands.options.sys.stdin", None)
    with pytest.raises(UsageError, match="nothing to read; give a file"):
        Documents([])


def test_names_in_the_help_are_those_there_are() -> None:
    help = " ".join(ner("--help").stdout.split())
    for name in (*SYSTEMS, *FORMATS):
        assert name in help
    assert f"[default: {MAX_BYTES // 10**6} MB]" in help


def test_files_of_other_kinds_in_a_folder_are_counted(folder: Path) -> None:
    (folder / "scan.png").write_bytes(b"")
    assert (
        ner(folder).stderr.splitlines()[-1]
        == "2 done, 0 skipped (already done), 0 failed; passed over: 1 .png"
    )


def test_no_model_is_loaded_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeNerJob, "load", lambda _: pytest.fail("loaded"))
    (tmp_path / "empty.txt").touch()
    result = ner(tmp_path / "empty.txt")
    assert (result.exit_code, result.stderr) == (1, f"failed: {tmp_path / 'empty.txt'}: empty\n")


@pytest.mark.embedded
def test_the_real_command_in_a_real_process(note: Path, tmp_path: Path) -> None:
    note.write_text("She takes metformin 500 mg twice daily for type 2 diabetes. No fever.\n")
    command = [sys.executable, "-m", "clinical", "ner", str(note)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"})
    assert done.returncode == 0, done.stderr
    assert "metformin" in found(done.stdout)
    written = subprocess.run([*command, "-o", str(tmp_path / "out")], capture_output=True, text=True)
    assert written.returncode == 0, written.stderr
    assert json.loads((tmp_path / "out" / "note.txt.jsonl").read_text()) == json.loads(done.stdout)


def test_settings_know_content_and_not_paths(tmp_path: Path) -> None:
    """What the manifest compares: another prompt under the same name is another, the same elsewhere is not."""
    one, two = tmp_path / "one.txt", tmp_path / "two.txt"
    one.write_text("Mark $labels in: $text")
    two.write_text("Mark $labels in: $text")
    assert FakeNerJob(prompt=str(one)).settings() == FakeNerJob(prompt=str(two)).settings()
    before = FakeNerJob(prompt=str(one)).settings()
    one.write_text("Find $labels in: $text")
    assert FakeNerJob(prompt=str(one)).settings() != before
    assert FakeNerJob(prompt="ner.v1").settings() != FakeNerJob(prompt="ner.v2").settings()


@pytest.mark.parametrize(
    "change",
    [
        {"labels": by_name(["Disease"])},
        {"labels": (replace(by_name(["Disease"])[0], definition="another"),)},
        {"assertion": False},
        {"threshold": 0.5},
        {"format": "csv"},
        {"scheme": "bc5cdr"},
    ],
)
def test_every_option_that_changes_results_is_in_the_settings(change: dict[str, Any]) -> None:
    assert FakeNerJob(**change).settings() != FakeNerJob(labels=by_name(["Symptom"])).settings()
    assert FakeNerJob(**change).settings() != FakeNerJob().settings()
