"""What a tagger found, put right where a name leaves no doubt: "Lasix" is a drug even where it was taken for a test.

Taggers that learned from case reports guess at the shorthand of notes: CKD becomes a test there, Eliquis an operation.
Names whose kind is known wherever they stand (`clinical.facts.kinds`) overrule them; the names of people, titles of
notes and numbers of lists are no findings at all.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

from clinical.documents.annotations import Entity
from clinical.facts.kinds import Known, is_department, is_nothing, jots, known_names
from clinical.models.mention_edges import piece_of, with_clean_edges
from clinical.models.whole_names import NAMED

KNOWN = 0.8
"""The least score of what is known by its name: the share of such names that stand so, with these ends and this label,
among the annotations of our notes (`benchmarks/ner/notes`: 143 of 181 in train, 62 of 80 in dev)."""

DOUBTFUL = 0.5
"""A longer entity with another label gives way to a name at its end when its score is less: "hx DVT" as a drug."""

OVERRULED = frozenset({"Disease", "Symptom", "Medication", "Test", "Procedure", "Anatomy", "Result"})
"""Labels of longer entities that may give way; a history or a place is more than the name in it."""

PHRASES = frozenset({"History", "Family_history"})
"""Labels that say more of a name than what it is."""

NAMED_THINGS = OVERRULED - {"Result"}

_VALUE = re.compile(
    r"\s*((?:\d[\d.,]*\s*%?|neg(?:ative)?|pos(?:itive)?|wnl|nl|normal|elevated|high|low)"
    r"(?:[ ]?[(\[]?[HL]{1,2}[)\]]?)?)",
    re.IGNORECASE,
)
_NUMBER_OF_A_LIST = re.compile(
    r"^[ \t]*(?:[-*•#]+[ \t]*)?(?:\(?(?:\d{1,2}|[A-Za-z])[.):]|[-*•#]+)(?=\s)", re.MULTILINE
)
_NAME = r"[A-Z][a-z][\w'’-]*"
_PERSON = re.compile(
    rf"\b(?:Dr|Mr|Mrs|Ms|Miss|Prof|MD|RN)\b\.?(?:[ \t]+[A-Z]\.?(?![\w]))*(?:[ \t]+{_NAME}){{1,2}}"
    # "Patient: Doe, Jane": alone in its field, so that it is nobody who speaks.
    rf"|(?<=\b[Nn]ame:)[ \t]+{_NAME}(?:,?[ \t]{_NAME})*"
    rf"|^Patient:[ \t]+{_NAME},?[ \t]{_NAME}(?=[ \t]*(?:$|\t|[ ]{{2}}))"
    rf"|(?:\b[A-Z]\.[ \t]?)*{_NAME},?[ \t]+(?:MD|M\.D\.|DO|RN|NP|PA-C)\b",
    re.MULTILINE,
)
_TITLE = re.compile(
    r"\A\s*(?:[A-Z][\w/&-]*[ \t]+){0,4}(?i:notes?|report|summary|letter|consultation|record|list)\b(?=[^\n.:]{0,40}$)"
    # Another entry in the same file: in capitals.
    r"|^(?:[A-Z][A-Z/&-]+[ \t]+){1,4}(?:NOTE|REPORT|SUMMARY|LETTER|CONSULTATION)\b(?=[^\n.:]{0,40}$)",
    re.MULTILINE,
)
_EDGES = ",;:"
_SIGNS = "<>=#*.,:;()[]/ "
"""What is no finding by itself; "+" and "-" may be results."""
_PIECE = re.compile(r"\S+")
_SAYS_SOMETHING = re.compile(r"\w")


def with_known_names(text: str, found: Sequence[Entity], asked: AbstractSet[str]) -> list[Entity]:
    """Return the entities with the names in the text under their own labels, and without what is no finding, by start.

    Only names of labels asked for come in. A name with other entities in it takes their place; one in a longer
    entity of its own label leaves it, but for a value behind a test ("BNP 410").
    """
    people = _places(text, _PERSON)
    apart = people | _places(text, _NUMBER_OF_A_LIST) | _places(text, _TITLE)
    apart |= {place for start, end in jots(text) for place in range(start, end)}
    kept = [_trimmed(_outside(text, entity, apart)) for entity in with_clean_edges(text, found, asked)]
    coming = deque(
        sorted(
            (entity for entity in kept if _says_something(entity)),
            key=lambda entity: (entity.start, entity.end),
        )
    )
    done: list[Entity] = []
    touching: list[Entity] = []
    for name in known_names(text):
        if name.start in people or name.label not in {None, *asked}:
            continue
        # Names and entities come in the order of the text: a long note costs no more a word than a short one.
        while coming and coming[0].start < name.end:
            touching.append(coming.popleft())
        done += [entity for entity in touching if entity.end <= name.start]
        touching = [entity for entity in touching if name.start < entity.end]
        touching = list(_settled(text, name, touching, asked))
    return sorted([*done, *touching, *coming], key=lambda entity: (entity.start, entity.end))


def _settled(text: str, name: Known, touching: Sequence[Entity], asked: AbstractSet[str]) -> Iterator[Entity]:
    """Yield what stands for a name and the entities that touch it."""
    around = [one for one in touching if one.start <= name.start and name.end <= one.end]
    beyond = [one for one in touching if one.start < name.start or name.end < one.end]
    if name.label is None:
        yield from beyond
        return
    own = Entity(
        name.start, name.end, text[name.start : name.end], name.label, score=KNOWN, grounding="exact"
    )
    if not beyond:
        same = next((one for one in around if one.label in {name.label, *PHRASES}), own)
        yield replace(same, score=max(same.score or 0.0, KNOWN)) if same.label == name.label else same
    elif not around:
        yield from touching
    elif around[0].label == name.label == "Test":
        yield from _test_and_value(text, own, around[0], asked)
    elif around[0].label == "Result" and name.label == "Test" and around[0].end == name.end:
        # "BP 36.8 HR": the value belongs to the test before it.
        yield piece_of(text, around[0], around[0].start, name.start)
        yield own
    elif _gives_way(around[0], name):
        yield own
    else:
        yield around[0]


def _test_and_value(text: str, own: Entity, longer: Entity, asked: AbstractSet[str]) -> Iterator[Entity]:
    """Yield the test and the result of "BNP 410"; a test that is longer in another way stays."""
    value = _VALUE.fullmatch(text, own.end, longer.end)
    if value is None or longer.start != own.start:
        yield longer
        return
    yield replace(own, score=longer.score)
    if "Result" in asked:
        yield replace(piece_of(text, longer, *value.span(1)), label="Result")


def _gives_way(longer: Entity, name: Known) -> bool:
    """Return whether a longer entity with another label is likelier to be no more than the name at its end.

    An age or a sex in shorthand can be nothing else: "54yo F" is no date.
    """
    if name.label in ("Age", "Sex"):
        return longer.label not in PHRASES
    both_named = longer.label in NAMED and name.label in NAMED
    return (
        longer.label in OVERRULED - {name.label}
        and not both_named
        and longer.end == name.end
        and (longer.score or 0.0) < DOUBTFUL
    )


def _places(text: str, pattern: re.Pattern[str]) -> set[int]:
    """Return the characters that a pattern covers."""
    return {place for found in pattern.finditer(text) for place in range(*found.span())}


def _outside(text: str, entity: Entity, apart: AbstractSet[int]) -> Entity:
    """Return the entity without what is no finding at its edges: "back" for "o back" in "c/o back"."""
    inside = [place for place in range(entity.start, entity.end) if place not in apart]
    start, end = (inside[0], inside[-1] + 1) if inside else (entity.start, entity.start)
    return piece_of(text, entity, start, end)


def _trimmed(entity: Entity) -> Entity:
    """Return a named thing without bullets, punctuation and jots like "hx" at its edges; empty where it is no more.

    A result may be a mere "+".
    """
    if entity.label not in NAMED_THINGS:
        return entity
    words = list(_PIECE.finditer(entity.text))
    while words and _says_nothing(words[0].group()):
        words.pop(0)
    while words and _says_nothing(words[-1].group()):
        words.pop()
    if not words:
        return replace(entity, end=entity.start, text="")
    first, last = words[0].start(), words[-1].end()
    text = entity.text[first:last].rstrip(_EDGES)
    return replace(entity, start=entity.start + first, end=entity.start + first + len(text), text=text)


def _says_something(entity: Entity) -> bool:
    """Return whether an entity is more than signs, jots or the name of a department: "Service: Cardiology"."""
    if not entity.text.strip(_SIGNS):
        return False
    is_place = entity.label in NAMED_THINGS and is_department(entity.text)
    return not is_nothing(entity.text) and not is_place


def _says_nothing(word: str) -> bool:
    return not _SAYS_SOMETHING.search(word) or is_nothing(word)
