"""`clinical summarize`: what notes come to, each sentence with its source, and what was left out."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clinical.commands.options import DEFAULT_BATCH, Documents, Name, model_options, output_options
from clinical.errors import UsageError

if TYPE_CHECKING:
    from clinical.batch.progress import Tally
    from clinical.batch.summarize import SummarizeJob
    from clinical.documents.note import Note
    from clinical.documents.summaries import Summary
    from clinical.formats.summaries import SummaryWriter

MOST_TOGETHER = 1000
"""Documents of one patient that are held at once."""


def _styles() -> Sequence[str]:
    from clinical.tasks.summarize import ALIASES, STYLES

    return [*STYLES, *ALIASES]


def _systems() -> Sequence[str]:
    from clinical.tasks.summarize import SYSTEMS

    return SYSTEMS


def _formats() -> Sequence[str]:
    from clinical.formats.summaries import SUMMARY_FORMATS

    return SUMMARY_FORMATS


@click.command(short_help="Summarize documents: each sentence with its source, and what was left out.")
@click.argument("paths", metavar="PATH…", nargs=-1)
@click.option(
    "--style",
    metavar="S",
    type=Name("style", _styles),
    help="brief, sections, problems, handoff, impression, question, patient or soap.  [default: brief]",
)
@click.option(
    "--system",
    metavar="S",
    type=Name("system", _systems),
    help="light or mistral.  [default: mistral when a model is chosen, else light]",
)
@model_options("summarize.STYLE.v1")
@click.option("--max-sentences", metavar="N", type=click.IntRange(min=1), help="At most N sentences.")
@click.option(
    "--strict", is_flag=True, help="Drop sentences that the note does not bear out, and count them."
)
@click.option("--together", is_flag=True, help="One patient's documents as one timeline, with conflicts.")
@click.option(
    "--format",
    "format_",
    metavar="F",
    type=Name("format", _formats),
    help="table, jsonl, json, md or html.  [default: table or, in a pipe, jsonl]",
)
@output_options
@click.pass_context
def summarize(
    ctx: click.Context,
    paths: tuple[str, ...],
    style: str | None,
    system: str | None,
    model: str | None,
    adapter: str | None,
    prompt: str | None,
    max_sentences: int | None,
    strict: bool,
    together: bool,
    format_: str | None,
    output: Path | None,
    workers: int,
    batch_size: int | None,
    max_bytes: int | None,
    force: bool,
    quiet: bool,
) -> None:
    """Summarize documents. Each sentence is tied to its place in the note and checked against it.

    ✓ the note bears the sentence out; ~ in part; ✗ not: the reason stands below it. What the note has and the
    summary has not (problems, drugs, allergies, abnormal results) is listed. PATH is as in `clinical ner`.

    \b
    Examples:
      clinical summarize note.txt
      clinical summarize visit.txt --style soap
      clinical summarize chart/ --together --format html > chart.html
      clinical summarize notes/ --style handoff --format md -o out/ --workers 2
    """
    from clinical.batch.summarize import SummarizeJob
    from clinical.commands.output import check_output, write_results
    from clinical.tasks.summarize import style_named

    to_terminal = output is None and sys.stdout.isatty()
    job = SummarizeJob(
        style=style_named(style or "brief"),
        system=system,
        model=model,
        adapter=adapter,
        prompt=prompt,
        strict=strict,
        max_sentences=max_sentences,
        format=format_ or ("table" if to_terminal else "jsonl"),
        batch_size=batch_size or (1 if to_terminal else DEFAULT_BATCH),
    )
    if output is None and (workers > 1 or force):
        raise UsageError("--workers and --force go with -o; give a folder for the results")
    if together and (style or output):
        other = "-o" if output else "--style"
        raise UsageError(
            f"--together gives one timeline and goes without {other}; write it with > chart.html"
        )
    documents = Documents(paths, max_bytes)
    if together:
        tally = _print_timeline(job, documents, quiet)
    elif output is None:
        tally = _print(job, documents, quiet)
    else:
        check_output(output, documents.paths, "summarize")
        tally = write_results(job, documents, output, workers=workers, force=force, quiet=quiet)
    ctx.exit(1 if tally.failed else 0)


class _One:
    """Writes the summary of one note at a time."""

    def __init__(self, writer: SummaryWriter) -> None:
        self.writer = writer

    def write(self, note: Note, summary: Summary) -> None:
        self.writer.write([note], summary)

    def close(self) -> None:
        self.writer.close()


def _print(job: SummarizeJob, documents: Documents, quiet: bool) -> Tally:
    """Write all summaries to standard output."""
    from clinical.commands.output import print_results
    from clinical.formats.summaries import open_summary_writer

    def load() -> tuple[Any, Any]:
        processor = job.load()
        return processor.identity, processor.summarize

    def sink() -> _One:
        return _One(open_summary_writer(job.format, sys.stdout))

    return print_results(load, sink, documents, job.batch_size, quiet)


def _print_timeline(job: SummarizeJob, documents: Documents, quiet: bool) -> Tally:
    """Write one timeline of all documents that can be read; the others are named."""
    from clinical.batch.progress import Tally, progress
    from clinical.batch.run import used
    from clinical.errors import DocumentError
    from clinical.formats.summaries import open_summary_writer

    tally = Tally()
    notes = []
    with progress(documents.total, quiet=quiet, moving=False) as shown:
        for document in documents:
            if isinstance(document, DocumentError):
                tally.failed += 1
                shown.say(f"failed: {document}")
            else:
                tally.done += 1
                notes.append(document)
            if len(notes) > MOST_TOGETHER:
                raise UsageError(
                    f"--together is for one patient: there are more than {MOST_TOGETHER} documents"
                )
        if notes:
            processor = job.load()
            shown.tell(used(processor.identity))
            with closing(open_summary_writer(job.format, sys.stdout)) as writer:
                writer.write(notes, processor.together(notes))
    return tally
