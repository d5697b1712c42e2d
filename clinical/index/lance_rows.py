"""The rows of an index in LanceDB, and what is asked of them in its SQL and its words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from clinical.index.backend import FileState, IndexedDocument, words_in
from clinical.index.filters import Filter, day_of, first_day, last_day, path_patterns, regex_of
from clinical.index.location import full_name

if TYPE_CHECKING:
    import pyarrow as pa
    from lancedb.query import FullTextQuery


def file_rows(states: Sequence[FileState]) -> pa.Table:
    """Return a row for each file."""
    import pyarrow as pa

    schema = pa.schema(
        [
            ("path", pa.string()), ("sha256", pa.string()), ("modified", pa.int64()), ("size", pa.int64()),
            ("faults", pa.string()),
        ]
    )  # fmt: skip
    return pa.Table.from_pylist(
        [{name: getattr(state, name) for name in schema.names} for state in states], schema
    )


def document_rows(documents: Sequence[tuple[int, str, IndexedDocument]]) -> pa.Table:
    """Return a row for each document: its number, its file and itself."""
    import pyarrow as pa

    names = ("path", "own_id", "place", "title", "date", "text")
    schema = pa.schema([("id", pa.int64()), *((name, pa.string()) for name in names)])
    return pa.Table.from_pylist(
        [
            {
                "id": id, "path": path, "own_id": document.own_id, "place": document.place,
                "title": document.note.title, "date": document.note.date, "text": document.note.text,
            }
            for id, path, document in documents
        ],
        schema,
    )  # fmt: skip


def passage_rows(passages: Sequence[tuple[int, int, str, IndexedDocument, int]]) -> pa.Table:
    """Return a row for each passage: its number, that of its document, its file, its document and place in it."""
    import numpy as np
    import pyarrow as pa

    vectors = np.stack([document.vectors[place] for _, _, _, document, place in passages])
    # LanceDB knows no vectors of int8; half of float loses nothing of them.
    halves = pa.array((vectors.astype(np.float32) / 127).astype(np.float16).ravel())
    rows = []
    for id, number, path, document, place in passages:
        note, passage = document.note, document.passages[place]
        day = day_of(note.date)
        rows.append(
            {
                "id": id, "document": number, "path": path, "place": document.place, "own_id": document.own_id,
                "first_day": first_day(day) if day else None, "last_day": last_day(day) if day else None,
                "start": passage.start, "end": passage.end, "section": passage.section, "heading": passage.heading,
                "words": words_in(note, passage),
            }
        )  # fmt: skip
    numbers = ("id", "document", "start", "end")
    schema = pa.schema([(name, pa.int64() if name in numbers else pa.string()) for name in rows[0]])
    table = pa.Table.from_pylist(rows, schema)
    return table.append_column("vector", pa.FixedSizeListArray.from_arrays(halves, vectors.shape[1]))


def any_of(words: Mapping[str, float]) -> FullTextQuery:
    """Return the query for any of the words, with how much each counts.

    One of several parts stands where all of them do.
    """
    from lancedb import query

    match: Any = query.MatchQuery
    each = [
        match(word, "words", boost=weight, operator=query.FullTextOperator.AND)
        for word, weight in words.items()
    ]
    return query.BooleanQuery([(query.Occur.SHOULD, word) for word in each])


def where_of(filter: Filter) -> str:
    """Return a filter in LanceDB's SQL."""
    conditions = []
    if filter.sections:
        conditions.append(f"section IN ({', '.join(map(quoted, filter.sections))})")
    if filter.path is not None:
        whole, own = path_patterns(filter.path)
        tests = [f"path = {quoted(full_name(filter.path))}", f"own_id = {quoted(filter.path)}"]
        tests += [f"regexp_like(concat(path, place), {quoted(regex_of(pattern))})" for pattern in whole]
        tests += [f"regexp_like(path, {quoted(regex_of(pattern))})" for pattern in whole]
        tests += [f"regexp_like(own_id, {quoted(regex_of(pattern))})" for pattern in own]
        conditions.append(f"({' OR '.join(tests)})")
    if filter.since is not None:
        conditions.append(f"last_day >= {quoted(first_day(day_of(filter.since) or ''))}")
    if filter.until is not None:
        conditions.append(f"first_day <= {quoted(last_day(day_of(filter.until) or ''))}")
    return " AND ".join(conditions)


def quoted(value: str) -> str:
    """Return the value as a string in SQL."""
    return "'" + value.replace("'", "''") + "'"
