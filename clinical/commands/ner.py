"""`clinical ner`: the entities of documents, to the terminal, to a pipe, or to a folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clinical.commands.options import (
    DEFAULT_BATCH,
    Documents,
    Name,
    formats,
    model_options,
    output_options,
    systems,
)
from clinical.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from clinical.batch.ner import NerJob
    from clinical.batch.progress import Tally
    from clinical.documents.annotations import Extraction
    from clinical.documents.note import Note
    from clinical.prompts.labels import Label


@click.command(short_help="Find the entities of documents: what is said, and where.")
@click.argument("paths", metavar="PATH…", nargs=-1)
@click.option("--labels", metavar="A,B", help="Look for these labels (`clinical models labels` lists them).")
@click.option(
    "--labels-file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Labels of your own, one `Name: definition` per line, for the mistral system.",
)
@click.option(
    "--system",
    metavar="S",
    type=Name("system", systems),
    help="light, mistral or scispacy.  [default: mistral when a model is chosen, else light]",
)
@model_options("ner.v1")
@click.option(
    "--scheme",
    metavar="S",
    help="The annotation guideline to follow, as bc5cdr.  [default: notes; of scispacy clinical]",
)
@click.option(
    "--format",
    "format_",
    metavar="F",
    type=Name("format", formats),
    help="table, jsonl, json, csv, html, brat, conll, bioc or docbin.  [default: table or, in a pipe, jsonl]",
)
@click.option(
    "--threshold", metavar="P", type=click.FloatRange(0, 1), help="Leave out entities with a lower score."
)
@click.option("--no-assertion", is_flag=True, help="Do not tell negated, historical … from present entities.")
@output_options
@click.pass_context
def ner(
    ctx: click.Context,
    paths: tuple[str, ...],
    labels: str | None,
    labels_file: Path | None,
    system: str | None,
    model: str | None,
    scheme: str | None,
    adapter: str | None,
    prompt: str | None,
    format_: str | None,
    output: Path | None,
    workers: int,
    batch_size: int | None,
    threshold: float | None,
    no_assertion: bool,
    max_bytes: int | None,
    force: bool,
    quiet: bool,
) -> None:
    """Find the entities of documents, each at exact characters of its file.

    PATH is a file (.txt, .md, .html, .rtf, .pdf, .docx, CDA or FHIR), a folder, records with id and text
    (.jsonl, .jsonl.gz, .csv), or - for standard input. With -o a run that was interrupted goes on where it
    stopped, and what is done is not done again.

    \b
    Examples:
      clinical ner note.txt
      clinical ner note.txt --labels Disease,Medication --format jsonl
      clinical ner notes/ -o out/ --workers 4
      cat note.txt | clinical ner - --system scispacy
    """
    from clinical.batch.ner import NerJob
    from clinical.commands.output import check_output, write_results

    to_terminal = output is None and sys.stdout.isatty()
    job = NerJob(
        system=system,
        model=model,
        scheme=scheme,
        adapter=adapter,
        prompt=prompt,
        labels=_labels(labels, labels_file),
        assertion=not no_assertion,
        threshold=threshold,
        format=format_ or ("table" if to_terminal else "jsonl"),
        batch_size=batch_size or (1 if to_terminal else DEFAULT_BATCH),
    )
    if output is None and (workers > 1 or force):
        raise UsageError("--workers and --force go with -o; give a folder for the results")
    documents = Documents(paths, max_bytes)
    if output is None:
        tally = _print(job, documents, quiet)
    else:
        check_output(output, documents.paths, "ner")
        tally = write_results(job, documents, output, workers=workers, force=force, quiet=quiet)
    ctx.exit(1 if tally.failed else 0)


def _labels(names: str | None, file: Path | None) -> tuple[Label, ...] | None:
    """Return the labels of the call, or `None` for those that a run without options looks for."""
    from clinical.prompts.labels import by_name, from_file

    if names is not None and file is not None:
        raise UsageError("--labels and --labels-file say two things; give one of them")
    if file is not None:
        return from_file(file)
    if names is None:
        return None
    chosen = by_name([name for name in names.split(",") if name.strip()])
    if not chosen:
        raise UsageError("--labels names none; write --labels Disease,Medication")
    return chosen


def _print(job: NerJob, documents: Documents, quiet: bool) -> Tally:
    """Write all results to standard output."""
    from clinical.commands.output import print_results
    from clinical.formats import is_binary, open_writer

    if is_binary(job.format) and sys.stdout.isatty():
        raise UsageError(
            f"{job.format} is not text; send it to a file (> notes.spacy) or give a folder with -o"
        )

    def load() -> tuple[Mapping[str, Any], Callable[[Sequence[Note]], list[Extraction]]]:
        processor = job.load()
        return processor.identity, processor.extract

    return print_results(load, lambda: open_writer(job.format, sys.stdout), documents, job.batch_size, quiet)
