"""What reaches the user besides results: the package's own remarks, and not the warnings of its libraries."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable


class _Lines(logging.Handler):
    """Says each record as a plain line."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__()
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        """Say one line."""
        self._say(self.format(record))


def to_stderr(line: str) -> None:
    """Print a line to what is standard error at that moment."""
    print(line, file=sys.stderr, flush=True)


def show_remarks(say: Callable[[str], None] = to_stderr) -> None:
    """Let what the package's modules log (such as "preparing the light model …") reach the user as lines."""
    logger = logging.getLogger("clinical")
    logger.setLevel(logging.INFO)
    if not any(isinstance(handler, _Lines) for handler in logger.handlers):
        logger.addHandler(_Lines(say))


def hush_libraries() -> None:
    """Keep warnings meant for programmers from users; `python -W` brings them back."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
        # Without any handler the root logger prints what libraries warn of through `logging`.
        logging.getLogger().addHandler(logging.NullHandler())
