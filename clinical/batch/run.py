"""One run: documents in, one result each in a folder, and a tally of what was done, skipped and failed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from clinical.batch.job import Failure, Job, Result, attempt
from clinical.batch.manifest import Manifest
from clinical.batch.naming import Names
from clinical.batch.progress import Progress, Tally
from clinical.batch.workers import Batch, Outcome, Workers
from clinical.documents.note import Note
from clinical.errors import DocumentError


def run(
    job: Job,
    documents: Iterable[Note | DocumentError],
    folder: Path,
    progress: Progress,
    *,
    root: Path | None = None,
    workers: int = 1,
    force: bool = False,
) -> Tally:
    """Process every document that the folder has no result for yet, and return a tally.

    Results have the paths of their documents below `root`. `force` does again what is done. Failures are
    named on the way and do not stop the run. Raises `ClinicalError` when the run cannot go on, and
    `KeyboardInterrupt` with a line for the user; either way the same call goes on from there.
    """
    tally = Tally()
    with Manifest(folder) as manifest, progress:
        try:
            with Workers(job, workers, progress.say) as pool:
                identity = pool.identity()
                progress.tell(used(identity))
                manifest.begin({**job.settings(), **identity})
                _Run(manifest, progress, tally, root, force).process(documents, pool, job.batch_size)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"Interrupted: {tally}. The same command goes on from here.") from None
    return tally


def used(identity: Mapping[str, Any]) -> str:
    """Return the line that says what does the work."""
    return f"using {identity['system']}, model {identity['model']}"


def in_process(
    process: Callable[[Sequence[Note]], list[Result]],
    documents: Iterable[Note | DocumentError],
    batch_size: int,
) -> Iterator[tuple[Note, Result] | DocumentError]:
    """Yield the result of each document in their order, or why there is none, without other processes."""
    batch: list[Note] = []
    for document in documents:
        if isinstance(document, Note):
            batch.append(document)
            if len(batch) < batch_size:
                continue
        yield from _attempted(process, batch)
        batch = []
        if isinstance(document, DocumentError):
            yield document
    yield from _attempted(process, batch)


def _attempted(
    process: Callable[[Sequence[Note]], list[Result]], batch: Sequence[Note]
) -> Iterator[tuple[Note, Result] | DocumentError]:
    outcomes = attempt(process, batch) if batch else []
    for note, outcome in zip(batch, outcomes, strict=True):
        yield DocumentError(note.id, outcome.reason) if isinstance(outcome, Failure) else (note, outcome)


class _Run:
    """The bookkeeping between the documents, the workers and the manifest."""

    def __init__(
        self, manifest: Manifest, progress: Progress, tally: Tally, root: Path | None, force: bool
    ) -> None:
        self._manifest = manifest
        self._progress = progress
        self._tally = tally
        self._force = force
        self._names = Names(root)
        for done in manifest.done():
            self._names.keep(done.name, done.id)

    def process(self, documents: Iterable[Note | DocumentError], pool: Workers, batch_size: int) -> None:
        """Draw documents, and store each outcome as it comes."""
        for note, outcome in pool.outcomes(_batches(self._to_do(documents), batch_size)):
            self._finish(note, outcome)
            self._progress.update(self._tally)

    def _to_do(self, documents: Iterable[Note | DocumentError]) -> Iterator[Note]:
        for document in documents:
            if isinstance(document, DocumentError):
                self._fail(document.source, None, document.reason)
            elif not self._force and self._manifest.is_done(document):
                self._tally.skipped += 1
            else:
                yield document
                continue
            self._progress.update(self._tally)

    def _finish(self, note: Note, outcome: Outcome) -> None:
        if isinstance(outcome, Failure):
            self._fail(note.id, note.sha256, outcome.reason)
            return
        try:
            self._manifest.store(note, self._names.name(note), outcome)
        except DocumentError as error:
            self._fail(note.id, note.sha256, error.reason)
        else:
            self._tally.done += 1

    def _fail(self, source: str, sha256: str | None, reason: str) -> None:
        self._manifest.fail(source, sha256, reason)
        self._tally.failed += 1
        self._progress.say(f"failed: {source}: {reason}")


def _batches(notes: Iterator[Note], size: int) -> Iterator[Batch]:
    batch: list[Note] = []
    for note in notes:
        batch.append(note)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
