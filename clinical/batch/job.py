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
from pathlib import PurePath
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
    place = traceback.extract_tb(error.__traceback__)[-1]
    return Failure(
        f"{type(error).__name__} at {PurePath(place.filename).name}:{place.lineno}, a fault of the program"
        " (CLINICAL_TRACEBACK=1 shows it in full)"
    )
