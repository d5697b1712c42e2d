"""What stands around a note and is no part of it: letterhead, "Dear Dr", the patient's numbers, "Yours sincerely".

    units = without_frame(note.text, find_units(note.text))

Letters bring another thing: after "Medications: …" on a line of its own the text goes on in paragraphs, which no
heading claims. Those are told from a list by how they begin, and belong to no section.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from clinical.facts.units import Unit

__all__ = ["without_frame"]

_SALUTATION = re.compile(r"(?:dear\b|to whom it may concern|re\s*:|regarding:)", re.IGNORECASE)
_GREETING = re.compile(r"dear\b[^,:\r\n]{0,60}[,:]\s*", re.IGNORECASE)
LEAST_REFERRAL_WORDS = 8
_CLOSING = re.compile(
    r"(?:(?:yours|very truly|best|with (?:kind|best)|kind(?:est)?|warm)\b[^.]{0,20}|sincerely|regards|respectfully"
    r"|with thanks)\W*",
    re.IGNORECASE,
)
_NUMBERS = re.compile(
    r"\b(?:mrn|dob|date of birth|hosp(?:ital)? (?:no|number)|nhs (?:no|number)|acc(?:ount|ession)? ?(?:no|#)"
    r"|tel(?:ephone)?|fax|phone)\b\W*[\w(]*\d|^(?:name|patient name|attending|admitted|discharged)\s*:"
    r"|\bcollected\s*:|^(?:pt|patient|room)\W+(?:bed|room)?\W*\d",
    re.IGNORECASE,
)

_SIGNED = re.compile(
    r"(?:(?:electronically )?signed:?\s*(?:by:?\s*)?)?(?:Dr\.?\s+)?(?:[A-Z][\w.'-]*\s+){0,3}[A-Z][\w'-]+,?\s+"
    r"(?:MD|M\.D\.|DO|MBBS|RN|NP|PA|PA-C|FRCP)\b(?:,\s*[A-Z][\w ]+)*\W*"
)

_TITLE = re.compile(
    r"\b(?:note|summary|report|letter|clinic|visit|consult\w*|evaluation|psychiatry|pediatrics?|\w+ology|ward round)\b",
    re.IGNORECASE,
)
_HEAD_OF_TABLE = re.compile(
    r"(?:(?:lab|laboratory|test|analyte|results?|values?|units?|flags?|reference|range|date)\b\W*){2,}",
    re.IGNORECASE,
)
_TITLE_OF_ENTRY = re.compile(r"(?:[A-Z][A-Z&/-]+ )*(?:NOTE|REPORT|SUMMARY|LETTER|CONSULTATION)\b[^.?:]*")
"""How an entry of a chart begins: "INPATIENT PROGRESS NOTE - hospital day 3"."""

MOST_TITLE_WORDS = 7

MOST_AFTER_CLOSING = 8
"""Units that can be a signature; more of them are an enclosure."""

_LISTS = frozenset(
    (
        *("medications", "discharge_medications", "allergies", "diagnosis", "problem_list"),
        *("cardiac_studies", "imaging", "laboratory_data", "diagnostic_studies"),
    )
)
_PROSE = re.compile(
    r"(?:thank you|i\b|we\b|he\b|she\b|they\b|mr\b|mrs\b|ms\b|miss\b|this \w+ |his\b|her\b|it was|the patient"
    r"|on exam|in summary|overall|as you know|many thanks|further to)",
    re.IGNORECASE,
)
LEAST_PROSE_WORDS = 6


def without_frame(text: str, units: Sequence[Unit]) -> list[Unit]:
    """Return the units of a note that are about the patient, paragraphs after a list without the list's section.

    All of them, where nothing would be left; those of a dialogue as they are.
    """
    if units and units[0].speaker is not None:
        return list(units)
    closings = (place for place, unit in enumerate(units) if _CLOSING.fullmatch(unit.text))
    end = next((place for place in closings if len(units) - place <= MOST_AFTER_CLOSING), len(units))
    first = 1 if units and _is_title(text, units[0]) else 0
    salutations = (place for place, unit in enumerate(units[:end]) if _SALUTATION.match(unit.text))
    begin = next(salutations, 0)
    about = [
        unit
        for place, unit in enumerate(_after_greeting(text, unit) for unit in units[:end])
        if place >= first
        and not (_TITLE_OF_ENTRY.fullmatch(unit.text) or _HEAD_OF_TABLE.fullmatch(unit.text))
        and not (_SALUTATION.match(unit.text) or _NUMBERS.search(unit.text) or _SIGNED.fullmatch(unit.text))
        and (place >= begin or unit.section is not None)
    ]
    return list(_placed(text, about)) or list(units)


def _after_greeting(text: str, unit: Unit) -> Unit:
    """What a sentence says after "Dear Dr. Ames," in the same line; the unit as it is, where that is nothing."""
    found = _GREETING.match(text, *unit.spans[0])
    if found is None:
        return unit
    rest = text[found.end() : unit.spans[0][1]]
    if len(rest.split()) < LEAST_REFERRAL_WORDS:
        return unit
    return replace(unit, spans=((found.end(), unit.spans[0][1]),), text=" ".join(rest.split()))


def _is_title(text: str, unit: Unit) -> bool:
    """Whether it is the title of the document, on a line of its own: "ICU PROGRESS NOTE, hospital day 2"."""
    alone = not text[: unit.start].strip(" \t\r\n#*=-_") and text[unit.end :].lstrip(" \t\r").startswith("\n")
    is_short = (
        unit.n_words <= MOST_TITLE_WORDS and unit.section is None and not unit.text.endswith((".", "?"))
    )
    return alone and is_short and _TITLE.search(unit.text) is not None


def _placed(text: str, units: Sequence[Unit]) -> Iterator[Unit]:
    """Yield the units; from a paragraph on that follows a list, without section up to the next one."""
    left: str | None = None
    for before, unit in zip((None, *units), units, strict=False):
        if unit.section != left:
            left = None
        if before is not None and unit.section in _LISTS and before.section == unit.section:
            is_paragraph = text[before.end : unit.start].count("\n") > 1
            if is_paragraph and unit.n_words >= LEAST_PROSE_WORDS and _PROSE.match(unit.text):
                left = unit.section
        yield replace(unit, section=None) if left is not None else unit
