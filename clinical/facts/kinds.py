"""Names whose kind is known wherever they stand: Lasix is a drug, CKD a disease, whatever the sentence looks like.

    known_names("72M, CKD on Lasix x3d")        72 Age, M Sex, CKD Disease, Lasix Medication, x3d Duration
    is_nothing("r/o")                           True

The names are our own list, `kinds.yaml`. Drugs are known by the stems of their international nonproprietary names too,
operations by their Greek ends. A short form with several meanings is known where the words beside it tell which it is
(`clinical.facts.synonyms`): "CTA neg for PE" speaks of an embolism.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml

from clinical.facts.phrases import PhraseTree
from clinical.facts.quantities import find_dates
from clinical.facts.synonyms import meaning_of, unclear_forms

__all__ = ["Known", "is_department", "is_nothing", "jots", "known_names"]

LEAST_LETTERS = 7
"""A shorter word is not known by its ending: April is no ACE inhibitor."""

_WORD = re.compile(r"\w+|[^\w\s]")


BESIDE = 100
"""So many characters on both sides of a short form, on its line, tell what it stands for."""

NO_FINDINGS = frozenset({"room air"})
"""Meanings of short forms that are no findings: the RA of "SpO2 93% RA"."""

_NUMBER_OF_A_PERSON = re.compile(
    r"\b(?:MRN|NHS|Accession|Account|Acct|SSN)\b(?:[ \t]*(?:No\.?|Number|#))?[ \t]*:?[ \t]*"
    r"(?P<number>[A-Z]{0,3}[\d-]*\d(?:[ -]\d+)*)",
    re.IGNORECASE,
)

_AGES = (
    re.compile(r"\b(?P<Age>\d{1,3} ?(?:y/?o\b|y\. ?o\.?(?!\w)))(?: ?(?P<Sex>[MF])\b)?", re.IGNORECASE),
    # "72M" only at the beginning of a line: "T 98F" is a temperature.
    re.compile(r"^\W{0,3}(?:\w+ note:? )?(?P<Age>\d{1,2})(?P<Sex>[MF])\b", re.MULTILINE),
    re.compile(r"\b(?:Age|AGE)[ \t]*:[ \t]*(?P<Age>\d{1,3})\b(?![./-])"),
    re.compile(r"\b(?:Sex|SEX|Gender|GENDER)[ \t]*:[ \t]*(?P<Sex>[MF]|[Mm]ale|[Ff]emale|MALE|FEMALE)\b"),
    re.compile(r"\b(?P<Duration>x ?\d+ ?(?:h|d|w|wk|mo|y|hrs?|hours?|days?|weeks?|months?|years?))\b"),
)


@dataclass(frozen=True, slots=True)
class Known:
    """A name at `[start, end)` of a text, in code points, with its label; `None` says that it is no finding."""

    start: int
    end: int
    label: str | None


@dataclass(frozen=True)
class _Kinds:
    """What `kinds.yaml` says: labels by words in any case, by words as they stand, and by endings."""

    names: PhraseTree[str]
    capitals: PhraseTree[str]
    endings: re.Pattern[str]
    by_ending: Mapping[str, str]
    others: frozenset[str]
    nothing: frozenset[str]
    departments: frozenset[str]


def known_names(text: str) -> list[Known]:
    """Return the names in the text in their order, the longest at each place; none overlaps another."""
    kept: list[Known] = []
    found = [*_jotted(text), *_listed(text), *_told_by_what_is_beside(text)]
    for name in sorted(found, key=lambda known: (known.start, -known.end)):
        if not kept or kept[-1].end <= name.start:
            kept.append(name)
    return kept


def _listed(text: str) -> Iterator[Known]:
    """Yield the names of the list, and words with an ending of it."""
    kinds = _kinds()
    found = list(_WORD.finditer(text))
    words = [word.group() for word in found]
    small = [word.lower().replace("’", "'") for word in words]
    shouted = text.isupper()
    place = 0
    while place < len(words):
        ended = kinds.names.found(small, place)
        ended += [] if shouted else kinds.capitals.found(words, place)
        label, end = max(ended, key=lambda one: one[1], default=(_by_ending(small[place]), place + 1))
        if label:
            yield Known(found[place].start(), found[end - 1].end(), label)
        place = end if label else place + 1


def _jotted(text: str) -> Iterator[Known]:
    """Yield ages, sexes and durations in the shorthand of notes, "54yo F", "72M", "x3d", and dates in figures or words.

    The number that a hospital knows a patient by is nothing that was found.
    """
    yield from (Known(*found.span("number"), None) for found in _NUMBER_OF_A_PERSON.finditer(text))
    yield from (Known(day.start, day.end, "Date") for day in find_dates(text))
    for pattern in _AGES:
        for found in pattern.finditer(text):
            yield from (Known(*found.span(label), label) for label, said in found.groupdict().items() if said)


def _told_by_what_is_beside(text: str) -> Iterator[Known]:
    """Yield the short forms of several meanings that words on the same line speak for one of."""
    for found in _several_meanings().finditer(text):
        before = text[max(found.start() - BESIDE, 0) : found.start()].rpartition("\n")[2]
        behind = text[found.end() : found.end() + BESIDE].partition("\n")[0]
        meaning = meaning_of(found.group(), f"{before} {behind}")
        if meaning is None:
            continue
        if meaning in NO_FINDINGS:
            yield Known(*found.span(), None)
        elif named := [name.label for name in _listed(meaning)]:
            yield Known(*found.span(), named[-1])


@cache
def _several_meanings() -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(sorted(unclear_forms()))})\b")


def is_nothing(text: str) -> bool:
    """Return whether words that were marked are no more than what is jotted between findings, as "c/o" or "hx".

    "pt" is a patient, "PT" may be a treatment or a test.
    """
    return text.lower().rstrip(".") in _kinds().nothing and text not in unclear_forms()


def jots(text: str) -> list[tuple[int, int]]:
    """Return where a text has what is jotted between findings with a stroke, as "c/o" or "w/"."""
    return [found.span() for found in _jots().finditer(text)]


@cache
def _jots() -> re.Pattern[str]:
    written = sorted((word for word in _kinds().nothing if "/" in word), key=len, reverse=True)
    return re.compile(rf"(?<![\w/])(?:{'|'.join(map(re.escape, written))})(?![\w/])", re.IGNORECASE)


def is_department(text: str) -> bool:
    """Return whether words are the name of a department or a clinic, as in "Service: Cardiology"."""
    words = text.lower().split()
    return any(word in _kinds().departments for word in words) and _kinds().departments.issuperset(
        word for word in words if word not in _OF_A_DEPARTMENT
    )


_OF_A_DEPARTMENT = frozenset(("clinic", "department", "service", "ward", "unit", "team", "of"))


def _by_ending(word: str) -> str | None:
    kinds = _kinds()
    if len(word) < LEAST_LETTERS or not word.isalpha() or word in kinds.others:
        return None
    found = kinds.endings.search(word)
    return kinds.by_ending[found.group(1)] if found else None


@cache
def _kinds() -> _Kinds:
    text = resources.files("clinical.facts").joinpath("kinds.yaml").read_text(encoding="utf-8")
    listed = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    nothing = frozenset(_split(listed.pop("nothing")))
    departments = frozenset(_split(listed.pop("departments")))
    names, capitals = PhraseTree[str](), PhraseTree[str]()
    by_ending: dict[str, str] = {}
    others: set[str] = set()
    for label, group in listed.items():
        for name in _split(group["names"]):
            words = _WORD.findall(name)
            names.reach(words).value = label
            names.reach([*words[:-1], words[-1] + "s"]).value = label
        for name in _split(group.get("capitals", "")):
            capitals.reach(_WORD.findall(name)).value = label
        by_ending |= dict.fromkeys(_split(group.get("endings", "")), label)
        others |= {*_split(group.get("but", ""))}
    ends = sorted(by_ending, key=len, reverse=True)
    pattern = re.compile(rf"({'|'.join(map(re.escape, ends))})s?$")
    return _Kinds(names, capitals, pattern, by_ending, frozenset(others), nothing, departments)


def _split(listed: Any) -> list[str]:
    return [name.strip() for name in str(listed).split(",") if name.strip()]
