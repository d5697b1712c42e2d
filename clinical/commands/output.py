"""Where results go, for the commands that give one for each document: a folder, or standard output."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from clinical.commands.options import Documents
from clinical.errors import UsageError

if TYPE_CHECKING:
    from clinical.batch.job import Job
    from clinical.batch.progress import Tally
    from clinical.documents.note import Note
    from clinical.errors import DocumentError

Result = TypeVar("Result", contravariant=True)

# Endings that say that a file is meant, where a folder is wanted.
FILE_ENDINGS = {".ann", ".conll", ".csv", ".html", ".json", ".jsonl", ".md", ".spacy", ".txt"}


class Sink(Protocol[Result]):
    """Takes results one by one."""

    def write(self, note: Note, result: Result) -> None:
        """Take the result of a document."""
        ...

    def close(self) -> None:
        """Take no more."""
        ...


def check_output(output: Path, sources: Sequence[str], command: str) -> None:
    """Refuse what cannot be a folder, and a folder whose results would be read as documents the next time."""
    if output.suffix.lower() in FILE_ENDINGS and not output.is_dir():
        raise UsageError(
            f"-o {output} looks like a file and wants a folder; for one file: clinical {command} … > {output}"
        )
    where = output.resolve()
    for source in sources:
        folder = Path(source).resolve()
        if source != "-" and folder.is_dir() and where.is_relative_to(folder):
            raise UsageError(f"-o {output} lies in the folder that is read, {source}; choose one beside it")


def print_results(
    load: Callable[[], tuple[Mapping[str, Any], Callable[[Sequence[Note]], list[Any]]]],
    open_sink: Callable[[], Sink[Any]],
    documents: Documents,
    batch_size: int,
    quiet: bool,
) -> Tally:
    """Write all results to standard output. `load` gives what does the work its name, and the work."""
    from clinical.batch.progress import Tally, progress
    from clinical.batch.run import in_process, used
    from clinical.errors import DocumentError

    tally = Tally()
    with progress(documents.total, quiet=quiet, moving=not sys.stdout.isatty()) as shown:
        results: Iterable[tuple[Note, Any] | DocumentError]
        if documents.has_readable():
            identity, process = load()
            shown.tell(used(identity))
            results = in_process(process, documents, batch_size)
        else:
            results = (document for document in documents if isinstance(document, DocumentError))
        with closing(open_sink()) as sink:
            for result in results:
                if isinstance(result, DocumentError):
                    tally.failed += 1
                    shown.say(f"failed: {result}")
                else:
                    tally.done += 1
                    sink.write(*result)
                shown.update(tally)
        if tally.seen != 1:
            shown.tell(f"{tally}{passed_over(documents)}")
    return tally


def write_results(
    job: Job, documents: Documents, output: Path, *, workers: int, force: bool, quiet: bool
) -> Tally:
    """Write one result per document into the folder."""
    from clinical.batch.naming import common_root
    from clinical.batch.progress import progress
    from clinical.batch.run import run

    shown = progress(documents.total, quiet=quiet)
    root = common_root([path for path in documents.paths if path != "-"])
    tally = run(job, documents, output, shown, root=root, workers=workers, force=force)
    shown.tell(f"{tally}{passed_over(documents)}; results and manifest.jsonl in {output}")
    return tally


def passed_over(documents: Documents) -> str:
    """Return the words for files in folders that are of no kind that can be read."""
    if not documents.passed_over:
        return ""
    kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(documents.passed_over.items()))
    return f"; passed over: {kinds}"
