"""Diseases and symptoms under their whole name, where a guideline marks only the parts.

MACCROBAT's annotators mark "pulmonary" and "embolism" apart, as a place and a symptom; those of BC5CDR and NCBI
disease mark "pulmonary embolism". Who reads a note wants the latter. So what the heads that learned from these find
takes the place of the parts, where they agree well enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from clinical.documents.annotations import Entity

PARTS = frozenset({"Disease", "Symptom", "Anatomy", "Descriptor", "Severity"})
"""Labels whose mentions may be parts of the name of a disease or symptom."""

NAMED = ("Disease", "Symptom")

AGREEMENT = 0.3
"""The least mean probability of a name. Chosen on E3C train, where less gives a little more F1 and more oddities."""


def with_whole_names(found: Sequence[Entity], witnesses: Sequence[Sequence[Entity]]) -> list[Entity]:
    """Return the entities, with whole names for their parts and names that only the witnesses know, by start.

    A name comes in where the mean of the witnesses' scores (0 of one that has not this very span) is `AGREEMENT` or
    more, the surest first. It is passed over where it would cut an entity, or swallow one that is no part of a name
    or a surer name. Its score is that mean, its label that of the last disease or symptom in it, or Disease.
    """
    kept, names = list(found), list[Entity]()
    for name in _names(witnesses):
        inner = _touching(name, kept)
        if _is_whole(name, inner) and not _touching(name, names):
            labels = [entity.label for entity in inner if entity.label in NAMED]
            kept = [entity for entity in kept if entity not in inner]
            names.append(replace(name, label=labels[-1] if labels else NAMED[0]))
    return sorted([*kept, *names], key=lambda entity: (entity.start, entity.end))


def _touching(name: Entity, entities: Sequence[Entity]) -> list[Entity]:
    return [entity for entity in entities if entity.start < name.end and name.start < entity.end]


def _names(witnesses: Sequence[Sequence[Entity]]) -> list[Entity]:
    """Return the spans that the witnesses agree on well enough, the surest first."""
    by_span: dict[tuple[int, int], list[Entity]] = {}
    for entities in witnesses:
        for entity in entities:
            by_span.setdefault((entity.start, entity.end), []).append(entity)
    names = [
        replace(same[0], score=sum(entity.score or 0.0 for entity in same) / len(witnesses))
        for same in by_span.values()
    ]
    sure = [name for name in names if name.score is not None and name.score >= AGREEMENT]
    return sorted(sure, key=lambda name: (-(name.score or 0.0), name.start))


def _is_whole(name: Entity, inner: Sequence[Entity]) -> bool:
    """Return whether the name may take the place of these entities: all within it, and it is not one of them."""
    if any((entity.start, entity.end) == (name.start, name.end) for entity in inner):
        return False
    return all(
        entity.label in PARTS and name.start <= entity.start and entity.end <= name.end for entity in inner
    )
