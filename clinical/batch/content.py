"""Hashes of what did the work: two runs with the same hashes give the same results."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Of a larger file only the size and both ends are hashed: weights of 14 GB would take a minute.
HASHED_BYTES = 1 << 20


def content_hash(place: str | Path | None) -> str | None:
    """Return a hash of a file, or of all files of a folder; `None` for what is neither, as a model's name."""
    if place is None or not Path(place).exists():
        return None
    root = Path(place)
    files = [root] if root.is_file() else sorted(path for path in root.rglob("*") if path.is_file())
    return value_hash([[path.relative_to(root).as_posix(), *_size_and_ends(path)] for path in files])


def value_hash(value: object) -> str:
    """Return a short hash of what JSON can hold."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def _size_and_ends(path: Path) -> tuple[int, str]:
    size = path.stat().st_size
    with path.open("rb") as file:
        digest = hashlib.sha256(file.read(HASHED_BYTES))
        file.seek(max(size - HASHED_BYTES, 0))
        digest.update(file.read(HASHED_BYTES))
    return size, digest.hexdigest()


def identity(
    task: str, system: str, model: str, adapter: str | None, folder: Path | None
) -> Mapping[str, Any]:
    """Return what a worker stands on, as the manifest keeps it: another weight or adapter is another result.

    `folder` holds the weights of a system that is no language model.
    """
    if system != "mistral":
        return {"system": system, "model": model, "weights": content_hash(folder)}
    from clinical.models.loading import registered_adapter, weights_folder

    found = {"system": system, "model": model, "weights": content_hash(weights_folder(model))}
    # What the user has chosen since is in no option of the call.
    chosen = registered_adapter(model, task, adapter)
    return {**found, "registered_adapter": content_hash(chosen)} if chosen else found
