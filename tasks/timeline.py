"""One patient's chart as a dated timeline, with what does not fit together.

    clinical summarize chart/ --together

Each document gives its brief summary under its own date, and its sentences with another date under that one. What two
documents say differently is listed and never merged: an allergy here and "no known drug allergies" there, left and
right, two doses of a drug on one day, a problem that is there and that is not. Every entry and every side of a conflict
has its document and its characters.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from clinical.documents.annotations import Entity
from clinical.documents.note import Note
from clinical.documents.summaries import Conflict, Source
from clinical.facts.allergies import denies_allergy, is_no_allergy
from clinical.facts.document_date import Date, is_birth, shown_date, year_month_day
from clinical.facts.mentions import is_drug, is_problem
from clinical.facts.quantities import Quantity, find_dates
from clinical.facts.terms import content
from clinical.facts.units import Unit, find_units
from clinical.tasks.support import doses

__all__ = ["Document", "dated_units", "find_conflicts"]

MOST_DATED = 6
"""Sentences with a date of their own that a document adds, at most."""

_ALLERGIC = re.compile(r"\ballergic to (?P<to>[A-Za-z-]+(?: (?:and|or) [A-Za-z-]+)?)", re.IGNORECASE)
_SIDE = re.compile(r"\b([Ll]eft|[Rr]ight|LEFT|RIGHT|L|R)\b")
_REST = re.compile(r"(?<=\w)[^.,;\n]{0,60}")
_SIDE_BEFORE = re.compile(_SIDE.pattern + r"\s$")
_SEX = re.compile(
    r"\b\d{1,3}[- ]?(?:year|yr)s?[- ]?old\s+(?:[\w-]+\s+){0,2}?"
    r"(?P<sex>man|woman|male|female|gentleman|lady|boy|girl)\b|\bSex:\s*(?P<letter>[MF])\b",
    re.IGNORECASE,
)
_FEMALE = frozenset(("woman", "female", "lady", "girl", "f"))


@dataclass(frozen=True)
class Document:
    """A document of the chart with its entities, whole and asserted, and its date as far as it is known."""

    note: Note
    entities: Sequence[Entity]
    date: Date | None


@dataclass(frozen=True)
class _Claim:
    """What one place of one document says of one thing; claims of one `subject` with other values do not fit."""

    subject: str
    value: str
    source: Source
    date: Date | None
    name: str = ""
    """The subject as the document writes it."""


def dated_units(document: Document) -> Iterator[tuple[Date, Unit]]:
    """Yield the sentences that name a day other than the document's own; its year stands for one that is not said."""
    count = 0
    for unit in find_units(document.note.text):
        for day in find_dates(unit.text):
            date = year_month_day(day, document.date)
            if date is None or date == document.date or unit.n_words < 4 or is_birth(unit.text, day):
                continue
            yield date, unit
            count += 1
            break
        if count == MOST_DATED:
            return


# --- what does not fit together ---


def find_conflicts(documents: Sequence[Document]) -> list[Conflict]:
    """Return what the documents say differently, the gravest kind first."""
    return [
        *_patient_conflicts(documents),
        *_allergy_conflicts(documents),
        *_conflicts("side", _claims(documents, _side_claims), _side_words),
        *_dose_conflicts(documents),
        *_conflicts("problem", _claims(documents, _problem_claims), _problem_words),
    ]


def _claims(
    documents: Iterable[Document], of: Callable[[Document], Iterator[_Claim]]
) -> dict[str, list[_Claim]]:
    subjects: dict[str, list[_Claim]] = defaultdict(list)
    for document in documents:
        for claim in of(document):
            subjects[claim.subject].append(claim)
    return subjects


def _conflicts(
    kind: Literal["side", "problem"],
    subjects: dict[str, list[_Claim]],
    words: Callable[[str, _Claim, _Claim], str],
) -> Iterator[Conflict]:
    """Yield the subjects of which some documents say only the one and some only the other."""
    for subject, claims in subjects.items():
        by_document: dict[str | None, set[str]] = defaultdict(set)
        for claim in claims:
            by_document[claim.source.id].add(claim.value)
        firm = [claim for claim in claims if len(by_document[claim.source.id]) == 1]
        values = list(dict.fromkeys(claim.value for claim in firm))
        if len(values) > 1:
            one, other = (next(claim for claim in firm if claim.value == value) for value in values[:2])
            yield Conflict(kind, words(subject, one, other), (one.source, other.source))


def _side_words(subject: str, one: _Claim, other: _Claim) -> str:
    return f"{_short(one.source.text)} in {_name(one.source)}, {_short(other.source.text)} in {_name(other.source)}"


def _problem_words(subject: str, one: _Claim, other: _Claim) -> str:
    there, not_there = (one, other) if one.value == "present" else (other, one)
    return (
        f"{_short(there.source.text)} is there in {_name(there.source)}, denied in {_name(not_there.source)}"
    )


def _short(text: str) -> str:
    return " ".join(text.split()).rstrip(".")


def _name(source: Source) -> str:
    """The document of a source as people call it: the name of its file without the folders."""
    return (source.id or "").rpartition("/")[2]


def _side_claims(document: Document) -> Iterator[_Claim]:
    """Yield findings, procedures and body parts with their side, which stands inside them or just before."""
    text = document.note.text
    for entity in document.entities:
        if (
            entity.label not in ("Disease", "Symptom", "Procedure", "Anatomy")
            or entity.section == "family_history"
        ):
            continue
        before = _SIDE_BEFORE.search(text[max(0, entity.start - 7) : entity.start])
        inside = _SIDE.search(entity.text)
        side = before or inside
        subject = content(_SIDE.sub(" ", entity.text))
        if side is not None and subject:
            start = entity.start - (len(before[0]) if before else 0)
            value = {"l": "left", "r": "right"}.get(side[1].lower(), side[1].lower())
            key = " ".join(sorted(subject))
            if entity.label != "Anatomy":  # both knees may be examined; a fracture is on one side
                yield _Claim(key, value, _source(document, start, entity.end), document.date)


def _problem_claims(document: Document) -> Iterator[_Claim]:
    for entity in document.entities:
        status = entity.assertion.status if entity.assertion else None
        if (
            entity.label == "Disease"
            and is_problem(entity)
            and status in ("present", "negated", "historical")
        ):
            name = " ".join(sorted(content(entity.expansion or entity.text)))
            value = "negated" if status == "negated" else "present"
            if name:
                yield _Claim(name, value, _source(document, entity.start, entity.end), document.date)


def _allergy_conflicts(documents: Sequence[Document]) -> Iterator[Conflict]:
    """Yield an allergy in one document beside "no known allergies" in another."""
    named = [source for document in documents for source in _allergies(document)]
    denied = [source for document in documents for source in _no_allergies(document)]
    for source in named:
        others = [other for other in denied if other.id != source.id]
        if others:
            where = " and ".join(map(_name, others))
            text = f"{_short(source.text)} in {_name(source)}, but {_short(others[0].text)} in {where}"
            yield Conflict("allergy", text, (source, *others))


def _allergies(document: Document) -> Iterator[Source]:
    for unit in find_units(document.note.text):
        if unit.section == "allergies" and not is_no_allergy(unit.text):
            yield _source(document, unit.start, unit.end)
    for found in _ALLERGIC.finditer(document.note.text):
        if not re.search(
            r"\b(?:not|never|no)\s+$", document.note.text[max(0, found.start() - 8) : found.start()]
        ):
            yield _source(document, *found.span())


def _no_allergies(document: Document) -> Iterator[Source]:
    """Yield the words that deny allergies, as far as they go: "No" of "No known drug allergies" says too little."""
    text = document.note.text
    found = denies_allergy(text)
    if found is not None:
        rest = _REST.match(text, found.end())
        yield _source(document, found.start(), rest.end() if rest else found.end())


def _dose_conflicts(documents: Sequence[Document]) -> Iterator[Conflict]:
    """Yield drugs with two doses: of one day a conflict, of several days a change."""
    for claims in _claims(documents, _dose_claims).values():
        ordered = sorted(claims, key=lambda claim: claim.date or (9999, 0, 0))
        for one, other in pairwise(ordered):
            if one.value == other.value or one.source.id == other.source.id:
                continue
            same_day = one.date is not None and one.date == other.date
            unknown = one.date is None or other.date is None
            when = (
                "on the same day"
                if same_day
                else "at unknown dates"
                if unknown
                else (f"from {shown_date(one.date)} to {shown_date(other.date)}")
            )
            doses_said = f"{one.value} in {_name(one.source)}, {other.value} in {_name(other.source)}"
            yield Conflict(
                "dose" if same_day or unknown else "change",
                f"{one.name}: {doses_said}, {when}",
                (one.source, other.source),
            )


def _dose_claims(document: Document) -> Iterator[_Claim]:
    """Yield the last dose that a document gives for each drug: what the patient leaves with."""
    last: dict[str, tuple[Entity, Quantity]] = {}
    for entity, dose in doses(document.note.text, [e for e in document.entities if is_drug(e)]):
        last[" ".join(sorted(content(entity.text)))] = (entity, dose)
    for name, (entity, dose) in last.items():
        yield _Claim(name, dose.text, _source(document, entity.start, dose.end), document.date, entity.text)


def _patient_conflicts(documents: Sequence[Document]) -> Iterator[Conflict]:
    """Yield a sex that differs: the documents may be of two patients."""
    said: dict[str, Source] = {}
    for document in documents:
        found = _SEX.search(document.note.text)
        if found is not None:
            word = (found["sex"] or found["letter"]).lower()
            said.setdefault("female" if word in _FEMALE else "male", _source(document, *found.span()))
    if len(said) == 2:
        one, other = said.values()
        text = f"{_short(one.text)} in {_name(one)}, {_short(other.text)} in {_name(other)}: is this one patient?"
        yield Conflict("patient", text, (one, other))


def _source(document: Document, start: int, end: int) -> Source:
    return Source(start, end, document.note.text[start:end], document.note.id)
