"""Reads the corpora from their one stored shape: gzip-compressed JSON lines with `id`, `text` and `entities`.

>>> from clinical.corpora.records import read
>>> for document in read("bc5cdr", "dev"):                                  # doctest: +SKIP
...     print(document.id, [entity.label for entity in document.entities])
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from clinical.corpora.catalog import Corpus, find
from clinical.corpora.folder import corpora_folder
from clinical.documents.annotations import Entity
from clinical.errors import UsageError


@dataclass(frozen=True)
class Mention:
    """One annotated mention as the corpus has it: `document.text[start:end] == text`.

    `raw_label` is the corpus's own label, `label` the one of the clinical label set or `None`. `attributes`
    keeps what else was annotated (MACCROBAT: `POLARITY: NEG`; NCBI disease: `subtype`). Of a `discontinuous`
    mention ("left … ventricle") the span is the hull.
    """

    start: int
    end: int
    text: str
    raw_label: str
    label: str | None
    attributes: Mapping[str, str] = field(default_factory=dict)
    discontinuous: bool = False


@dataclass(frozen=True)
class GoldDocument:
    """One annotated text of a corpus: a document, or a sentence (`Corpus.unit` says which)."""

    id: str
    text: str
    mentions: tuple[Mention, ...] = ()

    @cached_property
    def entities(self) -> tuple[Entity, ...]:
        """The mentions whose label maps to the clinical label set, sorted by start, then end."""
        mapped = {(m.start, m.end, m.label): m for m in self.mentions if m.label is not None}
        return tuple(Entity(m.start, m.end, m.text, str(m.label)) for _, m in sorted(mapped.items()))


def read(name: str, split: str) -> Iterator[GoldDocument]:
    """Yield the documents of one split of a NER corpus, in their stored order, with our labels.

    Blanks at the edges of a mention, an annotator's slip, are cut off. Raises `UsageError` for an unknown
    corpus or split, or when the corpora are not on this machine.
    """
    corpus = find(name)
    if corpus.task != "ner":
        raise UsageError(f"{name} is a corpus for {corpus.task}, not for ner")
    for record in _records(split_path(corpus, split)):
        yield gold_document(corpus, record)


def read_records(name: str, split: str) -> Iterator[dict[str, Any]]:
    """Yield the records of one file of any corpus as they are stored."""
    return _records(split_path(find(name), split))


def split_path(corpus: Corpus, split: str) -> Path:
    """Return the file of this split; raises `UsageError` when there is no such split or no such file here."""
    if split not in corpus.splits:
        raise UsageError(f"{corpus.name} has no split {split!r}; available: {', '.join(corpus.splits)}")
    path = corpora_folder() / corpus.folder / f"{split}.jsonl.gz"
    if not path.is_file():
        raise UsageError(f"{path} is missing; the corpora folder does not hold {corpus.name}")
    return path


def gold_document(corpus: Corpus, record: Mapping[str, Any]) -> GoldDocument:
    """Return the stored record with the labels of the clinical label set.

    Raises `ValueError` when a span does not hold its text or a label is missing from the catalogue.
    """
    text = record["text"]
    mentions = tuple(_mention(corpus, record["id"], text, entity) for entity in record["entities"])
    return GoldDocument(str(record["id"]), text, mentions)


def _mention(corpus: Corpus, document_id: str, text: str, entity: Mapping[str, Any]) -> Mention:
    start, end = entity["start"], entity["end"]
    if text[start:end] != entity["text"]:
        raise ValueError(f"{corpus.name} {document_id}: characters {start}-{end} are not the mention's text")
    start += len(entity["text"]) - len(entity["text"].lstrip())
    end -= len(entity["text"]) - len(entity["text"].rstrip())
    attributes = dict(entity.get("attributes") or {})
    if "subtype" in entity:
        attributes["subtype"] = entity["subtype"]
    raw_label = entity["label"]
    if raw_label in corpus.label_attribute:
        raw_label = f"{raw_label}:{attributes[corpus.label_attribute[raw_label]]}"
    if raw_label not in corpus.labels:
        raise ValueError(f"{corpus.name} {document_id}: label {raw_label} is not in the catalogue")
    return Mention(
        start,
        end,
        text[start:end],
        raw_label,
        corpus.labels[raw_label],
        attributes,
        discontinuous=bool(entity.get("discontinuous")) or len(entity.get("fragments") or ()) > 1,
    )


def _records(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)
