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
import socket
import time
import uuid
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from clinical.errors import ClinicalError
from clinical.index.backend import (
    MUCH,
    Busy,
    FileState,
    IndexedDocument,
    Size,
    StoredPassage,
    Unit,
    check_about,
    check_format,
    named,
    rebuild,
)
from clinical.index.filters import EVERYTHING, Filter
from clinical.index.lance_places import connect, is_lances, is_remote, private, reason_of, table_names
from clinical.index.lance_rows import any_of, document_rows, file_rows, passage_rows, quoted, where_of
from clinical.index.location import full_name
from clinical.index.passages import Passage
from clinical.index.update import LOOK_AGAIN
from clinical.index.words import words_of

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from lancedb.table import Table
    from numpy.typing import NDArray

FORMAT = 3
"""Counted up when the tables change, or the way notes are read or cut: an older index is then made anew."""

TABLES = ("about", "files", "documents", "passages")
RANKED: Mapping[Unit, str] = {"passage": "passages", "document": "documents"}
"""The tables that are ranked, each with its words and vectors."""

NEAREST_FROM = 100_000
"""Passages; from here on they are grouped by nearness and only the groups near to the query are compared."""

GROUPS_COMPARED, REFINE = 64, 2
"""Of how many groups, and how many times as many candidates are compared exactly as are wanted. Of the ten nearest
of 100,000 passages 94 % are found so, in less than half of the time (benchmarks/search_scale.md)."""

SMALL_PIECES = 30
"""How many small pieces a table may have before they are merged: each change adds one."""

KEPT = timedelta(minutes=2)
"""How long an older version stays for those who are reading it."""

LEASE_SECONDS = 900
"""How long a writer on S3 may be silent before another takes it for dead."""

UNFINISHED = ""


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
        """Return the index of this name, of whatever paths and embedder, to look after it.

        Raises `ClinicalError` when it is damaged, or of another version.
        """
        store = cls(uri, name, ())
        with store._explaining():
            about = store.about()
        store.paths = tuple(json.loads(about.get("paths", "[]")))
        check_format(about, FORMAT, store.paths)
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

    def own_ids(self, by: Unit = "passage") -> dict[int, str]:
        """Return the id that each document, or that of each passage, brought along."""
        rows = self._rows(RANKED[by], ("id", "own_id"), "own_id IS NOT NULL")
        return {row["id"]: row["own_id"] for row in rows}

    def passages_in(self, filter: Filter) -> dict[int, int]:
        """Return the passages that a filter lets through, in the order of the text, each with its document."""
        rows = self._rows("passages", ("id", "document"), where_of(filter))
        return dict(sorted((row["id"], row["document"]) for row in rows))

    # --- ranking ---

    def lexical(
        self,
        query: str | Sequence[str] | Mapping[str, float],
        limit: int,
        filter: Filter = EVERYTHING,
        by: Unit = "passage",
    ) -> list[tuple[int, float]]:
        """Return the passages, or documents, that share words with the query, by LanceDB's BM25, the best first."""
        words = words_of(query) if isinstance(query, str) else query
        weights = words if isinstance(words, Mapping) else dict.fromkeys(words, 1.0)
        table = self._table(RANKED[by])
        if table is None or not weights or not self._has_index(table, "words"):
            return []
        search = table.search(any_of(weights), query_type="fts").select(["id", "_score"])
        rows = self._narrowed(search, filter, by).limit(limit).to_arrow().to_pylist()
        return sorted(((row["id"], row["_score"]) for row in rows), key=lambda row: (-row[1], row[0]))

    def nearest(
        self, vector: NDArray[np.float32], limit: int, filter: Filter = EVERYTHING, by: Unit = "passage"
    ) -> list[tuple[int, float]]:
        """Return the passages, or documents, nearest to the vector with their cosines, the nearest first.

        In a large index those of the nearest groups, of which some may be missed.
        """
        table = self._table(RANKED[by])
        if table is None:
            return []
        search: Any = table.search(vector, vector_column_name="vector")
        search = search.distance_type("dot").select(["id", "_distance"])
        if self._has_index(table, "vector"):
            search = search.nprobes(GROUPS_COMPARED).refine_factor(REFINE)
        rows = self._narrowed(search, filter, by).limit(limit).to_arrow().to_pylist()
        return sorted(((row["id"], 1 - row["_distance"]) for row in rows), key=lambda row: (-row[1], row[0]))

    def cosines_of(
        self, vector: NDArray[np.float32], ids: Sequence[int], by: Unit = "passage"
    ) -> dict[int, float]:
        """Return how near each of these passages, or documents, is to the vector, from -1 to 1."""
        known, vectors = self._vectors(ids, by)
        return dict(zip(known, (vectors @ vector).tolist(), strict=True)) if known else {}

    def vectors_of(self, ids: Sequence[int], by: Unit = "passage") -> NDArray[np.float32]:
        """Return the vectors of those of these that are in the index, each of length one, in a row each."""
        return self._vectors(ids, by)[1]

    def _vectors(self, ids: Sequence[int], by: Unit) -> tuple[list[int], NDArray[np.float32]]:
        """Return which of these are in the index, and their vectors."""
        import numpy as np

        table = self._table(RANKED[by])
        if table is None or not ids:
            return [], np.zeros((0, 0), np.float32)
        where = f"id IN ({', '.join(map(str, ids))})"
        rows = table.search().where(where).select(["id", "vector"]).limit(len(ids)).to_arrow()
        flat = rows["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        return rows["id"].to_pylist(), flat.reshape(len(rows), -1).astype(np.float32)

    def undated(self, filter: Filter) -> int:
        """Return how many documents a filter by time leaves out only because they have no date."""
        if not filter.has_dates:
            return 0
        conditions = where_of(replace(filter, since=None, until=None)) or "true"
        rows = self._rows("passages", ("document",), f"first_day IS NULL AND {conditions}")
        return len({row["document"] for row in rows})

    def _narrowed(self, search: Any, filter: Filter, by: Unit) -> Any:
        return search.where(where_of(filter, by), prefilter=True) if filter else search

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
            self._write("files", file_rows(unfinished), key="path")
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
                self._write("documents", document_rows(documents))
            if passages:
                self._write("passages", passage_rows(passages))
            self._write("files", file_rows(states), key="path")

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
        for ranked in RANKED.values():
            # Groups are found among all that there is, not among what a writer has so far.
            self._make_indices(ranked, groups=share <= MUCH)
        total = table.count_rows()
        if self._out_of_step(table, total) > share or self._pieces(table) > SMALL_PIECES:
            for name in TABLES:
                found = self._table(name)
                if found is not None:
                    found.optimize(cleanup_older_than=KEPT)

    def _out_of_step(self, table: Table, total: int) -> float:
        """Return the share of the passages that the index of words does not have yet."""
        names = [index.name for index in table.list_indices() if "words" in index.columns]
        stats = table.index_stats(names[0]) if names else None
        return stats.num_unindexed_rows / max(total, 1) if stats else 0.0

    def _pieces(self, table: Table) -> int:
        stats: Any = table.stats()
        pieces: int = stats["fragment_stats"]["num_small_fragments"]
        return pieces

    def _make_indices(self, name: str, groups: bool, anew: bool = False) -> None:
        """Make the indices that a table lacks, or all anew; those of vectors only with `groups`."""
        from lancedb.index import FTS, BTree, IvfSq

        table = self._table(name)
        total = table.count_rows() if table is not None else 0
        if table is None or total == 0:
            return
        if anew or not self._has_index(table, "words"):
            words = FTS(stem=True, remove_stop_words=False, ascii_folding=True, with_position=False)
            table.create_index("words", config=words)
            table.create_index("id", config=BTree())
        if groups and total >= NEAREST_FROM and (anew or not self._has_index(table, "vector")):
            # To find the groups on a quarter of what LanceDB takes, in a fifth of the rounds, costs no recall.
            nearness = IvfSq(
                distance_type="dot", num_partitions=int(total**0.5), sample_rate=64, max_iterations=10
            )
            table.create_index("vector", config=nearness)

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
        for name in RANKED.values():
            self._make_indices(name, groups=True, anew=True)

    def faults(self) -> list[str]:
        """Return what is wrong with the index itself, a line each; it does not look at the sources."""
        with self._explaining():
            files = set(self.files())
            documents = {row["id"]: row["path"] for row in self._rows("documents", ("id", "path", "text"))}
            passages = self._rows("passages", ("id", "document", "path", "start", "end", "vector"))
        found = [f"{path}: a document without its file" for path in sorted(set(documents.values()) - files)]
        lost = {row["path"] for row in passages if documents.get(row["document"]) != row["path"]}
        return found + [f"{path}: passages without their document" for path in sorted(lost)]
