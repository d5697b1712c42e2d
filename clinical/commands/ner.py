"""`clinical ner`: the entities of documents, to the terminal, to a pipe, or to a folder."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clinical.commands.options import Documents, Name, formats, systems
from clinical.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from clinical.batch.ner import NerJob
    from clinical.batch.progress import Tally
    from clinical.documents.annotations import Extraction
    from clinical.documents.note import Note
    from clinical.errors import DocumentError
    from clinical.prompts.labels import Label

BATCH_SIZE = 8
# Endings that say that a file is meant, where a folder is wanted.
FILE_ENDINGS = {".ann", ".conll", ".csv", ".html", ".json", ".jsonl", ".spacy", ".txt"}


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
@click.option("--model", metavar="M", help="The model of the system: a name, folder, hub id or URL.")
@click.option(
    "--scheme", metavar="S", help="The annotation guideline to follow, as bc5cdr.  [default: clinical]"
)
@click.option("--adapter", metavar="DIR", help="LoRA weights for the mistral system.")
@click.option("--prompt", metavar="FILE", help="A prompt template for the mistral system.")
@click.option(
    "--format",
    "format_",
    metavar="F",
    type=Name("format", formats),
    help="table, jsonl, json, csv, html, brat, conll, bioc or docbin.  [default: table or, in a pipe, jsonl]",
)
@click.option(
    "-o", "--output", metavar="DIR", type=click.Path(path_type=Path), help="Write a result per document here."
)
@click.option(
    "--workers",
    metavar="N",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Processes that work side by side, each with the model in memory; needs -o.",
)
@click.option(
    "--batch-size",
    metavar="N",
    type=click.IntRange(min=1),
    help=f"Documents given to the model at once.  [default: 1 on a terminal, else {BATCH_SIZE}]",
)
@click.option(
    "--threshold", metavar="P", type=click.FloatRange(0, 1), help="Leave out entities with a lower score."
)
@click.option("--no-assertion", is_flag=True, help="Do not tell negated, historical … from present entities.")
@click.option(
    "--max-bytes", metavar="N", type=click.IntRange(min=1), help="Refuse larger files.  [default: 100 MB]"
)
@click.option("--force", is_flag=True, help="With -o: do again what is done.")
@click.option("-q", "--quiet", is_flag=True, help="No progress; failures are still named.")
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
        batch_size=batch_size or (1 if to_terminal else BATCH_SIZE),
    )
    if output is None and (workers > 1 or force):
        raise UsageError("--workers and --force go with -o; give a folder for the results")
    documents = Documents(paths, max_bytes)
    if output is None:
        tally = _print(job, documents, quiet)
    else:
        _check_output(output, documents.paths)
        tally = _write(job, documents, quiet, output, workers, force)
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


def _check_output(output: Path, sources: tuple[str, ...]) -> None:
    """Refuse what cannot be a folder, and a folder whose results would be read as documents the next time."""
    if output.suffix.lower() in FILE_ENDINGS and not output.is_dir():
        raise UsageError(
            f"-o {output} looks like a file and wants a folder; for one file: clinical ner … > {output}"
        )
    where = output.resolve()
    for source in sources:
        folder = Path(source).resolve()
        if source != "-" and folder.is_dir() and where.is_relative_to(folder):
            raise UsageError(f"-o {output} lies in the folder that is read, {source}; choose one beside it")


def _print(job: NerJob, documents: Documents, quiet: bool) -> Tally:
    """Write all results to standard output."""
    from clinical.batch.progress import Tally, progress
    from clinical.batch.run import in_process, used
    from clinical.errors import DocumentError
    from clinical.formats import is_binary, open_writer

    if is_binary(job.format) and sys.stdout.isatty():
        raise UsageError(
            f"{job.format} is not text; send it to a file (> notes.spacy) or give a folder with -o"
        )
    tally = Tally()
    with progress(documents.total, quiet=quiet, moving=not sys.stdout.isatty()) as shown:
        results: Iterable[tuple[Note, Extraction] | DocumentError]
        if documents.has_readable():
            processor = job.load()
            shown.tell(used(processor.identity))
            results = in_process(processor.extract, documents, job.batch_size)
        else:
            results = (document for document in documents if isinstance(document, DocumentError))
        with closing(open_writer(job.format, sys.stdout)) as writer:
            for result in results:
                if isinstance(result, DocumentError):
                    tally.failed += 1
                    shown.say(f"failed: {result}")
                else:
                    tally.done += 1
                    writer.write(*result)
                shown.update(tally)
        if tally.seen != 1:
            shown.tell(f"{tally}{_passed_over(documents)}")
    return tally


def _write(job: NerJob, documents: Documents, quiet: bool, output: Path, workers: int, force: bool) -> Tally:
    """Write one result per document into the folder."""
    from clinical.batch.naming import common_root
    from clinical.batch.progress import progress
    from clinical.batch.run import run

    shown = progress(documents.total, quiet=quiet)
    root = common_root([path for path in documents.paths if path != "-"])
    tally = run(job, documents, output, shown, root=root, workers=workers, force=force)
    shown.tell(f"{tally}{_passed_over(documents)}; results and manifest.jsonl in {output}")
    return tally


def _passed_over(documents: Documents) -> str:
    """Return the words for files in folders that are of no kind that can be read."""
    if not documents.passed_over:
        return ""
    kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(documents.passed_over.items()))
    return f"; passed over: {kinds}"
