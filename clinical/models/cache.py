"""The folder for what the program can make again: prepared models. It belongs to the user alone."""

from __future__ import annotations

import os
from pathlib import Path


def root() -> Path:
    """Return `$XDG_CACHE_HOME/clinical` (by default `~/.cache/clinical`); it need not exist."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "clinical"


def folder(name: str) -> Path:
    """Return a folder in the cache, made with rights for its owner only."""
    found = root() / name
    found.mkdir(parents=True, exist_ok=True)
    root().chmod(0o700)
    return found
