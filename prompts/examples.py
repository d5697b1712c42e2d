"""Few-shot examples of `ner`, as data: a text and its mentions in order, checked before a model sees them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import yaml

from clinical.errors import UsageError
from clinical.prompts.inline_tags import write_tags
from clinical.prompts.labels import Label, clinical_labels


@dataclass(frozen=True)
class Example:
    """A text with the spans `(start, end, label)` that a perfect answer marks."""

    text: str
    spans: tuple[tuple[int, int, str], ...]


def parse(text: str, source: str, known: Iterable[str]) -> tuple[Example, ...]:
    """Return the examples of a YAML text; raises `UsageError` with every fault that it has, each named.

    A mention must stand in its text after the mention before it, and its label must be a known one.
    """
    try:
        rows = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"{source} is not YAML: {' '.join(str(error).split())}") from error
    labels = set(known)
    faults: list[str] = []
    examples = [_example(number, row, labels, faults) for number, row in enumerate(rows or (), 1)]
    if faults:
        raise UsageError(f"{source}: " + "; ".join(faults))
    return tuple(examples)


def _example(number: int, row: object, labels: set[str], faults: list[str]) -> Example:
    where = f"example {number}"
    if not isinstance(row, dict) or set(row) != {"text", "entities"} or not isinstance(row["text"], str):
        faults.append(f"{where} wants the keys text and entities")
        return Example("", ())
    spans: list[tuple[int, int, str]] = []
    place = 0
    for mention in row["entities"] or ():
        if not isinstance(mention, dict) or set(mention) != {"text", "label"}:
            faults.append(f"{where}: a mention wants the keys text and label")
            continue
        words, label = str(mention["text"]), str(mention["label"])
        start = row["text"].find(words, place)
        if label not in labels:
            faults.append(f"{where}: unknown label {label}")
        if start < 0 or not words:
            faults.append(f"{where}: {words!r} is not in the text after the mention before it")
            continue
        place = start + len(words)
        spans.append((start, place, label))
    return Example(row["text"], tuple(spans))


def load(path: Path | None = None) -> tuple[Example, ...]:
    """Return the packaged examples, or those of a user's file."""
    known = [label.name for label in clinical_labels()]
    if path is None:
        packaged = resources.files("clinical.prompts").joinpath("ner.examples.yaml")
        return parse(packaged.read_text(encoding="utf-8"), "ner.examples.yaml", known)
    try:
        return parse(path.read_text(encoding="utf-8"), str(path), known)
    except OSError as error:
        raise UsageError(f"{path}: cannot read the examples: {error.strerror}") from error


def render(examples: Sequence[Example], labels: Sequence[Label]) -> str:
    """Return the examples as a model answers them, marked with these labels alone; empty when none applies.

    Each is followed by an empty line, so that nothing is left behind where there are none.
    """
    wanted = {label.name for label in labels}
    shown = [(example, [span for span in example.spans if span[2] in wanted]) for example in examples]
    return "".join(
        f"\nNote: {example.text}\nAnswer: {write_tags(example.text, spans)}\n"
        for example, spans in shown
        if spans
    )
