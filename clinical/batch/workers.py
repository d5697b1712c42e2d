"""Worker processes: each loads the job once and processes batches of notes, and each may die.

A worker has one batch at a time, so the batch that killed it is known. Its notes are tried once more,
each alone; a note that ends a second worker is given up and named. The processes are spawned, not forked:
no lock or thread of the parent is copied half-way, and a model behaves as it does in a process of its
own.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any

from clinical.batch.job import Failure, Job, Product, attempt
from clinical.batch.messages import hush_libraries, show_remarks
from clinical.documents.note import Note
from clinical.errors import ClinicalError, UsageError

Outcome = Product | Failure
Batch = Sequence[Note]

# With several workers each keeps to one core; otherwise they slow each other down.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
# A few notes may each kill a worker; when nothing but deaths comes, the fault lies elsewhere.
MOST_DEATHS_IN_A_ROW = 20
FAREWELL_SECONDS = 5.0


@dataclass(frozen=True)
class _Ready:
    identity: Mapping[str, Any]


@dataclass(frozen=True)
class _Results:
    outcomes: list[Outcome]


@dataclass(frozen=True)
class _Refusal:
    """What ends the whole run: the job cannot be loaded, or the call was wrong."""

    kind: type[Exception]
    message: str


@dataclass(frozen=True)
class _Remark:
    """A line for the user, who sees it where the parent shows the run."""

    line: str


_Message = _Ready | _Results | _Refusal | _Remark | None


def _work(connection: Connection, job: Job, one_thread: bool) -> None:
    """Live as a worker: load, say so, then answer every batch until told to stop by an empty one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the parent decides
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    sending = threading.Lock()

    def send(message: _Message) -> None:
        with sending:
            connection.send(message)

    def remark(line: str) -> None:
        with contextlib.suppress(OSError):
            send(_Remark(line))

    show_remarks(remark)
    hush_libraries()
    if one_thread:
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    with contextlib.suppress(OSError, EOFError):  # the parent is gone
        try:
            processor = job.load()
        except ClinicalError as error:
            kind = UsageError if isinstance(error, UsageError) else ClinicalError
            return send(_Refusal(kind, str(error)))
        except Exception:
            # A bug; no note has been read yet that its traceback could quote.
            return send(_Refusal(RuntimeError, traceback.format_exc()))
        send(_Ready(processor.identity))
        while batch := connection.recv():
            try:
                send(_Results(attempt(processor.process, batch)))
            except UsageError as error:
                return send(_Refusal(UsageError, str(error)))


def _leave_with_parent() -> None:
    """End this process when the run has ended, even in the middle of a note and even by `kill -9`."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker is started by a run"
    parent.join()
    os._exit(1)


class _Worker:
    """One process, with the batch that it has in hand."""

    def __init__(self, job: Job, one_thread: bool) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, job, one_thread), daemon=True)
        with _ctrl_c_held_back():
            self.process.start()
        theirs.close()  # so that the end of the process is the end of the connection
        self.is_loaded = False
        self.batch: Batch = ()

    def give(self, batch: Batch) -> None:
        """Hand over a batch. A worker that is gone by now is noticed when its answer is awaited."""
        self.batch = batch
        with contextlib.suppress(OSError):
            self.connection.send(batch)

    def receive(self) -> _Message:
        """Return the next message, or `None` when the process has ended without one."""
        try:
            message: _Message = self.connection.recv()
        except (EOFError, OSError):
            return None
        return message

    def end(self) -> str:
        """Wait for the end of the process, and return how it came in words."""
        self.process.join(FAREWELL_SECONDS)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.connection.close()
        code = self.process.exitcode or 0
        if code >= 0:
            return f"exit code {code}"
        name = signal.Signals(-code).name
        return f"{name}, out of memory?" if name == "SIGKILL" else name


@contextlib.contextmanager
def _ctrl_c_held_back() -> Iterator[None]:
    """Start processes that never see Ctrl-C, not even while Python starts in them: they inherit the block."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Workers:
    """A pool of workers for one job; use it in a `with`. `say` takes lines for the user.

    It starts with one, and with the others after its first results: what that one prepares for this machine they
    find, and a job that cannot be loaded fails once.
    """

    def __init__(self, job: Job, count: int, say: Callable[[str], None]) -> None:
        self._job = job
        self._count = count
        self._one_thread = count > 1
        self._say = say
        self._workers: list[_Worker] = []
        self._start_one()
        self._batches: Iterator[Batch] = iter(())
        self._read_ahead: Batch = ()
        self._retries: deque[Batch] = deque()
        self._suspects: set[str] = set()
        self._has_results = False
        self._deaths_in_a_row = 0
        self._failed_loads = 0
        self._remarks: set[str] = set()

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            if kind is None and worker.is_loaded:
                worker.give(())
            else:
                worker.process.kill()  # nothing that it holds is needed: only the parent writes
        for worker in self._workers:
            worker.end()

    def _start_one(self) -> None:
        self._workers.append(_Worker(self._job, self._one_thread))

    def identity(self) -> Mapping[str, Any]:
        """Return what does the work, as soon as one worker has loaded it.

        Raises the `ClinicalError` that kept the job from loading.
        """
        while True:
            for worker, message in self._messages():
                self._take(worker, message)
                if isinstance(message, _Ready):
                    return message.identity

    def outcomes(self, batches: Iterator[Batch]) -> Iterator[tuple[Note, Outcome]]:
        """Yield every note with its outcome, as they are finished; batches are drawn as workers come free."""
        self._batches = batches
        while True:
            self._feed()
            # Reading a document may take long, so the next one is read while the workers are busy.
            self._read_ahead = self._read_ahead or next(self._batches, ())
            while self._has_results and self._read_ahead and len(self._workers) < self._count:
                self._start_one()
            if not (self._read_ahead or self._retries or any(worker.batch for worker in self._workers)):
                return
            for worker, message in self._messages():
                finished = self._take(worker, message)
                self._feed()  # the worker goes on before its results are written
                yield from finished

    def _feed(self) -> None:
        for worker in self._workers:
            if worker.is_loaded and not worker.batch:
                batch = self._next_batch()
                if not batch:
                    return
                worker.give(batch)

    def _next_batch(self) -> Batch:
        if self._retries:
            return self._retries.popleft()
        batch, self._read_ahead = self._read_ahead, ()
        return batch or next(self._batches, ())

    def _messages(self) -> list[tuple[_Worker, _Message]]:
        """Wait until there are messages, and return them with their senders."""
        ready = wait([worker.connection for worker in self._workers])
        return [(worker, worker.receive()) for worker in self._workers if worker.connection in ready]

    def _take(self, worker: _Worker, message: _Message) -> list[tuple[Note, Outcome]]:
        if message is None:
            return self._bury(worker)
        if isinstance(message, _Refusal):
            raise message.kind(message.message)
        if isinstance(message, _Remark):
            # Workers that remark the same are heard once.
            if message.line not in self._remarks:
                self._remarks.add(message.line)
                self._say(message.line)
            return []
        if isinstance(message, _Ready):
            worker.is_loaded = True
            self._failed_loads = 0
            return []
        self._has_results = True
        self._deaths_in_a_row = 0
        finished = [*zip(worker.batch, message.outcomes, strict=True)]
        worker.batch = ()
        return finished

    def _bury(self, worker: _Worker) -> list[tuple[Note, Outcome]]:
        """Replace a dead worker; put its notes aside to be tried alone, and return those given up."""
        how = worker.end()
        self._workers.remove(worker)
        if worker.is_loaded:
            self._deaths_in_a_row += 1
        else:
            self._failed_loads += 1
        if self._failed_loads and self._workers:
            self._count = len(self._workers)
            self._say(f"a worker died while loading ({how}); going on with {self._count}")
            return []
        if self._failed_loads > 1 or self._deaths_in_a_row > MOST_DEATHS_IN_A_ROW:
            raise ClinicalError(f"the workers keep dying ({how}); a smaller model or fewer --workers may fit")
        self._start_one()
        given_up = [note for note in worker.batch if not self._retry(note)]
        return [(note, Failure(f"its worker process died twice ({how})")) for note in given_up]

    def _retry(self, note: Note) -> bool:
        """Put a note aside to be tried alone, unless it has ended a worker before; return whether it was."""
        if note.id in self._suspects:
            return False
        self._suspects.add(note.id)
        self._retries.append((note,))
        return True
