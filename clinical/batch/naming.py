"""File names for results: the path of the document if it has one, safe, never outside the folder."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from clinical.documents.note import Note

# Refused by Windows in names, or with a meaning to shells and file systems.
UNSAFE = frozenset('<>:"/\\|?*')
RESERVED = frozenset(
    ("con", "prn", "aux", "nul", *(f"com{n}" for n in range(1, 10)), *(f"lpt{n}" for n in range(1, 10)))
)
# File systems take 255 bytes; what remains is for the suffix of the format and the hash.
LONGEST_NAME = 200
MANIFEST_STEM = "manifest"


class Names:
    """Gives every document its own name below the output folder, without the suffix of the format.

    Names that differ only in case or in Unicode form are told apart by a hash of the id, because file systems
    that fold either would let one result overwrite the other. `taken` is seeded from the manifest, so that a
    document keeps its name when others come or go. Paths are kept as they are below `root`.
    """

    def __init__(self, root: Path | None = None) -> None:
        self._root = root
        self._taken: dict[bytes, bytes] = {}
        self.keep(MANIFEST_STEM, "")

    def keep(self, stem: str, document_id: str) -> None:
        """Record that a name belongs to a document; the first one keeps it."""
        self._taken.setdefault(_folded(stem), _digest(document_id))

    def name(self, note: Note) -> str:
        """Return the name of the note's result: a relative path with forward slashes."""
        parts = _parts(note, self._root)
        cleaned = [_safe(part) for part in parts]
        stem = "/".join(cleaned)
        if cleaned != parts or not self._is_free(stem, note.id):
            stem = f"{stem}~{hashlib.sha256(_bytes(note.id)).hexdigest()[:12]}"
        self.keep(stem, note.id)
        return stem

    def _is_free(self, stem: str, document_id: str) -> bool:
        return self._taken.get(_folded(stem), _digest(document_id)) == _digest(document_id)


def common_root(paths: Sequence[str]) -> Path | None:
    """Return the deepest folder that holds all of these files and folders; `None` when there is none such."""
    folders = [path if os.path.isdir(path) else os.path.dirname(path) for path in map(os.path.abspath, paths)]
    try:
        return Path(os.path.commonpath(folders)) if folders else None
    except ValueError:  # on different drives
        return None


def _parts(note: Note, root: Path | None) -> list[str]:
    """Return folders and name: those of the file below `root`, or the id of a record as one name.

    A part of a file has the id of the file with `#` or `:` and what names the part behind it.
    """
    if note.path is None:
        return ["stdin" + _part_name(note.id.removeprefix("-")) if note.id.startswith("-") else note.id]
    if root is None or not note.id.startswith(note.path):
        return [note.id]
    below = os.path.relpath(note.path, root)
    parts = list(Path(below).parts)
    if ".." in parts or not parts:
        return [note.id]
    parts[-1] += _part_name(note.id.removeprefix(note.path))
    return parts


def _part_name(behind: str) -> str:
    return behind.replace(":", "-").replace("/", "-")


def _safe(part: str) -> str:
    kept = "".join(
        "_" if character in UNSAFE or not character.isprintable() else character for character in part
    )
    kept = kept.encode("utf-8", "replace")[:LONGEST_NAME].decode("utf-8", "ignore")
    kept = kept.rstrip(". ")
    if kept.startswith((".", "-", "~")):
        kept = "_" + kept[1:]
    if kept.split(".")[0].lower() in RESERVED:
        kept = "_" + kept
    return kept or "_"


def _folded(stem: str) -> bytes:
    return _digest(unicodedata.normalize("NFC", unicodedata.normalize("NFKD", stem).casefold()))


def _digest(text: str) -> bytes:
    return hashlib.blake2b(_bytes(text), digest_size=12).digest()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
