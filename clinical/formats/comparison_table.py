"""The comparison in the terminal: what each system found, side by side, and the totals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING

from clinical.documents.annotations import Entity, Extraction
from clinical.documents.note import Note
from clinical.formats.agreement import Finding
from clinical.formats.colors import terminal_style
from clinical.formats.comparison import Scores, Totals
from clinical.formats.display import one_line
from clinical.formats.table import ConsoleOutput, heading, print_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

_STYLES = {
    "agreement": "dim green",
    "boundary": "yellow",
    "conflict": "bold red",
    "some": "cyan",
    "only": "blue",
}
_WORDS = {"agreement": "same", "boundary": "edges", "conflict": "label", "some": "some", "only": "only"}

_CONFLICTS_SHOWN = 5


class ComparisonTable:
    """Writes one table per document, and the totals."""

    def __init__(self, stream: IO[str] | IO[bytes], console: Console | None = None) -> None:
        self._output = ConsoleOutput(stream, console)
        self._console = self._output.console
        self._totals = Totals()

    def write(self, note: Note, extractions: Sequence[Extraction]) -> None:
        """Write one document."""
        console = self._console
        if not self._totals.documents:
            readers = [f"{extraction.system} ({extraction.model})" for extraction in extractions]
            print_line(console, " and ".join(readers), "dim")
            console.print()
        findings = self._totals.add(extractions)
        console.print(heading(note))
        if findings:
            console.print(_side_by_side(self._totals.systems, findings))
        else:
            print_line(console, "no entities", "dim")
        for name, extraction in zip(self._totals.systems, extractions, strict=True):
            for warning in extraction.warnings:
                print_line(console, f"! {name}: {warning}", "yellow")
        console.print()
        self._output.flush()

    def close(self, scores: Scores = (), remarks: Sequence[str] = ()) -> None:
        """Write the totals, and the scores against gold."""
        totals, console = self._totals, self._console
        documents = "1 document" if totals.documents == 1 else f"{totals.documents} documents"
        print_line(console, f"{documents}, {totals.all.total()} findings", "bold")
        if totals.all:
            console.print(_totals_table(totals))
        for labels, count in totals.conflicts.most_common(_CONFLICTS_SHOWN):
            pairs = ", ".join(
                f"{name} {label}" for name, label in zip(totals.systems, labels, strict=True) if label
            )
            print_line(console, f"label conflict: {pairs} ({count})", "")
        if scores:
            console.print()
            console.print(_scores_table(scores))
        for remark in remarks:
            print_line(console, remark, "")
        self._output.flush()


def _side_by_side(systems: Sequence[str], findings: Sequence[Finding]) -> Table:
    from rich.text import Text

    table = _table()
    table.add_column("")
    for system in systems:
        table.add_column(one_line(system), ratio=1, overflow="fold")
    table.add_column("Offsets", justify="right", no_wrap=True, style="dim")
    for finding in findings:
        table.add_row(
            Text(_WORDS[finding.relation], style=_STYLES[finding.relation]),
            *(_cell(entity, quiet=finding.relation == "agreement") for entity in finding.entities),
            f"{finding.start}-{finding.end}",
        )
    return table


def _cell(entity: Entity | None, quiet: bool) -> Text:
    from rich.text import Text

    if entity is None:
        return Text("·", style="dim")
    text = Text(one_line(entity.text), style="dim" if quiet else "")
    return text.append(" ").append(
        f" {one_line(entity.label)} ", style=f"not dim {terminal_style(entity.label)}"
    )


def _totals_table(totals: Totals) -> Table:
    table = _table()
    table.add_column("Label")
    for relation in totals.relations:
        table.add_column(one_line(relation), justify="right")
    table.add_column("agreed", justify="right")
    for label, counts in [*totals.labels(), ("all", totals.all)]:
        numbers = (str(counts[relation] or "·") for relation in totals.relations)
        table.add_row(one_line(label), *numbers, agreed(counts), style="bold" if counts is totals.all else "")
    return table


def agreed(counts: Counter[str]) -> str:
    """Return the share of findings that are agreement, in percent."""
    return f"{counts['agreement'] / counts.total():.0%}"


def _scores_table(scores: Scores) -> Table:
    table = _table()
    for name in scores[0]:
        number = isinstance(scores[0][name], int | float)
        table.add_column(one_line(name), justify="right" if number else "left")
    for row in scores:
        table.add_row(*(one_line(show_score(value)) for value in row.values()))
    return table


def show_score(value: object) -> str:
    """Return a cell of the scores: shares of 1 in percent with one digit, all else as it is."""
    if value is None:
        return ""
    return f"{value * 100:.1f}" if isinstance(value, float) else str(value)


def _table() -> Table:
    from rich import box
    from rich.table import Table

    return Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), header_style="bold")
