"""An index kept by LanceDB, in a folder or on S3: for millions of passages, and for many machines that search one.

    pip install 'clinical[lance]'
    CLINICAL_INDEX=s3://hospital-search/notes clinical index add notes/

Three tables: files, documents with their text, passages with their words and vectors. Each change of a table is atomic;
that of a file is not, so a file is first noted as unfinished, then its documents and passages are changed, then it is
noted as done: what a kill cuts off is read again. Readers see the tables as they are while a writer works.

LanceDB adds a version for each change and marks what is deleted. `compact` writes the tables anew and removes all that
was before, because its own clean-up leaves deleted rows in files of which they are less than a tenth.
"""

from __future__ import annotations

import json
import os
import re
import socket
import time
import traceback
import uuid
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from clinical.errors import ClinicalError, UsageError
from clinical.index.backend import (
    MUCH,
    Busy,
    FileState,
    IndexedDocument,
    Size,
    StoredPassage,
    check_about,
    context,
    named,
    rebuild,
)
from clinical.index.filters import EVERYTHING, Filter, day_of, first_day, last_day, path_patterns, regex_of
from clinical.index.location import VARIABLE, full_name
from clinical.index.passages import Passage
from clinical.index.update import LOOK_AGAIN
from clinical.index.words import words_of

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa  # type: ignore[import-untyped]
    from lancedb.db import LanceDBConnection
    from lancedb.query import FullTextQuery
    from lancedb.table import Table
    from numpy.typing import NDArray

FORMAT = 1
"""Counted up when the tables change, or the way notes are read or cut: an older index is then made anew."""

TABLES = ("about", "files", "documents", "passages")

NEAREST_FROM = 100_000
"""Passages; from here on they are grouped by nearness and only the groups near to the query are compared."""

GROUPS_COMPARED, REFINE = 32, 4
"""Of how many groups; and how many times as many candidates are compared exactly as are wanted."""

LEASE_SECONDS = 900
"""How long a writer on S3 may be silent before another takes it for dead."""

UNFINISHED = ""


def connect(uri: str) -> LanceDBConnection:
    """Return the database in a folder or on S3.

    Raises `UsageError` when LanceDB is not installed. Credentials and endpoint of S3 come from the environment, as
    for all its clients (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, …).
    """
    # Its remarks on every query are of no use to a user; errors come as exceptions.
    os.environ.setdefault("LANCE_LOG", "error")
    try:
        import lancedb
    except ImportError as error:
        raise UsageError("LanceDB is not installed: pip install 'clinical[lance]'") from error
    options = {}
    endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
    if endpoint.startswith("http://"):
        options["allow_http"] = "true"
    with reaching(uri):
        # For a folder or S3 it is of this kind; only LanceDB's cloud has another.
        database: Any = lancedb.connect(
            uri, read_consistency_interval=timedelta(0), storage_options=options or None
        )
    opened: LanceDBConnection = database
    return opened


@contextmanager
def reaching(uri: str) -> Iterator[None]:
    """Say in one line that a place cannot be reached."""
    try:
        yield
    except (RuntimeError, ValueError, OSError) as error:
        hint = f"; check {VARIABLE} and the AWS_… variables" if is_remote(uri) else ""
        raise ClinicalError(f"{uri} cannot be reached: {reason_of(error)}{hint}") from error


def reason_of(error: BaseException) -> str:
    """Return the gist of an error of LanceDB, whose messages hold places in its own source and whole structures."""
    text = " ".join(str(error).split(", /")[0].split())
    quoted_in_it = re.search(r'"([A-Z][^"({\\]{9,})', text)
    return quoted_in_it.group(1).rstrip(": ") if quoted_in_it else text[:200]


class LanceStore:
    """An open index in a LanceDB database; use it in a `with`."""

    def __init__(self, uri: str, name: str, paths: Sequence[str]) -> None:
        self.uri = uri
        self.name = name
        self.paths = tuple(paths)
        self._database = connect(uri)
        self._waiting: list[tuple[FileState, Sequence[IndexedDocument]]] | None = None
        self._gone: list[str] = []
        self._next_id: int | None = None
        self._tables: dict[str, Table] = {}

    @classmethod
    def open(cls, uri: str, name: str, paths: Sequence[str], embedder: str) -> LanceStore:
        """Return the index of these paths, made if it is not there.

        Raises `ClinicalError` when it is damaged, or of another version or embedder.
        """
        store = cls(uri, name, paths)
        with store._explaining(), private():
            if not store._exists("about"):
                about = {
                    "format": str(FORMAT),
                    "embedder": embedder,
                    "paths": json.dumps([full_name(path) for path in paths]),
                }
                rows = [{"key": key, "value": value} for key, value in about.items()]
                store._database.create_table(store._name("about"), rows, exist_ok=True)
            check_about(store.about(), FORMAT, paths, embedder)
        return store

    @classmethod
    def existing(cls, uri: str, name: str) -> LanceStore:
        """Return the index of this name, of whatever paths and embedder, to look after it."""
        store = cls(uri, name, ())
        with store._explaining():
            about = store.about()
        store.paths = tuple(json.loads(about.get("paths", "[]")))
        return store

    def __enter__(self) -> LanceStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception) and is_lances(error):
            raise self._explained(error) from error

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if is_lances(error):
                raise self._explained(error) from error
            raise

    def _explained(self, error: BaseException) -> ClinicalError:
        return ClinicalError(
            f"the index of {named(self.paths)} cannot be used: {reason_of(error)} ({self.uri}); {rebuild(self.paths)}"
        )

    # --- tables ---

    def _name(self, table: str) -> str:
        return f"{self.name}_{table}"

    def _exists(self, table: str) -> bool:
        return self._table(table) is not None

    def _table(self, table: str) -> Table | None:
        """Return a table as it is now; `None` when nothing was written yet."""
        if table not in self._tables:
            # On S3 each question is a journey.
            if self._name(table) not in table_names(self._database):
                return None
            try:
                self._tables[table] = self._database.open_table(self._name(table))
            except ValueError as error:
                # A kill while it was made has left a folder without a table in it.
                if "was not found" in str(error):
                    return None
                raise
        return self._tables[table]

    def _rows(self, table: str, columns: Sequence[str], where: str | None = None) -> list[dict[str, Any]]:
        found = self._table(table)
        if found is None:
            return []
        query = found.search().select(list(columns))
        rows: list[dict[str, Any]] = (
            (query.where(where) if where else query).limit(None).to_arrow().to_pylist()
        )
        return rows

    def _write(self, table: str, rows: pa.Table, key: str | None = None) -> None:
        """Add rows to a table, in place of those with the same key."""
        found = self._table(table)
        if found is None:
            self._database.create_table(self._name(table), rows, exist_ok=True)
        elif key is None:
            found.add(rows)
        else:
            found.merge_insert(key).when_matched_update_all().when_not_matched_insert_all().execute(rows)

    def _delete(self, table: str, where: str) -> None:
        found = self._table(table)
        if found is not None:
            found.delete(where)

    # --- what is in it ---

    def about(self) -> dict[str, str]:
        """Return what the index says of itself: `format`, `embedder`, `paths`."""
        return {row["key"]: row["value"] for row in self._rows("about", ("key", "value"))}

    def files(self) -> dict[str, FileState]:
        """Return what the index knows of each file, by path."""
        rows = self._rows("files", ("path", "sha256", "modified", "size", "faults"))
        return {row["path"]: FileState(**row) for row in rows}

    def size(self) -> Size:
        """Return how much it holds; on S3 the bytes are not counted."""
        counts = []
        for name in ("files", "documents", "passages"):
            table = self._table(name)
            counts.append(table.count_rows() if table is not None else 0)
        folders = (
            [] if is_remote(self.uri) else [Path(self.uri) / f"{self._name(name)}.lance" for name in TABLES]
        )
        files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
        return Size(counts[0], counts[1], counts[2], sum(file.stat().st_size for file in files))

    def sections(self) -> list[str]:
        """Return the canonical names of the sections that passages stand in."""
        return sorted({row["section"] for row in self._rows("passages", ("section",), "section IS NOT NULL")})

    def passage(self, id: int) -> StoredPassage | None:
        """Return a passage with its document; `None` when it was taken out since it was ranked."""
        of_passage = ("start", "end", "section", "heading", "document")
        of_document = ("path", "own_id", "place", "title", "date", "text")
        for row in self._rows("passages", of_passage, f"id = {id}"):
            document = row.pop("document")
            for found in self._rows("documents", of_document, f"id = {document}"):
                for file in self._rows("files", ("sha256",), f"path = {quoted(found['path'])}"):
                    return StoredPassage(
                        id, Passage(**row), document, found["path"], found["own_id"], found["place"],
                        found["title"], found["date"], file["sha256"], found["text"],
                    )  # fmt: skip
        return None

    def own_ids(self) -> dict[int, str]:
        """Return the id that the document of each passage brought along."""
        rows = self._rows("passages", ("id", "own_id"), "own_id IS NOT NULL")
        return {row["id"]: row["own_id"] for row in rows}

    # --- ranking ---

    def lexical(
        self, query: str | Sequence[str] | Mapping[str, float], limit: int, filter: Filter = EVERYTHING
    ) -> list[tuple[int, float]]:
        """Return the passages that share words with the query, by LanceDB's BM25, the best first."""
        words = words_of(query) if isinstance(query, str) else query
        weights = words if isinstance(words, Mapping) else dict.fromkeys(words, 1.0)
        table = self._table("passages")
        if table is None or not weights or not self._has_index(table, "words"):
            return []
        search = table.search(any_of(weights), query_type="fts").select(["id", "_score"])
        rows = self._narrowed(search, filter).limit(limit).to_arrow().to_pylist()
        return sorted(((row["id"], row["_score"]) for row in rows), key=lambda row: (-row[1], row[0]))

    def nearest(
        self, vector: NDArray[np.float32], limit: int, filter: Filter = EVERYTHING
    ) -> list[tuple[int, float]]:
        """Return the passages nearest to the vector with their cosines, the nearest first.

        In a large index those of the nearest groups, of which some may be missed.
        """
        table = self._table("passages")
        if table is None:
            return []
        search: Any = table.search(vector, vector_column_name="vector")
        search = search.distance_type("dot").select(["id", "_distance"])
        if self._has_index(table, "vector"):
            search = search.nprobes(GROUPS_COMPARED).refine_factor(REFINE)
        rows = self._narrowed(search, filter).limit(limit).to_arrow().to_pylist()
        return sorted(((row["id"], 1 - row["_distance"]) for row in rows), key=lambda row: (-row[1], row[0]))

    def cosines_of(self, vector: NDArray[np.float32], passages: Sequence[int]) -> dict[int, float]:
        """Return how near each of these passages is to the vector, from -1 to 1."""
        ids, vectors = self._vectors(passages)
        return dict(zip(ids, (vectors @ vector).tolist(), strict=True)) if ids else {}

    def vectors_of(self, passages: Sequence[int]) -> NDArray[np.float32]:
        """Return the vectors of those of the passages that are in the index, each of length one, in a row each."""
        return self._vectors(passages)[1]

    def _vectors(self, passages: Sequence[int]) -> tuple[list[int], NDArray[np.float32]]:
        """Return which of the passages are in the index, and their vectors."""
        import numpy as np

        table = self._table("passages")
        if table is None or not passages:
            return [], np.zeros((0, 0), np.float32)
        where = f"id IN ({', '.join(map(str, passages))})"
        rows = table.search().where(where).select(["id", "vector"]).limit(len(passages)).to_arrow()
        flat = rows["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        return rows["id"].to_pylist(), flat.reshape(len(rows), -1).astype(np.float32)

    def undated(self, filter: Filter) -> int:
        """Return how many documents a filter by time leaves out only because they have no date."""
        if not filter.has_dates:
            return 0
        conditions = where_of(replace(filter, since=None, until=None)) or "true"
        rows = self._rows("passages", ("document",), f"first_day IS NULL AND {conditions}")
        return len({row["document"] for row in rows})

    def _narrowed(self, search: Any, filter: Filter) -> Any:
        return search.where(where_of(filter), prefilter=True) if filter else search

    def _has_index(self, table: Table, column: str) -> bool:
        return any(column in index.columns for index in table.list_indices())

    # --- writing ---

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Be the one writer, for as long as it takes; raises `Busy` when there is another."""
        with ExitStack() as stack:
            if is_remote(self.uri):
                stack.enter_context(self._lease())
            else:
                from clinical.index.store import lock

                stack.enter_context(lock(Path(self.uri) / f"{self.name}.sqlite", self.paths))
            stack.enter_context(self._explaining())
            stack.enter_context(private())
            self._next_id = None
            yield

    @contextmanager
    def _lease(self) -> Iterator[None]:
        """Hold the table that says who writes: on S3 no lock goes away with its process, so it runs out instead."""
        name = self._name("writer")
        mine = {
            "who": f"{socket.gethostname()}, process {os.getpid()}",
            "token": uuid.uuid4().hex,
            "at": time.time(),
        }
        if name in table_names(self._database):
            (held,) = self._database.open_table(name).to_arrow().to_pylist()
            if time.time() - held["at"] < LEASE_SECONDS:
                minutes = int((held["at"] + LEASE_SECONDS - time.time()) / 60) + 1
                raise Busy(
                    f"another process is writing the index of {named(self.paths)} ({held['who']}); wait for it, or, "
                    f"if it was killed, {minutes} minutes"
                )
            self._database.drop_table(name)
        try:
            # Of two that come at once the store lets one make the table.
            self._database.create_table(name, [mine])
        except (ValueError, RuntimeError, OSError) as error:
            raise Busy(f"another process is writing the index of {named(self.paths)}; wait for it") from error
        self._held = mine
        try:
            yield
        finally:
            self._held = None
            self._database.drop_table(name, ignore_missing=True)

    _held: dict[str, Any] | None = None

    def _renew_lease(self) -> None:
        if self._held and time.time() - self._held["at"] > LEASE_SECONDS / 10:
            self._held["at"] = time.time()
            self._database.open_table(self._name("writer")).add([self._held], mode="overwrite")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Write all that is put inside at its end, the files as the last."""
        self._waiting, self._gone = [], []
        try:
            with private():
                yield
                self._flush(self._waiting, self._gone)
        finally:
            self._waiting, self._gone = None, []

    def put(self, file: FileState, documents: Sequence[IndexedDocument]) -> None:
        """Write a file with its documents, in place of what the index had of it."""
        assert self._waiting is not None, "only within a transaction"
        self._waiting.append((file, documents))

    def remove(self, path: str) -> None:
        """Take a file out, with all that belongs to it."""
        assert self._waiting is not None, "only within a transaction"
        self._gone.append(path)

    def rename(self, old: str, new: FileState) -> None:
        """Give a file that was moved its new path."""
        values = {"path": new.path}
        where = f"path = {quoted(old)}"
        for name in ("passages", "documents"):
            table = self._table(name)
            if table is not None:
                table.update(where=where, values=values)
        self._update_file(where, {"path": new.path, "modified": new.modified, "size": new.size})

    def touch(self, path: str, modified: int, size: int) -> None:
        """Note the time and size of a file whose content is what it was; a time of -1 has it looked at again."""
        self._update_file(f"path = {quoted(path)}", {"modified": modified, "size": size})

    def _update_file(self, where: str, values: Mapping[str, Any]) -> None:
        table = self._table("files")
        if table is not None:
            table.update(where=where, values=dict(values))

    def _flush(
        self, written: Sequence[tuple[FileState, Sequence[IndexedDocument]]], gone: Sequence[str]
    ) -> None:
        self._renew_lease()
        states = [state for state, _ in written]
        if states:
            unfinished = [replace(state, sha256=UNFINISHED, modified=LOOK_AGAIN) for state in states]
            self._write("files", _file_rows(unfinished), key="path")
        paths = [state.path for state in states] + list(gone)
        if paths:
            where = f"path IN ({', '.join(map(quoted, paths))})"
            self._delete("passages", where)
            self._delete("documents", where)
        if gone:
            self._delete("files", f"path IN ({', '.join(map(quoted, gone))})")
        if states:
            documents, passages = self._numbered(written)
            if documents:
                self._write("documents", _document_rows(documents))
            if passages:
                self._write("passages", _passage_rows(passages))
            self._write("files", _file_rows(states), key="path")

    def _numbered(
        self, written: Sequence[tuple[FileState, Sequence[IndexedDocument]]]
    ) -> tuple[list[tuple[int, str, IndexedDocument]], list[tuple[int, int, str, IndexedDocument, int]]]:
        """Return documents and passages with numbers that were never given before."""
        if self._next_id is None:
            known = [self._rows(name, ("id",)) for name in ("documents", "passages")]
            self._next_id = 1 + max((row["id"] for rows in known for row in rows), default=0)
        documents, passages = [], []
        for state, some in written:
            for document in some:
                number, self._next_id = self._next_id, self._next_id + 1
                documents.append((number, state.path, document))
                for place in range(len(document.passages)):
                    passages.append((self._next_id, number, state.path, document, place))
                    self._next_id += 1
        return documents, passages

    def refresh(self, share: float = MUCH) -> None:
        """Index what is new, when it is more than this share of the passages, and merge small pieces."""
        table = self._table("passages")
        if table is None:
            return
        total = table.count_rows()
        if not self._has_index(table, "words"):
            self._make_indices(table, total)
        else:
            (index,) = [index for index in table.list_indices() if "words" in index.columns]
            stats = table.index_stats(index.name)
            new = stats.num_unindexed_rows if stats else total
            if new <= share * total:
                return
            if total >= NEAREST_FROM and not self._has_index(table, "vector"):
                self._make_indices(table, total)
            for name in TABLES:
                found = self._table(name)
                if found is not None:
                    # An hour, for those who read an older version.
                    found.optimize(cleanup_older_than=timedelta(hours=1))

    def _make_indices(self, table: Table, total: int) -> None:
        from lancedb.index import FTS, BTree, IvfSq

        if total == 0:
            return
        table.create_index(
            "words", config=FTS(stem=True, remove_stop_words=False, ascii_folding=True, with_position=False)
        )
        table.create_index("id", config=BTree())
        if total >= NEAREST_FROM:
            table.create_index("vector", config=IvfSq(distance_type="dot", num_partitions=int(total**0.5)))
        documents = self._table("documents")
        if documents is not None:
            documents.create_index("id", config=BTree())

    def compact(self) -> None:
        """Write the tables anew and remove all earlier versions, so that no trace of what was taken out stays."""
        for name in TABLES:
            table = self._table(name)
            if table is None:
                continue
            rows = table.search().limit(None).to_batches(4096)
            table.add(rows, mode="overwrite")
            with warnings.catch_warnings():
                # It warns that other readers may fail; that is what erasing is.
                warnings.simplefilter("ignore")
                table.optimize(cleanup_older_than=timedelta(0), delete_unverified=True)
        table = self._table("passages")
        if table is not None:
            self._make_indices(table, table.count_rows())

    def faults(self) -> list[str]:
        """Return what is wrong with the index itself, a line each; it does not look at the sources."""
        with self._explaining():
            files = set(self.files())
            documents = {row["id"]: row["path"] for row in self._rows("documents", ("id", "path", "text"))}
            passages = self._rows("passages", ("id", "document", "path", "start", "end", "vector"))
        found = [f"{path}: a document without its file" for path in sorted(set(documents.values()) - files)]
        lost = {row["path"] for row in passages if documents.get(row["document"]) != row["path"]}
        return found + [f"{path}: passages without their document" for path in sorted(lost)]


# --- rows ---


def _file_rows(states: Sequence[FileState]) -> pa.Table:
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


def _document_rows(documents: Sequence[tuple[int, str, IndexedDocument]]) -> pa.Table:
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


def _passage_rows(passages: Sequence[tuple[int, int, str, IndexedDocument, int]]) -> pa.Table:
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
                "words": context(note.title, passage) + "\n" + note.text[passage.start : passage.end],
            }
        )  # fmt: skip
    numbers = ("id", "document", "start", "end")
    schema = pa.schema([(name, pa.int64() if name in numbers else pa.string()) for name in rows[0]])
    table = pa.Table.from_pylist(rows, schema)
    return table.append_column("vector", pa.FixedSizeListArray.from_arrays(halves, vectors.shape[1]))


# --- queries ---


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


# --- places ---


def is_lances(error: Exception) -> bool:
    """Return whether an error comes from LanceDB, rather than from us."""
    if isinstance(error, ClinicalError):
        return False
    frames = traceback.extract_tb(error.__traceback__)
    return any("lancedb" in Path(frame.filename).parts for frame in frames)


def is_remote(uri: str) -> bool:
    """Return whether the index lies elsewhere than in a folder."""
    return "://" in uri


def table_names(database: LanceDBConnection) -> list[str]:
    """Return the names of all tables of a database."""
    names: list[str] = []
    page = None
    while True:
        with reaching(database.uri):
            answer = database.list_tables(page_token=page, limit=1000)
        names += answer.tables
        page = answer.page_token
        if not page:
            return names


@contextmanager
def private() -> Iterator[None]:
    """Make all files that are written inside for their owner alone; Lance asks the process for no less."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def indexes_in(uri: str) -> list[str]:
    """Return the names of the indexes in a database."""
    return sorted(
        name.removesuffix("_about") for name in table_names(connect(uri)) if name.endswith("_about")
    )


def erase(uri: str, name: str) -> None:
    """Remove an index, damaged or not, with all versions of it."""
    database = connect(uri)
    # That by which it is found goes last: a kill in between leaves what can be erased again.
    for table in ("passages", "documents", "files", "writer", "about"):
        database.drop_table(f"{name}_{table}", ignore_missing=True)
