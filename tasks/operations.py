"""What the report of an operation comes to: what the patient had, what was done, why, and what went wrong.

    if is_operation(material.units):
        drafts = operation(material)

The steps are most of such a report and least of what a reader looks for, however many words they name. What is looked
for stands under a few headings, or, where somebody has dictated the steps alone, in the title.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from clinical.documents.sections import find_sections
from clinical.facts.terms import content
from clinical.facts.units import Unit
from clinical.tasks.salience import AGE, Material, is_routine

__all__ = ["diagnoses", "is_operation", "operation", "procedures"]

MOST_LISTED = 6
"""Diagnoses or procedures; a longer list has its details at its end."""

MOST_FINDINGS = 2
"""Where nobody says what they come to."""

MOST_WORDS_OF_WHY = 15
"""Where the diagnosis stands anyway; a longer sentence tells the history over again."""

_NOT_OF_OPERATIONS = frozenset(
    (
        *("hospital_course", "discharge_diagnosis", "admission_diagnosis"),
        *("physical_examination", "plan", "assessment", "assessment_and_plan"),
    )
)
_SAME = re.compile(r"\W*(?:the )?(?:same|as (?:above|before)|unchanged|see above)\b", re.IGNORECASE)
_NONE = re.compile(r"\W*(?:none|no|nil|n/?a|not? apparent|without|zero)\b", re.IGNORECASE)
_STEP = re.compile(
    r"(?:the|this|these|an|after|next|then|once|with|under|using|informed|patient|he|she|i|we|it)\b|"
    r".*\b(?:was|were|is|are|had|has|have|been)\b",
    re.IGNORECASE | re.DOTALL,
)
"""A procedure is named without a verb; a sentence with one is a step of it."""

_TITLE = re.compile(r"\s*(?P<title>[A-Z][A-Z0-9 /&'()-]{4,60}[A-Z)])(?=\s*(?:[\r\n,]|$))")
_OF_ANY_REPORT = re.compile(r"\b(?:NOTE|REPORT|SUMMARY|OPERATION|PROCEDURE|HOSPITAL|CLINIC|CENTER)\b")

_WHY = ("indication", "history_of_present_illness", "operative_findings", "findings")
"""Where it stands who the patient is, the likeliest first."""


def is_operation(units: Sequence[Unit]) -> bool:
    """Return whether these are the units of a report on an operation, and not of a stay that had one in it."""
    sections = {unit.section for unit in units}
    if "postoperative_diagnosis" in sections:
        return True
    is_report = bool(sections & {"procedure", "procedure_description"})
    return is_report and not sections & _NOT_OF_OPERATIONS


def operation(material: Material) -> list[Unit]:
    """Return what a reader looks for, in the order of the report."""
    units = material.units
    found = diagnoses(units)
    why = [unit for unit in _why(units) if not found or unit.n_words <= MOST_WORDS_OF_WHY]
    gone_wrong = [unit for unit in _under(units, "complications") if not _NONE.match(unit.text)]
    findings = [] if found else _under(units, "findings")[:MOST_FINDINGS]
    wanted = (*found, *procedures(material), *why, *findings, *gone_wrong)
    by_start = {unit.start: unit for unit in wanted}
    return [by_start[start] for start in sorted(by_start)]


def diagnoses(units: Sequence[Unit]) -> list[Unit]:
    """Return what was found to be wrong; what was thought before, where it is the same."""
    for section in ("postoperative_diagnosis", "preoperative_diagnosis", "impression", "diagnosis"):
        if found := [unit for unit in _under(units, section) if not _SAME.match(unit.text)]:
            return _listed(found)
    return _listed([unit for unit in units if "diagnos" in (unit.section or "")])


def procedures(material: Material) -> list[Unit]:
    """Return what was done: its names, else the title of the report, else a step that names a procedure."""
    return _listed(_named(material.units)) or _title(material) or _done(material)


def _under(units: Sequence[Unit], section: str) -> list[Unit]:
    return [unit for unit in units if unit.section == section]


def _named(units: Sequence[Unit]) -> list[Unit]:
    """The names of what was done: they open their section, and the steps begin where a sentence has a verb."""
    named: list[Unit] = []
    opens = True
    for before, unit in zip((None, *units), units, strict=False):
        opens = (
            unit.section == "procedure"
            and not _STEP.match(unit.text)
            and (opens or before is None or before.section != "procedure")
        )
        if opens:
            named.append(unit)
    return named


def _title(material: Material) -> list[Unit]:
    """The title, where it is the operation's: "EPIDIDYMECTOMY" above "OPERATIVE NOTE:"."""
    text = material.note.text
    before = next((section for section in find_sections(text) if section.name is None), None)
    found = _TITLE.match(text, before.start, before.end) if before else None
    if found is None or _OF_ANY_REPORT.search(found["title"]):
        return []
    return [Unit((found.span("title"),), found["title"], "procedure")]


def _done(material: Material) -> list[Unit]:
    """The first step that is no preparation and names a procedure."""
    places = [place for place, unit in enumerate(material.units) if not is_routine(unit)]
    naming = [
        place for place in places if any(entity.label == "Procedure" for entity in material.entities[place])
    ]
    return [material.units[place] for place in (naming or places)[:1]]


def _why(units: Sequence[Unit]) -> list[Unit]:
    """Who was operated on and why, the first sentence that has an age."""
    for section in _WHY:
        if about := [unit for unit in _under(units, section) if AGE.search(unit.text)]:
            return about[:1]
    return [unit for section in _WHY[:2] for unit in _under(units, section)][:1]


def _listed(units: Sequence[Unit]) -> list[Unit]:
    """The first of these, each thing once."""
    once = {content(unit.text): unit for unit in reversed(units)}
    return sorted(once.values(), key=lambda unit: unit.start)[:MOST_LISTED]
