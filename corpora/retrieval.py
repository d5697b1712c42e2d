"""Reads retrieval collections: documents, queries, and which documents were judged to answer which query.

    collection = read_collection("medquad_liveqa")
    collection = read_collection("nfcorpus:dev")
    collection = read_collection("folder/")   # your own, of the same shape

A folder holds `corpus.jsonl[.gz]` (id, text, optional title), `queries.jsonl` (id, text) and `qrels.tsv` in the form
of TREC (`query 0 document grade`); the split `dev` reads `qrels_dev.tsv`, and the documents of `corpus_dev.jsonl[.gz]`
too where there are any: `medquad_liveqa:reference` adds the reference answers of the questions to all others.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from clinical.corpora.catalog import find
from clinical.corpora.folder import corpora_folder
from clinical.documents.note import Note
from clinical.errors import UsageError

Half = Literal["tune", "report", "all"]
HALVES: tuple[Half, ...] = get_args(Half)


@dataclass(frozen=True)
class Collection:
    """Documents, queries by id, and by query the grade of each judged document; 0 is "does not answer"."""

    name: str
    documents: Sequence[Note]
    queries: Mapping[str, str]
    judgements: Mapping[str, Mapping[str, int]]


def read_collection(source: str, *, wording: str = "text", half: Half = "all") -> Collection:
    """Return a collection with the queries of that half for which some document was judged relevant.

    `wording` is the field of a query to search with; where it is empty the query's `text` stands in. The
    half of a query hangs on its id alone. Raises `UsageError` for what is not there.
    """
    folder, split = _place(source)
    judgements = _judgements(folder / (f"qrels_{split}.tsv" if split else "qrels.tsv"))
    documents = [
        Note(str(record["id"]), record["text"], title=record.get("title") or None)
        for record in (*_records(folder, "corpus"), *_added(folder, split))
    ]
    queries = {
        str(record["id"]): _worded(record, wording)
        for record in _records(folder, "queries")
        if _in_half(str(record["id"]), half) and any(judgements.get(str(record["id"]), {}).values())
    }
    if not queries:
        raise UsageError(f"{source}: no query of it has a relevant document")
    return Collection(source, documents, queries, {query: judgements[query] for query in queries})


def _place(source: str) -> tuple[Path, str]:
    """Return the folder of a collection, and the split asked for."""
    if Path(source).is_dir():
        return Path(source), ""
    name, _, split = source.partition(":")
    corpus = find(name)
    if corpus.task != "retrieval":
        raise UsageError(f"{name} is no retrieval collection; there are medquad_liveqa and nfcorpus")
    return corpora_folder() / corpus.folder, split


def _judgements(path: Path) -> dict[str, dict[str, int]]:
    if not path.is_file():
        there = ", ".join(sorted(other.name for other in path.parent.glob("qrels*.tsv"))) or "none"
        raise UsageError(f"{path} is missing; judgements there: {there} (qrels_dev.tsv is the split dev)")
    judgements: dict[str, dict[str, int]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        query, _, document, grade = line.split()
        grades = judgements.setdefault(query, {})
        # Judged twice: the better grade counts.
        grades[document] = max(int(grade), grades.get(document, 0))
    return judgements


def _added(folder: Path, split: str) -> Iterator[dict[str, Any]]:
    """Yield the documents that a split adds to all others, as they are only there to be found for its queries."""
    stem = f"corpus_{split}"
    if split and ((folder / f"{stem}.jsonl").is_file() or (folder / f"{stem}.jsonl.gz").is_file()):
        yield from _records(folder, stem)


def _records(folder: Path, stem: str) -> Iterator[dict[str, Any]]:
    plain, packed = folder / f"{stem}.jsonl", folder / f"{stem}.jsonl.gz"
    if not plain.is_file() and not packed.is_file():
        raise UsageError(f"{plain} is missing")
    with plain.open("rb") if plain.is_file() else gzip.open(packed) as lines:
        for line in lines:
            yield json.loads(line)


def _worded(record: Mapping[str, Any], wording: str) -> str:
    if wording not in record:
        raise UsageError(f"queries have no {wording!r}; they have: {', '.join(record)}")
    return str(record[wording] or record["text"])


def _in_half(query: str, half: Half) -> bool:
    odd = hashlib.sha256(query.encode()).digest()[-1] % 2
    return half == "all" or odd == (half == "report")
