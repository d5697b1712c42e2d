"""Reads what summaries are measured on: texts with the summary that a person wrote of each.

    read_summary_set("mts_dialog:test")
    read_summary_set("my-gold.jsonl")     # your own: one object a line with source and target

A set whose texts also stand in a training split would measure memory: such rows are found and left out.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from clinical.corpora.audit import leaking
from clinical.corpora.catalog import Corpus, find
from clinical.corpora.records import read_records
from clinical.errors import UsageError

TRAINING = {"chq": "meqsum"}
"""Sets whose training split goes under another name."""

STYLES = {
    "mts_dialog": "dialogue", "aci_bench": "dialogue", "d2n": "dialogue",
    "meqsum": "question", "chq": "question", "opi": "impression", "mtsamples": "brief",
}  # fmt: skip
"""The style of summary that the people of each set wrote."""


@dataclass(frozen=True)
class SummaryPair:
    """A text, and what a person made of it."""

    id: str
    source: str
    target: str


@dataclass(frozen=True)
class SummarySet:
    """What is measured on. `leaked` counts the rows left out because a training row holds their text.

    `training` are the pairs that floors may learn from; empty where there are none. Those of a training split are
    the development rows.
    """

    name: str
    style: str
    pairs: Sequence[SummaryPair]
    training: Sequence[SummaryPair]
    leaked: int = 0


Half = Literal["a", "b"]


def read_summary_set(
    source: str, *, limit: int | None = None, keep_leaked: bool = False, half: Half | None = None
) -> SummarySet:
    """Return `corpus:split`, or a file of the user's, with the rows that leak left out.

    With `half` only the rows whose id hashes to it: one half to choose on, the other to measure what was chosen.
    Raises `UsageError` for what is not there or has no `source` and `target`.
    """
    part = f", half {half}" if half else ""
    if Path(source).is_file():
        return SummarySet(Path(source).name + part, "brief", _half(_own(Path(source)), half)[:limit], ())
    name, _, split = source.partition(":")
    corpus = find(name)
    if corpus.task != "summarize":
        raise UsageError(
            f"{source}: neither a file nor a corpus of summaries; those are: {', '.join(STYLES)}"
        )
    if not split:
        raise UsageError(f"{source}: name a split too, as {name}:{corpus.splits[-1]}")
    pairs = [_pair(record, source) for record in read_records(name, split)]
    training = _training(corpus, split)
    seen = [] if keep_leaked else leaked(pairs, training)
    kept = [pair for pair in _half(pairs, half) if pair.id not in set(seen)]
    return SummarySet(
        source + part, STYLES[name], kept[:limit], training, len(_half(pairs, half)) - len(kept)
    )


def leaked(pairs: Sequence[SummaryPair], training: Sequence[SummaryPair]) -> list[str]:
    """Return the ids of pairs whose source is that of a training row, or stands in training rows by half."""
    known = leaking([pair.source for pair in pairs], [pair.source for pair in training])
    return [pair.id for pair, is_known in zip(pairs, known, strict=True) if is_known]


def _half(pairs: Sequence[SummaryPair], half: Half | None) -> list[SummaryPair]:
    return [pair for pair in pairs if half in (None, half_of(pair.id))]


def half_of(id: str) -> Half:
    """Return the half of a set that a row belongs to, whatever the order and number of the rows."""
    return "b" if hashlib.sha256(id.encode()).digest()[0] % 2 else "a"


def _training(corpus: Corpus, split: str) -> list[SummaryPair]:
    """What floors learn from: the training rows; the development rows where those are what is measured."""
    name = TRAINING.get(corpus.name, corpus.name)
    learned_from = "dev" if split == "train" else "train"
    if learned_from not in find(name).splits:
        return []
    return [_pair(record, name) for record in read_records(name, learned_from)]


def _own(path: Path) -> list[SummaryPair]:
    with (
        gzip.open(path, "rt", encoding="utf-8")
        if path.suffix == ".gz"
        else path.open(encoding="utf-8") as lines
    ):
        return [_pair(record, str(path), place) for place, record in _objects(lines, path)]


def _objects(lines: Iterable[str], path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for place, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield place, json.loads(line)
        except ValueError as error:
            raise UsageError(f"{path} line {place} is not JSON: {error}") from error


def _pair(record: dict[str, Any], origin: str, place: int | None = None) -> SummaryPair:
    texts = [record.get(key) if isinstance(record, dict) else None for key in ("source", "target")]
    if not all(isinstance(text, str) and text.strip() for text in texts):
        where = f"{origin} line {place}" if place else f"{origin} {record.get('id')}"
        raise UsageError(f"{where}: needs `source` and `target`, both texts that are not empty")
    return SummaryPair(str(record.get("id", place)), str(texts[0]), str(texts[1]))
