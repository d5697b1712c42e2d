"""What a batch does with a document: a job is described here, loaded in a worker, and applied to notes.

A job says what it is (`settings`: everything the user chose that changes an output) and can be pickled;
`load` is called once in each worker and returns the processor, which holds the model. Nothing here knows
which task.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from clinical.documents.note import Note
from clinical.errors import ClinicalError, DocumentError, UsageError

Result = TypeVar("Result")


@dataclass(frozen=True)
class Product:
    """What came out of one document: files by suffix (`{".jsonl": b"..."}`) and counts for the manifest."""

    files: Mapping[str, bytes]
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """Why one document has no result. The reason never quotes the document."""

    reason: str


class Processor(Protocol):
    """A loaded job. `identity` names what does the work (system, model, hashes of weights and prompt)."""

    identity: Mapping[str, Any]

    def process(self, notes: Sequence[Note]) -> list[Product]:
        """Return the product of each note, in their order."""
        ...


class Job(Protocol):
    """A task with its settings, before any model is loaded; it can be pickled."""

    @property
    def batch_size(self) -> int:
        """Return how many notes are processed at once."""
        ...

    def settings(self) -> Mapping[str, Any]:
        """Return what changes an output, as JSON can hold it."""
        ...

    def load(self) -> Processor:
        """Load the model, and return what processes notes with it."""
        ...


def attempt(
    process: Callable[[Sequence[Note]], list[Result]], notes: Sequence[Note]
) -> list[Result | Failure]:
    """Return the result of each note, or why it has none; one bad note does not spoil those beside it.

    Raises `UsageError`, which is about the call and not about one document.
    """
    try:
        return [*process(notes)]
    except UsageError:
        raise
    except Exception as error:
        if len(notes) == 1:
            return [_failure(error)]
    return [result for note in notes for result in attempt(process, [note])]


def _failure(error: Exception) -> Failure:
    if isinstance(error, DocumentError):
        return Failure(error.reason)
    if isinstance(error, ClinicalError):
        return Failure(str(error))
    if isinstance(error, MemoryError):
        return Failure("out of memory")
    if os.environ.get("CLINICAL_TRACEBACK"):
        traceback.print_exception(error)
    # The message of a foreign exception may quote the note, and this goes into logs: only its kind and place.
    return Failure(
        f"{type(error).__name__} in {_place(error)}, a fault of the program"
        " (CLINICAL_TRACEBACK=1 shows it in full)"
    )


def _place(error: Exception) -> str:
    """Return module and line where the error arose: in this package, where it has a part in it."""
    places = [
        (str(frame.f_globals.get("__name__")), line) for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    ours = [place for place in places if place[0].startswith("clinical.") and place[0] != __name__]
    module, line = (ours or places)[-1]
    return f"{module} line {line}"
