"""When a document was written: the date that it brings along, else one at its head, else one in its name."""

from __future__ import annotations

import re

from clinical.documents.note import Note
from clinical.facts.quantities import Day, find_dates

UNDATED = "Undated"

HEAD_LINES = 12
"""The date of a document stands in its first lines, if anywhere."""

Date = tuple[int, int, int]
"""Year, month, day; 0 for what is not said, so that it sorts first."""

_FILE_DATE = re.compile(r"(?<!\d)((?:19|20)\d\d)[-_.]?(0[1-9]|1[0-2])[-_.]?(0[1-9]|[12]\d|3[01])(?!\d)")
_BORN = re.compile(
    r"\b(?:d\.?o\.?b\b\.?|born|birth ?(?:date|day)|date of birth)\W*(?:on\s+)?$", re.IGNORECASE
)
_ISO = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?")


def date_of(note: Note) -> Date | None:
    """Return the date of a document: its own field, else one of its first lines, else one in its name.

    A day of birth is none: "DOB 04/12/1951" stands above the date of many a letter.
    """
    if note.date and (found := _ISO.match(note.date)):
        return (int(found[1]), int(found[2] or 0), int(found[3] or 0))
    head = "\n".join(note.text.splitlines()[:HEAD_LINES])
    for day in find_dates(head):
        if day.year is not None and not is_birth(head, day):
            return year_month_day(day, None)
    named = _FILE_DATE.search(note.path or note.id)
    return (int(named[1]), int(named[2]), int(named[3])) if named else None


def shown_date(date: Date | None) -> str:
    """Return the date as ISO 8601 has it, as exact as it is known."""
    if date is None:
        return UNDATED
    year, month, day = date
    return "-".join(
        part for part in (f"{year:04}", f"{month:02}" if month else "", f"{day:02}" if day else "") if part
    )


def is_birth(text: str, day: Day) -> bool:
    """Return whether this date of the text is a day of birth."""
    return bool(_BORN.search(text[max(0, day.start - 24) : day.start]))


def year_month_day(day: Day, context: Date | None) -> Date | None:
    """Return the date of a day; a year that is not said is that of `context`."""
    year = day.year or (context[0] if context else None)
    return None if year is None else (year, day.month, day.day or 0)
