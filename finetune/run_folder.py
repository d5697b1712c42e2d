"""The folder of a training run: the adapter itself, and beside it everything that says how it came to be.

    adapter_model.safetensors, adapter_config.json   what `--adapter DIR` takes
    clinical.json      what it is for: base fingerprint, tokenizer hash, prompt, chat format, tasks, held-out scores
    config.yaml        the recipe as it was run
    run.json           versions, command, hashes of the data, counts of rows
    metrics.jsonl      one line for each logged step and each evaluation
    loss.svg, report.html
    best/, checkpoints/   while the run goes on: the best adapter so far, and what to resume from

Nothing in it holds a word of the data.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from clinical.errors import UsageError
from clinical.finetune.recipe import Recipe

CHECKPOINTS = "checkpoints"
PARTS = ("trainer_state.json", "optimizer.pt", "scheduler.pt", "rng_state.pth")
"""What a checkpoint needs to be resumed from; the first is written last."""


@dataclass(frozen=True)
class RunFolder:
    """The files of one run."""

    path: Path

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints are."""
        return self.path / CHECKPOINTS

    @property
    def best(self) -> Path:
        """The adapter that has scored best so far."""
        return self.path / "best"

    @property
    def is_done(self) -> bool:
        """Whether the run has come to its end."""
        return (self.path / "clinical.json").is_file()

    def begin(self, recipe: Recipe, *, resume: bool) -> None:
        """Make the folder for a new run, or check that it is that of the run to resume.

        Raises `UsageError` when it holds another run, or none.
        """
        config = self.path / "config.yaml"
        if resume:
            if not config.is_file():
                raise UsageError(f"{self.path} holds no run to resume; leave --resume out")
            if self.is_done:
                raise UsageError(f"the run in {self.path} is done; nothing to resume")
            self._same(recipe, yaml.safe_load(config.read_text(encoding="utf-8")))
            return
        if config.is_file():
            hint = "which is done" if self.is_done else "go on with it by --resume"
            raise UsageError(f"{self.path} holds a run already, {hint}; or give another --out")
        if self.path.is_dir() and any(self.path.iterdir()):
            raise UsageError(f"{self.path} is not empty; give another --out")
        self.path.mkdir(parents=True, exist_ok=True)
        write(config, yaml.safe_dump(recipe.as_dict(), sort_keys=False, allow_unicode=True))

    def _same(self, recipe: Recipe, stored: Mapping[str, Any]) -> None:
        now = dict(flat(recipe.as_dict()))
        before = dict(flat(dict(stored)))
        other = sorted(key for key in {*now, *before} if now.get(key) != before.get(key))
        if other:
            shown = ", ".join(f"{key} ({before.get(key)} then, {now.get(key)} now)" for key in other[:3])
            raise UsageError(
                f"{self.path} is a run of another recipe: {shown}; resume it with the same settings"
            )

    def best_score(self) -> tuple[float, float]:
        """Return the score of the best adapter so far, and its loss with the other sign to tell equals apart."""
        note = self.best / "best.json"
        if not note.is_file():
            return -math.inf, -math.inf
        best = json.loads(note.read_text(encoding="utf-8"))
        return float(best["score"]), -float(best["loss"])

    def last_checkpoint(self) -> Path | None:
        """Return the newest complete checkpoint. Those that were being written when the run ended are removed."""
        found = sorted(self.checkpoints.glob("checkpoint-*"), key=lambda path: -int(path.name.split("-")[1]))
        for path in found:
            if _is_complete(path):
                return path
            shutil.rmtree(path, ignore_errors=True)
        return None

    def records(self) -> list[dict[str, Any]]:
        """Return the lines of `metrics.jsonl`; a line that was being written when the run ended is left out."""
        path = self.path / "metrics.jsonl"
        if not path.is_file():
            return []
        records = []
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                records.append(json.loads(line))
            except ValueError:
                break
        return records

    def rewind(self, step: int, *, keep: bool = True) -> list[dict[str, Any]]:
        """Forget what was recorded after a step, and return what is left: it will be recorded again.

        With `keep` the file is written anew; of several processes one does it.
        """
        records = [record for record in self.records() if record["step"] <= step]
        if keep:
            write(self.path / "metrics.jsonl", "".join(json.dumps(record) + "\n" for record in records))
        return records

    def record(self, record: Mapping[str, Any]) -> None:
        """Append a line to `metrics.jsonl`."""
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _is_complete(path: Path) -> bool:
    if not all((path / part).is_file() for part in PARTS):
        return False
    try:
        json.loads((path / PARTS[0]).read_text(encoding="utf-8"))
    except ValueError:
        return False
    return True


def write(path: Path, text: str) -> None:
    """Write a file so that it is there as a whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested data with their dotted names."""
    items = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    )
    if items is None or not value:
        yield name, value
        return
    for key, item in items:
        yield from flat(item, f"{name}.{key}" if name else str(key))
