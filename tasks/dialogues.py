"""What of a talk between doctor and patient goes into its summary, and in which part of a note it belongs.

    found = dialogue(material, "soap")      # [(place, weight, "Subjective"), …]

A trained head weighs what is said (`clinical.tasks.salience`). It has learned from notes in which nine things in ten
are what the patient told, so three sentences that no reader can do without get a start: why the patient came, what the
doctor takes it for, and what is to be done.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from clinical.documents.annotations import Entity
from clinical.facts.kinds import known_names
from clinical.facts.mentions import is_reported
from clinical.facts.units import Unit
from clinical.models.salience_heads import head
from clinical.tasks.salience import Floats, Material, choose, features, salience
from clinical.tasks.soap import HEADINGS

__all__ = ["assessed", "dialogue", "planned", "reason"]

WORDS = {"brief": (15.0, 0.72), "soap": (10.0, 0.87), "sections": (10.0, 0.87)}
"""A summary of a dialogue of n words has a + n^b words at most: of 80 words some 55, of 1,100 some 450, as people
write them. Chosen on the development splits of MTS-Dialog and ACI-Bench."""

PRIOR = 0.6
"""How much of a part's frequency is taken from its score: nine in ten things said are subjective, and a head that is
right as often as it can would call everything so. Chosen on ACI-Bench dev (0 to 1: 62, 71, 76, 74, 59 % right)."""

REASON, ASSESSED, PLANNED = 0.25, 0.3, 0.2
"""The start of the three sentences; scores are between 0 and 0.6. Chosen on MTS-Dialog and ACI-Bench dev (0 to 0.3)."""

LEAST_WORDS = 6
"""Of an answer that tells a reason, and of a plan."""

_OPENS = re.compile(
    r"\bwhat(?:'s| is| has)? (?:brings|brought|seems|going on|happen|can i)|\bhow (?:can|may) i help|\bwhy are you|"
    r"\bdo for you|\bhow are you (?:doing|feeling)|\bwhat's wrong|\btell me",
    re.IGNORECASE,
)
_LEANS = re.compile(r"(?:it|they|that|this|he|she)\b", re.IGNORECASE)
_ASSESSES = re.compile(
    r"\b(?:i (?:think|believe|suspect)|you (?:may |might |probably |likely )?have|looks like|sounds like|"
    r"consistent with|diagnos\w+|most likely)\b",
    re.IGNORECASE,
)
_PLANS = re.compile(
    r"\b(?:(?:i'm|i am|we're|we are) going to|(?:i|we) ?(?:'ll|will)|let's|i want you|i would like|i'd like|gonna|"
    r"prescrib\w+|refer\w*|recommend)\b",
    re.IGNORECASE,
)


def dialogue(material: Material, style: str) -> list[tuple[int, float, str | None]]:
    """Return places, weights and headings: by parts of the note, in `brief` as it was said and without headings."""
    scores = salience(material, "dialogue") + _starts(material)
    base, power = WORDS[style]
    chosen = choose(material, scores, max_words=base + material.n_words**power)
    if style == "brief":
        return [(place, float(scores[place]), None) for place in chosen]
    soap = head("soap")
    parts = (soap.score(features(material)) - PRIOR * soap.bias).argmax(axis=1)
    return [
        (place, float(scores[place]), HEADINGS[part].capitalize())
        for part in range(len(HEADINGS))
        for place in chosen
        if parts[place] == part
    ]


def _starts(material: Material) -> Floats:
    starts = np.zeros(len(material.units), np.float32)
    starts[planned(material)] = PLANNED
    starts[assessed(material)] = ASSESSED
    starts[reason(material.units)] = REASON
    return starts


def reason(units: Sequence[Unit]) -> list[int]:
    """Return the place of the first thing that the patient tells at length, where it answers why they came.

    "What brings you in?" may be answered by "Morning, doctor. It's my knee. It's been hurting for three weeks": then
    what "it" is comes with it.
    """
    asked, short = "", list[int]()
    for place, unit in enumerate(units):
        if unit.speaker == "clinician" or len(unit.spans) == 2:
            asked, short = unit.text, []
        elif unit.n_words < LEAST_WORDS:
            short.append(place)
        elif _OPENS.search(asked):
            return [*short[:1], place] if _LEANS.match(unit.text) else [place]
        else:
            return []
    return []


def assessed(material: Material) -> list[int]:
    """Return the places where the doctor says what the patient has."""
    return [
        place
        for place in _told_by_doctor(material.units)
        if _ASSESSES.search(material.units[place].text) and _names_disease(material.entities[place])
    ]


def planned(material: Material) -> list[int]:
    """Return the places where the doctor says what is to be done."""
    units = material.units
    return [
        place
        for place in _told_by_doctor(units)
        if _PLANS.search(units[place].text)
        and units[place].n_words >= LEAST_WORDS
        and _names_action(material.entities[place])
    ]


def _told_by_doctor(units: Sequence[Unit]) -> list[int]:
    return [
        place
        for place, unit in enumerate(units)
        if unit.speaker == "clinician" and not unit.is_question and len(unit.spans) == 1
    ]


def _names_disease(inside: Sequence[Entity]) -> bool:
    # A tagger may take a disease for a symptom; "osteoarthritis" is none.
    return any(
        is_reported(entity) and "Disease" in (entity.label, *_kinds_in(entity.text)) for entity in inside
    )


def _kinds_in(text: str) -> list[str | None]:
    return [name.label for name in known_names(text)]


def _names_action(inside: Sequence[Entity]) -> bool:
    return any(entity.label in ("Medication", "Procedure", "Test") for entity in inside)
