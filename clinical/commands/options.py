"""What several commands share: documents as arguments, and names whose choices are looked up when needed."""

from __future__ import annotations

import difflib
import os
import sys
from collections import Counter, deque
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


class Documents:
    """The documents behind the PATHs of a call; they are read as they are asked for.

    `total` is how many there are, where that can be counted, and `passed_over` counts the files in folders
    that are of no kind that can be read, by suffix, once they were passed. Raises `UsageError` when there is
    nothing at all to read.
    """

    def __init__(self, paths: Sequence[str], max_bytes: int | None = None) -> None:
        from clinical.documents.reading import MAX_BYTES, count, read

        self.paths = tuple(paths) or _standard_input()
        if not any(path == "-" or os.path.lexists(path) for path in self.paths):
            raise UsageError(f"{self.paths[0]}: no such file or folder")
        self.total = count(self.paths)
        self.passed_over: Counter[str] = Counter()
        self._rest = read(
            self.paths,
            stdin=getattr(sys.stdin, "buffer", None),
            max_bytes=max_bytes or MAX_BYTES,
            skipped=self.passed_over,
        )
        self._ahead: deque[Note | DocumentError] = deque()

    def __iter__(self) -> Iterator[Note | DocumentError]:
        while self._ahead:
            yield self._ahead.popleft()
        yield from self._rest

    def has_readable(self) -> bool:
        """Return whether any document can be read, looking no further than the first: what a model is loaded for."""
        from clinical.documents.note import Note

        while not any(isinstance(document, Note) for document in self._ahead):
            document = next(self._rest, None)
            if document is None:
                return False
            self._ahead.append(document)
        return True


def _standard_input() -> tuple[str, ...]:
    """Return what stands for no PATH: text that is piped in."""
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError(
            "nothing to read; give a file, a folder, records (.jsonl, .csv), or - and pipe text in"
        )
    return ("-",)
