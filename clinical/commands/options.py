"""What the options of several commands share: names whose choices are looked up only when they are needed."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem


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
