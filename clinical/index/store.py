"""The index file: one SQLite database with the files, their documents, passages, stems and vectors.

    with Store.open(index_file(paths), paths, Embedder.id) as store:
        store.lexical("chest pain", 10)

A file goes in or out in one transaction, with all that belongs to it: whatever kills the program, the index
is that of some moment. Readers see the last complete state while a writer works (SQLite's write-ahead log). The
text of a document is stored once; stems and vectors point into it. Vectors are kept in int8, of which one
document's lie in one value, as do its stems: nothing is lost in ranking, and all are read at once. A document as a
whole has the stems of its text, and the mean of the vectors of its passages.

A search ranks a copy of the stems and vectors in the form in which that is fast, mapped from a file beside the index
(`clinical.index.segment`). What changed since it was made is read from the database; when that is much, the copy is
made anew. It can be deleted at any time.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from clinical.errors import ClinicalError
from clinical.index.backend import (
    MUCH,
    UNITS,
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
    words_in,
)
from clinical.index.filters import EVERYTHING, Filter, day_of, path_patterns
from clinical.index.location import VARIABLE, full_name
from clinical.index.passages import Passage
from clinical.index.terms import count_stems, stems_of
from clinical.index.words import words_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from clinical.index.segment import Segment
    from clinical.index.snapshot import Part, Snapshot

_log = logging.getLogger(__name__)

COPIES: Mapping[Unit, str] = {"passage": ".scan", "document": ".scan-documents"}
"""How the names of the mapped copies end."""

FORMAT = 5
"""Counted up when the tables change, or the way notes are read or cut: an older index is then made anew."""

COPY_FROM = 2000
"""Passages; fewer are read from the database faster than a copy is worth."""

_TABLES = """
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE files (
    id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, sha256 TEXT NOT NULL,
    modified INTEGER NOT NULL, size INTEGER NOT NULL, faults TEXT NOT NULL
);
CREATE TABLE documents (
    id INTEGER PRIMARY KEY AUTOINCREMENT, file INTEGER NOT NULL REFERENCES files ON DELETE CASCADE,
    own_id TEXT, place TEXT NOT NULL, title TEXT, date TEXT, day TEXT, text TEXT NOT NULL, vectors BLOB NOT NULL,
    stems BLOB NOT NULL, whole_stems BLOB NOT NULL
);
-- With all that a filter asks for: the documents themselves are long to read.
CREATE INDEX documents_of_file ON documents (file, day, own_id, place);
CREATE TABLE passages (
    id INTEGER PRIMARY KEY AUTOINCREMENT, document INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,
    start INTEGER NOT NULL, end INTEGER NOT NULL, section TEXT, heading TEXT NOT NULL
);
CREATE INDEX passages_of_document ON passages (document);
CREATE TABLE stems (id INTEGER PRIMARY KEY, stem TEXT NOT NULL UNIQUE);
"""


class Store:
    """An open index file; use it in a `with`. Damage to the file comes out as one line that says what to do."""

    def __init__(self, path: Path, connection: sqlite3.Connection, paths: Sequence[str]) -> None:
        self.path = path
        self.paths = tuple(paths)
        self._connection = connection
        self._ranked: dict[Unit, tuple[str, Snapshot]] = {}
        self._last_allowed: tuple[Snapshot, Filter, list[NDArray[np.bool_]]] | None = None
        self._stem_ids: dict[str, int] = {}

    @classmethod
    def open(cls, path: Path, paths: Sequence[str], embedder: str) -> Store:
        """Return the index of these paths, made if it is not there.

        Raises `ClinicalError` when the file is damaged, or of another version or embedder.
        """
        _make_private(path)
        try:
            connection = _connect(path)
            if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
                _create(connection, paths, embedder)
        except sqlite3.Error as error:
            raise _explained(error, path, paths) from error
        store = cls(path, connection, paths)
        with store._closing_on_error():
            check_about(store.about(), FORMAT, paths, embedder)
        return store

    @classmethod
    def existing(cls, path: Path) -> Store:
        """Return the index in this file, of whatever paths and embedder, to look after it.

        Raises `ClinicalError` when the file is damaged, or of another version.
        """
        try:
            connection = _connect(path)
            row = connection.execute("SELECT value FROM about WHERE key = 'paths'").fetchone()
        except sqlite3.Error as error:
            raise _explained(error, path, ()) from error
        store = cls(path, connection, json.loads(row[0]) if row else ())
        with store._closing_on_error():
            check_format(store.about(), FORMAT, store.paths)
        return store

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        if isinstance(error, sqlite3.Error):
            raise _explained(error, self.path, self.paths) from error

    @contextmanager
    def _closing_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise

    # --- what is in it ---

    def about(self) -> dict[str, str]:
        """Return what the index says of itself: `format`, `embedder`, `paths`."""
        return dict(self._connection.execute("SELECT key, value FROM about"))

    def files(self) -> dict[str, FileState]:
        """Return what the index knows of each file, by path."""
        rows = self._connection.execute("SELECT path, sha256, modified, size, faults, id FROM files")
        return {row[0]: FileState(*row) for row in rows}

    def size(self) -> Size:
        """Return how much it holds."""
        on_disk = sum(part.stat().st_size for part in files_of_index(self.path) if part.exists())
        return Size(self._count("files"), self._count("documents"), self._count("passages"), on_disk)

    def _count(self, table: str) -> int:
        count: int = self._connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        return count

    def sections(self) -> list[str]:
        """Return the canonical names of the sections that passages stand in."""
        rows = self._connection.execute("SELECT DISTINCT section FROM passages WHERE section IS NOT NULL")
        return sorted(row[0] for row in rows)

    def passage(self, id: int) -> StoredPassage | None:
        """Return a passage with its document; `None` when it was taken out since it was ranked."""
        row = self._connection.execute(
            "SELECT p.start, p.end, p.section, p.heading, d.id, f.path, d.own_id, d.place, d.title, d.date,"
            " f.sha256, d.text FROM passages p JOIN documents d ON d.id = p.document"
            " JOIN files f ON f.id = d.file WHERE p.id = ?",
            (id,),
        ).fetchone()
        return StoredPassage(id, Passage(*row[:4]), *row[4:]) if row else None

    # --- ranking ---

    def passages_in(self, filter: Filter) -> dict[int, int]:
        """Return the passages that a filter lets through, in the order of the text, each with its document."""
        conditions, values = _conditions(filter)
        rows = self._connection.execute(
            f"SELECT p.id, d.id {_DOCUMENTS} JOIN passages p ON p.document = d.id"
            f" WHERE {conditions} AND {_in_sections(filter)} ORDER BY p.id",
            (*values, *filter.sections),
        )
        return dict(rows)

    def lexical(
        self,
        query: str | Sequence[str] | Mapping[str, float],
        limit: int,
        filter: Filter = EVERYTHING,
        by: Unit = "passage",
    ) -> list[tuple[int, float]]:
        """Return the passages, or documents, that share words with the query, by BM25, the best first.

        In place of the query, the words of it that are to be looked for, with how much each counts when they
        do not count alike; one of several stems stands where all of them do.

        Robertson, Zaragoza. The probabilistic relevance framework: BM25 and beyond. 2009.
        """
        words = words_of(query) if isinstance(query, str) else list(query)
        counting = query.values() if isinstance(query, Mapping) else [1.0] * len(words)
        stems = [self._known_stems(found) if found else [] for found in stems_of(words)]
        wanted = [(ids, weight) for ids, weight in zip(stems, counting, strict=True) if ids]
        snapshot = self._snapshot(by)
        return snapshot.lexical(wanted, limit, self._allowed(snapshot, filter, by))

    def nearest(
        self, vector: NDArray[np.float32], limit: int, filter: Filter = EVERYTHING, by: Unit = "passage"
    ) -> list[tuple[int, float]]:
        """Return the passages, or documents, nearest to the vector with their cosines, the nearest first."""
        snapshot = self._snapshot(by)
        return snapshot.nearest(vector, limit, self._allowed(snapshot, filter, by))

    def cosines_of(
        self, vector: NDArray[np.float32], ids: Sequence[int], by: Unit = "passage"
    ) -> dict[int, float]:
        """Return how near each of these passages, or documents, is to the vector, from -1 to 1."""
        return self._snapshot(by).cosines_of(vector, ids)

    def vectors_of(self, ids: Sequence[int], by: Unit = "passage") -> NDArray[np.float32]:
        """Return the vectors of those of these that are in the index, each of length one, in a row each."""
        return self._snapshot(by).vectors_of(ids)

    def undated(self, filter: Filter) -> int:
        """Return how many documents a filter by time leaves out only because they have no date."""
        if not filter.has_dates:
            return 0
        conditions, values = _conditions(replace(filter, since=None, until=None))
        inside = f"EXISTS (SELECT 1 FROM passages p WHERE p.document = d.id AND {_in_sections(filter)})"
        row = self._connection.execute(
            f"SELECT count(*) {_DOCUMENTS} WHERE d.day IS NULL AND {conditions} AND {inside}",
            (*values, *filter.sections),
        ).fetchone()
        count: int = row[0]
        return count

    def _allowed(self, snapshot: Snapshot, filter: Filter, by: Unit) -> list[NDArray[np.bool_]] | None:
        """Return which rows of each segment a filter lets through; `None` when it lets all."""
        import numpy as np

        if not filter:
            return None
        # A hybrid search asks three times.
        if self._last_allowed and self._last_allowed[0] is snapshot and self._last_allowed[1] == filter:
            return self._last_allowed[2]
        allowed = [np.ones(len(part.segment), bool) for part in snapshot.parts]
        if replace(filter, sections=()) or by == "document":
            documents = np.array(self._documents_in(filter, by), np.int64)
            allowed = [np.isin(part.segment.documents, documents) for part in snapshot.parts]
        if filter.sections and by == "passage":
            for rows_allowed, part in zip(allowed, snapshot.parts, strict=True):
                rows_allowed &= part.segment.in_sections(filter.sections)
        self._last_allowed = (snapshot, filter, allowed)
        return allowed

    def _documents_in(self, filter: Filter, by: Unit) -> list[int]:
        """Return the documents that a filter by all but sections lets through; as a whole, by those too."""
        conditions, values = _conditions(filter)
        if by == "document" and filter.sections:
            conditions += f" AND d.id IN (SELECT p.document FROM passages p WHERE {_in_sections(filter)})"
            values += filter.sections
        rows = self._connection.execute(f"SELECT d.id {_DOCUMENTS} WHERE {conditions}", values)
        return [row[0] for row in rows]

    def _known_stems(self, stems: Sequence[str]) -> list[int]:
        """Return the numbers of the stems; none when one of them is in no passage."""
        found = [
            self._connection.execute("SELECT id FROM stems WHERE stem = ?", (stem,)).fetchone()
            for stem in stems
        ]
        return [row[0] for row in found if row] if all(found) else []

    def own_ids(self, by: Unit = "passage") -> dict[int, str]:
        """Return the id that each document, or that of each passage, brought along."""
        of_passages = "SELECT p.id, d.own_id FROM passages p JOIN documents d ON d.id = p.document"
        asked = of_passages if by == "passage" else "SELECT d.id, d.own_id FROM documents d"
        return dict(self._connection.execute(f"{asked} WHERE d.own_id IS NOT NULL"))

    # --- the copy that is ranked ---

    def refresh(self, share: float = MUCH) -> None:
        """Make a mapped copy anew when more than this share of it is out of step; only for the writer."""
        for by in UNITS:
            self._refresh(by, share)

    def _refresh(self, by: Unit, share: float) -> None:
        with self._reading():
            size = self._rows_after(by, 0)
            if size < COPY_FROM or self._out_of_step(by, size) <= share * size:
                return
            segment, about = self._segment(by, 0), self._identity()
        self._save(by, segment, about)
        self._ranked.pop(by, None)

    def _save(self, by: Unit, segment: Segment, about: Mapping[str, str]) -> None:
        from clinical.index.segment import save

        try:
            save(segment, self._copy(by), about)
        except OSError as error:
            # Nothing is lost: a search reads the database instead.
            _log.warning("searches will be slow: %s cannot be written (%s)", self._copy(by), error.strerror)

    def _out_of_step(self, by: Unit, size: int) -> int:
        """Return how many rows came or went since the copy was made."""
        from clinical.index.segment import load

        loaded = load(self._copy(by), {**self._identity(), "generation": None})
        if loaded is None:
            return size
        new = self._rows_after(by, int(loaded[0].documents[-1]))
        return new + len(loaded[0]) - (size - new)

    def _rows_after(self, by: Unit, document: int) -> int:
        """Return how many passages, or documents with any, came after this one."""
        of_documents = f"SELECT count(*) FROM documents WHERE id > ? AND {_HAS_PASSAGES}"
        of_passages = "SELECT count(*) FROM passages WHERE document > ?"
        asked = of_passages if by == "passage" else of_documents
        count: int = self._connection.execute(asked, (document,)).fetchone()[0]
        return count

    def _copy(self, by: Unit) -> Path:
        return self.path.with_suffix(COPIES[by])

    def _identity(self) -> dict[str, str]:
        about = self.about()
        return {key: about[key] for key in ("format", "identity", "generation")}

    def _snapshot(self, by: Unit) -> Snapshot:
        """Return what is ranked; made again when the index has changed."""
        from clinical.index.snapshot import Snapshot

        # One moment for all: a writer may be at work.
        with self._reading():
            about = self._identity()
            if by not in self._ranked or self._ranked[by][0] != about["generation"]:
                self._ranked[by] = (about["generation"], Snapshot(self._parts(by, about)))
        return self._ranked[by][1]

    def _parts(self, by: Unit, about: Mapping[str, str]) -> list[Part]:
        """Return what the copy has, and what came after it."""
        import numpy as np

        from clinical.index.segment import load
        from clinical.index.snapshot import Part

        loaded = load(self._copy(by), {**about, "generation": None})
        # A copy may be of a later moment than what this process reads.
        if loaded is None or int(loaded[1]["generation"]) > int(about["generation"]):
            segment = self._segment(by, 0)
            if loaded is None and len(segment) >= COPY_FROM:
                # A kill came before the copy, or somebody has deleted it. What cannot be written need not be.
                with suppress(ClinicalError), self.writing():
                    if self._is_latest(about):
                        self._save(by, segment, about)
            return [Part(segment)]
        copy, said = loaded
        if said["generation"] == about["generation"]:
            return [Part(copy)]
        rows = self._connection.execute("SELECT id FROM documents")
        alive = np.isin(copy.documents, np.fromiter((row[0] for row in rows), np.int64))
        return [Part(copy, alive), Part(self._segment(by, int(copy.documents[-1])))]

    def _is_latest(self, about: Mapping[str, str]) -> bool:
        """Return whether the file still says this of itself: what was erased since it was read must not come back."""
        try:
            with closing(sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro", uri=True)) as now:
                said = dict(now.execute("SELECT key, value FROM about"))
        except sqlite3.Error:
            return False
        return all(said.get(key) == value for key, value in about.items())

    def _segment(self, by: Unit, after: int) -> Segment:
        """Return the documents after this one, or their passages, from the database."""
        from clinical.index.segment import build, wholes

        size = int(self.about().get("size", 1))
        if by == "document":
            documents = self._connection.execute(
                f"SELECT id, vectors, whole_stems FROM documents WHERE id > ? AND {_HAS_PASSAGES} ORDER BY id",
                (after,),
            )
            return wholes(documents, size)
        passages = self._connection.execute(
            "SELECT id, document, section FROM passages WHERE document > ? ORDER BY document, id", (after,)
        ).fetchall()
        documents = self._connection.execute(
            "SELECT vectors, stems FROM documents WHERE id > ? ORDER BY id", (after,)
        )
        return build(passages, documents, size)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        if self._connection.in_transaction:
            yield
        else:
            with self._transaction("DEFERRED"):
                yield

    # --- writing ---

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Be the one writer, for as long as it takes; raises `Busy` when there is another."""
        with lock(self.path, self.paths):
            yield

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written inside is written, or nothing."""
        try:
            with self._transaction("IMMEDIATE"):
                yield
                self._connection.execute("UPDATE about SET value = value + 1 WHERE key = 'generation'")
        except BaseException:
            self._stem_ids.clear()
            raise

    @contextmanager
    def _transaction(self, kind: str) -> Iterator[None]:
        self._connection.execute(f"BEGIN {kind}")
        try:
            yield
        except BaseException:
            # On a full disk SQLite has gone back by itself.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def put(self, file: FileState, documents: Sequence[IndexedDocument]) -> None:
        """Write a file with its documents, in place of what the index had of it."""
        self.remove(file.path)
        row = self._connection.execute(
            "INSERT INTO files (path, sha256, modified, size, faults) VALUES (?, ?, ?, ?, ?)",
            (file.path, file.sha256, file.modified, file.size, file.faults),
        )
        for document in documents:
            self._put_document(row.lastrowid, document)

    def _put_document(self, file: int | None, document: IndexedDocument) -> None:
        note = document.note
        if len(document.vectors):
            size = str(document.vectors.shape[1])
            self._connection.execute("INSERT OR IGNORE INTO about VALUES ('size', ?)", (size,))
        row = self._connection.execute(
            "INSERT INTO documents (file, own_id, place, title, date, day, text, vectors, stems, whole_stems)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                file,
                document.own_id,
                document.place,
                note.title,
                note.date,
                day_of(note.date),
                note.text,
                document.vectors.tobytes(),
                self._counted([words_in(note, passage) for passage in document.passages]),
                self._counted([words_in(note, Passage(0, len(note.text)))]),
            ),
        )
        self._connection.executemany(
            "INSERT INTO passages (document, start, end, section, heading) VALUES (?, ?, ?, ?, ?)",
            (
                (row.lastrowid, passage.start, passage.end, passage.section, passage.heading)
                for passage in document.passages
            ),
        )

    def _counted(self, texts: Sequence[str]) -> bytes:
        """Return which stems stand in which of the texts and how often: three rows of int32."""
        import numpy as np

        counted = count_stems(texts)
        new = {stem for stem, _, _ in counted} - self._stem_ids.keys()
        self._connection.executemany(
            "INSERT OR IGNORE INTO stems (stem) VALUES (?)", ((stem,) for stem in new)
        )
        for stem in new:
            row = self._connection.execute("SELECT id FROM stems WHERE stem = ?", (stem,)).fetchone()
            self._stem_ids[stem] = row[0]
        rows = [(self._stem_ids[stem], text, count) for stem, text, count in counted]
        return np.array(rows, np.int32).reshape(-1, 3).T.tobytes()

    def rename(self, old: str, new: FileState) -> None:
        """Give a file that was moved its new path."""
        self._connection.execute(
            "UPDATE files SET path = ?, modified = ?, size = ? WHERE path = ?",
            (new.path, new.modified, new.size, old),
        )

    def touch(self, path: str, modified: int, size: int) -> None:
        """Note the time and size of a file whose content is what it was; a time of -1 has it looked at again."""
        self._connection.execute(
            "UPDATE files SET modified = ?, size = ? WHERE path = ?", (modified, size, path)
        )

    def remove(self, path: str) -> None:
        """Take a file out, with all that belongs to it."""
        self._connection.execute("DELETE FROM files WHERE path = ?", (path,))

    def compact(self) -> None:
        """Give back the space of what was taken out, and leave no trace of it on the disk."""
        import numpy as np

        remove_copies(self.path)
        with self.transaction():
            known = [row[0] for row in self._connection.execute("SELECT id FROM stems ORDER BY id")]
            used = np.zeros(max(known, default=0) + 1, bool)
            both = "SELECT stems FROM documents UNION ALL SELECT whole_stems FROM documents"
            for (stems,) in self._connection.execute(both):
                used[np.frombuffer(stems, np.int32).reshape(3, -1)[0]] = True
            self._connection.executemany(
                "DELETE FROM stems WHERE id = ?", ((stem,) for stem in known if not used[stem])
            )
        self._stem_ids.clear()
        self._connection.execute("VACUUM")
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.refresh()

    def faults(self) -> list[str]:
        """Return what is wrong with the index itself, a line each; it does not look at the sources."""
        found = [row[0] for row in self._connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
        found += [
            f"{row[0]}: a row without owner" for row in self._connection.execute("PRAGMA foreign_key_check")
        ]
        size = int(self.about().get("size", 0))
        passages = "SELECT count(*) FROM passages WHERE document = d.id"
        rows = self._connection.execute(
            f"SELECT f.path FROM documents d JOIN files f ON f.id = d.file"
            f" WHERE length(d.vectors) != {size} * ({passages})"
            " OR length(d.stems) % 12 != 0 OR length(d.whole_stems) % 12 != 0"
        )
        found += [f"{row[0]}: vectors, words and passages differ in number" for row in rows]
        return found or [fault for by in UNITS for fault in self._faults_of_copy(by)]

    def _faults_of_copy(self, by: Unit) -> list[str]:
        from clinical.index.segment import load, same

        with self._reading():
            loaded = load(self._copy(by), self._identity())
            if loaded is None or same(loaded[0], self._segment(by, 0)):
                return []
        return [f"{self._copy(by)}: not what the index has; clinical index compact makes it anew"]


_DOCUMENTS = "FROM documents d JOIN files f ON f.id = d.file"
_HAS_PASSAGES = "length(vectors) > 0"


def _conditions(filter: Filter) -> tuple[str, list[str | int]]:
    """Return what a filter asks of documents in SQL, over the tables that `_DOCUMENTS` joins, and its values."""
    conditions, values = ["true"], list[str | int]()
    if filter.path is not None:
        whole, own = path_patterns(filter.path)
        # A document in a file of many is shown as path and place. GLOB's "*" goes into folders too.
        sides = [("f.path", whole), ("f.path || d.place", whole), ("d.own_id", own)]
        tests = [f"{side} GLOB ?" for side, patterns in sides for _ in patterns]
        # A name that is written out may hold brackets.
        tests += ["f.path = ?", "f.path || d.place = ?", "d.own_id = ?"]
        conditions.append(f"({' OR '.join(tests)})")
        values += [pattern for _, patterns in sides for pattern in patterns]
        values += [full_name(filter.path), full_name(filter.path), filter.path]
    # As exactly as both are known: "2024-05" lies on both sides of "2024-05-03".
    if filter.since is not None:
        conditions.append("substr(d.day, 1, length(?)) >= substr(?, 1, length(d.day))")
        values += [day_of(filter.since) or ""] * 2
    if filter.until is not None:
        conditions.append("substr(d.day, 1, length(?)) <= substr(?, 1, length(d.day))")
        values += [day_of(filter.until) or ""] * 2
    if filter.documents:
        conditions.append(f"d.id IN ({', '.join('?' * len(filter.documents))})")
        values += filter.documents
    return " AND ".join(conditions), values


def _in_sections(filter: Filter) -> str:
    return f"p.section IN ({', '.join('?' * len(filter.sections))})" if filter.sections else "true"


@contextmanager
def lock(path: Path, paths: Sequence[str]) -> Iterator[None]:
    """Be the only one who writes to an index; raises `Busy` when another process does.

    The lock is that of a database beside the index: the system lets go of it when its process ends, however it
    ends.
    """
    beside = path.with_suffix(".lock")
    _make_private(beside)
    with closing(sqlite3.connect(beside, timeout=0, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            raise Busy(f"another process is writing the index of {named(paths)}; wait for it") from error
        yield


def erase(path: Path) -> None:
    """Remove an index file and what lies beside it."""
    remove_copies(path)
    for part in files_of_index(path):
        part.unlink(missing_ok=True)


def files_of_index(path: Path) -> list[Path]:
    """Return the files that an index may consist of."""
    beside = (path.with_name(path.name + end) for end in ("-wal", "-shm"))
    return [path, *beside, *map(path.with_suffix, COPIES.values())]


def remove_copies(path: Path) -> None:
    """Remove the mapped copies of an index, and those that a kill left unfinished."""
    for end in COPIES.values():
        for copy in path.parent.glob(f"{path.stem}{end}*"):
            copy.unlink(missing_ok=True)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=30, isolation_level=None)
    # After a power cut the last files may have to be indexed again; the file is whole all the same.
    for pragma in (
        "journal_mode = WAL",
        "synchronous = NORMAL",
        "foreign_keys = ON",
        "secure_delete = ON",
    ):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _create(connection: sqlite3.Connection, paths: Sequence[str], embedder: str) -> None:
    connection.execute("BEGIN IMMEDIATE")
    # Another process may have made the tables while this one waited.
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
        for statement in _TABLES.split(";\n"):
            connection.execute(statement)
        about = {
            "format": str(FORMAT),
            "embedder": embedder,
            # Tells the copy of this index from that of an earlier one of the same name.
            "identity": uuid.uuid4().hex,
            "generation": "0",
            "paths": json.dumps([full_name(path) for path in paths]),
        }
        connection.executemany("INSERT INTO about VALUES (?, ?)", about.items())
    connection.execute("COMMIT")


def _make_private(path: Path) -> None:
    """Make the file and its folder for their owner alone; what SQLite puts beside it gets the same rights."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.parent.chmod(0o700)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise ClinicalError(
            f"no index can be kept in {path.parent}: {error.strerror}; set {VARIABLE} to a folder of yours"
        ) from error


def _explained(error: sqlite3.Error, path: Path, paths: Sequence[str]) -> ClinicalError:
    passing = isinstance(error, sqlite3.OperationalError) and "no such" not in str(error)
    if passing:
        # A full disk, a read-only one: what is in the index stays as it was.
        return ClinicalError(
            f"the index of {named(paths)} cannot be used: {error} ({path}); nothing was lost"
        )
    return ClinicalError(f"the index of {named(paths)} is damaged ({path}); {rebuild(paths)}")
