"""Mentions as a reader counts them: "right hilar lymphadenopathy" is one finding, "afebrile" is none.

    entities = whole_mentions(note.text, entities)

The recognizer follows a guideline that marks the body part and the finding apart, and now and then takes a word of the
ordinary for a finding. For problem lists and omissions the pieces are put together and such words are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from clinical.documents.annotations import Entity
from clinical.facts.kinds import known_names
from clinical.facts.results import is_test_name
from clinical.facts.terms import content

__all__ = ["PROBLEMS", "REPORTED", "STEPS", "is_drug", "is_problem", "is_reported", "whole_mentions"]

PROBLEMS = frozenset({"Disease", "Symptom"})

REPORTED = frozenset({"present", "possible"})
"""Assertions of what the patient has, or may have."""

_JOINED = frozenset({"Disease", "Symptom", "Anatomy"})

STEPS = frozenset(("procedure_description", "anesthesia", "technique", "informed_consent"))
"""Sections that tell what was done, step by step: what is divided, packed and drained there is no symptom."""

_ORDINARY_WORDS = """afebrile normal stable well clear intact soft supple tender nontender alert oriented regular
symmetric unremarkable comfortable healthy asymptomatic contour silhouette appearance size shape findings finding
positive negative unchanged resolved improved improvement better recovery distress complaint complaints symptoms
symptom disease problem problems condition illness injury abnormality abnormalities disorder interval change changes
focal acute chronic mild moderate severe active awake cooperative pleasant obese thin gravid good poor sensation
fetal movement ob ortho nkda ambulatory
eradication lipids hungry talkative interrupt feel great position closure
breakfast lunch dinner wound dry protocol alcohol ctab bi rads nuclear grade
md rn pt hr bp rr bpm spo2 temp vitals bed room plan ate eating diet restriction fluid clinic unit score
responsive reactive strength reflexes gait mood affect birth pregnancy delivery systolic diastolic"""
_ORDINARY = content(_ORDINARY_WORDS)
"""Words that alone name no problem, whatever the recognizer calls them."""

_NO_DRUG_WORDS = """diet salt fluid fluids water saline oxygen alcohol tobacco food meal meals caffeine coffee contrast
solution dressing bandage betadine drink medication medications medicine medicines drug drugs pill pills tablet tablets
treatment therapy dose supplement supplements vaccine vaccination blood sodium low protein sugar cholesterol glucose
salt nkda nka ortho ob cocaine marijuana heroin
bmp cmp cbc ag hypothyroid antibiotic antibiotics pump eater diuresed diuresis mg mcg ml po iv daily
plan bid tid qhs prn"""
_NO_DRUG = content(_NO_DRUG_WORDS)


def whole_mentions(text: str, entities: Sequence[Entity]) -> list[Entity]:
    """Return the entities in their order, findings with the body part that stands before them as one.

    Assertion, section and label are those of the finding.
    """
    joined: list[Entity] = []
    for entity in sorted(map(_by_its_name, entities), key=lambda entity: (entity.start, entity.end)):
        before = joined[-1] if joined else None
        if before is not None and _belongs(text, before, entity):
            joined[-1] = replace(entity, start=before.start, text=text[before.start : entity.end])
        else:
            joined.append(entity)
    return joined


_OUT_OF_RANGE = re.compile(
    r"\b(?:low|high|elevated|raised|increased|decreased|reduced|rising|falling|abnormal|positive)\b",
    re.IGNORECASE,
)


def is_reported(entity: Entity) -> bool:
    """Return whether the patient has, or may have, what the entity names, as far as anybody has assessed it."""
    return entity.assertion is None or entity.assertion.status in REPORTED


def is_problem(entity: Entity) -> bool:
    """Return whether the entity names a problem, and not just what is ordinary or a test: "recheck Hgb 0800"."""
    if entity.label not in PROBLEMS or content(entity.text) <= _ORDINARY:
        return False
    names_test = any(is_test_name(word) for word in entity.text.split())
    return not names_test or _OUT_OF_RANGE.search(entity.text) is not None


def is_drug(entity: Entity) -> bool:
    """Return whether the entity names a drug: no diet, no test of the laboratory, no "medication"."""
    return (
        entity.label == "Medication"
        and not content(entity.text) <= _NO_DRUG
        and not is_test_name(entity.text)
    )


def _by_its_name(entity: Entity) -> Entity:
    """Return the entity under the label that its name has wherever it stands: T2DM is no drug.

    What has not been assessed stays what it is, so that nothing denied is taken for a problem.
    """
    for name in known_names(entity.text) if entity.assertion else ():
        if name.label and (name.start, name.end) == (0, len(entity.text)):
            return replace(entity, label=name.label)
    return entity


def _belongs(text: str, before: Entity, entity: Entity) -> bool:
    """Whether two entities that stand side by side are one finding."""
    side_by_side = before.end <= entity.start and text[before.end : entity.start] in (" ", "-")
    return side_by_side and before.label in _JOINED and entity.label in PROBLEMS
