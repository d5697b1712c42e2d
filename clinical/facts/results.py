"""Results that are out of the ordinary: flagged in the note, outside its own range, or outside what is usual.

    find_abnormal("Potassium 3.4 mmol/L, sodium 138, WBC 14.2 (H). BP 158/92.")
                                                    potassium 3.4 mmol/L, WBC 14.2 (H), BP 158/92

A flag of the laboratory decides first, then a range that stands behind the value, then `results.yaml`. Words
("elevated lipase") count as well. What is found here is shown to a reader as left out of a summary; it is no diagnosis.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from clinical.facts.quantities import Quantity, find_quantities

__all__ = ["Abnormal", "find_abnormal", "is_test_name"]

_FLAG = re.compile(
    r"[^\S\n]*(?:(?:[A-Za-z/%^\d.]*[A-Za-z/%^\d])?[^\S\n]+)?"
    r"(?:[<>]?\d+(?:\.\d+)?(?:[^\S\n]?[-–][^\S\n]?\d+(?:\.\d+)?)?[^\S\n]+)?"  # its range, in a table
    r"[(\[]?(?P<flag>HH?|LL?|high|low|critical|abnormal|\*)[)\]]?"
    r"(?=[^\S\n]*(?:[,;.)\n]|$)|[ ]{2}|[ ]?\t)"  # behind it another cell, as the range
)
_OWN_RANGE = re.compile(
    r"[^\n\d]{0,30}?[(\[]?(?:(?:ref(?:erence)?|normal|range|nl)\.?:?[^\S\n]*(?:range:?[^\S\n]*)?|[(\[])"
    r"(?P<low>\d+(?:\.\d+)?)[^\S\n]*(?:-|–|to)[^\S\n]*(?P<high>\d+(?:\.\d+)?)"
)
_SAID = re.compile(
    r"\b(?:elevated|critically (?:high|low)|abnormally (?:high|low)|abnormal)[^\S\n]+"
    r"(?P<what>[A-Za-z][\w-]*(?:[^\S\n]+(?:count|level|levels|enzymes|pressure|sugar|function|tests?))?)"
)
_LINKING = re.compile(r"\s+(?:was|is|of|at|on|rose to|fell to)$", re.IGNORECASE)
_UNSAID = re.compile(r"\b(?:no|not|without|denies|never)\s+(?:\w+\s+)?$", re.IGNORECASE)


@dataclass(frozen=True)
class Abnormal:
    """A result at `[start, end)`. `name` is the test, as far as it is known; `is_critical` by the note's own flag."""

    start: int
    end: int
    name: str
    is_critical: bool = False


def find_abnormal(text: str) -> list[Abnormal]:
    """Return the results of the text that are out of the ordinary, in their order."""
    found = [*_by_number(text), *_by_word(text)]
    return sorted(found, key=lambda result: (result.start, result.end))


def is_test_name(text: str) -> bool:
    """Return whether the words are the name of a test that `results.yaml` has."""
    return text.lower().replace("-", " ") in _names()


def _by_word(text: str) -> Iterator[Abnormal]:
    for found in _SAID.finditer(text):
        if not _UNSAID.search(text, max(0, found.start() - 30), found.start()):
            yield Abnormal(found.start(), found.end(), found["what"].lower(), "critically" in found.group())


def _by_number(text: str) -> Iterator[Abnormal]:
    previous = 0
    for quantity in find_quantities(text):
        name_span = _name_span(text, max(previous, text.rfind("\n", 0, quantity.start) + 1), quantity.start)
        previous = quantity.end
        if name_span is None:
            continue
        name = text[slice(*name_span)].lower()
        # "12 L" may be litres; where no unit of volume is to be expected it is the flag of the laboratory.
        value_end = quantity.end - (quantity.unit == "l" and quantity.text.endswith("L"))
        flag = _FLAG.match(text, value_end)
        own = _OWN_RANGE.match(text, value_end)
        if flag is not None:
            yield Abnormal(name_span[0], flag.end(), name, flag["flag"] in ("HH", "LL", "critical"))
        elif own is not None:
            if _outside(quantity.value, float(own["low"]), float(own["high"])):
                yield Abnormal(name_span[0], quantity.end, name)
        elif _is_unusual(name, quantity):
            yield Abnormal(name_span[0], quantity.end, name)


def _name_span(text: str, low: int, start: int) -> tuple[int, int] | None:
    """Where the test of a number is named before it: a known name, else up to three words; `None` without words."""
    low = max(low, start - 60)
    piece = re.split(r"[,;.()\[\]\n]|\band\b", text[low:start].rstrip(" :=-([\t"))[-1]
    said = _LINKING.sub("", piece.rstrip(" :=-\t"))
    words = list(re.finditer(r"\S+", said))[-3:]
    if not words or not words[-1].group()[0].isalpha():
        return None
    begin = text.rindex(piece, low, start) if piece else start
    known = (word for word in words if is_test_name(said[word.start() :]))
    first = next(known, words[0])
    return begin + first.start(), begin + len(said)


def _is_unusual(name: str, quantity: Quantity) -> bool:
    plain = name.lower().replace("-", " ")
    if "/" in quantity.value:
        return plain in ("bp", "blood pressure") and _is_unusual_pressure(quantity.value)
    rows = [row for row in _rules()["results"] if plain in row[0] and (quantity.unit or "none") in row[3]]
    # A temperature without a unit is in degrees Celsius or Fahrenheit; which, its size tells.
    fitting = [row for row in rows if quantity.unit or float(quantity.value) < 3 * row[2]]
    return bool(fitting) and all(_outside(quantity.value, row[1], row[2]) for row in fitting)


def _is_unusual_pressure(value: str) -> bool:
    upper, lower = map(int, value.split("/"))
    bounds = _rules()["blood_pressure"]
    return not (bounds["systolic"][0] <= upper <= bounds["systolic"][1]) or not (
        bounds["diastolic"][0] <= lower <= bounds["diastolic"][1]
    )


def _outside(value: str, low: float, high: float) -> bool:
    return "/" not in value and not low <= float(value) <= high


@cache
def _names() -> frozenset[str]:
    known = {name for names, *_ in _rules()["results"] for name in names}
    return frozenset(known | {"bp", "blood pressure"})


@cache
def _rules() -> dict[str, Any]:
    import yaml

    text = resources.files("clinical.facts").joinpath("results.yaml").read_text(encoding="utf-8")
    rules: dict[str, Any] = yaml.safe_load(text)
    return rules
