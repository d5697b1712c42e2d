"""The models that are on this machine: those that ship with the package, and those that the user has added.

Nothing is loaded and nothing is asked of the network: folders are looked at.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from clinical.models.spacy_baseline import installed_official_models

LIGHT_FILES = ("tagger.json", "selector.json", "decision.json", "salience.json")
"""What the light system has for ner, for the sentences of answers, for yes or no, and for summaries."""


@dataclass(frozen=True)
class Found:
    """A model on this machine. `origin`: `shipped`, `installed` (a Python package) or `downloaded`."""

    name: str
    system: str
    origin: str
    folder: Path | None = None

    @property
    def megabytes(self) -> float | None:
        """The size of its files in MB, `None` when they lie within another package."""
        if self.folder is None:
            return None
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file()) / 1e6


def found_models() -> list[Found]:
    """Return all models on this machine, the shipped ones first."""
    official = [Found(name, "scispacy", "installed") for name in installed_official_models()]
    return [*shipped_models(), *official, *downloaded_models()]


def shipped_models() -> list[Found]:
    """Return the models whose weights come with the package, by name."""
    root = Path(str(resources.files("clinical.models"))) / "weights"
    folders = sorted(path for path in root.glob("*") if path.is_dir())
    systems = ((_system(folder), folder) for folder in folders)
    return [Found(folder.name, system, "shipped", folder) for system, folder in systems if system]


def downloaded_models() -> list[Found]:
    """Return the Mistral models in the cache of the hub's client (`hf download` puts them there)."""
    found = []
    for folder in sorted(_hub_cache().glob("models--*")):
        snapshots = sorted((folder / "snapshots").glob("*/config.json"), key=os.path.getmtime)
        if snapshots and _system(snapshots[-1].parent) == "mistral":
            name = folder.name.removeprefix("models--").replace("--", "/")
            found.append(Found(name, "mistral", "downloaded", snapshots[-1].parent))
    return found


def _system(folder: Path) -> str | None:
    """Return the system that a folder of weights belongs to, by the file that each kind has."""
    if any((folder / name).is_file() for name in LIGHT_FILES):
        return "light"
    if (folder / "meta.json").is_file():
        return "scispacy"
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return "mistral" if config.get("model_type") == "mistral" else None


def _hub_cache() -> Path:
    """Return where the hub's client keeps models, by its own rules."""
    named = os.environ.get("HF_HUB_CACHE")
    if named:
        return Path(named).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("HF_HOME") or f"{cache}/huggingface"
    return Path(home).expanduser() / "hub"
