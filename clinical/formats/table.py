"""The terminal view (being drawn): the entities of each note."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from clinical.documents.annotations import Extraction
from clinical.documents.note import Note

if TYPE_CHECKING:
    from rich.console import Console


class TableWriter:
    """Writes documents for reading in a terminal."""

    def __init__(self, stream: IO[str] | IO[bytes], console: Console | None = None) -> None:
        from rich.console import Console

        self._console = console or Console(file=stream)  # type: ignore[arg-type]

    def write(self, note: Note, extraction: Extraction) -> None:
        """Write one document."""
        for entity in extraction.entities:
            self._console.print(f"{entity.text}  {entity.label}", markup=False)

    def close(self) -> None:
        """Nothing follows the last document."""
