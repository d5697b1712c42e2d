"""How much each sentence matters: the numbers behind the `light` summaries.

    material = Material.of(note, entities, embedder)
    scores = salience(material, "dialogue")
    chosen = choose(material, scores, max_words=60)

A linear head is trained for dialogues (`clinical finetune salience`). It weighs the MiniLM vector of a unit, its place,
its speaker, its entities and a few words; what a message asks is found in `clinical.tasks.questions`. For written notes
no permitted corpus pairs notes with summaries, so there the weights are rules that can be read below: what the section
is, whether the sentence opens it, what it names. `choose` then takes the best ones that do not repeat each other.

    Carbonell, Goldstein. The use of MMR, diversity-based reranking for reordering documents and producing summaries.
    SIGIR 1998.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from clinical.documents.annotations import AssertionStatus, Entity
from clinical.documents.note import Note
from clinical.facts.results import find_abnormal
from clinical.facts.terms import content
from clinical.facts.units import Unit, find_units
from clinical.models.salience_heads import head
from clinical.tasks.frame import without_frame
from clinical.tasks.remarks import speaks_to_model

__all__ = [
    "ADMINISTRATIVE",
    "SECTION_WEIGHTS",
    "Embeds",
    "Material",
    "choose",
    "entities_of",
    "features",
    "is_routine",
    "least_worth",
    "salience",
    "speaks_of_document",
    "sums_up",
]

Floats = NDArray[np.float32]

MOST_EMBEDDED = 1500
"""Of a whole chart only the sentences that the rules find best are embedded: a minute's work becomes seconds."""

DIVERSITY = 0.15
"""What it costs a unit to be like one that is chosen already, times their cosine. Chosen on MTS-Dialog and ACI dev."""

SAME = 0.93
"""Two units with a higher cosine say the same."""

LABELS = (
    "Disease", "Symptom", "Medication", "Dosage", "Test", "Result", "Procedure", "Anatomy", "Age", "Sex", "Date",
    "Duration", "Severity", "Frequency",
)  # fmt: skip
STATUSES: tuple[AssertionStatus, ...] = (
    "present",
    "negated",
    "possible",
    "historical",
    "hypothetical",
    "family",
)


_NUMBER = re.compile(r"\d[\d.,/]*")


class Embeds(Protocol):
    """What turns texts into vectors of length one."""

    def embed(self, texts: Sequence[str]) -> Floats:
        """Return one vector per text."""
        ...


@dataclass(frozen=True)
class Material:
    """A note cut into units, with the entities and the vector of each."""

    note: Note
    units: Sequence[Unit]
    entities: Sequence[Sequence[Entity]]
    vectors: Floats
    is_dialogue: bool

    @classmethod
    def of(cls, note: Note, entities: Sequence[Entity], embedder: Embeds) -> Material:
        """Return the material of a note; of a very long one only the units that the rules find best."""
        found = find_units(note.text)
        # Orders to a model are no part of a patient's history.
        units = [unit for unit in found if not speaks_to_model(unit.text)] or found
        units = without_frame(note.text, units)
        inside = entities_of(units, entities)
        is_dialogue = bool(units) and units[0].speaker is not None
        if len(units) > MOST_EMBEDDED:
            scores = _rules(units, inside)
            kept = sorted(np.argsort(-scores, kind="stable")[:MOST_EMBEDDED].tolist())
            units, inside = [units[place] for place in kept], [inside[place] for place in kept]
        return cls(note, units, inside, embedder.embed([unit.text for unit in units]), is_dialogue)

    def only(self, places: Sequence[int]) -> Material:
        """Return the material of these units alone."""
        return replace(
            self,
            units=[self.units[place] for place in places],
            entities=[self.entities[place] for place in places],
            vectors=self.vectors[list(places)],
        )

    @property
    def n_words(self) -> int:
        """How many words all units have."""
        return sum(unit.n_words for unit in self.units)

    @cached_property
    def stems(self) -> list[frozenset[str]]:
        """What each unit says, as stems and numbers: two potassiums are two things."""
        return [content(unit.text) | set(_NUMBER.findall(unit.text)) for unit in self.units]


def entities_of(units: Sequence[Unit], entities: Sequence[Entity]) -> list[list[Entity]]:
    """Return the entities that stand in each unit."""
    ordered = sorted(entities, key=lambda entity: entity.start)
    starts = [entity.start for entity in ordered]
    return [
        [
            entity
            for start, end in unit.spans
            for entity in ordered[bisect_left(starts, start) : bisect_left(starts, end)]
        ]
        for unit in units
    ]


def salience(material: Material, kind: Literal["dialogue", "note"]) -> Floats:
    """Return a score for each unit, higher for what matters more; scores of two notes do not compare."""
    if kind == "dialogue":
        return head("dialogue").score(features(material))
    scores = _rules(material.units, material.entities)
    if len(scores):
        scores += 0.4 * material.vectors @ _centre(material.vectors)
    return scores


def least_worth(material: Material) -> float:
    """Return the least score of a written note's sentence that is worth a line of a brief summary."""
    decisive = any(SECTION_WEIGHTS.get(unit.section or "", 0.0) >= DECISIVE for unit in material.units)
    return LEAST_SALIENCE if decisive else -math.inf


def choose(
    material: Material,
    scores: Floats,
    *,
    max_words: float = math.inf,
    max_units: int | None = None,
    max_in_section: int | None = None,
    least: float = -math.inf,
) -> list[int]:
    """Return the places of the units to show, in the order of the text.

    The best is always taken; then the next best as long as words and units allow, less what is like a chosen one.
    Units that score below `least` or say what is said already are passed over, and those of a section that has
    its share.
    """
    left = [place for place in range(len(material.units)) if scores[place] >= least]
    likeness = np.zeros(len(material.units), np.float32)
    chosen: list[int] = []
    n_words = 0
    while left and (max_units is None or len(chosen) < max_units):
        best = max(left, key=lambda place: float(scores[place] - DIVERSITY * likeness[place]))
        left.remove(best)
        if chosen and n_words + material.units[best].n_words > max_words:
            continue
        if likeness[best] > SAME or any(material.stems[best] <= material.stems[other] for other in chosen):
            continue
        sections = [material.units[place].section for place in chosen]
        if max_in_section is not None and sections.count(material.units[best].section) >= max_in_section:
            continue
        # What the new one says too is said; its place is free for another.
        said = [place for place in chosen if material.stems[place] < material.stems[best]]
        chosen = [place for place in chosen if place not in said] + [best]
        n_words += material.units[best].n_words - sum(material.units[place].n_words for place in said)
        likeness = np.maximum(likeness, material.vectors @ material.vectors[best])
    return sorted(chosen)


def _centre(vectors: Floats) -> Floats:
    mean: Floats = vectors.mean(axis=0)
    return mean / max(float(np.linalg.norm(mean)), 1e-6)


# --- what the heads see ---

_FIRST_PERSON = re.compile(r"\b(?:i|my|me)\b", re.IGNORECASE)
_SECOND_PERSON = re.compile(r"\b(?:you|your)\b", re.IGNORECASE)
_NEGATION = re.compile(r"\b(?:no|not|denies|without|don't|doesn't|haven't|isn't)\b|n't\b", re.IGNORECASE)


def features(material: Material) -> Floats:
    """Return what a head sees of each unit, shape (units, features): its vector, its place, its speaker, its words."""
    vectors = material.vectors
    count = len(material.units)
    if not count:
        return np.zeros((0, 0), np.float32)
    centre = _centre(vectors)
    rows = [
        [
            *_of_place(place, count),
            *_of_unit(unit),
            float(vectors[place] @ centre),
            float(vectors[place] @ vectors[place - 1]) if place else 0.0,
            float(vectors[place] @ vectors[place + 1]) if place + 1 < count else 0.0,
            *_of_entities(inside, unit.n_words),
        ]
        for place, (unit, inside) in enumerate(zip(material.units, material.entities, strict=True))
    ]
    return np.concatenate([vectors, np.array(rows, np.float32)], axis=1)


def _of_place(place: int, count: int) -> list[float]:
    return [place / count, 1 / (1 + place), 1 / (count - place), math.log(count)]


def _of_unit(unit: Unit) -> list[float]:
    n_words = max(unit.n_words, 1)
    return [
        math.log1p(n_words),
        min(n_words, 40) / 20,
        float(unit.is_question),
        float(len(unit.spans) > 1),
        *(float(unit.speaker == speaker) for speaker in ("clinician", "patient", "other")),
        float(any(map(str.isdigit, unit.text))),
        len(_FIRST_PERSON.findall(unit.text)) / n_words,
        len(_SECOND_PERSON.findall(unit.text)) / n_words,
        float(_NEGATION.search(unit.text) is not None),
    ]


def _of_entities(inside: Sequence[Entity], n_words: int) -> list[float]:
    labels = Counter(entity.label for entity in inside)
    statuses = Counter(entity.assertion.status for entity in inside if entity.assertion)
    return [
        sum(len(entity.text.split()) for entity in inside) / max(n_words, 1),
        min(len(inside), 6) / 3,
        *(min(labels[label], 3) for label in LABELS),
        *(min(statuses[status], 3) for status in STATUSES),
    ]


# --- written notes: rules ---

ADMINISTRATIVE = -1.5
"""The weight of sections that are about the document."""

SECTION_WEIGHTS = {
    **dict.fromkeys(("chief_complaint", "reason_for_visit", "reason_for_consultation", "indication"), 1.0),
    **dict.fromkeys(
        ("impression", "assessment", "assessment_and_plan", "principal_diagnosis", "diagnosis"), 1.2
    ),
    **dict.fromkeys(("discharge_diagnosis", "postoperative_diagnosis", "preoperative_diagnosis"), 1.1),
    **dict.fromkeys(("procedure", "problem_list", "admission_diagnosis", "synoptic_report"), 1.0),
    **dict.fromkeys(("history_of_present_illness", "hospital_course", "subjective", "interval_history"), 0.6),
    **dict.fromkeys(("emergency_department_course", "operative_findings"), 0.6),
    **dict.fromkeys(
        ("plan", "recommendations", "disposition", "follow_up", "findings", "critical_care"), 0.5
    ),
    **dict.fromkeys(("pathology", "immunohistochemistry", "microscopic_description", "imaging"), 0.3),
    **dict.fromkeys(("complications", "discharge_instructions", "clinical_information"), 0.2),
    **dict.fromkeys(("review_of_systems", "social_history", "family_history", "immunizations"), -0.5),
    **dict.fromkeys(("physical_examination", "vital_signs", "mental_status_examination", "technique"), -0.3),
    **dict.fromkeys(("procedure_description", "fluids", "counts", "estimated_blood_loss"), -0.4),
    "anesthesia": -1.0,
    "medical_decision_making": 1.0,
    **dict.fromkeys(("drains", "specimens", "implants", "tourniquet_time", "comparison", "study"), -0.5),
    **dict.fromkeys(("informed_consent", "staff", "signature", "history_source"), ADMINISTRATIVE),
}
"""How likely a section holds what the note comes to. Sections that are not named weigh nothing."""

OPENING = 0.5
"""The first sentence of a section says what it is about."""

MOST_PROCEDURE_WORDS = 15
"""Of the name of a procedure."""

DECISIVE = 1.0
"""The weight of sections that say what a note comes to."""

LEAST_SALIENCE = 0.6
"""Where there is such a section, what scores less is not worth a line. Chosen on MTSamples dev (0.4 to 1.4)."""

LEAD = 1.0
"""So does the first sentence of a note."""

_ADMINISTRATIVE = re.compile(
    r"dictated|transcribed|electronically signed|signed by|cc:|m\.?d\.?$|page \d+|^(?:requested|referred) by\b|"
    r"thank you(?! for (?:referring|asking|seeing).*\d)|^(?:name|patient|mrn|dob|"
    r"sex|date|age|admitted|discharged|service|attending|account|room)\b[^.]{0,40}:",
    re.IGNORECASE,
)
_SUMS_UP = re.compile(
    r"(?:in (?:summary|conclusion)|overall|to summari[sz]e|my impression|(?:i|we)(?:'ve| have| will| would)) "
    r"(?!(?:also |had |a |long |lengthy )*(?:discuss|explain|talk|counsel|review|gone over|seen|spent|discussion))",
    re.IGNORECASE,
)
"""How a doctor ends a letter in paragraphs, without headings."""

SUMMING_UP = 1.2

_UNLIKELY = re.compile(r"\bunlikely\b|\bless likely\b|\bnot likely\b", re.IGNORECASE)

_ROUTINE = re.compile(
    r"informed consent|operative consent|consent form|risks and benefits|\brisks?\b.{0,40}\bbleeding\b|\bhistorian\b|"
    r"prepped and draped|\bsupine\b|(?:brought|taken) to the",
    re.IGNORECASE,
)
AGE = re.compile(
    r"\b\d{1,3}[- ]?(?:(?:year|month|week|day)s?[- ]?old\b|y/?o\b|y\.\s?o|(?-i:[MF]\b))", re.IGNORECASE
)
"""How old somebody is; who it is about stands beside it."""


def _rules(units: Sequence[Unit], entities: Sequence[Sequence[Entity]]) -> Floats:
    seen: set[str | None] = set()
    scores = []
    for place, (unit, inside) in enumerate(zip(units, entities, strict=True)):
        score = SECTION_WEIGHTS.get(_holding(unit), 0.0) + _rules_of_words(unit, inside)
        is_heading = unit.text.endswith(":")
        if is_heading:  # "Left breast, core biopsy:": what it is of stands below
            score -= OPENING
        if not _says_little(unit, inside):
            score += LEAD / (1 + place)
            if unit.section not in seen and unit.section is not None and not is_heading:
                score += OPENING
            if not is_heading:
                seen.add(unit.section)
        scores.append(score)
    return np.array(scores, np.float32)


def _says_little(unit: Unit, inside: Sequence[Entity]) -> bool:
    """Whether it opens nothing: "Slept well." above the history, "None." under a heading."""
    return unit.n_words < 3 and not any(
        entity.label in ("Disease", "Symptom", "Procedure") for entity in inside
    )


def sums_up(unit: Unit) -> bool:
    """Return whether a sentence says what the writer makes of it all, or has done about it."""
    return _SUMS_UP.match(unit.text) is not None


def speaks_of_document(unit: Unit) -> bool:
    """Return whether a sentence is about the document: who dictated it, for whom, when."""
    return _ADMINISTRATIVE.search(unit.text) is not None


def is_routine(unit: Unit) -> bool:
    """Return whether a sentence says what is done before any operation."""
    return _ROUTINE.search(unit.text) is not None


def _holding(unit: Unit) -> str:
    """The section of a unit; under "procedure" stands first what was done, then, at length, how."""
    is_step = unit.section == "procedure" and unit.n_words > MOST_PROCEDURE_WORDS
    return "procedure_description" if is_step else unit.section or ""


def _rules_of_words(unit: Unit, inside: Sequence[Entity]) -> float:
    """What a sentence names: problems that are there count, a list of what is not there does not."""
    statuses = Counter(
        e.assertion.status for e in inside if e.assertion and e.label in ("Disease", "Symptom")
    )
    score = 0.15 * min(statuses["present"] + statuses["possible"], 3)
    score += 0.1 * min(sum(e.label in ("Procedure", "Medication") for e in inside), 2)
    score += 0.3 * (AGE.search(unit.text) is not None and unit.n_words > 3)
    score += SUMMING_UP * sums_up(unit)
    abnormal = find_abnormal(unit.text) if any(map(str.isdigit, unit.text)) else []
    score += 0.3 * min(len(abnormal), 2) + 1.0 * any(result.is_critical for result in abnormal)
    is_unlikely = _UNLIKELY.search(unit.text) is not None
    if (statuses["negated"] or is_unlikely) and not statuses["present"]:
        score -= 0.3
    if unit.n_words < 3 and not any(entity.label in ("Disease", "Procedure") for entity in inside):
        score -= 0.5
    if unit.n_words > 45:
        score -= 0.4
    score -= 0.8 * is_routine(unit)
    return score - 2.0 * speaks_of_document(unit)
