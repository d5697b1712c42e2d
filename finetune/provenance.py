"""Where a weight file comes from: commit, command, versions. Written beside every result of training."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

_PACKAGES = ("torch", "transformers", "peft", "tokenizers")


def provenance() -> dict[str, Any]:
    """Return date, commit (with `+` when files were changed since), command line and package versions."""
    script = Path(sys.argv[0]).stem
    called = [script] if script == "clinical" else ["python -m", f"clinical.finetune.{script}"]
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": _commit(),
        "command": " ".join([*called, *map(_shown, sys.argv[1:])]),
        "versions": {name: version for name in _PACKAGES if (version := _version(name))},
    }


def _version(package: str) -> str | None:
    """Return the version of a package; where a model is trained some of them may be missing."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _shown(argument: str) -> str:
    """Return an argument as it is told to others: of a folder on this machine the last name, or what a run calls it."""
    key, equals, value = argument.rpartition("=")
    if not value.startswith("/"):
        return argument
    folder = Path(value)
    told = Path(folder.parent.name, folder.name) if folder.name in ("model", "adapter") else folder.name
    return f"{key}{equals}build/{told}"


def history(*folders: Path) -> list[dict[str, Any]]:
    """Return the records of all training that led to what is in these folders, each step once, the first first."""
    steps: list[dict[str, Any]] = []
    for path in (folder / "history.json" for folder in folders):
        if path.is_file():
            steps += [step for step in json.loads(path.read_text(encoding="utf-8")) if step not in steps]
    return steps


def write_history(steps: list[dict[str, Any]], folder: Path) -> None:
    """Write the records beside the weights that they led to."""
    (folder / "history.json").write_text(json.dumps(steps, indent=1) + "\n", encoding="utf-8")


def _commit() -> str:
    here = Path(__file__).parent
    try:
        commit = _git(here, "rev-parse", "--short=12", "HEAD")
        return commit + ("+" if _git(here, "status", "--porcelain", "--", ".") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()
