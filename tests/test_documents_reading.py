"""Files, folders and standard input: what is found, what it is called, and one clear line for what is bad."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from clinical.documents.note import Note
from clinical.documents.reading import count, read
from clinical.errors import DocumentError

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that relative paths start from."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(*paths: str, stdin: bytes | None = None, max_bytes: int = 1_000_000) -> list[Note | str]:
    documents = read(paths, stdin=io.BytesIO(stdin) if stdin is not None else None, max_bytes=max_bytes)
    return [str(document) if isinstance(document, DocumentError) else document for document in documents]


def test_a_file_has_its_path_as_given(here: Path) -> None:
    (here / "ward").mkdir()
    (here / "ward" / "a.TXT").write_bytes(b"\xef\xbb\xbfNo fever.\r\n\tStable.\x00\r\n")
    text = "No fever.\r\n\tStable.\0\r\n"
    assert found("ward/a.TXT") == [Note("ward/a.TXT", text, "ward/a.TXT")]
    assert found("./ward//a.TXT") == [Note("ward/a.TXT", text, "ward/a.TXT")]
    whole = (here / "ward" / "a.TXT").as_posix()
    assert found(whole) == [Note(whole, text, whole)]


def test_folders_are_walked_in_sorted_order(here: Path) -> None:
    for name in (
        "b.txt",
        "a/z.md",
        "a/.hidden.txt",
        ".git/c.txt",
        "c.jpg",
        "d.exe",
        "noext",
        "README.md",
        "B.txt",
    ):
        (here / "notes" / name).parent.mkdir(parents=True, exist_ok=True)
        (here / "notes" / name).write_text(f"This is {name}.")
    skipped: Counter[str] = Counter()
    documents = list(read(["notes"], skipped=skipped))
    assert documents == [
        Note("notes/B.txt", "This is B.txt.", "notes/B.txt"),
        Note("notes/a/z.md", "This is a/z.md.", "notes/a/z.md"),
        Note("notes/b.txt", "This is b.txt.", "notes/b.txt"),
    ]
    assert skipped == {".jpg": 1, ".exe": 1, "without suffix": 1, "readme": 1}
    assert count(["notes"]) == 3


def test_a_file_given_twice_is_read_once(here: Path) -> None:
    (here / "notes").mkdir()
    (here / "notes" / "a.txt").write_text("Once.")
    assert found("notes", "notes/a.txt", "./notes/") == [Note("notes/a.txt", "Once.", "notes/a.txt")]
    assert count(["notes", "notes/a.txt"]) == 1


def test_an_id_names_one_document_of_a_run(here: Path) -> None:
    (here / "a.jsonl").write_text('{"id": "1", "text": "first"}\n{"id": "b.txt", "text": "second"}\n')
    (here / "b.jsonl").write_text('{"id": "1", "text": "other"}\n{"id": "2", "text": "fine"}\n')
    (here / "b.txt").write_text("A file.")
    assert found("a.jsonl", "b.jsonl", "b.txt") == [
        Note("1", "first", "a.jsonl"),
        Note("b.txt", "second", "a.jsonl"),
        "b.jsonl:1: the id '1' is that of a.jsonl:1 already; make the ids unique",
        Note("2", "fine", "b.jsonl"),
        "b.txt: the id 'b.txt' is that of a.jsonl:2 already; make the ids unique",
    ]


def test_resources_of_a_bundle_with_one_id(here: Path) -> None:
    report = '{"resource": {"resourceType": "DiagnosticReport", "id": "r", "text": {"div": "Clear"}}}'
    (here / "b.json").write_text(f'{{"resourceType": "Bundle", "entry": [{report}, {report}]}}')
    name = "b.json#DiagnosticReport/r"
    assert found("b.json") == [
        Note(name, "Clear", "b.json"),
        f"{name}: the id '{name}' is that of {name} already; make the ids unique",
    ]


def test_bad_input_is_one_line_each_and_the_rest_comes_out(here: Path) -> None:
    (here / "empty.txt").touch()
    (here / "blank.txt").write_text(" \r\n\t\ufeff\n")
    (here / "image.txt").write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR")
    (here / "broken.docx").write_text("not a zip")
    (here / "broken.pdf").write_text("not a pdf")
    (here / "gone.txt").symlink_to("nowhere")
    (here / "loop.txt").symlink_to("loop.txt")
    (here / "good.txt").write_text("Fine.")
    (here / "empty").mkdir()
    (here / "pictures").mkdir()
    for name in ("a.jpg", "b.JPG", "c.dcm"):
        (here / "pictures" / name).touch()
    names = "missing.txt empty.txt blank.txt image.txt broken.docx broken.pdf gone.txt loop.txt empty pictures good.txt"
    assert found(*names.split()) == [
        "missing.txt: no such file or folder",
        "empty.txt: empty",
        "blank.txt: nothing but white space",
        "image.txt: not text but a PNG image",
        "broken.docx: not a Word document: .docx files are zip archives, this is not one",
        "broken.pdf: not a PDF: it does not begin with %PDF",
        "gone.txt: a link to a file that is not there",
        "loop.txt: too many levels of symbolic links",
        "empty: an empty folder",
        "pictures: a folder with nothing readable (skipped: 1 .dcm, 2 .jpg); readable are .txt .text .md .markdown "
        ".html .htm .xhtml .rtf .pdf .docx .xml .json .jsonl .ndjson .csv .tsv",
        Note("good.txt", "Fine.", "good.txt"),
    ]
    assert found("nul\0byte.txt") == ["nul\0byte.txt: not a path"]


def test_a_large_file_is_refused_before_it_is_read(here: Path) -> None:
    with (here / "large.txt").open("wb") as file:
        file.truncate(200_000_000)  # takes no room on the disk
    assert found("large.txt", max_bytes=100_000_000) == [
        "large.txt: 200.0 MB, larger than the limit of 100.0 MB; raise --max-bytes"
    ]
    assert found("-", stdin=b"x" * 2000, max_bytes=1000) == [
        "-: larger than the limit of 1,000 bytes; raise --max-bytes"
    ]


def test_a_folder_that_links_to_itself_is_walked_once(here: Path) -> None:
    (here / "notes" / "deep").mkdir(parents=True)
    (here / "notes" / "deep" / "again").symlink_to(here / "notes")
    (here / "notes" / "a.txt").write_text("Once.")
    assert found("notes") == [
        Note("notes/a.txt", "Once.", "notes/a.txt"),
        "notes/deep/again: a link back to a folder that holds it; not followed",
    ]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_said(here: Path) -> None:
    (here / "closed.txt").write_text("x")
    (here / "closed.txt").chmod(0)
    (here / "closed").mkdir(mode=0)
    assert found("closed.txt", "closed") == ["closed.txt: permission denied", "closed: permission denied"]


def test_permission_denied_is_said(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "folder").mkdir()
    (here / "folder" / "a.txt").write_text("x")

    def refuse(path: object) -> list[str]:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "listdir", refuse)
    assert found("folder") == ["folder: permission denied"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_name_in_another_encoding_is_shown_with_escapes(here: Path) -> None:
    path = os.fsdecode(b"caf\xe9.txt")
    Path(path).write_text("Fine.")
    assert found(".") == [Note("caf\\xe9.txt", "Fine.", "caf\\xe9.txt")]


def test_a_named_file_of_another_kind_is_tried_by_its_content(here: Path) -> None:
    (here / "note.dat").write_text("Just text.")
    (here / "letter.doc").write_bytes(rb"{\rtf1 Really RTF}")
    (here / "page").write_text("<!DOCTYPE html><p>A page</p>")
    (here / "old.doc").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100))
    assert found("note.dat", "letter.doc", "page", "old.doc") == [
        Note("note.dat", "Just text.", "note.dat"),
        Note("letter.doc", "Really RTF", "letter.doc"),
        Note("page", "A page", "page"),
        "old.doc: not text but an old Word or Excel document",
    ]


def test_standard_input(here: Path) -> None:
    assert found("-", stdin=b"No fever.\r\n") == [Note("-", "No fever.\r\n")]
    assert found("-", stdin=b'{"id": "a", "text": "one"}\n{"text": "two"}\nbroken\n') == [
        Note("a", "one"),
        Note("-:2", "two"),
        "-:3: not valid JSON",
    ]
    assert found("-", stdin=rb"{\rtf1 From RTF}") == [Note("-", "From RTF")]
    fhir = b'{\n"resourceType": "DiagnosticReport",\n"text": {"div": "<div>Clear</div>"}}'
    assert found("-", stdin=fhir) == [Note("-", "Clear")]
    assert found("-", stdin=b"{braces} are text too") == [Note("-", "{braces} are text too")]
    assert found("-", stdin=b"") == ["-: empty"]
    assert found("-") == ["-: there is no standard input"]


def test_a_pipe_is_read_like_a_file() -> None:
    program = "from clinical.documents.reading import read; print([*read(['/dev/stdin'])])"
    done = subprocess.run(
        [sys.executable, "-c", program], input="Piped.", capture_output=True, text=True, check=True
    )
    assert (
        done.stdout
        == "[Note(id='/dev/stdin', text='Piped.', path='/dev/stdin', title=None, date=None, warnings=())]\n"
    )


def test_count_says_how_many_will_come(here: Path) -> None:
    (here / "a.jsonl").write_text('{"text": "a"}\n{"text": "b"}\n{"text": "c"}')
    (here / "b.txt").write_text("x")
    (here / "c.csv").write_text("text\nx\n")
    assert count(["a.jsonl", "b.txt", "missing"]) == 5
    assert count(["c.csv"]) is None
    assert count(["-"]) is None


def test_examples_are_all_read_and_always_alike() -> None:
    documents = list(read([str(EXAMPLES)]))
    assert [document for document in documents if isinstance(document, DocumentError)] == []
    assert len(documents) == 25
    assert documents == list(read([str(EXAMPLES)]))
    for document in documents:
        assert isinstance(document, Note)
        assert pickle.loads(pickle.dumps(document)) == document


def test_reading_is_a_stream(here: Path) -> None:
    for number in range(300):
        (here / f"{number:03}.txt").write_text(f"Note {number}.")
    documents = read(["."])
    assert next(documents) == Note("000.txt", "Note 0.", "000.txt")
    (here / "001.txt").write_text("Changed before it was read.")
    assert next(documents) == Note("001.txt", "Changed before it was read.", "001.txt")
