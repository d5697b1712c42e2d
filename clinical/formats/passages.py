"""How the hits of a search are written: for a terminal, as lines of JSON, as one JSON array, as a web page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import IO, TYPE_CHECKING

from clinical.errors import UsageError
from clinical.formats.display import one_line, title
from clinical.formats.found import place_of, said
from clinical.formats.json_records import dumps
from clinical.formats.passages_page import FARTHER, NOTHING_NEAR, also, page
from clinical.formats.streams import binary_sink
from clinical.formats.table import ConsoleOutput, highlight
from clinical.index.hits import Hit, other_name_of

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

HIT_FORMATS = ("table", "jsonl", "json", "html")
"""The names that `--format` of `clinical search` accepts."""


def write_hits(
    format: str,
    query: str,
    hits: Sequence[Hit],
    stream: IO[str] | IO[bytes],
    console: Console | None = None,
) -> None:
    """Write the hits in this format; raises `UsageError` for one that there is not."""
    match format:
        case "table":
            _table(hits, ConsoleOutput(stream, console))
        case "jsonl":
            binary_sink(stream)(b"".join(dumps(hit.as_dict()) + b"\n" for hit in hits))
        case "json":
            binary_sink(stream)(dumps([hit.as_dict() for hit in hits], indent=2) + b"\n")
        case "html":
            binary_sink(stream)(page(query, hits))
        case _:
            raise UsageError(f"no format {format!r}; available: {', '.join(HIT_FORMATS)}")


def _table(hits: Sequence[Hit], output: ConsoleOutput) -> None:
    from rich.padding import Padding

    console = output.console
    styled = console.color_system is not None and not console.no_color
    for place, hit in enumerate(hits):
        if place:
            console.print()
        if not hit.near and (not place or hits[place - 1].near):
            console.print(f"{FARTHER}:" if place else f"{NOTHING_NEAR} {FARTHER}:", style="dim italic")
            console.print()
        console.print(_heading(hit))
        console.print(Padding(_passage(hit, styled), (0, 0, 0, 3)))
    output.flush()


def _heading(hit: Hit) -> Text:
    """Return the line above a passage: rank, file and line, section, and what is said of the words."""
    from rich.text import Text

    text = Text(f"{hit.rank}. ", style="dim").append(place_of(hit), style="bold not dim")
    if hit.id != hit.path:
        text.append(f"  {one_line(hit.id)}", style="not dim")
    if hit.section:
        text.append(f"  {title(hit.section)}", style="cyan not dim")
    if names := also(hit):
        text.append(f"  also: {names}", style="green not dim")
    if says := said(hit):
        text.append(f"  {says}", style="red not dim")
    return text


def _passage(hit: Hit, styled: bool) -> Text:
    # One colour for all other names, whatever they stand for.
    mentions = [
        replace(
            mention,
            start=mention.start - hit.start,
            end=mention.end - hit.start,
            label="Other name" if other_name_of(mention) else mention.label,
        )
        for mention in hit.mentions
    ]
    return highlight(hit.text, mentions, styled)
