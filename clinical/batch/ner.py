"""Entity extraction as a job: what a worker loads, and what it does with each document.

job = NerJob(system="light", format="jsonl")
processor = job.load()
processor.process([note])        # files to write and counts
processor.extract([note])        # the entities themselves
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clinical.batch.content import content_hash, identity, value_hash
from clinical.batch.job import Product
from clinical.documents.annotations import Extraction
from clinical.documents.note import Note
from clinical.version import __version__

if TYPE_CHECKING:
    from clinical.prompts.labels import Label
    from clinical.tasks.ner import Recognizer


@dataclass(frozen=True)
class NerJob:
    """What the user asked for, before anything is loaded. The fields are the options of `clinical ner`."""

    system: str | None = None
    model: str | None = None
    scheme: str | None = None
    adapter: str | None = None
    prompt: str | None = None
    labels: tuple[Label, ...] | None = None
    assertion: bool = True
    threshold: float | None = None
    format: str = "jsonl"
    batch_size: int = 8

    def settings(self) -> Mapping[str, Any]:
        """Return what changes the results: the version too, since rules and weights come with it."""
        return {
            "task": "ner",
            "version": __version__,
            "scheme": self.scheme,
            "labels": None if self.labels is None else [label.name for label in self.labels],
            "definitions": None
            if self.labels is None
            else value_hash([asdict(label) for label in self.labels]),
            "adapter": content_hash(self.adapter) or self.adapter,
            "prompt": content_hash(self.prompt) or self.prompt,
            "assertion": self.assertion,
            "threshold": self.threshold,
            "format": self.format,
        }

    def load(self) -> NerProcessor:
        """Load the recognizer. Raises `UsageError` for what does not exist or does not go together."""
        from clinical.tasks.ner import load_recognizer

        recognizer = load_recognizer(
            self.system, self.model, scheme=self.scheme, adapter=self.adapter, prompt=self.prompt
        )
        return NerProcessor(self, recognizer)


class NerProcessor:
    """A loaded `NerJob`."""

    def __init__(self, job: NerJob, recognizer: Recognizer) -> None:
        self._job = job
        self._recognizer = recognizer
        folder: Path | None = getattr(recognizer, "folder", None)
        self.identity = identity("ner", recognizer.system, recognizer.model, job.adapter, folder)

    def extract(self, notes: Sequence[Note]) -> list[Extraction]:
        """Return the entities of each note."""
        from clinical.tasks.ner import extract

        job = self._job
        return extract(notes, self._recognizer, job.labels, assertion=job.assertion, threshold=job.threshold)

    def process(self, notes: Sequence[Note]) -> list[Product]:
        """Return the files of each note, in the format of the job, with counts for the manifest."""
        from clinical.formats import render

        return [
            Product(
                render(self._job.format, note, extraction),
                {
                    "characters": len(note.text),
                    "entities": len(extraction.entities),
                    "warnings": len(extraction.warnings),
                },
            )
            for note, extraction in zip(notes, self.extract(notes), strict=True)
        ]
