"""Where the corpora lie on this machine. They are not part of the package."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from clinical.errors import UsageError

VARIABLE = "CLINICAL_CORPORA"


def corpora_folder() -> Path:
    """Return the corpora folder: `$CLINICAL_CORPORA`, else `shared/corpora` beside the checkout, else the user's own.

    Raises `UsageError` when there is none.
    """
    named = os.environ.get(VARIABLE)
    if named:
        folder = Path(named).expanduser()
        if folder.is_dir():
            return folder
        raise UsageError(f"{VARIABLE}={named} is not a folder; set it to the folder that holds ner/, qa/ …")
    for folder in (*_beside_checkout(), own_folder()):
        if folder.is_dir():
            return folder
    raise UsageError(
        f"no corpora here; fetch one with `clinical corpora pull NAME`, or set {VARIABLE} to the folder that holds "
        "ner/, qa/ …"
    )


def own_folder() -> Path:
    """Return the user's own corpora folder, where `pull` puts what it fetches; it need not exist."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "clinical" / "corpora"


def pull_folder() -> Path:
    """Return where `pull` puts a corpus: the folder that is read from if it can be written, else the user's own."""
    try:
        folder = corpora_folder()
    except UsageError:
        return own_folder()
    return folder if os.access(folder, os.W_OK) else own_folder()


def _beside_checkout() -> Iterator[Path]:
    here = Path.cwd()
    for folder in (here, *here.parents):
        # `.git` is a folder in a clone and a file in a linked worktree.
        if (folder / ".git").exists():
            yield folder.parent / "shared" / "corpora"
            return
