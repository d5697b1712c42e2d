"""Subjective, objective, assessment, plan: in which part of a note something belongs.

A section says so by its name; within "assessment and plan" the words decide. What is said in a dialogue is placed by
a trained head (`clinical.tasks.salience`), which learned from where people wrote it down.
"""

from __future__ import annotations

import re
from typing import Literal

__all__ = ["HEADINGS", "Part", "part_of_section", "part_of_words"]

Part = Literal["subjective", "objective", "assessment", "plan"]

HEADINGS: tuple[Part, ...] = ("subjective", "objective", "assessment", "plan")
"""In the order of the note, and of the columns of the trained head."""

_OBJECTIVE = """objective physical_examination vital_signs laboratory_data imaging diagnostic_studies microbiology
cardiac_studies findings operative_findings mental_status_examination neurologic_examination pathology
gross_description microscopic_description immunohistochemistry procedure procedure_description study anesthesia
estimated_blood_loss specimens drains fluids complications technique comparison synoptic_report implants"""
_ASSESSMENT = """assessment impression diagnosis principal_diagnosis secondary_diagnoses admission_diagnosis
discharge_diagnosis preoperative_diagnosis postoperative_diagnosis problem_list medical_decision_making prognosis
condition"""
_PLAN = """plan recommendations follow_up disposition discharge_instructions discharge_medications patient_education
diet activity hospital_course emergency_department_course consultations code_status"""
_MIXED = frozenset(("assessment_and_plan",))

_SECTIONS: dict[str, Part] = {
    **dict.fromkeys(_OBJECTIVE.split(), "objective"),
    **dict.fromkeys(_ASSESSMENT.split(), "assessment"),
    **dict.fromkeys(_PLAN.split(), "plan"),
}
_PLANNING = re.compile(
    r"\b(?:will|plan|continu|start|order|prescri|refer|follow[- ]up|recommend|increase|decrease|obtain|schedul|advis|"
    r"counsel|return|repeat|monitor|consider|should|discharge)",
    re.IGNORECASE,
)


_EXAMINED = re.compile(
    r"\bon exam|\bblood pressure (?:was|is)\b|\bpulse\b|heart sounds|\blungs?\b|\babdomen\b|\bec?kg\b|\becg\b"
    r"|\bechocardiogram|\bx-?ray|\bspo2\b|\d\s*(?:mmol|mg/d|g/d|mmhg|10\^)|\b(?:bp|hr|hgb|wbc)\b\W*\d",
    re.IGNORECASE,
)
_SUMS_UP = re.compile(r"(?:in (?:summary|conclusion)|overall|my impression)\b", re.IGNORECASE)
_WE_DO = re.compile(r"^(?:I|We|If) (?:have|will|would|am|are|the)\b|\bgrateful if|\bcould you\b")


def part_of_section(section: str | None, text: str) -> Part:
    """Return where a sentence of this section belongs; what no section claims is placed by its words."""
    if section in _MIXED:
        return part_of_words(text)
    if section is None and _SUMS_UP.match(text):
        return "assessment"
    if section is None and _WE_DO.search(text) and _PLANNING.search(text):
        return "plan"
    if section not in _SECTIONS and _EXAMINED.search(text):
        return "objective"
    return _SECTIONS.get(section or "", "subjective")


def part_of_words(text: str) -> Part:
    """Return `plan` for what shall be done, else `assessment`."""
    return "plan" if _PLANNING.search(text) else "assessment"
