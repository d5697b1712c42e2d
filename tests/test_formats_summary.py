"""How summaries are written: exact text for people, the contract for programs, a page that loads nothing."""

from __future__ import annotations

import io
import json
import re
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from summary_cases import HashEmbedder, WordRecognizer

from clinical.cli import cli
from clinical.documents.note import Note
from clinical.documents.summaries import Conflict, Omission, Source, Summary, SummarySentence
from clinical.errors import UsageError
from clinical.formats.summaries import SUMMARY_FORMATS, open_summary_writer, render_summary
from clinical.tasks.extracts import LightSummarizer

NOTE = Note(
    "notes/n1", "Fever since Monday.\nTakes <b>aspirin</b> 100 mg.\nAllergic to penicillin.", "notes/n1.txt"
)


def source(text: str, note: Note = NOTE, id: str | None = None) -> Source:
    start = note.text.index(text)
    return Source(start, start + len(text), text, id)


SUMMARY = Summary(
    "handoff",
    "light",
    "light-summarize",
    (
        SummarySentence("Fever since Monday.", (source("Fever since Monday."),), "supported", (), "Patient"),
        SummarySentence(
            "Takes aspirin 300 mg.", (source("Takes <b>aspirin</b> 100 mg."),), "unsupported",
            ("300 mg is not in the note",), "Drugs",
        ),
    ),
    (Omission(NOTE.text.index("penicillin"), NOTE.text.index("penicillin") + 10, "penicillin", "Allergy"),),
    ("decoded as Windows-1252",),
    dropped=1,
)  # fmt: skip
OTHER = Note("notes/n2", "NKDA.")
TIMELINE = Summary(
    "timeline",
    "light",
    "light-summarize",
    (SummarySentence("NKDA.", (source("NKDA.", OTHER, "notes/n2"),), "supported", (), "2024-01-02"),),
    conflicts=(
        Conflict(
            "allergy",
            "penicillin in n1, but NKDA in n2",
            (source("Allergic to penicillin", NOTE, "notes/n1"), source("NKDA", OTHER, "notes/n2")),
        ),
    ),
)


def written(format: str, *pairs: tuple[list[Note], Summary]) -> str:
    stream = io.BytesIO()
    with closing(open_summary_writer(format, stream)) as writer:
        for notes, summary in pairs:
            writer.write(notes, summary)
    return stream.getvalue().decode()


def test_markdown() -> None:
    assert written("md", ([NOTE], SUMMARY)) == (
        "# notes/n1\n\n\n## Patient\n\n- Fever since Monday. \\[1\\]\n\n## Drugs\n\n"
        "- Takes aspirin 300 mg. \\[2\\] **[unsupported: 300 mg is not in the note]**\n\n"
        "## In the note and not in the summary\n\n- **allergies**: penicillin\n\n## Sources\n\n"
        "1. line 1: Fever since Monday.\n2. line 2: Takes \\<b\\>aspirin\\</b\\> 100 mg.\n\n"
        "*handoff · light (light-summarize) · 2 sentences · 1 not fully supported"
        " · 1 unsupported left out on request*\n"
        "> decoded as Windows-1252\n"
    )


def test_the_terminal() -> None:
    assert written("table", ([NOTE], SUMMARY)) == (
        "notes/n1\n\n"
        "  Patient\n"
        "✓ Fever since Monday.       line 1\n"
        "  Drugs\n"
        "✗ Takes aspirin 300 mg.     line 2\n"
        "  300 mg is not in the note\n\n"
        f"╭─ In the note, not in the summary {'─' * 64}╮\n"
        f"│ allergies: penicillin{' ' * 75} │\n"
        f"╰{'─' * 98}╯\n"
        "handoff · light (light-summarize) · 2 sentences · 1 not fully supported · 1 unsupported left out on\n"
        "request\n"
        "! decoded as Windows-1252\n"
    )


def test_json_lines_are_the_contract() -> None:
    lines = written("jsonl", ([NOTE], SUMMARY), ([NOTE, OTHER], TIMELINE)).splitlines()
    one, together = map(json.loads, lines)
    assert one == SUMMARY.as_dict("notes/n1", "notes/n1.txt")
    assert one["sentences"][1] == {
        "text": "Takes aspirin 300 mg.",
        "sources": [{"start": 20, "end": 48, "text": "Takes <b>aspirin</b> 100 mg."}],
        "support": "unsupported",
        "reasons": ["300 mg is not in the note"],
        "heading": "Drugs",
    }
    assert (together["id"], together["path"]) == ("together", None)
    assert together["conflicts"][0]["sources"][1] == {"start": 0, "end": 4, "text": "NKDA", "id": "notes/n2"}
    assert json.loads(written("json", ([NOTE], SUMMARY))) == [one]
    assert json.loads(written("json")) == []


def test_a_page_ties_every_sentence_to_its_place_and_loads_nothing() -> None:
    page = written("html", ([NOTE], SUMMARY), ([NOTE, OTHER], TIMELINE))
    assert "<b>aspirin</b>" not in page
    spots = {
        spot for spots in re.findall(r'<button[^>]*data-spots="([^"]+)"', page) for spot in spots.split()
    }
    assert spots == {"d1s1", "d1s2", "d1o1", "d2s1", "d2s2", "d2s3"}
    assert spots == {*re.findall(r'<span id="([^"]+)"></span>', page)}
    assert "default-src &#39;none&#39;" in page
    assert not re.search(r"(?:src|href)=[\"']?(?:https?:)?//", page)
    assert written("html").startswith("<!DOCTYPE html>")


@settings(deadline=None, max_examples=30)
@given(st.text(max_size=60), st.data())
def test_the_note_on_the_page_is_the_note(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), min_size=2, max_size=2)))
    spot = Source(cuts[0], cuts[1], text[cuts[0] : cuts[1]])
    summary = Summary("brief", "s", "m", (SummarySentence("x", (spot,), "supported"),))
    for format in SUMMARY_FORMATS:
        (data_written,) = render_summary(format, [Note("n", text)], summary).values()
        assert data_written


def test_more_omissions_than_fit_are_counted() -> None:
    many = tuple(Omission(0, 5, f"thing {number}", "Disease") for number in range(20))
    shown = written("md", ([NOTE], Summary("brief", "s", "m", (), many)))
    assert "thing 11" in shown
    assert "thing 12" not in shown
    assert "and 8 more (--format json has all)" in shown


def test_unknown_formats() -> None:
    with pytest.raises(
        UsageError, match="no format 'csv' for summaries; available: table, jsonl, json, md, html"
    ):
        open_summary_writer("csv", io.BytesIO())


# --- the command ---


@pytest.fixture
def without_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clinical.tasks.summarize._light", lambda model: LightSummarizer(HashEmbedder()))
    monkeypatch.setattr("clinical.tasks.summarize._recognizer", WordRecognizer)


@pytest.mark.usefixtures("without_models")
def test_the_command_writes_one_record_a_document(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("ASSESSMENT: Pneumonia. PLAN: Aspirin.")
    (tmp_path / "b.txt").write_text("")
    result = CliRunner().invoke(cli, ["summarize", str(tmp_path), "-q"])
    assert result.exit_code == 1
    (record,) = map(json.loads, result.stdout.splitlines())
    assert [sentence["text"] for sentence in record["sentences"]] == ["Pneumonia.", "Aspirin."]
    assert "b.txt: empty" in result.stderr


@pytest.mark.usefixtures("without_models")
def test_a_folder_as_one_timeline(tmp_path: Path) -> None:
    (tmp_path / "2024-01-02.txt").write_text("ALLERGIES: Penicillin.\nASSESSMENT: Gout.")
    (tmp_path / "2024-02-03.txt").write_text("ALLERGIES: NKDA.\nASSESSMENT: Pneumonia.")
    result = CliRunner().invoke(cli, ["summarize", str(tmp_path), "--together", "-q"])
    assert result.exit_code == 0
    record = json.loads(result.stdout)
    assert [conflict["text"] for conflict in record["conflicts"]] == [
        "Penicillin in 2024-01-02.txt, but NKDA in 2024-02-03.txt"
    ]
    assert sorted({sentence["heading"] for sentence in record["sentences"]}) == ["2024-01-02", "2024-02-03"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["note.txt", "--style", "breif"],
            "no style 'breif'; did you mean brief? available: brief, sections",
        ),
        (
            ["note.txt", "--together", "--style", "soap"],
            "--together gives one timeline and goes without --style",
        ),
        (["note.txt", "--workers", "2"], "--workers and --force go with -o"),
        (["note.txt", "--format", "csv"], "no format 'csv'"),
        (["nowhere.txt"], "nowhere.txt: no such file or folder"),
        (["note.txt", "--adapter", "x"], "--adapter and --prompt belong to --system mistral"),
        (["note.txt", "-o", "out.md"], "looks like a file and wants a folder"),
    ],
)
def test_a_wrong_call_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "note.txt").write_text("Fever.")
    result = CliRunner().invoke(cli, ["summarize", *arguments])
    assert result.exit_code == 2
    assert message in result.stderr
