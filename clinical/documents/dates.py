"""Dates as the formats write them, turned to ISO 8601."""

from __future__ import annotations

import re
from datetime import datetime

_HL7 = re.compile(r"(\d{4})(\d\d)?(\d\d)?(?:(\d\d)(\d\d)?(\d\d)?(?:\.\d+)?)?([+-]\d{4})?")
_ISO_PARTIAL = re.compile(r"\d{4}(?:-(?:0[1-9]|1[0-2]))?")


def from_hl7(value: str) -> str | None:
    """Return `20240305101500+0100` as `2024-03-05T10:15:00+01:00`, as exact as it was; `None` when it is no date.

    >>> from_hl7("202403"), from_hl7("20240305"), from_hl7("202403051015-0500")
    ('2024-03', '2024-03-05', '2024-03-05T10:15-05:00')
    """
    found = _HL7.fullmatch(value.strip())
    if found is None:
        return None
    year, month, day, hour, minute, second, zone = found.groups()
    date = "-".join(part for part in (year, month, day) if part)
    time = ":".join(part for part in (hour, minute or "00", second) if part) if hour else ""
    return from_iso(
        f"{date}T{time}{zone[:3]}:{zone[3:]}" if time and zone else f"{date}T{time}" if time else date
    )


def from_iso(value: str) -> str | None:
    """Return the value when it is an ISO 8601 date or time, a year or a month; else `None`."""
    text = value.strip()
    if _ISO_PARTIAL.fullmatch(text):
        return text
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return None
    return text
