"""What can go wrong through no fault of the program: the user's call, or one of the user's documents.

Both carry one line that names the thing and says what to do next; the command line prints it without a
traceback. Anything else that is raised is a bug, and keeps its traceback.
"""

from __future__ import annotations


class ClinicalError(Exception):
    """A mistake that the user can mend. Its text is one line: what is wrong, then what to do."""


class UsageError(ClinicalError):
    """The call itself was wrong (unknown label, missing path, no such model): exit code 2."""


class DocumentError(ClinicalError):
    """One document could not be read or processed: it is named and skipped, the others come out, exit code 1."""

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(f"{source}: {reason}")
        self.source = source
        self.reason = reason

    def __reduce__(self) -> tuple[type[DocumentError], tuple[str, str]]:
        """Return how to make it again: worker processes send it home."""
        return DocumentError, (self.source, self.reason)
