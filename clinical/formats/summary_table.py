"""The terminal view of a summary: sentences with their lines in the note, doubts in words, a box of what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import IO, TYPE_CHECKING

from clinical.documents.note import Note
from clinical.documents.summaries import Source, Summary, SummarySentence
from clinical.formats.display import one_line
from clinical.formats.summary_parts import (
    Place,
    base_name,
    facts_of,
    grouped,
    headed,
    name_of,
    places,
    rest_of,
)
from clinical.formats.table import ConsoleOutput, print_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

MARKS = {"supported": ("✓", "green"), "weak": ("~", "yellow"), "unsupported": ("✗", "red")}
"""How far a sentence is borne out, as a sign and a colour."""


class SummaryTableWriter:
    """Writes summaries for reading in a terminal."""

    def __init__(self, stream: IO[str] | IO[bytes], console: Console | None = None) -> None:
        self._output = ConsoleOutput(stream, console)
        self._console = self._output.console
        self._count = 0

    def write(self, notes: Sequence[Note], summary: Summary) -> None:
        """Write one summary."""
        console = self._console
        if self._count:
            console.print()
        self._count += 1
        print_line(console, name_of(notes, summary), "bold")
        console.print()
        numbers = places(notes, summary)
        if summary.sentences:
            console.print(_sentences(summary, numbers, len(notes) > 1))
            console.print()
        if summary.conflicts:
            console.print(_conflicts(summary, numbers))
        if summary.omitted:
            console.print(_omissions(summary, len(notes) > 1))
        print_line(console, facts_of(notes, summary), "dim")
        for warning in summary.warnings:
            print_line(console, f"! {warning}", "yellow")
        self._output.flush()

    def close(self) -> None:
        """Write nothing more."""
        self._output.flush()


def _sentences(summary: Summary, numbers: Mapping[Source, Place], several: bool) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(ratio=1, overflow="fold")
    table.add_column(justify="right", style="dim", overflow="fold")
    for heading, sentence in headed(summary):
        if heading is not None:
            table.add_row("", Text(one_line(heading), style="bold cyan"), "")
        sign, style = MARKS[sentence.support]
        table.add_row(
            Text(sign, style=style), _sentence(sentence), _where(sentence.sources, numbers, several)
        )
    return table


def _sentence(sentence: SummarySentence) -> Text:
    from rich.text import Text

    text = Text(one_line(sentence.text))
    if sentence.reasons:
        text.append(f"\n{one_line('; '.join(sentence.reasons))}", style=MARKS[sentence.support][1])
    return text


def _where(sources: Sequence[Source], numbers: Mapping[Source, Place], several: bool) -> str:
    """Return "line 12", or "2024-01.txt:12" where there are several documents."""
    found = [numbers[source] for source in sources]
    if several:
        return ", ".join(dict.fromkeys(f"{base_name(place.document)}:{place.line}" for place in found))
    lines = list(dict.fromkeys(str(place.line) for place in found))
    return f"line{'s' if len(lines) > 1 else ''} {', '.join(lines)}" if lines else "no source"


def _conflicts(summary: Summary, numbers: Mapping[Source, Place]) -> Panel:
    from rich.panel import Panel
    from rich.text import Text

    text = Text()
    for place, conflict in enumerate(summary.conflicts):
        text.append("\n" * bool(place) + f"{conflict.kind}: ", style="bold")
        text.append(f"{one_line(conflict.text)} ")
        text.append(f"({_where(conflict.sources, numbers, True)})", style="dim")
    return Panel(
        text, title="Conflicts and changes between the documents", title_align="left", border_style="red"
    )


def _omissions(summary: Summary, several: bool) -> Panel:
    from rich.panel import Panel
    from rich.text import Text

    text = Text()
    for kind, omissions in grouped(summary.omitted).items():
        text.append("\n" * bool(text.plain) + f"{kind}: ", style="bold")
        text.append(", ".join(_named(omission.text, omission.id, several) for omission in omissions))
    if rest := rest_of(summary.omitted):
        text.append(f"\n{rest}", style="dim")
    return Panel(text, title="In the note, not in the summary", title_align="left", border_style="yellow")


def _named(text: str, document: str | None, several: bool) -> str:
    return f"{one_line(text)} ({base_name(document)})" if several and document else one_line(text)
