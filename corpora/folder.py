"""Where the corpora lie on this machine. They are not part of the package."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from clinical.errors import UsageError

VARIABLE = "CLINICAL_CORPORA"


def corpora_folder() -> Path:
    """Return the corpora folder: `$CLINICAL_CORPORA`, else `shared/corpora` beside the current checkout.

    Raises `UsageError` when there is none.
    """
    named = os.environ.get(VARIABLE)
    if named:
        folder = Path(named).expanduser()
        if folder.is_dir():
            return folder
        raise UsageError(f"{VARIABLE}={named} is not a folder; set it to the folder that holds ner/, qa/ …")
    for folder in _beside_checkout():
        if folder.is_dir():
            return folder
    raise UsageError(
        f"no corpora here; set {VARIABLE} to the folder that holds ner/, qa/ … (see `clinical corpora`)"
    )


def _beside_checkout() -> Iterator[Path]:
    here = Path.cwd()
    for folder in (here, *here.parents):
        # `.git` is a folder in a clone and a file in a linked worktree.
        if (folder / ".git").exists():
            yield folder.parent / "shared" / "corpora"
            return
