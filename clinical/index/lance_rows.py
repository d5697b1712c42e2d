"""The rows of an index in LanceDB, and what is asked of them in its SQL and its words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from clinical.index.backend import FileState, IndexedDocument, Unit, words_in
from clinical.index.filters import Filter, day_of, first_day, last_day, path_patterns, regex_of
from clinical.index.location import full_name
from clinical.index.passages import Passage
from clinical.index.vectors import whole

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from lancedb.query import FullTextQuery
    from numpy.typing import NDArray


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
    """Return a row for each document: its number, its file, itself, and what it is ranked by as a whole."""
    import numpy as np
    import pyarrow as pa

    names = ("path", "own_id", "place", "title", "date", "first_day", "last_day", "text", "words")
    schema = pa.schema(
        [
            ("id", pa.int64()),
            *((name, pa.string()) for name in names),
            ("sections", pa.list_(pa.string())),
        ]
    )
    rows = []
    for id, path, document in documents:
        note = document.note
        rows.append(
            {
                "id": id, "path": path, "own_id": document.own_id, "place": document.place,
                "title": note.title, "date": note.date, **_days(note.date), "text": note.text,
                "words": words_in(note, Passage(0, len(note.text))),
                "sections": sorted({passage.section for passage in document.passages if passage.section}),
            }
        )  # fmt: skip
    table = pa.Table.from_pylist(rows, schema)
    return table.append_column("vector", _halves(np.stack([whole(one.vectors) for _, _, one in documents])))


def passage_rows(passages: Sequence[tuple[int, int, str, IndexedDocument, int]]) -> pa.Table:
    """Return a row for each passage: its number, that of its document, its file, its document and place in it."""
    import numpy as np
    import pyarrow as pa

    rows = []
    for id, number, path, document, place in passages:
        note, passage = document.note, document.passages[place]
        rows.append(
            {
                "id": id, "document": number, "path": path, "place": document.place, "own_id": document.own_id,
                **_days(note.date), "start": passage.start, "end": passage.end,
                "section": passage.section, "heading": passage.heading,
                "words": words_in(note, passage),
            }
        )  # fmt: skip
    numbers = ("id", "document", "start", "end")
    schema = pa.schema([(name, pa.int64() if name in numbers else pa.string()) for name in rows[0]])
    table = pa.Table.from_pylist(rows, schema)
    vectors = np.stack([document.vectors[place] for _, _, _, document, place in passages])
    return table.append_column("vector", _halves(vectors))


def _days(date: str | None) -> dict[str, str | None]:
    """Return the least and the greatest text that a day in the time of a document has."""
    day = day_of(date)
    return {"first_day": first_day(day) if day else None, "last_day": last_day(day) if day else None}


def _halves(vectors: NDArray[np.int8]) -> pa.FixedSizeListArray:
    """Return a column of these vectors. LanceDB knows none of int8; half of float loses nothing of them."""
    import numpy as np
    import pyarrow as pa

    halves = pa.array((vectors.astype(np.float32) / 127).astype(np.float16).ravel())
    return pa.FixedSizeListArray.from_arrays(halves, vectors.shape[1])


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


def where_of(filter: Filter, by: Unit = "passage") -> str:
    """Return a filter of passages, or of documents with such passages, in LanceDB's SQL."""
    conditions = []
    if filter.sections:
        names = ", ".join(map(quoted, filter.sections))
        conditions.append(
            f"section IN ({names})" if by == "passage" else f"array_has_any(sections, [{names}])"
        )
    if filter.documents:
        numbers = ", ".join(map(str, filter.documents))
        conditions.append(f"{'document' if by == 'passage' else 'id'} IN ({numbers})")
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
