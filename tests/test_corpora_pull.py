"""`clinical corpora pull`: fetched from a server of ours, resumed, checked, converted; nothing half in its place."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from clinical.cli import cli
from clinical.corpora import conversion, originals
from clinical.corpora.catalog import find
from clinical.corpora.conversion import iob
from clinical.corpora.download import download
from clinical.corpora.originals import BY_HAND, PULLS, Original, Pull
from clinical.corpora.records import read
from clinical.errors import ClinicalError

CONTENT = bytes(range(256)) * 2000
TRAIN = "Aspirin\tB-Chemical\nhelps\tO\nbad\tB-Disease\nheadache\tI-Disease\n.\tO\n\nRest\tO\n"
DEV = "gout\tI-Disease\nflu\tB-Disease\npox\tB-Disease\n"


class Server(ThreadingHTTPServer):
    """Files by path. `breaks` says after how many bytes the next answers break off; `ranges` whether it can resume."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.breaks: list[int] = []
        self.ranges = True
        self.version = '"1"'
        self.asked: list[tuple[str, str | None]] = []

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"


class Handler(BaseHTTPRequestHandler):
    """Answers GET with a file, a part of it, a redirect or 404."""

    server: Server

    def do_GET(self) -> None:
        path, wanted = self.path.lstrip("/"), self.headers.get("Range")
        self.server.asked.append((path, wanted))
        if path.startswith("moved/"):
            self.send_response(302)
            self.send_header("Location", f"/{path.removeprefix('moved/')}")
            self.end_headers()
            return
        if path not in self.server.files:
            self.send_error(404)
            return
        content = self.server.files[path]
        resumes = wanted and self.server.ranges and self.headers.get("If-Range") == self.server.version
        first = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and resumes else 0
        self.send_response(206 if resumes else 200)
        self.send_header("ETag", self.server.version)
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        last = first + self.server.breaks.pop(0) if self.server.breaks else len(content)
        self.wfile.write(content[first:last])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as serving:
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


def silent(done: int, total: int | None) -> None:
    pass


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# --- one file ----------------------------------------------------------------------------------------


def test_a_file_is_fetched_and_its_progress_told(server: Server, tmp_path: Path) -> None:
    server.files["a"] = CONTENT
    told: list[tuple[int, int | None]] = []
    found = download(
        server.url("a"), tmp_path / "sub" / "a", None, lambda done, total: told.append((done, total))
    )
    assert found == sha256(CONTENT)
    assert (tmp_path / "sub" / "a").read_bytes() == CONTENT
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["a"]


def test_a_transfer_that_breaks_goes_on_where_it_was(server: Server, tmp_path: Path) -> None:
    server.files["a"] = CONTENT
    server.breaks = [100_000, 200_000]
    download(server.url("a"), tmp_path / "a", sha256(CONTENT), silent)
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert [wanted for _, wanted in server.asked] == [None, "bytes=100000-", "bytes=300000-"]


def test_what_has_come_is_kept_for_the_next_call(server: Server, tmp_path: Path) -> None:
    server.files["a"] = CONTENT
    server.breaks = [100_000, 0, 0]
    with pytest.raises(
        ClinicalError, match=r"the connection failed .*100,000 bytes are kept, call again to go on"
    ):
        download(server.url("a"), tmp_path / "a", None, silent)
    assert not (tmp_path / "a").exists()
    download(server.url("a"), tmp_path / "a", None, silent)
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert server.asked[-1] == ("a", "bytes=100000-")


def test_a_server_that_cannot_resume_sends_all_again(server: Server, tmp_path: Path) -> None:
    server.files["a"] = CONTENT
    server.ranges = False
    server.breaks = [100_000]
    download(server.url("a"), tmp_path / "a", sha256(CONTENT), silent)
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_a_file_that_changed_meanwhile_is_never_mixed(server: Server, tmp_path: Path) -> None:
    server.files["a"] = CONTENT
    server.breaks = [100_000, 0, 0]
    with pytest.raises(ClinicalError):
        download(server.url("a"), tmp_path / "a", None, silent)
    server.files["a"], server.version = CONTENT[::-1], '"2"'
    download(server.url("a"), tmp_path / "a", None, silent)
    assert (tmp_path / "a").read_bytes() == CONTENT[::-1]


def test_a_wrong_checksum_keeps_nothing(server: Server, tmp_path: Path) -> None:
    server.files["a"] = CONTENT
    with pytest.raises(ClinicalError, match=r"SHA-256 .* not 0000; it was thrown away"):
        download(server.url("a"), tmp_path / "a", "0000", silent)
    assert list(tmp_path.iterdir()) == []


def test_a_redirect_is_followed_and_404_is_told(server: Server, tmp_path: Path) -> None:
    server.files["a"] = CONTENT
    assert download(server.url("moved/a"), tmp_path / "a", None, silent) == sha256(CONTENT)
    with pytest.raises(ClinicalError, match="the server answers 404 Not Found"):
        download(server.url("b"), tmp_path / "b", None, silent)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_is_there_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(CONTENT)
    download(server.url("a"), tmp_path / "a", sha256(CONTENT), silent)
    assert server.asked == []


def test_no_server_at_all_is_one_line(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ClinicalError, match="the connection failed"):
        download("http://127.0.0.1:9/a", tmp_path / "a", None, silent)


# --- a corpus ----------------------------------------------------------------------------------------


@pytest.fixture
def bc5cdr(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """A server that has a small BC5CDR of ours."""
    server.files |= {"train.tsv": TRAIN.encode(), "devel.tsv": DEV.encode(), "test.tsv": DEV.encode()}
    files = tuple(Original(server.url(name)) for name in ("train.tsv", "devel.tsv", "test.tsv"))
    monkeypatch.setattr(originals, "PULLS", {"bc5cdr": Pull(files, partial(iob, "bc5cdr"))})
    monkeypatch.setattr("clinical.corpora.pull.PULLS", originals.PULLS)
    return server


def pull(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["corpora", "pull", *map(str, arguments)])


def test_a_corpus_is_pulled_and_can_be_read(
    bc5cdr: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = pull("bc5cdr", "--to", tmp_path)
    assert result.exit_code == 0, result.output
    folder = tmp_path / "ner" / "bc5cdr"
    assert result.stdout.splitlines() == [
        str(folder / f"{split}.jsonl.gz") for split in ("dev", "test", "train")
    ]
    assert "CC BY 4.0" in result.stderr
    assert f"to read it: CLINICAL_CORPORA={tmp_path}" in result.stderr
    monkeypatch.setenv("CLINICAL_CORPORA", str(tmp_path))
    first, second = read("bc5cdr", "train")
    assert (first.id, first.text, second.text) == (
        "bc5cdr-train-00000",
        "Aspirin helps bad headache .",
        "Rest",
    )
    assert [(m.start, m.end, m.raw_label) for m in first.mentions] == [
        (0, 7, "Chemical"),
        (14, 26, "Disease"),
    ]
    (dev,) = read("bc5cdr", "dev")
    assert [m.text for m in dev.mentions] == ["gout", "flu", "pox"]


def test_the_first_checksum_holds_from_then_on(bc5cdr: Server, tmp_path: Path) -> None:
    assert pull("bc5cdr", "--to", tmp_path).exit_code == 0
    asked = len(bc5cdr.asked)
    assert pull("bc5cdr", "--to", tmp_path).exit_code == 0
    assert len(bc5cdr.asked) == asked  # nothing is fetched twice
    (tmp_path / "originals" / "bc5cdr" / "train.tsv").unlink()
    bc5cdr.files["train.tsv"] = DEV.encode()
    result = pull("bc5cdr", "--to", tmp_path)
    assert result.exit_code == 1
    assert "the SHA-256" in result.stderr
    assert "Traceback" not in result.output


def test_what_was_there_stays_when_a_pull_fails(bc5cdr: Server, tmp_path: Path) -> None:
    assert pull("bc5cdr", "--to", tmp_path).exit_code == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.jsonl.gz")}
    del bc5cdr.files["test.tsv"]
    (tmp_path / "originals" / "bc5cdr" / "test.tsv").unlink()
    assert pull("bc5cdr", "--to", tmp_path).exit_code == 1
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.jsonl.gz")} == before


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("mashqa",), "mashqa cannot be pulled: Google Drive asks for a browser"),
        (("e3c",), "e3c cannot be pulled: by hand from https://github.com/hltfbk/E3C-Corpus"),
        (("bc5cdt",), "did you mean bc5cdr"),
    ],
)
def test_what_cannot_be_pulled_says_what_to_do(arguments: tuple[str, ...], reason: str) -> None:
    result = pull(*arguments)
    assert result.exit_code == 2
    assert reason in result.stderr


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = pull("bc5cdr", "--to", tmp_path / "file" / "sub")
    assert result.exit_code == 2
    assert "name another folder with --to" in result.stderr


def test_every_address_names_a_commit_and_every_corpus_is_known() -> None:
    for name in [*PULLS, *BY_HAND]:
        assert find(name).name == name
    for plan in PULLS.values():
        for original in plan.originals:
            assert any(len(part) == 40 for part in original.address.split("/")), original.address


# --- conversions -------------------------------------------------------------------------------------


def records(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).decode().splitlines()]


def table(path: Path, *rows: tuple[str, ...]) -> Path:
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    path.write_text(out.getvalue(), encoding="utf-8-sig")
    return path


def test_a_dialogue_in_two_splits_leaves_the_earlier_one(tmp_path: Path) -> None:
    head = ("ID", "section_header", "section_text", "dialogue")
    long = "The patient is a pleasant lady of forty who comes in with a cough today."
    files = [
        table(
            tmp_path / "a",
            head,
            ("0", "HPI", "None.", "Hi."),
            ("1", "HPI", "x", "Hello."),
            ("2", "CC", long, "One"),
        ),
        table(tmp_path / "b", head, ("0", "HPI", "None.", "hello. ")),
        table(tmp_path / "c", head, ("0", "CC", long.upper(), "Two\r\nlines")),
    ]
    conversion.mts_dialog(files, tmp_path / "out")
    train, dev, test = (records(tmp_path / "out" / f"{split}.jsonl.gz") for split in ("train", "dev", "test"))
    assert train == [{"id": "mts-train-0", "source": "Hi.", "target": "None.", "section": "HPI"}]
    assert dev == [{"id": "mts-dev-0", "source": "hello.", "target": "None.", "section": "HPI"}]
    assert test[0]["source"] == "Two\nlines"


def test_medquad_is_checked_after_unpacking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = "".join(
        f'<QAPair pid="{n}"><Question qid="q{n}" qtype="t">Q{n} ?</Question><Answer>A{n}.</Answer></QAPair>'
        for n in (1, 2)
    )
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        for number in range(20):
            page = f'<Document id="{number}" source="S" url="u"><Focus>F</Focus>{pages}</Document>'.encode()
            entry = tarfile.TarInfo(f"MedQuAD-577/1_S_QA/{number}.xml")
            entry.size = len(page)
            archive.addfile(entry, io.BytesIO(page))
    with pytest.raises(ClinicalError, match="its pages are not those of the commit"):
        conversion.medquad([tmp_path / "a.tar.gz"], tmp_path / "out")
    with tarfile.open(tmp_path / "a.tar.gz") as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    monkeypatch.setattr(conversion, "MEDQUAD_PAGES", conversion.pages_digest(tmp_path / "unpacked"))
    conversion.medquad([tmp_path / "a.tar.gz"], tmp_path / "out")
    splits = [records(tmp_path / "out" / f"{split}.jsonl.gz") for split in ("train", "dev", "test")]
    documents = [{record["document"] for record in split} for split in splits]
    assert sum(map(len, splits)) == 40
    assert sum(map(len, documents)) == 20  # no page stands in two splits
    assert min(splits[0], key=lambda r: str(r["id"]))["question"] == "Q1 ?"


def test_pubmedqa_keeps_the_published_test_set(tmp_path: Path) -> None:
    entry = {
        "QUESTION": "q", "CONTEXTS": ["c"], "LABELS": ["l"], "MESHES": [], "YEAR": None, "LONG_ANSWER": "a",
        "final_decision": "yes",
    }  # fmt: skip
    (tmp_path / "all").write_text(json.dumps({str(number): entry for number in range(60)}))
    (tmp_path / "test").write_text(json.dumps({"3": "yes", "5": "no"}))
    conversion.pubmedqa([tmp_path / "all", tmp_path / "test"], tmp_path / "out")
    sizes = {
        split: len(records(tmp_path / "out" / f"{split}.jsonl.gz")) for split in ("train", "dev", "test")
    }
    assert sizes == {"train": 8, "dev": 50, "test": 2}


def test_baize_becomes_conversations(tmp_path: Path) -> None:
    chat = "The conversation\n[|Human|] a\n[|AI|] b\n[|Human|] "
    (tmp_path / "chat.json").write_text(json.dumps([{"topic": "t", "input": chat}]))
    conversion.baize([tmp_path / "chat.json"], tmp_path / "out")
    assert records(tmp_path / "out" / "train.jsonl.gz") == [
        {
            "id": "chat.json:1",
            "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
        }
    ]


def workbook(path: Path, *rows: tuple[str, ...]) -> Path:
    """An Excel workbook as Excel writes it, as far as it is read: shared strings, numbers, a gap."""
    strings = list(dict.fromkeys(cell for row in rows for cell in row if cell and not cell.isdigit()))
    cells = [
        "".join(
            f'<c r="{"ABCDE"[column]}{number}"{"" if cell.isdigit() else " t=" + chr(34) + "s" + chr(34)}>'
            f"<v>{cell if cell.isdigit() else strings.index(cell)}</v></c>"
            for column, cell in enumerate(row)
            if cell
        )
        for number, row in enumerate(rows, 1)
    ]
    space = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    shared = "".join(f"<si><t>{text}</t></si>" for text in strings)
    sheet = "".join(f'<row r="{number}">{row}</row>' for number, row in enumerate(cells, 1))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("xl/sharedStrings.xml", f"<sst {space}>{shared}</sst>")
        archive.writestr(
            "xl/worksheets/sheet1.xml", f"<worksheet {space}><sheetData>{sheet}</sheetData></worksheet>"
        )
    return path


def test_workbooks_become_questions_and_summaries(tmp_path: Path) -> None:
    rows = [("File", "CHQ", "Summary"), *((f"f{n}", f"long {n}", f"short {n}") for n in range(1, 121))]
    conversion.meqsum([workbook(tmp_path / "a.xlsx", *rows)], tmp_path / "meqsum")
    train, dev = (records(tmp_path / "meqsum" / f"{split}.jsonl.gz") for split in ("train", "dev"))
    assert (len(train), len(dev)) == (20, 100)
    assert {"id": "meqsum-0001", "source": "long 1", "target": "short 1", "file": "f1"} in [*train, *dev]
    heads = ("q_id", "NLM Question", "Summary")
    files = [workbook(tmp_path / f"{name}.xlsx", heads, ("7", f"{name}?", "s")) for name in ("dev", "test")]
    conversion.chq(files, tmp_path / "chq")
    assert records(tmp_path / "chq" / "test.jsonl.gz") == [
        {"id": "chq-test-7", "source": "test?", "target": "s"}
    ]
    (tmp_path / "no.xlsx").write_text("no workbook")
    with pytest.raises(ValueError, match=r"no\.xlsx is no workbook"):
        conversion.meqsum([tmp_path / "no.xlsx"], tmp_path / "out")
