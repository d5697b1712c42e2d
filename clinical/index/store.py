"""The index file: one SQLite database with the files, their documents, passages, words and vectors.

    with Store.open(index_file(paths), paths, Embedder.id) as store:
        store.lexical("chest pain", 10)

A file goes in or out in one transaction, with all that belongs to it: whatever kills the program, the index
is that of some moment. Readers see the last complete state while a writer works (SQLite's write-ahead log). The
text of a document is stored once; words and vectors point into it. Vectors are kept in int8, of which one
document's lie in one value: nothing is lost in ranking, and all are read at once.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from clinical.documents.note import Note
from clinical.errors import ClinicalError
from clinical.index.filters import EVERYTHING, Filter, day_of, path_patterns
from clinical.index.location import full_name
from clinical.index.passages import Passage
from clinical.index.words import TOKENIZER, match_expression, words_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FORMAT = 2
"""Counted up when the tables change, or the way notes are read or cut: an older index is then made anew."""

VECTOR_SIZE = 384

_TABLES = f"""
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE files (
    id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, sha256 TEXT NOT NULL,
    modified INTEGER NOT NULL, size INTEGER NOT NULL, faults TEXT NOT NULL
);
CREATE TABLE documents (
    id INTEGER PRIMARY KEY, file INTEGER NOT NULL REFERENCES files ON DELETE CASCADE,
    own_id TEXT, place TEXT NOT NULL, title TEXT, date TEXT, day TEXT, text TEXT NOT NULL, vectors BLOB NOT NULL
);
CREATE INDEX documents_of_file ON documents (file);
CREATE TABLE passages (
    id INTEGER PRIMARY KEY, document INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,
    start INTEGER NOT NULL, end INTEGER NOT NULL, section TEXT, heading TEXT NOT NULL
);
CREATE INDEX passages_of_document ON passages (document);
CREATE VIRTUAL TABLE words USING fts5 (
    context, body, content='', tokenize='{TOKENIZER}'
);
"""


class Busy(ClinicalError):
    """Another process is writing to the index."""


@dataclass(frozen=True, slots=True)
class FileState:
    """What the index knows of a file: the hash of its bytes, its time in ns and size, what could not be read."""

    path: str
    sha256: str
    modified: int
    size: int
    faults: str = ""
    id: int | None = None


@dataclass(frozen=True, slots=True)
class IndexedDocument:
    """A note on its way into the index. `own_id` is the id it brings along; others are the path and `place`."""

    note: Note
    passages: Sequence[Passage]
    vectors: NDArray[np.int8]
    own_id: str | None = None
    place: str = ""


@dataclass(frozen=True, slots=True)
class StoredPassage:
    """A passage with its document, as the index has it."""

    id: int
    passage: Passage
    document: int
    path: str
    own_id: str | None
    place: str
    title: str | None
    date: str | None
    sha256: str
    text: str


@dataclass(frozen=True, slots=True)
class Size:
    """How much an index holds; `bytes` on disk."""

    files: int
    documents: int
    passages: int
    bytes: int


class Store:
    """An open index file; use it in a `with`. Damage to the file comes out as one line that says what to do."""

    def __init__(self, path: Path, connection: sqlite3.Connection, paths: Sequence[str]) -> None:
        self.path = path
        self.paths = tuple(paths)
        self._connection = connection
        self._vectors: tuple[int, NDArray[np.int64], NDArray[np.int8]] | None = None

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
            about = store.about()
            if about.get("format") != str(FORMAT):
                raise ClinicalError(f"the index of {_named(paths)} is of another version; {_rebuild(paths)}")
            if about.get("embedder") != embedder:
                raise ClinicalError(
                    f"the index of {_named(paths)} was made with {about.get('embedder')}, which does not compare "
                    f"with {embedder}; {_rebuild(paths)}"
                )
        return store

    @classmethod
    def existing(cls, path: Path) -> Store:
        """Return the index in this file, of whatever paths and embedder, to look after it."""
        try:
            connection = _connect(path)
            row = connection.execute("SELECT value FROM about WHERE key = 'paths'").fetchone()
        except sqlite3.Error as error:
            raise _explained(error, path, ()) from error
        return cls(path, connection, json.loads(row[0]) if row else ())

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
        parts = [self.path, *(self.path.with_name(self.path.name + end) for end in ("-wal", "-shm"))]
        on_disk = sum(part.stat().st_size for part in parts if part.exists())
        return Size(self._count("files"), self._count("documents"), self._count("passages"), on_disk)

    def _count(self, table: str) -> int:
        count: int = self._connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        return count

    def sections(self) -> list[str]:
        """Return the canonical names of the sections that passages stand in."""
        rows = self._connection.execute("SELECT DISTINCT section FROM passages WHERE section IS NOT NULL")
        return sorted(row[0] for row in rows)

    def passage(self, id: int) -> StoredPassage:
        """Return a passage with its document."""
        row = self._connection.execute(
            "SELECT p.start, p.end, p.section, p.heading, d.id, f.path, d.own_id, d.place, d.title, d.date,"
            " f.sha256, d.text FROM passages p JOIN documents d ON d.id = p.document"
            " JOIN files f ON f.id = d.file WHERE p.id = ?",
            (id,),
        ).fetchone()
        return StoredPassage(id, Passage(*row[:4]), *row[4:])

    # --- ranking ---

    def lexical(
        self, query: str | Sequence[str], limit: int, filter: Filter = EVERYTHING
    ) -> list[tuple[int, float]]:
        """Return the passages that share words with the query, by BM25, the best first.

        In place of the query, the words of it that are to be looked for; one with a blank in it is a phrase.

        Robertson, Zaragoza. The probabilistic relevance framework: BM25 and beyond. 2009.
        """
        words = words_of(query) if isinstance(query, str) else query
        if not words:
            return []
        inside, values = self._inside(filter)
        rows = self._connection.execute(
            # The plus keeps SQLite from asking the word index anew for each passage inside.
            f"SELECT rowid, -bm25(words) AS score FROM words WHERE words MATCH ? AND +rowid IN ({inside})"
            " ORDER BY score DESC, rowid LIMIT ?"
            if filter
            else "SELECT rowid, -bm25(words) AS score FROM words WHERE words MATCH ?"
            " ORDER BY score DESC, rowid LIMIT ?",
            (match_expression(words), *values, limit),
        )
        return [(row[0], row[1]) for row in rows]

    def nearest(
        self, vector: NDArray[np.float32], limit: int, filter: Filter = EVERYTHING
    ) -> list[tuple[int, float]]:
        """Return the passages nearest to the vector with their cosines, the nearest first."""
        import numpy as np

        ids, scores = self._cosines(vector)
        if filter:
            inside, values = self._inside(filter)
            rows = self._connection.execute(inside, values)
            kept = np.isin(ids, np.fromiter((row[0] for row in rows), np.int64))
            ids, scores = ids[kept], scores[kept]
        # Sorting all would cost more than comparing them did.
        best = np.argpartition(-scores, limit)[:limit] if len(ids) > limit else np.arange(len(ids))
        best = best[np.lexsort((ids[best], -scores[best]))]
        return list(zip(ids[best].tolist(), scores[best].tolist(), strict=True))

    def cosines_of(self, vector: NDArray[np.float32], passages: Sequence[int]) -> dict[int, float]:
        """Return how near each of these passages is to the vector, from -1 to 1."""
        import numpy as np

        ids, vectors = self._matrix()
        order = np.argsort(ids)
        rows = order[np.searchsorted(ids, passages, sorter=order)]
        scores = vectors[rows].astype(np.float32) @ vector / 127
        return dict(zip(passages, scores.tolist(), strict=True))

    def undated(self, filter: Filter) -> int:
        """Return how many documents a filter by time leaves out only because they have no date."""
        if not filter.has_dates:
            return 0
        inside, values = _conditions(replace(filter, since=None, until=None))
        row = self._connection.execute(
            f"SELECT count(DISTINCT d.id) {_PASSAGES} WHERE d.day IS NULL AND {inside}", values
        ).fetchone()
        count: int = row[0]
        return count

    def _inside(self, filter: Filter) -> tuple[str, list[str]]:
        """Return the query for the ids of the passages that a filter lets through, and its values."""
        conditions, values = _conditions(filter)
        return f"SELECT p.id {_PASSAGES} WHERE {conditions}", values

    def _cosines(self, vector: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the ids of all passages and how near each is to the vector, from -1 to 1."""
        import numpy as np

        ids, vectors = self._matrix()
        scores = np.empty(len(ids), np.float32)
        # In blocks, so that the float copy stays in the processor's cache.
        for first in range(0, len(ids), 4096):
            scores[first : first + 4096] = vectors[first : first + 4096].astype(np.float32) @ vector
        return ids, scores / 127

    def own_ids(self) -> dict[int, str]:
        """Return the id that the document of each passage brought along."""
        return dict(
            self._connection.execute(
                "SELECT p.id, d.own_id FROM passages p JOIN documents d ON d.id = p.document"
                " WHERE d.own_id IS NOT NULL"
            )
        )

    def _matrix(self) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
        """Return ids and vectors of all passages; read again when the index has changed."""
        import numpy as np

        version = self._connection.execute("PRAGMA data_version").fetchone()[0]
        if self._vectors is None or self._vectors[0] != version:
            # One moment for both: a writer may be at work.
            with self._transaction("DEFERRED"):
                rows = self._connection.execute("SELECT id FROM passages ORDER BY document, id")
                ids = np.fromiter((row[0] for row in rows), np.int64)
                parts = self._connection.execute("SELECT vectors FROM documents ORDER BY id")
                vectors = np.frombuffer(b"".join(row[0] for row in parts), np.int8)
            self._vectors = (version, ids, vectors.reshape(-1, VECTOR_SIZE))
        return self._vectors[1], self._vectors[2]

    # --- writing ---

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Be the one writer, for as long as it takes; raises `Busy` when there is another."""
        with lock(self.path, self.paths):
            yield

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written inside is written, or nothing."""
        with self._transaction("IMMEDIATE"):
            yield
        self._vectors = None

    @contextmanager
    def _transaction(self, kind: str) -> Iterator[None]:
        self._connection.execute(f"BEGIN {kind}")
        try:
            yield
        except BaseException:
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
        row = self._connection.execute(
            "INSERT INTO documents (file, own_id, place, title, date, day, text, vectors)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                file,
                document.own_id,
                document.place,
                note.title,
                note.date,
                day_of(note.date),
                note.text,
                document.vectors.tobytes(),
            ),
        )
        for passage in document.passages:
            added = self._connection.execute(
                "INSERT INTO passages (document, start, end, section, heading) VALUES (?, ?, ?, ?, ?)",
                (row.lastrowid, passage.start, passage.end, passage.section, passage.heading),
            )
            self._connection.execute(
                "INSERT INTO words (rowid, context, body) VALUES (?, ?, ?)",
                (added.lastrowid, context(note.title, passage), note.text[passage.start : passage.end]),
            )

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
        # The word index keeps no text: it has to be told what to take out.
        rows = self._connection.execute(
            "SELECT p.id, p.start, p.end, p.section, p.heading, d.title, d.text FROM passages p"
            " JOIN documents d ON d.id = p.document JOIN files f ON f.id = d.file WHERE f.path = ?",
            (path,),
        ).fetchall()
        for id, start, end, section, heading, title, text in rows:
            passage = Passage(start, end, section, heading)
            self._connection.execute(
                "INSERT INTO words (words, rowid, context, body) VALUES ('delete', ?, ?, ?)",
                (id, context(title, passage), text[start:end]),
            )
        self._connection.execute("DELETE FROM files WHERE path = ?", (path,))

    def compact(self) -> None:
        """Give back the space of what was taken out, and leave no trace of it in the file."""
        self._connection.execute("INSERT INTO words (words) VALUES ('optimize')")
        self._connection.execute("VACUUM")
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def faults(self) -> list[str]:
        """Return what is wrong with the index itself, a line each; it does not look at the sources."""
        found = [row[0] for row in self._connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
        found += [
            f"{row[0]}: a row without owner" for row in self._connection.execute("PRAGMA foreign_key_check")
        ]
        passages = "SELECT count(*) FROM passages WHERE document = d.id"
        rows = self._connection.execute(
            f"SELECT f.path FROM documents d JOIN files f ON f.id = d.file"
            f" WHERE length(d.vectors) != {VECTOR_SIZE} * ({passages})"
        )
        found += [f"{row[0]}: vectors and passages differ in number" for row in rows]
        if self._count("words_docsize") != self._count("passages"):
            found.append("words and passages differ in number")
        return found


_PASSAGES = "FROM passages p JOIN documents d ON d.id = p.document JOIN files f ON f.id = d.file"


def _conditions(filter: Filter) -> tuple[str, list[str]]:
    """Return a filter in SQL, over the tables that `_PASSAGES` joins, and its values."""
    conditions, values = ["true"], list[str]()
    if filter.sections:
        conditions.append(f"p.section IN ({', '.join('?' * len(filter.sections))})")
        values += filter.sections
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
    return " AND ".join(conditions), values


def context(title: str | None, passage: Passage) -> str:
    """Return what a passage is about beside its own words: the title of its note and the heading above it."""
    return "\n".join(part for part in (title, passage.heading) if part)


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
            raise Busy(f"another process is writing the index of {_named(paths)}; wait for it") from error
        yield


def erase(path: Path) -> None:
    """Remove an index file and what lies beside it."""
    for end in ("", "-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)


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
            "paths": json.dumps([full_name(path) for path in paths]),
        }
        connection.executemany("INSERT INTO about VALUES (?, ?)", about.items())
    connection.execute("COMMIT")


def _make_private(path: Path) -> None:
    """Make the file and its folder for their owner alone; what SQLite puts beside it gets the same rights."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.parent.chmod(0o700)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def _explained(error: sqlite3.Error, path: Path, paths: Sequence[str]) -> ClinicalError:
    passing = isinstance(error, sqlite3.OperationalError) and "no such table" not in str(error)
    if passing:
        return ClinicalError(f"the index of {_named(paths)} cannot be used: {error} ({path})")
    return ClinicalError(f"the index of {_named(paths)} is damaged ({path}); {_rebuild(paths)}")


def _named(paths: Sequence[str]) -> str:
    return ", ".join(paths) or "an unknown folder"


def _rebuild(paths: Sequence[str]) -> str:
    return f"make it anew: clinical index add --rebuild {' '.join(paths) or 'PATH'}"
