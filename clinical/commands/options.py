"""What several commands share: documents as arguments, and names whose choices are looked up when needed."""

from __future__ import annotations

import difflib
import os
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from clinical.errors import UsageError

if TYPE_CHECKING:
    from clinical.documents.note import Note
    from clinical.errors import DocumentError


NEAR = 0.65
"""How like a name has to be to be proposed: at 0.6, "absent" would be taken for "present"."""


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
            near = difflib.get_close_matches(name, known, n=1, cutoff=NEAR)
            hint = f"did you mean {near[0]}? " if near else ""
            self.fail(f"no {self.kind} {name!r}; {hint}available: {', '.join(known)}", param, ctx)
        return name

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the names that begin like this."""
        return [CompletionItem(name) for name in self.known() if name.startswith(incomplete)]


Command = Callable[..., None]

DEFAULT_BATCH = 8


def _together(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Return the options as one decorator, in the order in which help shows them."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _modes() -> Sequence[str]:
    from clinical.index.ranking import MODES

    return MODES


def model_options(template: str) -> Callable[[Command], Command]:
    """Options of the mistral system; `template` is the prompt that a file of the user's takes the place of."""
    return _together(
        click.option(
            "--model",
            metavar="M",
            help="The model: a shipped one, a folder, a hub id, or a server's URL.",
        ),
        click.option("--adapter", metavar="NAME|DIR", help="LoRA weights for the model."),
        click.option("--prompt", metavar="FILE", help=f"A prompt template of yours in place of {template}."),
    )


search_options = _together(
    click.option(
        "--mode",
        metavar="M",
        type=Name("mode", _modes),
        default="hybrid",
        show_default=True,
        help="How notes are searched: lexical (by words), dense (by meaning), or hybrid (both).",
    ),
    click.option("--no-expand", is_flag=True, help="Do not look for other names: MI, myocardial infarction."),
    click.option("--section", metavar="S", help="Only what stands in this section, as medications."),
    click.option(
        "--path", "within", metavar="GLOB", help="Only files like this, as 'cardiology/*' or '*.pdf'."
    ),
    click.option(
        "--since", metavar="DATE", help="Only documents of this day, month or year (2024-05), or later."
    ),
    click.option("--until", metavar="DATE", help="Only documents of this day, month or year, or earlier."),
)
"""How notes are searched, and which of them."""


output_options = _together(
    click.option(
        "-o",
        "--output",
        metavar="DIR",
        type=click.Path(path_type=Path),
        help="Write a result per document here.",
    ),
    click.option(
        "--workers",
        metavar="N",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        help="Processes that work side by side, each with the model in memory; needs -o.",
    ),
    click.option(
        "--batch-size",
        metavar="N",
        type=click.IntRange(min=1),
        help=f"Documents given to the model at once.  [default: 1 on a terminal, else {DEFAULT_BATCH}]",
    ),
    click.option(
        "--max-bytes", metavar="N", type=click.IntRange(min=1), help="Refuse larger files.  [default: 100 MB]"
    ),
    click.option("--force", is_flag=True, help="With -o: do again what is done."),
    click.option("-q", "--quiet", is_flag=True, help="No progress; failures are still named."),
)
"""Where the results of many documents go, and how they are worked off."""


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
