"""Where indexes lie: one file for each set of paths, in the user's data folder, for the user's eyes alone."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path


def index_folder() -> Path:
    """Return `$XDG_DATA_HOME/clinical/index` (by default below `~/.local/share`); it need not exist."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "clinical" / "index"


def shown(path: str) -> str:
    """Return the path as ids and messages have it: with "/", and escapes for what no encoding can write."""
    return os.fsencode(Path(path).as_posix()).decode("utf-8", "backslashreplace")


def full_name(path: str) -> str:
    """Return the absolute path, by which an index knows a file."""
    return shown(os.path.abspath(path))


def index_file(paths: Sequence[str]) -> Path:
    """Return the file of the index of these paths, in whatever order and way they are written."""
    names = "\n".join(sorted({full_name(path) for path in paths}))
    return index_folder() / f"{hashlib.sha256(names.encode()).hexdigest()[:16]}.sqlite"


def all_index_files() -> list[Path]:
    """Return the files of all indexes there are."""
    return sorted(index_folder().glob("*.sqlite"))
