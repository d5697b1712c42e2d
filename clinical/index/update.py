"""Keeps an index in step with its files: what is new, changed, moved or gone.

A file is looked into only when its time or size has changed, and embedded only when the hash of its bytes has:
a thousand unchanged files are a thousand looks at the folder.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from clinical.documents.note import Note
from clinical.documents.reading import files as find_files
from clinical.documents.reading import read
from clinical.errors import DocumentError, UsageError
from clinical.facts.document_date import date_of, shown_date
from clinical.index.backend import MUCH_WHILE_WRITING, FileState, Index, IndexedDocument, words_in
from clinical.index.location import full_name
from clinical.index.passages import Passage, cut
from clinical.index.vectors import in_int8

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from clinical.models.embedders import TextEmbedder

BYTES_AT_ONCE = 200_000
"""How much text goes into one transaction, and at most is done again after a kill; a larger file goes alone."""

LOOK_AGAIN = -1
"""In place of a file's time: its content is not trusted to be what the index has."""


@dataclass
class Changes:
    """What an update found and did; `failed` are files of which nothing could be read when they were new or changed.

    `paths` are the files as this call names them, by their full name.
    """

    added: int = 0
    changed: int = 0
    renamed: int = 0
    removed: int = 0
    unchanged: int = 0
    failed: int = 0
    faults: list[str] = field(default_factory=list)
    paths: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        words = ("added", "changed", "renamed", "removed", "unchanged", "failed")
        counts = [f"{getattr(self, word)} {word}" for word in words if getattr(self, word)]
        return ", ".join(counts) or "no files"


@dataclass
class _Plan:
    """What there is to do: files to read, files that only moved or were touched, files that are gone."""

    read: dict[str, FileState] = field(default_factory=dict)
    touched: dict[str, FileState] = field(default_factory=dict)
    moved: dict[str, FileState] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.read or self.touched or self.moved or self.gone)


def check_paths(paths: Sequence[str]) -> None:
    """Refuse paths that cannot have an index, or that are not there: an unplugged disk empties no index."""
    for path in paths:
        if path == "-":
            raise UsageError("an index needs files that stay; give files or folders in place of -")
        if not os.path.exists(path):
            raise UsageError(
                f"{path}: no such file or folder; if it is gone for good, clinical index forget {path}"
            )


def update(
    store: Index,
    paths: Sequence[str],
    embedder: TextEmbedder,
    done: Callable[[int, int], None] = lambda files, of: None,
) -> Changes:
    """Bring the index up to date with the paths; `done` is told how many files of how many are read.

    Raises `Busy` when there is something to write and another process is writing.
    """
    found, unreachable = files_of(paths)
    changes = Changes(paths=dict(found))
    if _plan(store.files(), found, unreachable):
        with store.writing():
            known = store.files()
            _carry_out(store, _plan(known, found, unreachable), found, known, embedder, changes, done)
            store.refresh()
    else:
        changes.unchanged = len(found)
    changes.faults = unreachable + [
        fault for file in store.files().values() for fault in file.faults.splitlines()
    ]
    return changes


def sha256_of(path: str) -> str | None:
    """Return the hash of the bytes of a file; `None` when it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def files_of(paths: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Return the files by full name, and what could not be entered."""
    found: dict[str, str] = {}
    unreachable = []
    for entry in find_files(paths):
        if isinstance(entry, DocumentError):
            unreachable.append(str(entry))
        else:
            found.setdefault(full_name(entry), entry)
    return found, unreachable


def _plan(known: Mapping[str, FileState], found: Mapping[str, str], unreachable: Sequence[str]) -> _Plan:
    plan = _Plan()
    # Where a folder cannot be entered nobody knows what is gone: better a hit too many than an index lost.
    gone = {} if unreachable else {file.sha256: name for name, file in known.items() if name not in found}
    for name, path in found.items():
        old = known.get(name)
        try:
            status = os.stat(path)
        except OSError:
            continue
        if old and (old.modified, old.size) == (status.st_mtime_ns, status.st_size):
            continue
        sha256 = sha256_of(path) or ""
        state = FileState(name, sha256, status.st_mtime_ns if sha256 else LOOK_AGAIN, status.st_size)
        if old and old.sha256 == sha256 and sha256:
            plan.touched[name] = state
        elif not old and sha256 in gone:
            plan.moved[gone.pop(sha256)] = state
        else:
            plan.read[name] = state
    if not unreachable:
        plan.gone = [name for name in known if name not in found and name not in plan.moved]
    return plan


def _carry_out(
    store: Index,
    plan: _Plan,
    found: Mapping[str, str],
    known: Mapping[str, FileState],
    embedder: TextEmbedder,
    changes: Changes,
    done: Callable[[int, int], None],
) -> None:
    with store.transaction():
        for state in plan.touched.values():
            store.touch(state.path, state.modified, state.size)
        for old, state in plan.moved.items():
            store.rename(old, state)
        for name in plan.gone:
            store.remove(name)
    changes.renamed, changes.removed = len(plan.moved), len(plan.gone)
    changes.unchanged = len(found) - len(plan.read) - len(plan.moved)
    read_so_far = 0
    for group in _groups(list(plan.read.values())):
        contents = [_read(state, found[state.path]) for state in group]
        documents = _embedded([document for _, some in contents for document in some], embedder)
        with store.transaction():
            for state, some in contents:
                store.put(state, [documents.pop(0) for _ in some])
                if state.faults and not some:
                    changes.failed += 1
                elif state.path in known:
                    changes.changed += 1
                else:
                    changes.added += 1
        store.refresh(MUCH_WHILE_WRITING)
        read_so_far += len(group)
        done(read_so_far, len(plan.read))


def _groups(states: Sequence[FileState]) -> Iterator[list[FileState]]:
    group: list[FileState] = []
    for state in states:
        if group and sum(other.size for other in group) + state.size > BYTES_AT_ONCE:
            yield group
            group = []
        group.append(state)
    if group:
        yield group


def _read(state: FileState, path: str) -> tuple[FileState, list[tuple[Note, str | None, str]]]:
    """Return the documents of a file, each with the id it brings along or its place in the file, and the faults."""
    documents: list[tuple[Note, str | None, str]] = []
    faults = []
    for document in read([path]):
        if isinstance(document, DocumentError):
            faults.append(" ".join(str(document).splitlines()))
        elif document.id.startswith(document.path or ""):
            documents.append((_dated(document), None, document.id[len(document.path or "") :]))
        else:
            documents.append((_dated(document), document.id, ""))
    # A file that changes while it is read is read again the next time.
    if sha256_of(path) != state.sha256:
        state = replace(state, modified=LOOK_AGAIN)
    return replace(state, faults="\n".join(faults)), documents


def _dated(note: Note) -> Note:
    """Return the note with the date that its head or its name tells, where it brings none along."""
    date = None if note.date else date_of(note)
    return note if date is None else replace(note, date=shown_date(date))


def _embedded(
    documents: Sequence[tuple[Note, str | None, str]], embedder: TextEmbedder
) -> list[IndexedDocument]:
    """Return the documents with their passages, all embedded at once."""
    passages = [cut(note.text) for note, _, _ in documents]
    return [
        IndexedDocument(note, some, vectors, own_id, place)
        for (note, own_id, place), some, vectors in zip(
            documents, passages, embed([note for note, _, _ in documents], passages, embedder), strict=True
        )
    ]


def embed(
    notes: Sequence[Note], passages: Sequence[Sequence[Passage]], embedder: TextEmbedder
) -> Iterator[NDArray[np.int8]]:
    """Yield the vectors of the passages of each note, in int8; title and heading are embedded with the words."""
    texts = [words_in(note, passage) for note, some in zip(notes, passages, strict=True) for passage in some]
    vectors = in_int8(embedder.embed(texts))
    first = 0
    for some in passages:
        yield vectors[first : first + len(some)]
        first += len(some)
