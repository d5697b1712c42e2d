"""The terminal view: the note with its entities highlighted, and a table of them.

Where there is no colour (a file, a pipe, `NO_COLOR`) entities stand in «guillemets», one pair for each.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import compress, pairwise
from typing import IO, TYPE_CHECKING

from clinical.documents.annotations import Assertion, Entity, Extraction
from clinical.documents.note import Note
from clinical.formats.colors import terminal_style
from clinical.formats.display import one_line, title, visible
from clinical.formats.streams import binary_sink, encode

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

_WIDTH_IN_FILES = 100
_ASSERTION_STYLES = {
    "present": "dim",
    "negated": "red",
    "possible": "yellow",
    "historical": "blue",
    "hypothetical": "magenta",
    "family": "cyan",
}


class ConsoleOutput:
    """A console that ends in a stream: the terminal's own, or one of fixed width for files and pipes."""

    def __init__(self, stream: IO[str] | IO[bytes], console: Console | None) -> None:
        from rich.console import Console

        self._buffer: io.StringIO | None = None
        if console is None and stream.isatty():
            console = Console(file=stream)  # type: ignore[arg-type]
        elif console is None:
            self._buffer = io.StringIO()
            self._sink = binary_sink(stream)
            console = Console(file=self._buffer, width=_WIDTH_IN_FILES)
        self.console = console

    def flush(self) -> None:
        """Hand what was printed on to the stream."""
        if self._buffer is not None:
            self._sink(encode(re.sub(r" +\n", "\n", self._buffer.getvalue())))
            self._buffer.seek(0)
            self._buffer.truncate()


class TableWriter:
    """Writes documents for reading in a terminal, and their sum when there were several."""

    def __init__(self, stream: IO[str] | IO[bytes], console: Console | None = None) -> None:
        self._output = ConsoleOutput(stream, console)
        self._console = self._output.console
        self._documents = 0
        self._labels: Counter[str] = Counter()

    def write(self, note: Note, extraction: Extraction) -> None:
        """Write one document."""
        console = self._console
        if self._documents:
            console.print()
        console.print(heading(note))
        console.print()
        styled = console.color_system is not None and not console.no_color
        console.print(highlight(note.text, extraction.entities, styled))
        console.print()
        if extraction.entities:
            console.print(_entity_table(extraction.entities))
            console.print()
        counts = Counter(entity.label for entity in extraction.entities)
        print_line(console, f"{_counts(counts)} · {extraction.system} ({extraction.model})", "dim")
        for warning in extraction.warnings:
            print_line(console, f"! {warning}", "yellow")
        self._documents += 1
        self._labels.update(counts)
        self._output.flush()

    def close(self) -> None:
        """Write the sum over all documents."""
        if self._documents > 1:
            self._console.print()
            print_line(self._console, f"{self._documents} documents: {_counts(self._labels)}", "bold")
        self._output.flush()


def heading(note: Note) -> Text:
    """Return the line that names the document."""
    from rich.text import Text

    text = Text(one_line(note.title or note.id), style="bold")
    more = dict.fromkeys(one_line(name) for name in (note.id, note.path, note.date) if name)
    beside = [name for name in more if name != text.plain]
    return text.append("".join(f" · {name}" for name in beside), style="not bold dim")


def print_line(console: Console, text: str, style: str) -> None:
    """Print text as it stands, wrapped, in one style."""
    console.print(one_line(text), style=style, markup=False, highlight=False, emoji=False)


def highlight(text: str, entities: Sequence[Entity], styled: bool) -> Text:
    """Return the text with its entities in colour, or in guillemets; the shorter of two lies on top."""
    from rich.text import Text

    shown = visible(text)
    if not styled:
        return Text(_with_guillemets(shown, entities).rstrip())
    result = Text(shown.rstrip())
    for entity in sorted(entities, key=lambda entity: entity.start - entity.end):
        negated = entity.assertion is not None and entity.assertion.status == "negated"
        result.stylize(terminal_style(entity.label) + " strike" * negated, entity.start, entity.end)
    return result


def _with_guillemets(text: str, entities: Iterable[Entity]) -> str:
    """Return the text with a pair of guillemets for each entity."""
    spans = [(entity.start, entity.end) for entity in entities]
    opened, closed = Counter(start for start, _ in spans), Counter(end for _, end in spans)
    edges = [*sorted({0, *opened, *closed}), len(text)]
    pieces = ["»" * closed[start] + "«" * opened[start] + text[start:end] for start, end in pairwise(edges)]
    return "".join(pieces)


def _entity_table(entities: Sequence[Entity]) -> Table:
    """Return the table, parted by section; a column in which no entity has a value is left out."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    cells: dict[str, Callable[[Entity], Text]] = {
        "Entity": lambda entity: Text(one_line(entity.text)).append(_expansion(entity), style="dim"),
        "Label": lambda entity: Text(f" {one_line(entity.label)} ", style=terminal_style(entity.label)),
        "Score": lambda entity: Text("" if entity.score is None else f"{entity.score:.2f}"),
        "Assertion": lambda entity: _assertion(entity.assertion),
        "Offsets": lambda entity: Text(f"{entity.start}-{entity.end}", style="dim"),
    }
    rows = [[cell(entity) for cell in cells.values()] for entity in entities]
    used = [any(row[place].plain for row in rows) for place in range(len(cells))]
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for name in compress(cells, used):
        right = name in ("Score", "Offsets")
        table.add_column(
            name,
            justify="right" if right else "left",
            no_wrap=right or name == "Label",
            overflow="fold",
            min_width=len(name),
        )
    section = None
    for entity, row in zip(entities, rows, strict=True):
        if entity.section != section:
            section = entity.section
            table.add_row(Text(title(section or "(no section)"), style="bold cyan"))
        table.add_row(*compress(row, used))
    return table


def _expansion(entity: Entity) -> str:
    return f" ({one_line(entity.expansion)})" if entity.expansion else ""


def _assertion(assertion: Assertion | None) -> Text:
    """Return the status with the words that say so: 'negated "no evidence of"'."""
    from rich.text import Text

    if assertion is None:
        return Text()
    text = Text(assertion.status, style=_ASSERTION_STYLES[assertion.status])
    return text.append(f' "{one_line(assertion.cue.text)}"', style="dim") if assertion.cue else text


def _counts(labels: Counter[str]) -> str:
    """Return "3 entities: 2 Disease, 1 Test", the most frequent first."""
    total = labels.total()
    if not total:
        return "no entities"
    parts = ", ".join(f"{count} {label}" for label, count in labels.most_common())
    return f"{total} {'entity' if total == 1 else 'entities'}: {parts}"
