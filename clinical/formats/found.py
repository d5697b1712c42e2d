"""What the pages and tables of a search and of an answer show of each stretch of a note: where it is, what is said."""

from __future__ import annotations

from collections.abc import Iterator

from clinical.documents.answers import Citation
from clinical.formats.display import one_line, title
from clinical.index.hits import Hit


def place_of(found: Hit | Citation) -> str:
    """Return the file and the line."""
    return one_line(f"{found.path}:{found.line}")


def facts_of(found: Hit | Citation) -> Iterator[str]:
    """Yield what is known of the stretch: its document's own id, title and date, section and characters."""
    if found.id != found.path:
        yield one_line(found.id)
    yield from filter(None, (one_line(found.title or ""), found.date, title(found.section or "")))
    yield f"characters {found.start}–{found.end}"


def said(found: Hit | Citation) -> str:
    """Return what the note says of the words asked for when they are not simply there: 'negated "denies"'."""
    if found.assertion is None or found.assertion.status == "present":
        return ""
    cue = found.assertion.cue
    return f'{found.assertion.status} "{one_line(cue.text)}"' if cue else found.assertion.status
