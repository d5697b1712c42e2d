"""How far a run is, on stderr: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from types import TracebackType

SECONDS_BETWEEN_LINES = 10.0


@dataclass
class Tally:
    """How many documents were processed, found already done, or have no result."""

    done: int = 0
    skipped: int = 0
    failed: int = 0

    def __str__(self) -> str:
        return f"{self.done} done, {self.skipped} skipped (already done), {self.failed} failed"

    @property
    def seen(self) -> int:
        """All documents so far."""
        return self.done + self.skipped + self.failed


def pace(tally: Tally, total: int | None, seconds: float) -> str:
    """Return the rate of documents processed and the time left, in words.

    >>> pace(Tally(done=50, skipped=100), 400, 10.0)
    '5.0 documents/s, 50 s left'
    """
    processed = tally.done + tally.failed
    if not processed or seconds <= 0:
        return ""
    rate = processed / seconds
    words = f"{rate:.1f} documents/s" if rate >= 1 else f"{1 / rate:.1f} s per document"
    if total is None or total < tally.seen:
        return words
    return f"{words}, {_duration((total - tally.seen) / rate)} left"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


class Progress(Protocol):
    """Shows a run to the user; use it in a `with`."""

    def __enter__(self) -> Progress: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def update(self, tally: Tally) -> None:
        """Show how far the run is."""
        ...

    def tell(self, line: str) -> None:
        """Print a line that is good to know; with `quiet` it is not printed."""
        ...

    def say(self, line: str) -> None:
        """Print a line that must be seen, such as a failure."""
        ...


def progress(total: int | None, *, quiet: bool = False, moving: bool = True) -> Progress:
    """Return what fits stderr: a bar on a terminal, else lines.

    Without `moving` it shows no progress, for results that go to the same terminal; with `quiet` it says only
    what must be said.
    """
    if quiet or not moving:
        return PlainProgress(total, quiet=quiet, moving=False)
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        return _bar(total)
    return PlainProgress(total)


class PlainProgress:
    """A line every few seconds, for logs."""

    def __init__(self, total: int | None, *, quiet: bool = False, moving: bool = True) -> None:
        self._total = total
        self._quiet = quiet
        self._moving = moving

    def __enter__(self) -> PlainProgress:
        self._started = self._shown = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def update(self, tally: Tally) -> None:
        """Print a line when the last one is old enough."""
        now = time.monotonic()
        if self._moving and now - self._shown >= SECONDS_BETWEEN_LINES:
            self._shown = now
            of = "" if self._total is None else f" of {self._total}"
            seen = f"{tally.seen}{of} documents"
            self.tell(", ".join(filter(None, (seen, pace(tally, self._total, now - self._started)))))

    def tell(self, line: str) -> None:
        """Print a line on stderr, unless quiet."""
        if not self._quiet:
            self.say(line)

    def say(self, line: str) -> None:
        """Print a line on stderr."""
        print(line, file=sys.stderr, flush=True)


def _bar(total: int | None) -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as RichProgress

    class Bar:
        """A bar that stays at the foot of the terminal while lines scroll above it."""

        def __enter__(self) -> Bar:
            self._started = time.monotonic()
            self._rich = RichProgress(
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[pace]}", markup=False),
                console=Console(stderr=True),
            )
            self._rich.start()
            self._task = self._rich.add_task("", total=total, pace="loading …")
            return self

        def __exit__(
            self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
        ) -> None:
            self._rich.stop()

        def update(self, tally: Tally) -> None:
            """Move the bar."""
            words = pace(tally, total, time.monotonic() - self._started)
            self._rich.update(self._task, completed=tally.seen, pace=words)

        def tell(self, line: str) -> None:
            """Print a line above the bar."""
            self.say(line)

        def say(self, line: str) -> None:
            """Print a line above the bar."""
            self._rich.console.print(line, markup=False, highlight=False, soft_wrap=True)

    return Bar()
