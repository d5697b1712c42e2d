"""The audit finds what stands twice, and what of one part stands in another, and says nothing of what does not."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from clinical.cli import cli
from clinical.corpora import audit as audits
from clinical.corpora.audit import Item, Leak, Part, audit

STOCK = "The heart is normal in size and the lungs are clear without any focal consolidation or effusion."
OTHER = (
    "There is a large hiatal hernia behind the heart, with an air-fluid level that was not there last year."
)
THIRD = "Multiple healed fractures of the left ribs are seen again, and the spine shows moderate degeneration now."


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["corpora", *map(str, arguments)])


def leak(one: list[Item], other: list[Item]) -> Leak:
    return audit([Part("one", one), Part("other", other)]).leaks[0]


def test_rows_that_stand_twice() -> None:
    items = [Item("a b", "c"), Item("A  B", "C"), Item("a b", "d"), Item("e", "f"), Item("", "")]
    (report,) = audit([Part("one", items)]).parts
    assert (report.rows, report.same_row, report.same_asked, report.empty) == (5, 1, 1, 1)


def test_rows_that_are_mostly_known() -> None:
    items = [Item(STOCK), Item(f"{STOCK} Seen."), Item(f"{STOCK} {OTHER} {THIRD}"), Item(OTHER)]
    (report,) = audit([Part("one", items)]).parts
    # The second is the first; the fourth stands in the third; a third of the third alone was known.
    assert report.mostly_known == 2


def test_what_leaks_between_parts() -> None:
    one = [
        Item("same question", "an answer"),
        Item(STOCK, "x"),
        Item(f"{STOCK} {OTHER} {THIRD}", "y"),
        Item("new", "z"),
    ]
    other = [Item("Same  question", "another"), Item("why", "an answer"), Item(f"{STOCK} Stop.", "q")]
    assert leak(one, other) == Leak(
        "one", "other", 4, same_asked=1, same_answer=1, mostly_known=1, one_stretch=2
    )
    assert leak(one, [Item(THIRD[:79])]) == Leak("one", "other", 4, 0, 0, 0, 0)
    assert leak(one, [Item(THIRD[:80])]) == Leak("one", "other", 4, 0, 0, 0, 1)


def test_nothing_in_common_is_nothing() -> None:
    assert leak([], []) == Leak("one", "other", 0, 0, 0, 0, 0)
    assert leak([Item(STOCK)], [Item(OTHER)]) == Leak("one", "other", 1, 0, 0, 0, 0)


def test_a_sample_of_the_stretches_finds_what_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audits, "MOST_STRETCHES", 100)
    monkeypatch.setattr(audits, "CHUNK_CHARACTERS", 150)
    texts = [" ".join(str(number * (7 + place)) for place in range(300)) for number in range(1, 9)]
    report = audit([Part("one", [Item(text) for text in texts]), Part("other", [Item(f"{texts[3]} more")])])
    assert report.every > 1
    assert [(leak.mostly_known, leak.one_stretch) for leak in report.leaks] == [(1, 1), (1, 1)]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.text("ab cé\n😀", max_size=200), max_size=6),
    st.lists(st.text("ab cé\n😀", max_size=200), max_size=6),
)
def test_stretches_are_those_that_a_plain_search_finds(one: list[str], other: list[str]) -> None:
    def stretches(text: str) -> set[str]:
        words = audits.normal(text)
        return {words[start : start + 80] for start in range(len(words) - 79)}

    known = {stretch for text in other for stretch in stretches(text)}
    expected = sum(bool(stretches(text) & known) for text in one)
    assert leak([Item(text) for text in one], [Item(text) for text in other]).one_stretch == expected


@pytest.fixture
def corpora(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A corpora folder with an opi of ours whose dev leaks, and an annotated corpus."""
    rows = {
        "summarize/opi/train": [
            {"id": "1", "source": STOCK, "target": "Normal."},
            {"id": "2", "source": OTHER, "target": "Hernia."},
        ],
        "summarize/opi/dev": [
            {"id": "3", "source": STOCK.upper(), "target": "Clear."},
            {"id": "4", "source": THIRD, "target": "normal."},
        ],
        "ner/ncbi_disease/train": [
            {"id": "5", "text": "gout", "entities": [{"start": 0, "end": 4, "label": "Disease", "text": "gout"}]}
        ],
    }  # fmt: skip
    for name, records in rows.items():
        path = tmp_path / f"{name}.jsonl.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress("".join(f"{json.dumps(row)}\n" for row in records).encode()))
    monkeypatch.setenv("CLINICAL_CORPORA", str(tmp_path))
    return tmp_path


def test_a_corpus_is_audited_split_against_split(corpora: Path) -> None:
    result = invoke("audit", "opi")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "opi:train\t2\t0\t0\t0\t0\t0\t19\t18\t20",
        "opi:dev\t2\t0\t0\t0\t0\t0\t18\t18\t18",
        "opi:train\topi:dev\t2\t1\t1\t1\t1",
        "opi:dev\topi:train\t2\t1\t1\t1\t1",
    ]
    record = json.loads(
        invoke("audit", "opi:train", "opi:dev", "ncbi_disease:train", "--format", "json").stdout
    )
    assert [part["labels"] for part in record["parts"]] == [{}, {}, {"Disease": 1}]
    assert len(record["leaks"]) == 6


def test_faults_of_a_file_are_named_and_fail(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("Frage,Antwort\na,b\nc,\n")
    result = invoke("audit", path, "--columns", "question=Frage,answer=Antwort")
    assert result.exit_code == 1
    assert result.stdout == "a.csv\t1\t1\t1\t0\t0\t0\t2\t2\t2\n"
    assert result.stderr == f"fault: {path} line 3: the answer is empty\n"


def test_show_tells_the_shape_and_not_the_text(corpora: Path) -> None:
    result = invoke("show", "opi")
    assert result.exit_code == 0, result.output
    assert "records:\n  train: 2\n  dev: 2\nfirst record:\n  id: text of 1 characters\n" in result.stdout
    assert STOCK not in result.stdout
    assert STOCK in invoke("show", "opi", "--example").stdout
    told = json.loads(invoke("show", "gath_baize", "--format", "json").stdout)
    assert (told["here"], told["task"]) == ("yours to bring", "chat")
    assert invoke("show", "e3c").stdout.count("missing") == 5


def test_the_name_of_a_corpus_means_the_corpus(
    corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here" / "opi").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    assert invoke("audit", "opi").stdout.startswith("opi:train\t2\t")
    assert "Error: opi: holds no rows" in invoke("audit", "./opi").stderr


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("no.jsonl", "no.jsonl: no such file or folder"),
        ("nosuch", "no corpus 'nosuch'"),
        ("mashqa", "mashqa is not kept here; name its files (Google Drive asks for a browser"),
    ],
)
def test_sources_that_there_are_not(source: str, reason: str) -> None:
    result = invoke("audit", source)
    assert result.exit_code == 2
    assert reason in result.stderr


def test_many_faults_are_cut_short_and_empty_files_are_faults(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("{}\n" * 60)
    result = invoke("audit", path)
    assert len(result.stderr.splitlines()) == 51
    assert result.stderr.splitlines()[-1] == "and 10 more faults; --format json lists them all"
    (tmp_path / "b.csv").write_text("question,answer\n")
    assert (
        invoke("audit", tmp_path / "b.csv").stderr == f"fault: {tmp_path / 'b.csv'} line 1: holds no rows\n"
    )
