"""Summaries as a job: what a worker loads, and what it does with each document.

job = SummarizeJob(system="light", style="handoff", format="jsonl")
processor = job.load()
processor.process([note])        # files to write and counts
processor.summarize([note])      # the summaries themselves
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clinical.batch.content import content_hash, identity
from clinical.batch.job import Product
from clinical.documents.note import Note
from clinical.documents.summaries import Summary
from clinical.version import __version__

if TYPE_CHECKING:
    from clinical.tasks.summarize import Summarizer


@dataclass(frozen=True)
class SummarizeJob:
    """What the user asked for, before anything is loaded. The fields are the options of `clinical summarize`."""

    style: str = "brief"
    system: str | None = None
    model: str | None = None
    adapter: str | None = None
    prompt: str | None = None
    strict: bool = False
    max_sentences: int | None = None
    format: str = "jsonl"
    batch_size: int = 8

    def settings(self) -> Mapping[str, Any]:
        """Return what changes the results: the version too, since rules and weights come with it."""
        return {
            "task": "summarize",
            "version": __version__,
            "style": self.style,
            "adapter": content_hash(self.adapter) or self.adapter,
            "prompt": content_hash(self.prompt) or self.prompt,
            "strict": self.strict,
            "max_sentences": self.max_sentences,
            "format": self.format,
        }

    def load(self) -> SummarizeProcessor:
        """Load the summarizer. Raises `UsageError` for what does not exist or does not go together."""
        from clinical.tasks.summarize import load_summarizer

        summarizer = load_summarizer(self.system, self.model, adapter=self.adapter, prompt=self.prompt)
        return SummarizeProcessor(self, summarizer)


class SummarizeProcessor:
    """A loaded `SummarizeJob`."""

    def __init__(self, job: SummarizeJob, summarizer: Summarizer) -> None:
        from clinical.models.salience_heads import folder

        self._job = job
        self._summarizer = summarizer
        self.identity = identity("summarize", summarizer.system, summarizer.model, job.adapter, folder())

    def summarize(self, notes: Sequence[Note]) -> list[Summary]:
        """Return the summary of each note."""
        from clinical.tasks.summarize import summarize

        job = self._job
        return summarize(
            notes, self._summarizer, job.style, strict=job.strict, max_sentences=job.max_sentences
        )

    def together(self, notes: Sequence[Note]) -> Summary:
        """Return the documents of one patient as one timeline."""
        from clinical.tasks.summarize import together

        job = self._job
        return together(notes, self._summarizer, strict=job.strict, max_sentences=job.max_sentences)

    def process(self, notes: Sequence[Note]) -> list[Product]:
        """Return the files of each note, in the format of the job, with counts for the manifest."""
        from clinical.formats.summaries import render_summary

        return [
            Product(
                render_summary(self._job.format, [note], summary),
                {
                    "characters": len(note.text),
                    "sentences": len(summary.sentences),
                    "unsupported": sum(s.support == "unsupported" for s in summary.sentences),
                    "dropped": summary.dropped,
                    "omitted": len(summary.omitted),
                    "warnings": len(summary.warnings),
                },
            )
            for note, summary in zip(notes, self.summarize(notes), strict=True)
        ]
