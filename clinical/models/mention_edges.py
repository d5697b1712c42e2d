"""Where a mention ends: in its cell of a table, at its closing bracket, and before the value of a test.

    with_clean_edges("BUN 38 (H), cefazolin 2 g", found, asked)     BUN, 38 (H), cefazolin, 2 g

A tagger that learned from sentences runs on over the gaps of a table, stops at a bracket, and takes the shorthand
"BUN 38 (H" for one test. The form of such mentions tells where they end, whatever stands in them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

from clinical.documents.annotations import Entity

__all__ = ["piece_of", "with_clean_edges"]

_GAP = re.compile(r"(?<=\S)(?:[^\S\n]*\t[^\S\n]*|[^\S\n]{3,})(?=\S)")
_FLAG = re.compile(r"(?:HH?|LL?|\*)(?!\S)")

_SIGN = r"neg(?:ative)?|pos(?:itive)?|(?:non-?)?reactive|(?:not )?detected|wnl"
_VALUE = re.compile(
    rf"(?P<head>\S*[A-Za-z]\S*(?:[ ]\S+)*?)[\s:=]+"
    rf"(?P<tail>(?:[<>]?[ ]?\d+\.\d+[ ]?%?|(?i:{_SIGN}))(?:[ ]?[(\[]?(?:HH?|LL?)[)\]]?)?)"
)
"""A test and its result. Without a point a number may be part of the name: CA 125."""

_NEXT_TEST = re.compile(r"(?P<head>.*\d\S*?),[ ](?P<tail>[A-Z][A-Za-z]{0,5})")
_ITS_RESULT = re.compile(r"[ :]*\d")
"""A result and the test of the next one: "24, T" of "RR 24, T 36.8"."""

_DOSE = re.compile(
    r"(?P<head>\S*[A-Za-z]\S*(?:[ ]\S+)*?)\s+"
    r"(?P<tail>\d[\d.,]*[ ]?(?:mg|mcg|µg|g|gm|grams?|units?|ml|meq|%|tab(?:let)?s?|puffs?|drops?)(?!\w)(?:[ ].*)?)",
    re.IGNORECASE,
)
_GIVEN = re.compile(
    r"(?P<head>\S*[A-Za-z]\S*(?:[ ]\S+)*?)\s+(?P<tail>(?:q?daily|qd|bid|tid|qid|qhs|weekly|prn)\b.*)",
    re.IGNORECASE,
)
_PARTED = {
    "Test": ((_VALUE, "Result"),),
    "Result": ((_NEXT_TEST, "Test"),),
    "Medication": ((_DOSE, "Dosage"), (_GIVEN, "Frequency")),
}
"""What a mention of a label may hold at its end, and the label of that."""

_WHOLE = re.compile(r"\d(?:\.\d+|,\d{3}(?!\d))|\b[a-z](?:\.[a-z])+\b\.?")
"""Numbers, and short forms with full stops: "b.i.d." """

LONGEST = 6
"""How far before a place a short form may begin that it cuts."""

_LAST_STOP = re.compile(r"(?<![.\w])[\w%/-]+\.$")


def with_clean_edges(text: str, found: Sequence[Entity], asked: AbstractSet[str]) -> list[Entity]:
    """Return the entities within their cells, with closed brackets, and what they hold of another label apart.

    Of that only what is asked for comes in.
    """
    return [
        part
        for entity in _with_whole_words(text, found)
        for part in _parts(text, _closed(text, _in_cell(text, entity)))
        if part.label in {entity.label, *asked}
    ]


def piece_of(text: str, entity: Entity, start: int, end: int) -> Entity:
    """Return the entity with these ends, without blanks at them."""
    said = text[start:end]
    start, end = start + len(said) - len(said.lstrip()), end - len(said) + len(said.rstrip())
    return replace(entity, start=start, end=end, text=text[start:end])


def _with_whole_words(text: str, found: Sequence[Entity]) -> list[Entity]:
    """Return the entities by start, those that end within a number or short form with the rest: "14." of 14.2.

    What began with that rest goes on behind it, or belongs to it where the label is the same.
    """
    whole: list[Entity] = []
    for entity in sorted(found, key=lambda entity: (entity.start, entity.end)):
        before = whole[-1] if whole else None
        if before and _end_of_word(text, entity.start) == before.end:
            end = max(before.end, entity.end)
            if before.label == entity.label:
                whole[-1] = piece_of(text, before, before.start, end)
                continue
            entity = piece_of(text, entity, before.end, end)
        rest = _end_of_word(text, entity.end)
        whole.append(piece_of(text, entity, entity.start, rest) if rest else entity)
    return [entity for entity in whole if entity.text]


def _end_of_word(text: str, place: int) -> int | None:
    """Return where the number or short form ends that the place cuts; `None` where it cuts none."""
    cut = (_WHOLE.match(text, start) for start in range(place - 1, max(place - LONGEST, 0) - 1, -1))
    return next((word.end() for word in cut if word and word.end() > place), None)


def _in_cell(text: str, entity: Entity) -> Entity:
    """Return what stands of the entity in the first cell that it touches, a result with the laboratory's flag."""
    gap = _GAP.search(entity.text)
    if gap is None:
        return entity
    flag = _FLAG.match(entity.text, gap.end()) if entity.label == "Result" else None
    return piece_of(text, entity, entity.start, entity.start + (flag.end() if flag else gap.start()))


def _closed(text: str, entity: Entity) -> Entity:
    """Return the entity with its bracket closed, or without what stands behind an open one; no last full stop."""
    if entity.text.count("(") > entity.text.count(")"):
        closing = text.startswith(")", entity.end)
        end = entity.end + 1 if closing else entity.start + entity.text.rindex("(")
        entity = piece_of(text, entity, entity.start, end)
    if _LAST_STOP.search(entity.text) and not text[entity.end : entity.end + 1].strip():
        return piece_of(text, entity, entity.start, entity.end - 1)
    return entity


def _parts(text: str, entity: Entity) -> Iterator[Entity]:
    """Yield the entity, or the test and its result, the drug and its dose or how often it is given."""
    for pattern, label in _PARTED.get(entity.label, ()):
        parted = pattern.fullmatch(text, entity.start, entity.end)
        if parted and (pattern is not _NEXT_TEST or _ITS_RESULT.match(text, entity.end)):
            yield piece_of(text, entity, *parted.span("head"))
            yield replace(piece_of(text, entity, *parted.span("tail")), label=label)
            return
    yield entity
