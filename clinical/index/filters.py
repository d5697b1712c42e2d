"""Which passages a search looks at: those of some sections, of some files, of some time.

    Filter(sections=("medications",), path="cardiology/*", since="2024-05", until="2024-06-15")

A filter narrows the ranking itself, by words and by meaning: the ten best of what is wanted are found however
many better ones there are elsewhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from glob import escape

from clinical.documents.dates import from_iso
from clinical.errors import UsageError
from clinical.index.location import full_name

_PARTIAL = re.compile(r"\d{4}(-\d\d)?")


@dataclass(frozen=True, slots=True)
class Filter:
    """What a passage must be; what is not given is not asked.

    `sections` are canonical names. `path` is a file, a folder or a pattern with `*`, `?` and `[a-c]`, as the command
    line takes them; one without "/" is looked for in any folder, and the ids that documents bring along count too.
    `since` and `until` are days, months or years (ISO 8601), both included; a document without a date has no place
    in time and is left out when one of them is given. `documents` are numbers that an index has given.
    Raises `UsageError` for what is no date.
    """

    sections: tuple[str, ...] = ()
    path: str | None = None
    since: str | None = None
    until: str | None = None
    documents: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name, value in (("since", self.since), ("until", self.until)):
            if value is not None and day_of(value) is None:
                raise UsageError(
                    f"{name}: {value!r} is no date; write a day, month or year as 2024-05-31 or 2024-05"
                )
        if self.since and self.until and not starts_before(self.since, self.until):
            raise UsageError(f"since {self.since} is after until {self.until}; nothing lies between them")

    def __bool__(self) -> bool:
        return bool(self.sections or self.path or self.has_dates or self.documents)

    @property
    def has_dates(self) -> bool:
        """Whether it asks for a time."""
        return bool(self.since or self.until)


EVERYTHING = Filter()


def day_of(value: str | None) -> str | None:
    """Return the day of an ISO 8601 date or time, or its month or year when it says no more; else `None`.

    >>> day_of("2024-05-03T10:15:00+01:00"), day_of("20240503"), day_of("2024-05"), day_of("in May")
    ('2024-05-03', '2024-05-03', '2024-05', None)
    """
    known = from_iso(value or "")
    if known is None or _PARTIAL.fullmatch(known):
        return known
    # Python reads more forms than sort as text: 20240503, 2024-W18-5.
    return date.fromisoformat(known.replace(" ", "T").split("T")[0]).isoformat()


def starts_before(since: str, until: str) -> bool:
    """Return whether the first lies in the second or before it, as exactly as both are known.

    >>> starts_before("2024-05", "2024-05-01"), starts_before("2024-05-02", "2024-05"), starts_before("2025", "2024-05")
    (True, True, False)
    """
    since, until = day_of(since) or "", day_of(until) or ""
    exact = min(len(since), len(until))
    return since[:exact] <= until[:exact]


def path_patterns(path: str) -> tuple[list[str], list[str]]:
    """Return the patterns of full names, and of ids, that a `path` of a filter stands for, with what lies below."""
    here, whole, plain = full_name("."), full_name(path), path.rstrip("/")
    # Brackets in the name of the working folder are no pattern; nobody wrote them.
    if not path.startswith("/") and whole.startswith(here):
        whole = escape(here) + whole[len(here) :]
    heads = [whole] if "/" in plain or plain in (".", "..") else [whole, f"*/{plain}"]
    return [pattern for head in heads for pattern in (head, f"{head}/*")], [plain, f"{plain}/*"]


def first_day(day: str) -> str:
    """Return the least text that a day in this year or month has.

    >>> first_day("2024"), first_day("2024-05"), first_day("2024-05-03")
    ('2024-00-00', '2024-05-00', '2024-05-03')
    """
    return day + "-00-00"[len(day) - 4 :]


def last_day(day: str) -> str:
    """Return the greatest text that a day in this year or month has."""
    return day + "-99-99"[len(day) - 4 :]


def regex_of(pattern: str) -> str:
    """Return a pattern of SQLite's GLOB as a regular expression: `*` goes into folders.

    >>> regex_of("/a/*[0-9]?.txt")
    '(?s)^/a/.*[0-9].\\\\.txt$'
    """
    parts = re.findall(r"\[\^?\]?[^]]*\]|.", pattern, re.DOTALL)
    plain = {"*": ".*", "?": "."}
    classes = [part if len(part) > 1 else plain.get(part, re.escape(part)) for part in parts]
    return f"(?s)^{''.join(classes)}$"
