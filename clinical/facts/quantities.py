"""Numbers and dates of a text in one form, so that two texts can be compared: "1,000 mg" is "1000 milligrams".

find_quantities("Furosemide 40 mg, BP 158/92, for two weeks.")       40 mg, 158/92, 2 week
find_dates("Seen on 4 March 2024.")                                 (2024, 3, 4)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["MONTHS", "Day", "Quantity", "find_dates", "find_quantities", "same_unit"]

_UNITS = {
    "mg": "mg|milligrams?", "mcg": "mcg|µg|μg|ug|micrograms?", "g": "g|gm|grams?", "kg": "kg|kilos?|kilograms?",
    "ml": "ml|cc|milliliters?|millilitres?", "l": "l|liters?|litres?", "meq": "meq", "mmol": "mmol",
    "unit": "units?|iu|u", "%": "%|percent|per cent", "mm": "mm|millimeters?|millimetres?",
    "cm": "cm|centimeters?|centimetres?", "hour": "hours?|hrs?|h", "minute": "minutes?|mins?", "day": "days?",
    "week": "weeks?|wks?|wk", "month": "months?|mos?", "year": "years?|yrs?|y|yo|y/o", "mmhg": "mm ?hg", "bpm": "bpm",
    "mg/dl": "mg/dl", "g/dl": "g/dl|gm/dl", "mmol/l": "mmol/l", "meq/l": "meq/l", "pg/ml": "pg/ml", "ng/ml": "ng/ml",
    "mg/l": "mg/l", "mcg/l": "mcg/l|ug/l", "ml/min": "ml/min", "lb": "lbs?|pounds?", "pack": "packs?", "c": "c|°c",
    "f": "f|°f|degrees", "tablet": "tablets?|tabs?|pills?|capsules?", "puff": "puffs?", "mg/kg": "mg/kg",
    "pack-year": "pack[- ]?years?",
}  # fmt: skip
_UNIT_OF = {name: re.compile(f"(?:{names})", re.IGNORECASE) for name, names in _UNITS.items()}
# The longest first: of "mg/dl" "mg" would be found too soon.
_ANY_UNIT = "|".join(sorted((f"(?:{names})" for names in _UNITS.values()), key=len, reverse=True))

_SMALL_NUMBERS = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
sixteen seventeen eighteen nineteen"""
_SMALL = {word: value for value, word in enumerate(_SMALL_NUMBERS.split())}
_TENS = {
    word: 10 * value
    for value, word in enumerate(
        ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], 2
    )
}
_SPELLED = rf"(?:(?:{'|'.join(_TENS)})(?:[ -](?:{'|'.join(list(_SMALL)[1:10])}))?|{'|'.join(_SMALL)})"
_QUANTITY = re.compile(
    rf"""(?<![\w.,/])(?:
        (?P<ratio>\d{{1,3}}\s?/\s?\d{{1,3}})(?![\d/])
        |(?P<digits>\d{{1,3}}(?:,\d{{3}})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)
        |(?P<spelled>{_SPELLED})(?P<hundred>[ ]hundred)?(?![A-Za-z])
    )(?:[ ]?-?[ ]?(?P<unit>{_ANY_UNIT})(?![A-Za-z/])|(?!\w))   # no number: "5th", "70s"
    """,
    re.VERBOSE | re.IGNORECASE,
)

_MONTH_NAMES = "january february march april may june july august september october november december"
MONTHS = _MONTH_NAMES.split(" ")
_MONTH = "|".join(f"{name}|{name[:3]}\\.?" if len(name) > 3 else name for name in MONTHS) + r"|sept\.?"
_DATE = re.compile(
    rf"""(?<![\w/.-])(?:
        (?P<iso>\d{{4}}-\d\d-\d\d)
        |(?P<numeric>\d{{1,2}}/\d{{1,2}}/(?:\d{{4}}|\d\d))
        |(?P<day>\d{{1,2}})(?:st|nd|rd|th)?[ ](?:of[ ])?(?P<month>{_MONTH})(?![a-z])(?:,?[ ](?P<year>\d{{4}}))?
        |(?P<us_month>{_MONTH})[ ](?P<us_day>\d{{1,2}})(?:st|nd|rd|th)?(?![\d:])(?:,?[ ](?P<us_year>\d{{4}}))?
        |(?P<only_month>{_MONTH})[ ](?:of[ ])?(?P<only_year>\d{{4}})
    )(?![\w/])""",
    re.VERBOSE | re.IGNORECASE,
)


@dataclass(frozen=True)
class Quantity:
    """A number at `[start, end)`: `value` in its plainest form, `unit` by the one name that stands for all."""

    value: str
    unit: str | None
    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Day:
    """A date at `[start, end)`, as exact as it was said."""

    year: int | None
    month: int
    day: int | None
    start: int
    end: int
    text: str

    def agrees(self, other: Day) -> bool:
        """Return whether both can be the same day: what one of them leaves open does not part them."""
        pairs = ((self.year, other.year), (self.month, other.month), (self.day, other.day))
        return all(one is None or two is None or one == two for one, two in pairs)


def find_quantities(text: str) -> list[Quantity]:
    """Return the numbers of the text, in digits or words, that are no part of a date."""
    dates = [(day.start, day.end) for day in find_dates(text)]
    return [
        quantity
        for quantity in _quantities(text)
        if not any(start <= quantity.start < end for start, end in dates)
    ]


def find_dates(text: str) -> list[Day]:
    """Return the dates of the text. Of 03/04/2024 the first number is the month, as in the United States."""
    return [day for found in _DATE.finditer(text) if (day := _day(found)) is not None]


def same_unit(one: str | None, other: str | None) -> bool:
    """Return whether two units do not contradict each other; where none is said, none is contradicted."""
    return one is None or other is None or one == other


def _quantities(text: str) -> Iterator[Quantity]:
    for found in _QUANTITY.finditer(text):
        unit = found["unit"]
        yield Quantity(
            _value(found),
            None if unit is None else _unit_name(unit),
            found.start(),
            found.end(),
            " ".join(found.group().split()),
        )


def _value(found: re.Match[str]) -> str:
    if found["ratio"]:
        return "".join(found["ratio"].split())
    if found["digits"]:
        plain = found["digits"].replace(",", "")
        whole, _, fraction = plain.partition(".")
        fraction = fraction.rstrip("0")
        return f"{int(whole or 0)}.{fraction}" if fraction else str(int(whole or 0))
    parts = re.split(r"[ -]", found["spelled"].lower())
    value = sum(_SMALL.get(part, _TENS.get(part, 0)) for part in parts)
    return str(value * 100 if found["hundred"] else value)


def _unit_name(unit: str) -> str | None:
    return next((name for name, pattern in _UNIT_OF.items() if pattern.fullmatch(unit)), None)


def _day(found: re.Match[str]) -> Day | None:
    year: int | None = None
    day: int | None = None
    if found["iso"]:
        year, month, day = map(int, found["iso"].split("-"))
    elif found["numeric"]:
        month, day, year = map(int, found["numeric"].split("/"))
        if month > 12:
            month, day = day, month
        year = year + 2000 if year < 100 else year
    else:
        name = found["month"] or found["us_month"] or found["only_month"]
        if name == "may":
            return None  # "may 5 mg" is no date; who writes the month writes it large
        month = next(number for number, full in enumerate(MONTHS, 1) if full.startswith(name[:3].lower()))
        said = found["day"] or found["us_day"]
        day = int(said) if said else None
        written = found["year"] or found["us_year"] or found["only_year"]
        year = int(written) if written else None
    if not 1 <= month <= 12 or (day is not None and not 1 <= day <= 31):
        return None
    return Day(year, month, day, found.start(), found.end(), found.group())
