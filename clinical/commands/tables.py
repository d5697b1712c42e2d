"""Plain tables for listings: aligned on a terminal, separated by tabs in a pipe."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence

import click

GAP = "  "


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under a head. On a terminal the last column is cut at its edge; a pipe gets every word."""
    if not sys.stdout.isatty():
        for row in rows:
            click.echo("\t".join(row))
        return
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    edge = shutil.get_terminal_size().columns
    for row in (head, *rows):
        line = GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        click.echo(line if len(line) <= edge else line[: edge - 1] + "…")
