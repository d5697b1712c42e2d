"""What several commands share: documents as arguments, and names whose choices are looked up when needed."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from clinical.errors import UsageError

if TYPE_CHECKING:
    from clinical.documents.note import Note
    from clinical.errors import DocumentError


class Name(click.ParamType[str]):
    """One of some names. They are asked for when a value is checked or completed, not when help is shown."""

    name = "name"

    def __init__(self, kind: str, known: Callable[[], Sequence[str]]) -> None:
        self.kind = kind
        self.known = known

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name, or fail in one line with the nearest one and all there are."""
        name, known = str(value), self.known()
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            self.fail(f"no {self.kind} {name!r}; {hint}available: {', '.join(known)}", param, ctx)
        return name

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the names that begin like this."""
        return [CompletionItem(name) for name in self.known() if name.startswith(incomplete)]


def formats() -> Sequence[str]:
    """Return the names that `--format` accepts."""
    from clinical.formats import FORMATS

    return FORMATS


def systems() -> Sequence[str]:
    """Return the names that `--system` accepts."""
    from clinical.tasks.ner import SYSTEMS

    return SYSTEMS


def standard_input() -> tuple[str, ...]:
    """Return what stands for no PATH: text that is piped in. Raises `UsageError` when there is none."""
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError(
            "nothing to read; give a file, a folder, records (.jsonl, .csv), or - and pipe text in"
        )
    return ("-",)


def read_documents(
    sources: tuple[str, ...], max_bytes: int | None
) -> tuple[Iterator[Note | DocumentError], int | None]:
    """Return the documents, which are read as they are asked for, and how many there are."""
    from clinical.documents.reading import MAX_BYTES, count, read

    return read(sources, stdin=sys.stdin.buffer, max_bytes=max_bytes or MAX_BYTES), count(sources)
