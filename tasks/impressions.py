"""What the findings of a radiology report come to: what is abnormal, and that nothing else is.

    found = impression(material)        # [(place, weight), …]

A recognizer of problems misses much of what a radiologist describes, for it is described and not named: "9 mm density",
"the heart is large". So words of imaging are looked for, with what the sentence denies of them left out. What is old
or worn counts less: it is in the findings for completeness.
"""

from __future__ import annotations

import re
from bisect import bisect_left

import numpy as np

from clinical.documents.annotations import Entity
from clinical.documents.sections import find_sections
from clinical.facts.assertion import assess
from clinical.facts.mentions import PROBLEMS, is_reported
from clinical.tasks.salience import Floats, Material, choose

__all__ = ["impression"]

MOST_FINDINGS = 3

LEAST_ABNORMAL = 0.8
"""What scores less is not in the impression. This and the weights below were chosen on half a of opi:train."""

_SEEN = re.compile(
    r"\b(?:nodul\w+|mass(?:es)?|lesions?|opaci\w+|densit\w+|lucen\w+|consolidat\w+|infiltrat\w+|air ?space disease"
    r"|effusions?|pneumothora\w+|atelecta\w+|pneumonia|emphysema\w*|interstitial|fibrosis|scarring|cavit\w+"
    r"|bull(?:ous|ae)|congesti\w+|edema|thicken\w+|blunt\w+|hyper(?:inflat|expan|aerat|lucen)\w+|hypoinflat\w+"
    r"|low (?:lung )?volumes?|volumes? (?:loss|(?:is|are) (?:low|decreased|reduced))|collapse\w*"
    r"|cardiomegaly|enlarge\w*|prominen\w+|widen\w+|dilat\w+|aneurysm\w*"
    r"|(?:heart|silhouette) (?:is |remains )?(?:\w+ )?(?:large|big)"
    r"|elevat\w+|shift\w*|deviat\w+|displac\w+|herniat\w+|hernias?|lymphadenopathy|adenopathy"
    r"|fractures?|compress\w+|disloca\w+|sublux\w+|deformit\w+|erosion\w*|tears?|stenos[ei]s|narrow\w+"
    r"|hemorrhage|hematoma|infarct\w*|thromb\w+|embol\w+|occlu\w+|abscess\w*|collections?|ascites|perforat\w+"
    r"|free air|obstruct\w+|hydroneph\w+|stones?|calcul\w+|abnormal\w*|suspicious|concerning|worrisome)\b",
    re.IGNORECASE,
)
_NORMAL = re.compile(
    r"\b(?:normal|unremarkable|clear|within normal limits|intact|negative|unchanged|stable|no|without|not|free of|"
    r"midline|preserved|patent)\b",
    re.IGNORECASE,
)
_INCIDENTAL = re.compile(
    r"\b(?:degenerative|granulomas?|granulomatous|calcif\w+|old|healed|chronic|tortuous|unfolded|clips?|hardware|wires|"
    r"sternotomy|spondylosis|kyphosis|scoliosis|demineral\w+)\b",
    re.IGNORECASE,
)
_NOTHING_ACUTE = re.compile(r"\bno (?:\w+ )?acute\b", re.IGNORECASE)
_NOTHING_ELSE = re.compile(
    r"\bno (?:\w+ )?(?:evidence|active|focal)\b|\bwithout (?:evidence|focal)\b", re.IGNORECASE
)


def impression(material: Material) -> list[tuple[int, float]]:
    """Return the places of the findings to report and their weights, the rest of it last: "No acute …"."""
    central = material.vectors @ material.vectors.mean(axis=0)
    abnormal = _abnormality(material)
    chosen = choose(material, abnormal + 0.3 * central, max_units=MOST_FINDINGS, least=LEAST_ABNORMAL)
    rest = _rest(material)
    for place in choose(material, central + rest, max_units=1):
        if place not in chosen and (rest[place] or not chosen):
            chosen.append(place)
    return [(place, float(abnormal[place])) for place in chosen]


def _abnormality(material: Material) -> Floats:
    """How much each sentence is out of the ordinary and new."""
    seen = _seen(material)
    scores = []
    for unit, inside in zip(material.units, material.entities, strict=True):
        n_seen = sum(bisect_left(seen, end) - bisect_left(seen, start) for start, end in unit.spans)
        problems = sum(e.label in PROBLEMS and is_reported(e) for e in inside)
        score = min(n_seen, 2) ** 0.5 + 0.5 * min(problems, 2)
        score -= 0.8 * (_INCIDENTAL.search(unit.text) is not None)
        scores.append(score - 0.5 * (not n_seen and _NORMAL.search(unit.text) is not None))
    return np.array(scores, np.float32)


def _seen(material: Material) -> list[int]:
    """Where words of imaging stand that are not denied."""
    text = material.note.text
    words = [Entity(found.start(), found.end(), found[0], "Symptom") for found in _SEEN.finditer(text)]
    assessed = assess(text, words, find_sections(text))
    return [word.start for word in assessed if is_reported(word)]


def _rest(material: Material) -> Floats:
    """How much each sentence says that nothing (else) is wrong."""
    texts = [unit.text for unit in material.units]
    return np.array(
        [
            (_NOTHING_ACUTE.search(text) is not None) + 0.4 * (_NOTHING_ELSE.search(text) is not None)
            for text in texts
        ],
        np.float32,
    )
