"""Where indexes lie: one file for each set of paths, in the user's data folder, for the user's eyes alone."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from clinical.errors import UsageError

VARIABLE = "CLINICAL_INDEX"


def index_folder() -> Path:
    """Return the folder of `CLINICAL_INDEX`, else `$XDG_DATA_HOME/clinical/index` (by default below
    `~/.local/share`); it need not exist."""
    named = os.environ.get(VARIABLE, "")
    if named:
        return Path(os.path.abspath(os.path.expanduser(named)))
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "clinical" / "index"


def remote_location() -> str | None:
    """Return `CLINICAL_INDEX` when it is a place on S3 rather than a folder."""
    named = os.environ.get(VARIABLE, "")
    if "://" not in named:
        return None
    if not named.startswith("s3://"):
        raise UsageError(f"{VARIABLE}={named}: give a folder, or s3://bucket/prefix")
    return named.rstrip("/")


def shown(path: str) -> str:
    """Return the path as ids and messages have it: with "/", and escapes for what no encoding can write."""
    return os.fsencode(Path(path).as_posix()).decode("utf-8", "backslashreplace")


def full_name(path: str) -> str:
    """Return the absolute path, by which an index knows a file."""
    return shown(os.path.abspath(path))


def index_name(paths: Sequence[str]) -> str:
    """Return the name of the index of these paths, in whatever order and way they are written."""
    names = "\n".join(sorted({full_name(path) for path in paths}))
    return hashlib.sha256(names.encode()).hexdigest()[:16]


def index_file(paths: Sequence[str]) -> Path:
    """Return the file of the index of these paths when it is kept in SQLite."""
    return index_folder() / f"{index_name(paths)}.sqlite"
