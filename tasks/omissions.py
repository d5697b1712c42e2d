"""What a summary leaves out: problems, drugs, allergies and abnormal results that the note has and it has not.

    find_omissions(note, entities, ["Heart failure, better on furosemide."])

In summaries that people have judged, four facts in ten were missing and one in fifty was invented: what is not there
is worth showing. Two mentions are of one thing when their words mean the same (`clinical.facts.terms`); what a note
defines as an abbreviation counts under both names. What matters most comes first: allergies, results that the note
itself calls critical, diagnoses of an assessment, drugs, other problems, symptoms.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from clinical.documents.annotations import Assertion, Entity
from clinical.documents.note import Note
from clinical.documents.sections import Section, find_sections, section_at
from clinical.documents.summaries import Omission
from clinical.facts.allergies import is_no_allergy
from clinical.facts.mentions import REPORTED, STEPS, is_drug, is_problem
from clinical.facts.results import find_abnormal
from clinical.facts.terms import content, words
from clinical.facts.units import Unit, find_units, polarity_of_answer
from clinical.tasks.remarks import speaks_to_model
from clinical.tasks.salience import is_routine

__all__ = ["DECIDING", "MOST_SHOWN", "facts", "find_omissions", "without_ruled_out"]

MOST_SHOWN = 12
"""How many a page or a terminal shows before it counts the rest."""

DECIDING = frozenset(
    (
        *("assessment", "impression", "assessment_and_plan", "diagnosis", "principal_diagnosis"),
        *("secondary_diagnoses", "admission_diagnosis", "discharge_diagnosis", "postoperative_diagnosis"),
        *("hospital_course", "problem_list", "medical_decision_making"),
    )
)
"""Sections in which somebody decides what the patient has."""

_UNLIKELY = re.compile(r"\b(?:unlikely|doubt\w*|less likely|not likely)\b", re.IGNORECASE)

_BALANCES = frozenset(("net", "uop", "urine output", "intake", "output"))
"""Of these "1.9 L" is litres, not the flag of a low result."""

_LESSER = frozenset(
    ("review_of_systems", "family_history", "social_history", "informed_consent", "technique")
)


@dataclass(frozen=True)
class _Fact:
    """One thing that the note says, at its best mention; `names` are the stems of each of its names."""

    omission: Omission
    names: tuple[frozenset[str], ...]
    rank: float


def find_omissions(note: Note, entities: Sequence[Entity], said: Sequence[str]) -> list[Omission]:
    """Return what the sentences `said` do not name, each thing once, what matters most first.

    `entities` are those of the note with their assertion.
    """
    stems = content("\n".join(said))
    numbers = frozenset(word for text in said for word in words(text) if word.isdigit())
    return [
        fact.omission
        for fact in sorted(_facts(note, entities), key=lambda fact: (-fact.rank, fact.omission.start))
        if not any(name <= stems | numbers for name in fact.names)
    ]


def facts(note: Note, entities: Sequence[Entity]) -> list[Omission]:
    """Return everything that a summary of the note could leave out, in the order of the note."""
    return sorted((fact.omission for fact in _facts(note, entities)), key=lambda omission: omission.start)


def _facts(note: Note, entities: Sequence[Entity]) -> list[_Fact]:
    """The things of the note, mentions of one thing taken together under the mention that ranks highest."""
    sections = find_sections(note.text)
    kept: list[_Fact] = []
    by_stem: dict[str, list[int]] = {}
    for fact in sorted(
        _mentions(note, entities, sections), key=lambda fact: (-fact.rank, fact.omission.start)
    ):
        # Only what shares a stem can be the same thing: no comparison of all with all in a long chart.
        rivals = {place for name in fact.names for stem in name for place in by_stem.get(stem, ())}
        if any(_is_same(kept[place], fact) for place in rivals):
            continue
        for stem in {stem for name in fact.names for stem in name}:
            by_stem.setdefault(stem, []).append(len(kept))
        kept.append(fact)
    return kept


def _is_same(one: _Fact, other: _Fact) -> bool:
    if (one.omission.label == "Result") != (other.omission.label == "Result"):
        return False
    return any(a <= b or b <= a for a in one.names for b in other.names)


def _mentions(note: Note, entities: Sequence[Entity], sections: Sequence[Section]) -> Iterator[_Fact]:
    units = find_units(note.text, sections)
    yield from _allergies(note, entities, units)
    for entity in without_ruled_out(_of_the_patient(entities, units)):
        names = tuple(name for text in (entity.text, entity.expansion or "") if (name := content(text)))
        label = _label(entity)
        if label is not None and names:
            yield _fact(note, entity.start, entity.end, label, entity.assertion, entity.section, names)
    for result in find_abnormal(note.text):
        section = section_at(sections, result.start)
        if section != "discharge_instructions" and result.name not in _BALANCES:
            name = content(result.name) or frozenset(result.name.split())
            fact = _fact(note, result.start, result.end, "Result", None, section, (name,))
            yield _Fact(fact.omission, fact.names, fact.rank + 3 * result.is_critical)


def _of_the_patient(entities: Sequence[Entity], units: Sequence[Unit]) -> list[Entity]:
    """The entities but for those of orders to a model and of talk about risks, which nobody has."""
    others = [unit for unit in units if speaks_to_model(unit.text) or is_routine(unit)]
    starts = [unit.start for unit in others]
    kept = []
    for entity in entities:
        place = bisect_right(starts, entity.start) - 1
        if place < 0 or entity.start >= others[place].end:
            kept.append(entity)
    return kept


def _allergies(note: Note, entities: Sequence[Entity], units: Sequence[Unit]) -> Iterator[_Fact]:
    """Yield each line under the heading of allergies, or what a patient answers who is asked for them, as it stands.

    It is named by its drug, where that is known.
    """
    for unit in units:
        start, end = unit.spans[-1]
        asked = (
            len(unit.spans) > 1 and "allerg" in unit.text.lower() and polarity_of_answer(unit) != "negated"
        )
        if asked or (unit.section == "allergies" and not is_no_allergy(unit.text)):
            drugs = [e.text for e in entities if start <= e.start < end and e.label == "Medication"]
            name = content(" ".join(drugs)) or content(note.text[start:end])
            if name:
                yield _fact(note, start, end, "Allergy", None, unit.section, (name,))


def without_ruled_out(entities: Sequence[Entity]) -> Iterator[Entity]:
    """Yield the entities but for what the note weighs and rules out: "is unlikely", "possible … was ruled out"."""
    denied: dict[frozenset[str], int] = {}
    present: set[frozenset[str]] = set()
    for entity in entities:
        status = entity.assertion.status if entity.assertion else "present"
        if status == "negated":
            denied[content(entity.text)] = entity.start
        elif status == "present":
            present.add(content(entity.text))
    for entity in entities:
        name = content(entity.text)
        possible = entity.assertion is not None and entity.assertion.status == "possible"
        doubted = possible and _is_doubted(entity)
        if name in present or not (possible and (doubted or denied.get(name, -1) > entity.start)):
            yield entity


def _is_doubted(entity: Entity) -> bool:
    cue = entity.assertion.cue if entity.assertion else None
    return cue is not None and _UNLIKELY.search(cue.text) is not None


def _label(entity: Entity) -> str | None:
    """What the entity counts as; `None` for what is not there, not the patient's, or of no weight."""
    status = entity.assertion.status if entity.assertion else "present"
    if entity.section in ("family_history", "allergies"):
        return None
    if entity.label == "Symptom" and entity.section in STEPS:
        return None
    if is_problem(entity) and status in REPORTED:
        return entity.label
    if is_problem(entity) and entity.label == "Disease" and status == "historical":
        return "Disease"
    return "Medication" if is_drug(entity) and status in (*REPORTED, "historical") else None


def _fact(
    note: Note,
    start: int,
    end: int,
    label: str,
    assertion: Assertion | None,
    section: str | None,
    names: tuple[frozenset[str], ...],
) -> _Fact:
    rank = {"Allergy": 4.0, "Disease": 2.0, "Medication": 1.8, "Result": 1.5, "Symptom": 1.0}[label]
    rank -= 0.5 * (assertion is not None and assertion.status == "historical")
    rank += 1.0 * (section in DECIDING) - 1.0 * (section in _LESSER)
    return _Fact(Omission(start, end, note.text[start:end], label, assertion, section), names, rank)
