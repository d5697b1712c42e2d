"""The `light` summarizer: sentences of the note, chosen and put in order, word by word as they stand there.

    summarizer = LightSummarizer(Embedder())
    summarizer.draft(note, "brief", entities=entities)

Every style is one function from the material of a note (`clinical.tasks.salience`) to drafts. Nothing is written that
is not in the note, but for headings, and for plain words in square brackets in the style for patients.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from clinical.documents.annotations import Entity
from clinical.documents.note import Note
from clinical.documents.summaries import Draft, Source
from clinical.facts.mentions import REPORTED, STEPS, is_problem
from clinical.facts.results import find_abnormal
from clinical.facts.terms import content, with_plain_words
from clinical.facts.units import Unit
from clinical.models.salience_heads import SHIPPED
from clinical.tasks.dialogues import assessed, dialogue, planned, reason
from clinical.tasks.impressions import impression
from clinical.tasks.omissions import DECIDING, without_ruled_out
from clinical.tasks.operations import diagnoses, is_operation, operation, procedures
from clinical.tasks.questions import best_question
from clinical.tasks.salience import (
    ADMINISTRATIVE,
    AGE,
    SECTION_WEIGHTS,
    Embeds,
    Floats,
    Material,
    choose,
    is_routine,
    least_worth,
    salience,
    speaks_of_document,
    sums_up,
)
from clinical.tasks.soap import HEADINGS, part_of_section

__all__ = ["LightSummarizer"]


@dataclass(frozen=True)
class LightSummarizer:
    """A `Summarizer` that quotes."""

    embedder: Embeds
    system: str = "light"
    model: str = SHIPPED

    def draft(self, note: Note, style: str, *, entities: Sequence[Entity]) -> Sequence[Draft]:
        """Return the sentences of a summary; none where the note has nothing that can be read as a sentence."""
        material = Material.of(note, entities, self.embedder)
        if not material.units:
            return ()
        if style == "question":
            if _is_no_message(material):
                return ()
            return [_as_draft(material, *best_question(material, self.embedder))]
        if material.is_dialogue and style in ("brief", "sections", "soap"):
            return [_draft(material, *place) for place in dialogue(material, style)]
        if style not in ("sections", "soap") and (abnormal := _abnormal_of_list(material)):
            return [_draft(material, place, weight) for place, weight in abnormal]
        drafts = list(_STYLES[style](material))
        if style == "brief" and _is_message(material):
            question = _as_draft(material, *best_question(material, self.embedder))
            said = any(question.text in draft.text for draft in drafts)
            drafts = sorted(
                [*drafts, *([] if said else [question])], key=lambda draft: draft.sources[0].start
            )
        return drafts


def _is_no_message(material: Material) -> bool:
    """Whether it is a talk, or a clinician's note, in which nobody asks; patients write "Subject:" and "Message:"."""
    sections = {unit.section for unit in material.units} & _OF_CLINICIANS
    asks = any(unit.text.endswith("?") for unit in material.units)
    is_note = len(sections) > 1 or bool(_abnormal_of_list(material))
    return material.is_dialogue or (is_note and not asks)


def _is_message(material: Material) -> bool:
    """Whether somebody who is no clinician writes, and asks."""
    sections = {unit.section for unit in material.units} & _OF_CLINICIANS
    return not sections and any(unit.text.endswith("?") for unit in material.units)


_OF_CLINICIANS = frozenset(SECTION_WEIGHTS) | {
    *("medications", "discharge_medications", "allergies", "past_medical_history", "laboratory_data"),
    *("cardiac_studies", "objective"),
}


# --- lists of results ---

_ROW = re.compile(r"[A-Za-z][\w ,()/%+-]{0,40}?\s+[<>]?\d+(?:\.\d+)?(?:\s|$)")
MOST_ROW_WORDS = 9
LEAST_ROWS = 4
MOST_RESULTS = 12


def _abnormal_of_list(material: Material) -> list[tuple[int, float]]:
    """The rows of a laboratory report that are out of range, each with its weight; none of other notes.

    What the laboratory calls critical weighs most; the order is that of the report.
    """
    texts = [unit.text for unit in material.units]
    rows = [
        place for place, text in enumerate(texts) if len(text.split()) <= MOST_ROW_WORDS and _ROW.match(text)
    ]
    if len(rows) < LEAST_ROWS or 2 * len(rows) < len(texts):
        return []
    found = [(place, find_abnormal(texts[place])) for place in rows]
    weights = [(place, 1.0 + any(one.is_critical for one in results)) for place, results in found if results]
    return sorted(sorted(weights, key=lambda pair: -pair[1])[:MOST_RESULTS])


# --- lists of medications ---

_LISTED = {
    **dict.fromkeys(("medications", "discharge_medications", "medications_on_admission"), "Medications"),
    **dict.fromkeys(("stopped", "discontinued_medications", "stopped_medications"), "Stopped"),
    "allergies": "Allergies",
}
MOST_MEDICATIONS = 20


def _medication_list(material: Material) -> Iterator[Draft]:
    """The lines of a document that is nothing but a list of drugs, each under its heading; none of other notes."""
    units = material.units
    sections = {unit.section for unit in units}
    drugs = sum(_LISTED.get(unit.section or "") == "Medications" for unit in units)
    if drugs < LEAST_ROWS or sections & (frozenset(SECTION_WEIGHTS) | DECIDING):
        return
    lines = [place for place, unit in enumerate(units) if unit.section in _LISTED]
    for place in lines[:MOST_MEDICATIONS]:
        yield _draft(material, place, -place, _LISTED[units[place].section or ""])


# --- the styles of written notes ---


def _brief(material: Material) -> Iterator[Draft]:
    """Three sentences of a page, six of a long one; fewer where a note soon has said what it comes to."""
    if listed := list(_medication_list(material)):
        yield from listed
        return
    scores = salience(material, "note") - [_needs_heading(unit) for unit in material.units]
    if is_operation(material.units):
        # A weight falls with the place: of too many the last are dropped.
        yield from (_as_draft(material, unit, -unit.start) for unit in operation(material))
        return
    least = min(least_worth(material), float(scores.max()))
    most = int(np.clip(round(len(material.units) ** GROWTH), 3, 12))
    # A letter that ends in "In summary, …" is not told by its list of diagnoses alone.
    share = most - 1 if any(unit.section is None and sums_up(unit) for unit in material.units) else None
    chosen = choose(material, scores, max_units=most, max_in_section=share, least=least)
    for place in sorted([*chosen, *_first_of_plan(material, chosen)]):
        yield _draft(material, place, scores[place])


_UNSAID = re.compile(r"stopp|discontinu|\bheld\b|allerg|family_history|avoid|denie")


def _needs_heading(unit: Unit) -> float:
    """What a line loses that says another thing without its heading: "Lisinopril" under STOPPED, a mother's cancer."""
    word = _UNSAID.search(unit.section or "")
    return 0.0 if word is None or word[0] in unit.text.lower() else 2.0


def _first_of_plan(material: Material, chosen: Sequence[int]) -> list[int]:
    """The first sentence of the plan, where none of it is chosen: what is to be done is what a reader acts on."""
    units = material.units
    if any(units[place].section in _DOING or _RECOMMENDS.search(units[place].text) for place in chosen):
        return []
    recommended = [
        place for place in _in_sections(units, tuple(DECIDING)) if _RECOMMENDS.search(units[place].text)
    ]
    plan = [*recommended, *_in_sections(units, _PLAN_SECTIONS)]
    return [place for place in plan if not speaks_of_document(units[place])][:1]


GROWTH = 0.38
"""A brief summary of n sentences has n to this power: of 20 three, of 100 six. Chosen on MTSamples dev."""


def _sections(material: Material) -> Iterator[Draft]:
    """The best sentence of each section, two of the longer ones; sections of one name count as one."""
    scores = salience(material, "note")
    places: dict[str | None, list[int]] = {}
    for place, unit in enumerate(material.units):
        places.setdefault(unit.section, []).append(place)
    for section, inside in places.items():
        if SECTION_WEIGHTS.get(section or "", 0.0) <= ADMINISTRATIVE:
            continue
        part = material.only(inside)
        for place in choose(part, scores[inside], max_units=1 if len(inside) < 5 else 2):
            yield _draft(part, place, scores[inside[place]], _title(section))


def _title(section: str | None) -> str:
    return section.replace("_", " ").capitalize() if section else "Without heading"


# --- problems ---

MOST_PROBLEMS = 12

_NO_PROBLEMS_IN = frozenset(
    ("family_history", "review_of_systems", "discharge_instructions", "allergies", "follow_up")
)


@dataclass
class _Problem:
    """A problem under all its names: how it is called, where it stands, how much speaks for it."""

    name: str
    stems: frozenset[str]
    places: list[int]
    weight: float
    is_past: bool


def _problems(material: Material) -> Iterator[Draft]:
    """Each problem that the note has as present, possible or past, with the sentence that says most of it."""
    scores = salience(material, "note")
    for problem in sorted(_problem_list(material), key=lambda problem: -problem.weight)[:MOST_PROBLEMS]:
        best = max(problem.places, key=lambda place: float(scores[place]) + _assesses(material.units[place]))
        yield _draft(material, best, problem.weight, problem.name + " (history)" * problem.is_past)


def _assesses(unit: Unit) -> float:
    return 1.0 if unit.section in DECIDING else 0.0


def _problem_list(material: Material) -> list[_Problem]:
    found: list[_Problem] = []
    standing = set(without_ruled_out([entity for inside in material.entities for entity in inside]))
    for place, (unit, inside) in enumerate(zip(material.units, material.entities, strict=True)):
        if is_routine(unit):
            continue  # of the risks that were explained nobody suffers
        for entity in filter(standing.__contains__, inside):
            status = entity.assertion.status if entity.assertion else "present"
            past = status == "historical" and entity.label == "Disease"
            if not is_problem(entity) or not (status in REPORTED or past) or unit.section in _NO_PROBLEMS_IN:
                continue
            if entity.label == "Symptom" and unit.section in STEPS:
                continue
            name = entity.expansion or entity.text
            stems = content(name)
            if stems:
                weight = (0.6 if past else 1.0 if entity.label == "Disease" else 0.3) + _assesses(unit)
                _take_in(found, _Problem(" ".join(name.split()), stems, [place], weight, past))
    return found


def _take_in(found: list[_Problem], new: _Problem) -> None:
    """Add a problem, or count it with the one it is another name of: "heart failure" with "acute heart failure"."""
    for known in found:
        if new.stems <= known.stems or known.stems <= new.stems:
            if len(new.stems) > len(known.stems):
                known.name, known.stems = new.name, new.stems
            known.places += new.places
            known.is_past = known.is_past and new.is_past
            known.weight = max(known.weight, new.weight) + 0.1
            return
    found.append(new)


# --- handoff ---

_PENDING = re.compile(
    r"\bpending\b|\bawait|\boutstanding\b|not (?:yet )?(?:back|resulted|available)|\bto be (?:followed|scheduled|done)|"
    r"\bfollow up on\b|\brecheck\b|\brepeat\b",
    re.IGNORECASE,
)
_ALLERGY = re.compile(r"\b(?:nkda|nka|allerg\w+)\b", re.IGNORECASE)
_MEDICATION_SECTIONS = ("discharge_medications", "medications", "medications_on_admission")
_PLAN_SECTIONS = (
    "plan",
    "recommendations",
    "follow_up",
    "disposition",
    "assessment_and_plan",
    "discharge_instructions",
)
_RECOMMENDS = re.compile(r"\b(?:recommend|suggest|advis)ed\b", re.IGNORECASE)
_DOING = frozenset((*_PLAN_SECTIONS, "assessment_and_plan", "medical_decision_making"))
_REASON_SECTIONS = ("chief_complaint", "reason_for_visit", "reason_for_consultation", "indication")


def _handoff(material: Material) -> Iterator[Draft]:
    """Who it is and why, problems, allergies, medications, what is pending, the plan."""
    scores = salience(material, "note")
    units = material.units
    who = [
        place
        for place, unit in enumerate(units)
        if AGE.search(unit.text) and unit.section != "family_history"
    ]
    came_for = reason(units) or _in_sections(units, _REASON_SECTIONS)
    pending = [
        place for place, unit in enumerate(units) if _PENDING.search(unit.text) or unit.section == "pending"
    ]
    used: set[int] = set()

    def part(heading: str, places: Sequence[int], most: int) -> Iterator[Draft]:
        left = [
            place for place in places if place not in used and (places is pending or place not in pending)
        ]
        for place in _best(material, scores, left, most):
            used.add(place)
            yield _draft(material, place, float(scores[place]), heading)

    yield from part("Patient", who or came_for or range(min(len(units), 1)), 1)
    if is_operation(units):
        yield from _as_drafts(material, diagnoses(units), "Active problems")
        yield from _as_drafts(material, procedures(material), "Operation")
    else:
        yield from part(
            "Active problems",
            assessed(material) or _in_sections(units, tuple(DECIDING)) or _with_problems(material),
            4,
        )
    allergic = [place for place, unit in enumerate(units) if _ALLERGY.search(unit.text)]
    yield from part("Allergies", _in_sections(units, ("allergies",)) or allergic, 2)
    yield from part("Medications", _medications(material), 8)
    yield from part("Pending", pending, 3)
    yield from part("Plan", _in_sections(units, _PLAN_SECTIONS) or planned(material) or _planned(units), 4)


def _in_sections(units: Sequence[Unit], sections: Sequence[str]) -> list[int]:
    return [place for place, unit in enumerate(units) if unit.section in sections]


def _planned(units: Sequence[Unit]) -> list[int]:
    """What is to be done in a letter, whose paragraphs have no headings."""
    return [place for place, unit in enumerate(units) if part_of_section(unit.section, unit.text) == "plan"]


def _with_problems(material: Material) -> list[int]:
    return [
        place
        for place, inside in enumerate(material.entities)
        if any(e.label == "Disease" and e.assertion and e.assertion.status in REPORTED for e in inside)
    ]


def _medications(material: Material) -> list[int]:
    """The list of the last medication section, else the sentences that give a drug with its dose."""
    for section in _MEDICATION_SECTIONS:
        listed = _in_sections(material.units, (section,))
        if listed := [place for place in listed if not _ALLERGY.search(material.units[place].text)]:
            return listed
    return [
        place
        for place, inside in enumerate(material.entities)
        if {"Medication", "Dosage"} <= {entity.label for entity in inside}
    ]


def _best(material: Material, scores: Floats, places: Sequence[int], most: int) -> list[int]:
    """The best of these places that do not repeat each other, in their order."""
    if not places:
        return []
    part = material.only(places)
    return [places[place] for place in choose(part, scores[list(places)], max_units=most)]


# --- impression ---

_IMPRESSIONS = (
    *("impression", "assessment", "assessment_and_plan", "diagnosis"),
    *("medical_decision_making", "principal_diagnosis", "secondary_diagnoses", "discharge_diagnosis"),
)


def _impression(material: Material) -> Iterator[Draft]:
    """The report's own impression; else what is abnormal among the findings, and that nothing else is."""
    if own := assessed(material) or _in_sections(material.units, _IMPRESSIONS):
        for place in own:
            yield _draft(material, place, -place)
        return
    findings = _in_sections(material.units, ("findings", "imaging"))
    part = material.only(findings or range(len(material.units)))
    for place, weight in impression(part):
        yield _draft(part, place, weight)


# --- patient ---

_WHY = (
    *_REASON_SECTIONS,
    "discharge_diagnosis",
    "principal_diagnosis",
    "diagnosis",
    "assessment",
    "impression",
)
_TO_DO = (
    "discharge_instructions",
    "patient_education",
    "plan",
    "assessment_and_plan",
    "recommendations",
    "diet",
)
_COME_BACK = re.compile(
    r"\b(?:return|call|come back|seek|go to|emergency|follow[- ]?up|appointment|clinic)\b", re.IGNORECASE
)


_FOR_STAFF = re.compile(r"\b(?:full code|dnr|dni|code status|poa|hcp|bed alarm)\b", re.IGNORECASE)


def _patient(material: Material) -> Iterator[Draft]:
    """Why the patient was seen, medicines, what to do, when to come back; hard words in plain ones, in brackets."""
    scores = salience(material, "note")
    units = material.units
    advice = (
        _in_sections(units, (*_TO_DO, "activity", "follow_up", "disposition"))
        or _planned(units)
        or [place for place, unit in enumerate(units) if unit.speaker == "clinician" and not unit.is_question]
    )
    advice = [place for place in advice if not _FOR_STAFF.search(units[place].text)]
    coming = [place for place in advice if _COME_BACK.search(units[place].text)]
    doing = [place for place in advice if place not in coming]
    why = _in_sections(units, _WHY)
    drugs = _in_sections(units, ("discharge_medications",)) or _in_sections(units, ("medications",))
    drugs = [place for place in drugs if not _ALLERGY.search(units[place].text)]
    parts = (("Why you were seen", why, 2), ("Your medicines", drugs, 10), ("What to do", doing, 6))
    explained: set[str] = set()
    if is_operation(units):
        for heading, found in (("What you had", diagnoses(units)), ("What was done", procedures(material))):
            for draft in _as_drafts(material, found, heading):
                yield replace(draft, text=with_plain_words(draft.text, explained))
    elif not (why or drugs or advice):
        yield from (replace(d, text=with_plain_words(d.text, explained)) for d in _brief(material))
    for heading, places, most in (*parts, ("When to come back or call", coming, 4)):
        for place in _best(material, scores, places, most):
            quote = _draft(material, place, float(scores[place]), heading)
            yield replace(quote, text=with_plain_words(quote.text, explained))


# --- soap of a written note ---


def _soap(material: Material) -> Iterator[Draft]:
    scores = salience(material, "note")
    parts = [part_of_section(unit.section, unit.text) for unit in material.units]
    for heading in HEADINGS:
        places = [place for place, part in enumerate(parts) if part == heading]
        for place in _best(material, scores, places, 4):
            yield _draft(material, place, float(scores[place]), heading.capitalize())


def _draft(material: Material, place: int, weight: float, heading: str | None = None) -> Draft:
    """The unit at this place as a sentence of a summary, with the stretches of the note that it is."""
    return _as_draft(material, material.units[place], weight, heading)


def _as_drafts(material: Material, units: Sequence[Unit], heading: str) -> Iterator[Draft]:
    yield from (_as_draft(material, unit, 1.0, heading) for unit in units)


def _as_draft(material: Material, unit: Unit, weight: float, heading: str | None = None) -> Draft:
    text = material.note.text
    sources = tuple(Source(start, end, text[start:end]) for start, end in unit.spans)
    return Draft(unit.text, sources, heading, float(weight))


_STYLES: Mapping[str, Callable[[Material], Iterator[Draft]]] = {
    "brief": _brief,
    "sections": _sections,
    "problems": _problems,
    "handoff": _handoff,
    "impression": _impression,
    "patient": _patient,
    "soap": _soap,
}
