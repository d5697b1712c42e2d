"""The clinical label set: every label once, with its definition and examples.

The definitions go into the prompt of the language model as they stand and are shown by `clinical models labels`;
the corpora map their own labels to these names (`clinical.corpora`).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import yaml

from clinical.errors import UsageError


@dataclass(frozen=True)
class Label:
    """A kind of entity: its name, a definition in one sentence, and examples of mentions.

    `core` labels are what a run without `--labels` looks for.
    """

    name: str
    definition: str
    examples: tuple[str, ...] = ()
    core: bool = False


def parse(text: str, source: str) -> tuple[Label, ...]:
    """Return the labels of a YAML text that maps each name to `definition`, `examples` and `core`.

    A name alone, or a name with a string, is a label with that definition.
    Raises `UsageError` that names `source` when the text is not such a map.
    """
    try:
        table = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"{source} is not YAML: {' '.join(str(error).split())}") from error
    if isinstance(table, list):
        table = dict.fromkeys(table)
    if not isinstance(table, dict) or not table:
        raise UsageError(f"{source} holds no labels: write one `Name: definition` per line")
    return tuple(_label(str(name), body, source) for name, body in table.items())


def _label(name: str, body: object, source: str) -> Label:
    if body is None:
        body = {}
    if isinstance(body, str):
        body = {"definition": body}
    if not isinstance(body, dict):
        raise UsageError(f"{source}: label {name} wants a definition, not {body!r}")
    unknown = set(body) - {"definition", "examples", "core"}
    if unknown:
        raise UsageError(
            f"{source}: label {name} has unknown keys {sorted(unknown)}; known: definition, examples, core"
        )
    return Label(
        name,
        str(body.get("definition") or name.replace("_", " ").lower()),
        tuple(str(example) for example in body.get("examples") or ()),
        bool(body.get("core", False)),
    )


@cache
def clinical_labels() -> tuple[Label, ...]:
    """Return the label set that the package defines, in its order of display."""
    text = resources.files("clinical.prompts").joinpath("labels.yaml").read_text(encoding="utf-8")
    return parse(text, "labels.yaml")


def core_labels() -> tuple[Label, ...]:
    """Return the labels that are looked for when the user names none."""
    return tuple(label for label in clinical_labels() if label.core)


def known_or_defined(names: Iterable[str], definitions: Mapping[str, str]) -> tuple[Label, ...]:
    """Return the labels of these names: the package's own, others with their definition here, or else their words.

    >>> known_or_defined(["Lab_value"], {})
    (Label(name='Lab_value', definition='lab value', examples=(), core=False),)
    """
    known = {label.name: label for label in clinical_labels()}
    return tuple(
        known.get(name) or Label(name, definitions.get(name) or name.replace("_", " ").lower())
        for name in names
    )


def from_file(path: Path) -> tuple[Label, ...]:
    """Return the labels of a user's file (YAML); a bare known name takes the package's definition."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot read the labels file: {error.strerror}") from error
    known = {label.name: label for label in clinical_labels()}
    bare = {label.name.replace("_", " ").lower() for label in known.values()}
    return tuple(
        known[label.name]
        if label.name in known and label.definition in bare and not label.examples
        else label
        for label in parse(text, str(path))
    )


def by_name(names: Sequence[str], known: Iterable[Label] | None = None) -> tuple[Label, ...]:
    """Return the labels of these names, in the order given; `all` stands for every known label.

    Case does not matter. Raises `UsageError` with the nearest name for one that is not known.
    """
    table = {label.name.lower(): label for label in (clinical_labels() if known is None else known)}
    chosen: dict[str, Label] = {}
    for name in names:
        key = name.strip().lower()
        if key == "all":
            chosen.update((label.name, label) for label in table.values())
            continue
        if key not in table:
            near = difflib.get_close_matches(key, table, n=1)
            hint = f"did you mean {table[near[0]].name}? " if near else ""
            available = ", ".join(label.name for label in table.values())
            raise UsageError(f"no label {name.strip()!r}; {hint}available: {available}")
        chosen[table[key].name] = table[key]
    return tuple(chosen.values())
