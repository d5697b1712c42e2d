"""The manifest of an output folder: what is done, with what, and which results they are.

`manifest.jsonl` is only ever appended to, one line per event: `run` (when, with which settings), `done`
and `failed`. A document counts as done when a line says so for the same id, text and settings, and the
files that the line names are there with the hashes it gives. So a process that is killed at any moment,
even in the middle of a line, loses at most the documents in hand. The open manifest is also the lock of
the folder: the kernel takes it back when its process ends, however it ends, so no lock is ever left
behind.

The manifest holds ids, paths, hashes, counts and times, never the text of a note.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any

from clinical.batch.job import Product
from clinical.documents.note import Note
from clinical.errors import ClinicalError, DocumentError, UsageError
from clinical.version import __version__

NAME = "manifest.jsonl"
PARTIAL = ".partial"
# What is wrong with one name, and not with the folder or the disk.
FAULTS_OF_A_NAME = {errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EILSEQ, errno.EINVAL}


@dataclass(frozen=True)
class Done:
    """A line of the manifest about a document with a result."""

    id: str
    sha256: str
    settings: str
    name: str
    files: tuple[tuple[str, bytes], ...]

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Done:
        """Return what a line says. Raises `LookupError`, `ValueError`, `TypeError` or `AttributeError` if spoiled."""
        files = tuple((str(name), bytes.fromhex(sha256)) for name, sha256 in record["files"].items())
        return cls(record["id"], record["sha256"], record["settings"], record["name"], files)


class Manifest:
    """The manifest of one output folder, open and locked; use it in a `with`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = _open_locked(folder)
        self._drop_torn_line()
        self._settings = ""
        self._done: dict[bytes, tuple[tuple[str, bytes], ...]] = {}

    def __enter__(self) -> Manifest:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.fsync(self._file.fileno())
        self._file.close()
        (self.folder / PARTIAL).unlink(missing_ok=True)

    def done(self) -> Iterator[Done]:
        """Yield every document with a result, of all runs in their order."""
        with (self.folder / NAME).open("rb") as file:
            for line in file:
                try:
                    record = json.loads(line)
                    if record["event"] == "done":
                        yield Done.of(record)
                except (ValueError, LookupError, TypeError, AttributeError):
                    continue  # a line that a disk or an editor spoiled: what it recorded is done again

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Start a run with these settings: only what was done with the same ones counts as done."""
        self._settings = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
        for done in self.done():
            if done.settings == self._settings:
                self._done[_document_key(done.id, done.sha256)] = done.files
        self._append("run", settings=self._settings, version=__version__, chosen=dict(settings))

    def is_done(self, note: Note) -> bool:
        """Return whether this text was processed with these settings and its files are as written."""
        files = self._done.get(_document_key(note.id, note.sha256), ())
        return bool(files) and all(_sha256(self.folder / name) == sha256 for name, sha256 in files)

    def store(self, note: Note, name: str, product: Product) -> None:
        """Write the files of a document, each atomically, then record them.

        Raises `DocumentError` when this one name cannot be written, and `ClinicalError` when nothing can.
        """
        files = {}
        for suffix, content in product.files.items():
            try:
                _replace(self.folder, name + suffix, content)
            except OSError as error:
                if error.errno in FAULTS_OF_A_NAME:
                    reason = f"its result cannot be written: {error.strerror}"
                    raise DocumentError(note.id, reason) from error
                raise self._cannot_go_on(error) from error
            files[name + suffix] = hashlib.sha256(content).hexdigest()
        self._append(
            "done",
            id=note.id,
            path=note.path,
            sha256=note.sha256,
            settings=self._settings,
            name=name,
            files=files,
            counts=dict(product.counts),
        )

    def fail(self, document_id: str, sha256: str | None, reason: str) -> None:
        """Record that a document has no result, and why. Raises `ClinicalError` if it cannot be written."""
        self._append("failed", id=document_id, sha256=sha256, settings=self._settings, reason=reason)

    def _append(self, event: str, **fields: Any) -> None:
        time = datetime.now(UTC).isoformat(timespec="seconds")
        line = (json.dumps({"event": event, "time": time, **fields}) + "\n").encode()
        try:
            # One unbuffered write per line: once it is made, the line outlives the process.
            written = self._file.write(line)
        except OSError as error:
            raise self._cannot_go_on(error) from error
        if written != len(line):
            raise self._cannot_go_on(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))

    def _cannot_go_on(self, error: OSError) -> ClinicalError:
        return ClinicalError(
            f"cannot write to {self.folder}: {error.strerror}; what is done is kept,"
            " the same command goes on from there"
        )

    def _drop_torn_line(self) -> None:
        """Cut what stands behind the last line end: a line that was being written when its run was killed."""
        end = kept = self._file.seek(0, os.SEEK_END)
        while kept:
            start = max(0, kept - 4096)
            self._file.seek(start)
            line_end = self._file.read(kept - start).rfind(b"\n")
            if line_end >= 0:
                kept = start + line_end + 1
                break
            kept = start
        if kept != end:
            self._file.truncate(kept)


def _open_locked(folder: Path) -> FileIO:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"-o {folder} is a file; give a folder, which gets one result per document")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = FileIO(folder / NAME, "a+")
    except OSError as error:
        raise ClinicalError(
            f"cannot write to {folder}: {error.strerror}; choose another folder with -o"
        ) from error
    try:
        _lock(file)
    except BlockingIOError as error:
        file.close()
        raise ClinicalError(
            f"another run is writing to {folder}; wait for it or choose another folder"
        ) from error
    return file


def _lock(file: FileIO) -> None:
    """Take the lock, or raise `BlockingIOError`. Windows has none like it: keep two runs apart there."""
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return  # a network file system without locks


def _replace(folder: Path, name: str, content: bytes) -> None:
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = folder / PARTIAL  # one is enough: only the process that holds the lock writes
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(target)


def _document_key(document_id: str, sha256: str) -> bytes:
    text = f"{sha256} {document_id}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=16).digest()


def _sha256(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return None
