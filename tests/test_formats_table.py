"""The terminal view: exact at fixed width without colour, and what styles say where there are any."""

from __future__ import annotations

import io

import pytest
from formats_cases import FEW, documents, example
from hypothesis import given
from rich.console import Console
from rich.text import Text

from clinical.documents.annotations import Extraction
from clinical.documents.note import Note
from clinical.formats import open_writer, render
from clinical.formats.colors import color, terminal_style
from clinical.formats.display import one_line, visible
from clinical.formats.table import highlight

AT_80 = """\
visit-1 · notes/visit-1.txt · 2024-05-02

HISTORY: «67-year-old» with «COPD».
She denies «chest pain».        Mother died of ««breast»
cancer».
PLAN:
«Aspirin «81»mg», “daily” 👍.

Entity                          Label          Score  Assertion         Offsets
────────────────────────────────────────────────────────────────────────────────
67-year-old                      Age            0.62                       9-20
COPD (chronic obstructive        Disease        0.98                      26-30
pulmonary disease)
History
chest pain                       Symptom        1.00  negated "denies"    44-54
breast                           Anatomy                                  71-77
breast cancer                    Disease        0.50  family "Mother"     71-84
Plan
Aspirin 81                       Drug & dose          present            94-104
81mg                             Dosage                                 102-106

7 entities: 2 Disease, 1 Age, 1 Symptom, 1 Anatomy, 1 Drug & dose, 1 Dosage ·
light (light-1)
! one warning
"""


def shown(width: int, *pairs: tuple[Note, Extraction]) -> str:
    stream = io.StringIO()
    writer = open_writer("table", stream, console=Console(file=stream, width=width, color_system=None))
    for pair in pairs:
        writer.write(*pair)
    writer.close()
    return "".join(line.rstrip() + "\n" for line in stream.getvalue().splitlines())


def test_at_80_columns() -> None:
    assert shown(80, example()) == AT_80


def test_at_120_columns_nothing_wraps() -> None:
    lines = shown(120, example()).splitlines()
    assert lines[8:12] == [
        "Entity                                        Label          Score  Assertion         Offsets",
        "─" * 94,
        "67-year-old                                    Age            0.62                       9-20",
        "COPD (chronic obstructive pulmonary disease)   Disease        0.98                      26-30",
    ]
    assert lines[20] == (
        "7 entities: 2 Disease, 1 Age, 1 Symptom, 1 Anatomy, 1 Drug & dose, 1 Dosage · light (light-1)"
    )


def test_several_documents_are_summed_and_an_empty_one_says_so() -> None:
    note = Note("n2", "Patient feels well.\n", title="Follow-up")
    nothing = Extraction("n2", None, "light", "light-1", [])
    output = shown(80, example(), (note, nothing))
    assert output == AT_80 + (
        "\nFollow-up · n2\n\nPatient feels well.\n\nno entities · light (light-1)\n"
        "\n2 documents: 7 entities: 2 Disease, 1 Age, 1 Symptom, 1 Anatomy, 1 Drug & dose,\n1 Dosage\n"
    )


def test_in_a_file_it_is_100_columns_wide_whatever_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    lines = render("table", *example())[".txt"].decode("utf-8").splitlines()
    assert (
        "67-year-old                                    Age            0.62                       9-20"
        in lines
    )


def test_columns_without_a_value_are_left_out() -> None:
    note, extraction = example()
    bare = Extraction(
        "n", None, "light", "light-1", [extraction.entities[3].__class__(71, 77, "breast", "Anatomy")]
    )
    assert shown(80, (note, bare)).splitlines()[8:11] == [
        "Entity  Label      Offsets",
        "───────────────────────────",
        "breast   Anatomy     71-77",
    ]


def styles(text: Text, at: int) -> list[str]:
    return [str(span.style) for span in text.spans if span.start <= at < span.end]


def test_styles_follow_labels_and_negation() -> None:
    note, extraction = example()
    text = highlight(note.text, extraction.entities, styled=True)
    assert text.plain == note.text.replace("\r\n", " \n").rstrip()
    assert styles(text, 8) == []
    assert styles(text, 9) == [terminal_style("Age")]
    assert styles(text, 44) == [terminal_style("Symptom") + " strike"]
    assert styles(text, 71) == [terminal_style("Disease"), terminal_style("Anatomy")]
    assert styles(text, 80) == [terminal_style("Disease")]


def test_a_terminal_gets_colours_and_no_guillemets() -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=80, force_terminal=True, color_system="truecolor")
    writer = open_writer("table", stream, console=console)
    writer.write(*example())
    assert "\x1b[38;2;17;17;17;48;2;" in stream.getvalue()
    assert "«" not in stream.getvalue()


def test_without_colour_a_terminal_gets_guillemets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    stream = io.StringIO()
    writer = open_writer("table", stream, console=Console(file=stream, width=80, force_terminal=True))
    writer.write(*example())
    assert "HISTORY: «67-year-old» with «COPD»." in stream.getvalue()


def test_a_note_cannot_steer_the_terminal() -> None:
    text = "\x1b]0;owned\x07\x1b[2J\x9b31m [bold]fever[/bold] :smile:\r"
    note = Note("\x1b[31mid", text, "\x1b[2J")
    entities = [
        example()[1].entities[0].__class__(text.index("fever"), text.index("fever") + 5, "fever", "\x1b[1mX")
    ]
    output = shown(80, (note, Extraction("i", None, "light", "\x1b[0m", entities, ("\x1b[5m",))))
    assert not [character for character in output if ord(character) < 32 and character != "\n"]
    assert output.splitlines()[2] == "␛]0;owned␇␛[2J\ufffd31m [bold]«fever»[/bold] :smile:"


@FEW
@given(documents(trimmed=False))
def test_what_is_visible_keeps_every_offset(pair: tuple[Note, Extraction]) -> None:
    text = pair[0].text
    assert len(visible(text)) == len(text)
    assert not {character for character in visible(text) if ord(character) < 32} - {"\t", "\n"}
    assert "\n" not in one_line(text)


def test_a_color_is_the_same_in_every_run_and_differs_among_core_labels() -> None:
    from clinical.prompts.labels import clinical_labels

    names = [label.name for label in clinical_labels()]
    assert len({color(name) for name in names}) == len(names)
    assert color("Lab value") == (141, 75)
    assert color("Disease") == (2, 90)
