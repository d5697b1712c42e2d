"""Prompt templates: one text file per task and version, the same for training and for use.

A template begins with a line that declares its variables and a line `---`; below it stands what the model
sees, with `$name` for each variable (`$$` for a dollar sign). `ner.v1.txt` is the file of the template
`ner.v1`; when the words change, the version does. A user's own file takes the place of ours (`--prompt
FILE`).
"""

from __future__ import annotations

import hashlib
import re
import string
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path

from clinical.errors import UsageError

_HEAD = re.compile(r"# variables:(.*)\n---\n")


@dataclass(frozen=True)
class Part:
    """A stretch of a prompt: the template's own words, or the value of a variable (then named).

    The two are kept apart so that a model never reads a note as anything but text.
    """

    text: str
    variable: str | None = None


@dataclass(frozen=True)
class Template:
    """A prompt with named blanks. `variables` are those that it declares and uses."""

    name: str
    body: str
    variables: tuple[str, ...]
    sha256: str

    @cached_property
    def _pieces(self) -> tuple[Part, ...]:
        pieces: list[Part] = []
        start = 0
        for match in string.Template.pattern.finditer(self.body):
            pieces.append(Part(self.body[start : match.start()]))
            name = match["named"] or match["braced"]
            pieces.append(Part("", name) if name else Part("$"))
            start = match.end()
        pieces.append(Part(self.body[start:]))
        return tuple(piece for piece in pieces if piece.text or piece.variable)

    def render(self, values: Mapping[str, str]) -> tuple[Part, ...]:
        """Return the prompt with the values in their places; values are never read as templates themselves.

        Raises `UsageError` that names the variables without a value, and the values without a variable.
        """
        missing = [name for name in self.variables if name not in values]
        unknown = [name for name in values if name not in self.variables]
        if missing or unknown:
            faults = [f"no value for {', '.join(missing)}"] if missing else []
            faults += [f"no variable {', '.join(unknown)}"] if unknown else []
            raise UsageError(f"prompt {self.name}: {'; '.join(faults)} (it has: {', '.join(self.variables)})")
        return tuple(
            Part(values[piece.variable], piece.variable) if piece.variable else piece
            for piece in self._pieces
        )


def parse(text: str, name: str) -> Template:
    """Return the template that a file holds; raises `UsageError` that says what is wrong with it."""
    normal = text.replace("\r\n", "\n")
    head = _HEAD.match(normal)
    if head is None:
        raise UsageError(f"prompt {name}: begin it with `# variables: a, b` and a line `---`")
    declared = tuple(variable.strip() for variable in head[1].split(",") if variable.strip())
    body = normal[head.end() :].removesuffix("\n")
    used = set()
    for match in string.Template.pattern.finditer(body):
        if match["invalid"] is not None:
            raise UsageError(
                f"prompt {name}: a lone $ in {_line(body, match.start())!r}; write $$ for a dollar"
            )
        if variable := match["named"] or match["braced"]:
            used.add(variable)
    if undeclared := sorted(used - set(declared)):
        raise UsageError(f"prompt {name}: uses ${', $'.join(undeclared)} but does not declare it")
    if unused := sorted(set(declared) - used):
        raise UsageError(f"prompt {name}: declares {', '.join(unused)} but does not use it")
    return Template(name, body, declared, hashlib.sha256(normal.encode()).hexdigest())


def _line(text: str, place: int) -> str:
    return text[text.rfind("\n", 0, place) + 1 :].split("\n", 1)[0]


def load(name: str) -> Template:
    """Return the packaged template of this name, or the one in this file.

    Raises `UsageError` with the choices when there is neither.
    """
    path = Path(name)
    if path.is_file():
        try:
            return parse(path.read_text(encoding="utf-8"), name)
        except UnicodeDecodeError as error:
            raise UsageError(f"prompt {name}: is not a text file in UTF-8") from error
    packaged = resources.files("clinical.prompts").joinpath(f"{name}.txt")
    if name not in available() or not packaged.is_file():
        raise UsageError(f"no prompt {name!r}: give a file, or one of {', '.join(available())}")
    return parse(packaged.read_text(encoding="utf-8"), name)


def available() -> tuple[str, ...]:
    """Return the names of the packaged templates."""
    names = (entry.name for entry in resources.files("clinical.prompts").iterdir())
    return tuple(sorted(name.removesuffix(".txt") for name in names if name.endswith(".txt")))


def checked(template: Template, offered: Mapping[str, str]) -> dict[str, str]:
    """Return those of the offered values that the template uses; `$text`, the document, it must use.

    Raises `UsageError` when it uses a variable that the task does not offer.
    """
    unknown = [name for name in template.variables if name not in offered]
    if unknown:
        raise UsageError(
            f"prompt {template.name}: this task has no ${', $'.join(unknown)}; it has ${', $'.join(offered)}"
        )
    if "text" not in template.variables:
        raise UsageError(f"prompt {template.name}: it never shows the document; use $text once")
    return {name: offered[name] for name in template.variables}
