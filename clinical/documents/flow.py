"""Lays out the words of a marked-up document (HTML, CDA) as lines of plain text."""

from __future__ import annotations

import re

# What HTML and XML mean by white space; a no-break space is a character like any other.
_BLANKS = re.compile(r"[ \t\n\r\f]+")


class Flow:
    """Takes words and breaks in reading order; `text` is what they come to.

    White space is collapsed as a browser does it, a line break is asked for with `line`, an empty line with
    `paragraph`; several such wishes in a row come to the largest of them.
    """

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._newlines = 0
        self._tabs = 0
        self._blank = False

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._parts)

    def words(self, text: str) -> None:
        """Add running text."""
        collapsed = _BLANKS.sub(" ", text)
        if collapsed.startswith(" "):
            self._blank = True
        body = collapsed.strip(" ")
        if body:
            self._begin()
            self._parts.append(body)
            self._blank = collapsed.endswith(" ")

    def verbatim(self, text: str) -> None:
        """Add preformatted text as it is."""
        if text:
            self._begin()
            self._parts.append(text)

    def line(self) -> None:
        """Go to a new line before the next word."""
        self._newlines, self._tabs = max(self._newlines, 1), 0

    def paragraph(self) -> None:
        """Leave an empty line before the next word."""
        self._newlines, self._tabs = 2, 0

    def line_break(self) -> None:
        """Go to a new line, once more for each call."""
        self._newlines, self._tabs = self._newlines + 1, 0

    def cell(self) -> None:
        """Put a tab between this and the next cell of a table; empty cells at the end of a row leave none."""
        self._tabs += 1
        self._blank = False

    def _begin(self) -> None:
        if self._parts:
            self._parts.append("\n" * self._newlines + "\t" * self._tabs)
            if self._blank and not self._newlines and not self._tabs:
                self._parts.append(" ")
        self._newlines, self._tabs, self._blank = 0, 0, False
