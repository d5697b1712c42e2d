"""Stand-ins for models. They live in a module of their own so that worker processes can import them too."""

from __future__ import annotations

import logging
import os
import re
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clinical.batch.job import Product
from clinical.batch.ner import NerJob, NerProcessor
from clinical.documents.annotations import Entity
from clinical.documents.note import Note
from clinical.errors import DocumentError, UsageError
from clinical.prompts.labels import Label


class FakeRecognizer:
    """Marks every capitalised word with the first label asked for."""

    system = "fake"
    model = "capitals"

    def recognize(self, texts: Sequence[str], labels: Sequence[Label]) -> list[list[Entity]]:
        return [
            [
                Entity(found.start(), found.end(), found.group(), labels[0].name, score=0.9)
                for found in re.finditer(r"\b[A-Z]\w*", text)
            ]
            for text in texts
        ]


@dataclass(frozen=True)
class FakeJob:
    """A job without a model: counts the capitalised words of a note. The words of a note can make it misbehave.

    "KILL" ends the worker as if memory had run out, "KILL ONCE" only the first time, "BUG" raises a foreign
    exception that quotes the note, "REMARK" logs a line for the user. `journal` names a file to
    which every processed id is appended.
    """

    batch_size: int = 1
    journal: Path | None = None
    seconds: float = 0.0
    option: str = "plain"
    model: str = "capitals"
    cannot_load: str = ""

    def settings(self) -> dict[str, str]:
        return {"option": self.option}

    def load(self) -> FakeProcessor:
        if self.cannot_load == "usage":
            raise UsageError("no such model")
        if self.cannot_load == "bug":
            raise KeyError("weights")
        if self.cannot_load == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        return FakeProcessor(self)


class FakeProcessor:
    """What `FakeJob` loads."""

    def __init__(self, job: FakeJob) -> None:
        self.job = job
        self.identity = {"system": "fake", "model": job.model}

    def process(self, notes: Sequence[Note]) -> list[Product]:
        return [self._product(note) for note in notes]

    def _product(self, note: Note) -> Product:
        if self.job.journal:
            with self.job.journal.open("a") as journal:
                journal.write(note.id + "\n")
        time.sleep(self.job.seconds)
        if "REMARK" in note.text:
            logging.getLogger("clinical.fake").warning("there are notes like this")
        if "WRONG CALL" in note.text:
            raise UsageError("no label 'Diseese'")
        if "UNREADABLE" in note.text:
            raise DocumentError(note.id, "its words cannot be told apart")
        if "BUG" in note.text:
            raise ValueError(f"cannot process {note.text}")
        if "KILL ONCE" in note.text:
            marker = Path(f"{self.job.journal}.killed")
            if not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        elif "KILL" in note.text:
            os.kill(os.getpid(), signal.SIGKILL)
        words = re.findall(r"\b[A-Z]\w*", note.text)
        content = f"{note.id} {self.job.option} {words}\n".encode("utf-8", "replace")
        return Product({".txt": content}, {"words": len(words)})


class FakeNerJob(NerJob):
    """`clinical ner` without a model, in this process and in its workers."""

    def load(self) -> NerProcessor:
        return NerProcessor(self, FakeRecognizer())
