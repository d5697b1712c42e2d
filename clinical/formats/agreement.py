"""Where systems agree about a note, entity by entity.

Entities of different systems are matched one to one: first the same span and label, then the same span, then
an overlap with the same label, then any overlap; of several, the one that shares most characters. What is
matched forms one `Finding`, and what is left over is a finding of its one system:

    agreement       all systems mark the same characters with the same label
    label conflict  the same or overlapping characters, another label
    boundary        the same label, other edges
    only A          one system, and no other
    some            of three or more systems some agree, and the others have nothing
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from clinical.documents.annotations import Entity

Relation = Literal["agreement", "boundary", "conflict", "some", "only"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that at least one system found: the entity of each system, in their order, or `None`."""

    entities: tuple[Entity | None, ...]

    @property
    def found(self) -> tuple[Entity, ...]:
        """The entities of the systems that have it."""
        return tuple(entity for entity in self.entities if entity)

    @property
    def start(self) -> int:
        """The first character that any system marks."""
        return min(entity.start for entity in self.found)

    @property
    def end(self) -> int:
        """The end of the last character that any system marks."""
        return max(entity.end for entity in self.found)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that systems gave it, each once, in the order of the systems."""
        return tuple(dict.fromkeys(entity.label for entity in self.found))

    @property
    def relation(self) -> Relation:
        """How the systems stand to each other here."""
        if len(self.labels) > 1:
            return "conflict"
        if len({(entity.start, entity.end) for entity in self.found}) > 1:
            return "boundary"
        if len(self.found) == len(self.entities):
            return "agreement"
        return "only" if len(self.found) == 1 else "some"

    @property
    def only(self) -> int | None:
        """The place of the system that stands alone with this, or `None`."""
        return self.entities.index(self.found[0]) if self.relation == "only" else None


def compare(systems: Sequence[Sequence[Entity]]) -> list[Finding]:
    """Return the findings of two or more systems about one note, by their place in it.

    With more than two, each further system is matched against what those before it have found.
    """
    groups: list[list[Entity | None]] = []
    for place, entities in enumerate(systems):
        partners = _match(groups, entities)
        for entity, group in zip(entities, partners, strict=True):
            if group is None:
                group = [None] * len(systems)
                groups.append(group)
            group[place] = entity
    findings = [Finding(tuple(group)) for group in groups]
    return sorted(findings, key=lambda finding: (finding.start, finding.end))


def _match(
    groups: Sequence[list[Entity | None]], entities: Sequence[Entity]
) -> list[list[Entity | None] | None]:
    """Return the group that each entity joins, or `None`; a group takes one entity."""
    partners: list[list[Entity | None] | None] = [None] * len(entities)
    taken: set[int] = set()
    for _, at, number in sorted(_candidates(groups, entities)):
        if partners[at] is None and number not in taken:
            partners[at] = groups[number]
            taken.add(number)
    return partners


def _candidates(
    groups: Sequence[list[Entity | None]], entities: Sequence[Entity]
) -> Iterator[tuple[tuple[int, int], int, int]]:
    """Yield rank (lower is better), place of the entity and number of the group, for all that overlap."""
    places = sorted(range(len(entities)), key=lambda at: entities[at].start)
    starts = [entities[at].start for at in places]
    longest = max((entity.end - entity.start for entity in entities), default=0)
    for number, group in enumerate(groups):
        members = [member for member in group if member]
        first = bisect_left(starts, min(member.start for member in members) - longest)
        last = bisect_left(starts, max(member.end for member in members))
        for at in places[first:last]:
            ranks = [_rank(member, entities[at]) for member in members if _overlap(member, entities[at]) > 0]
            if ranks:
                yield min(ranks), at, number


def _rank(one: Entity, other: Entity) -> tuple[int, int]:
    same_span = (one.start, one.end) == (other.start, other.end)
    same_label = one.label == other.label
    order = {(True, True): 0, (True, False): 1, (False, True): 2, (False, False): 3}
    return order[same_span, same_label], -_overlap(one, other)


def _overlap(one: Entity, other: Entity) -> int:
    return min(one.end, other.end) - max(one.start, other.start)
