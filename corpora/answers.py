"""MedQuAD as documents to ask: one file of records, an article each, its questions as headings of its answers.

    file = answer_documents("medquad", folder)

The corpus is not part of the package; `clinical corpora` says where it comes from. The index that a search makes of the
file is kept like that of any other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from clinical.corpora.records import read_records
from clinical.errors import UsageError

CORPORA = ("medquad",)
SPLITS = ("train", "dev")


def answer_documents(name: str, folder: Path) -> Path:
    """Return the file of records of this corpus in the folder, written anew only when the corpus has changed.

    Raises `UsageError` for another corpus, or when it is not on this machine.
    """
    if name not in CORPORA:
        raise UsageError(f"no corpus {name!r} to ask; available: {', '.join(CORPORA)}")
    file = folder / f"{name}.jsonl"
    content = "".join(json.dumps(document) + "\n" for document in _documents(name))
    if not file.is_file() or file.read_text(encoding="utf-8") != content:
        file.write_text(content, encoding="utf-8")
    return file


def _documents(name: str) -> Iterator[dict[str, str]]:
    for split in SPLITS:
        for document, pairs in groupby(read_records(name, split), key=lambda record: str(record["document"])):
            some = list(pairs)
            text = "\n\n".join(f"{pair['question'].replace(' ?', '?')}\n{_answer(pair)}" for pair in some)
            yield {"id": document, "title": some[0]["focus"], "text": text}


def _answer(pair: dict[str, Any]) -> str:
    return str(pair["answer"]).strip()
