"""Gives sentences of blank-separated tokens the typography of a note, and moves the mentions along exactly.

Several corpora are stored as tokens joined by single blanks ("Parkinson ' s disease ( PD )"), every
punctuation mark a token; notes are not written so. Only blanks are taken away, never a character changed, so
every mention keeps its letters:

    >>> detokenize("Parkinson ' s disease ( PD ) , 2 . 5 mg / kg .", [])[0]
    "Parkinson's disease (PD), 2.5 mg/kg."
"""

from __future__ import annotations

import random
import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from clinical.corpora.records import GoldDocument, Mention
from clinical.documents.annotations import Entity

Marked = TypeVar("Marked", Entity, Mention)

CLOSING = frozenset(")]}.,;:%!?*°™®²³")
OPENING = frozenset("([{$#~°")
JOINING = frozenset("/_^")
RELATIONS = frozenset("=<>≤≥")
# A dash after one of these is a minus sign: "(-5 mmHg)", "p < -1.2".
BEFORE_MINUS = frozenset("([{=<>≤≥±,;:")
# "pre- and postoperative": the dash before one of these belongs to the word on its left alone.
AFTER_HANGING_DASH = frozenset(("and", "or", "to", "vs", ",", ")", "]", ".", ";", ":"))
CLITICS = frozenset(("s", "t", "re", "ve", "ll", "d", "m"))


def detokenize(text: str, entities: Sequence[Marked], *, seed: int = 0) -> tuple[str, tuple[Marked, ...]]:
    """Return the text without the blanks that tokenization put in, and the entities at their new characters.

    Where the tokens do not say how they were set ("p = 0.05" or "p=0.05", a hyphen or a dash), the choice
    depends on the text and `seed` alone, in about the proportions of journal abstracts.
    """
    removed = _blanks_to_remove(text, random.Random(f"{seed} {text}"))
    gone = set(removed)
    shorter = "".join(character for place, character in enumerate(text) if place not in gone)
    return shorter, tuple(_moved(entity, removed, shorter) for entity in entities)


def as_in_a_note(document: GoldDocument, *, seed: int = 0) -> GoldDocument:
    """Return the document in ordinary typography, all its mentions moved along."""
    text, mentions = detokenize(document.text, document.mentions, seed=seed)
    return GoldDocument(document.id, text, mentions)


def _moved(entity: Marked, removed: Sequence[int], shorter: str) -> Marked:
    start = entity.start - bisect_left(removed, entity.start)
    end = entity.end - bisect_left(removed, entity.end)
    return replace(entity, start=start, end=end, text=shorter[start:end])


@dataclass(frozen=True)
class _Style:
    """What one author does throughout a sentence."""

    tight_relations: bool
    dash_apart: float = 0.005


def _blanks_to_remove(text: str, choose: random.Random) -> list[int]:
    style = _Style(tight_relations=choose.random() < 0.3)
    spans = [match.span() for match in re.finditer(r"\S+", text)]
    tokens = [text[start:end] for start, end in spans]
    sides = _quotes(tokens)
    for place in range(len(tokens)):
        sides.setdefault(place, _sides(tokens, place, style, choose))
    return [
        spans[place][1]
        for place in range(len(tokens) - 1)
        # Two blanks or a line break were not put there by a tokenizer.
        if text[spans[place][1] : spans[place + 1][0]] == " " and (sides[place][1] or sides[place + 1][0])
    ]


def _sides(tokens: Sequence[str], place: int, style: _Style, choose: random.Random) -> tuple[bool, bool]:
    """Return whether the token stands tight against its left and against its right neighbour."""
    token = tokens[place]
    before = tokens[place - 1] if place else ""
    after = tokens[place + 1] if place + 1 < len(tokens) else ""
    if token == "-":
        return _dash(tokens, place, style, choose)
    if token in {".", ",", ":"} and before.isdigit() and after.isdigit():
        return True, _tight_in_number(tokens, place)
    if token == "." and after.isdigit() and before in RELATIONS:
        return style.tight_relations, True  # "p < .05"
    if token == "." and _letter(before) and _letter(after):
        return True, True  # "i.e.", "U.S."
    if token in JOINING:
        return True, True
    if token in RELATIONS:
        # "a -> b", "<=", but "< or = 0.05".
        return before in RELATIONS | {"-"} or (style.tight_relations and before != "or"), (
            style.tight_relations and after != "or"
        )
    return token in CLOSING, token in OPENING


def _letter(token: str) -> bool:
    return len(token) == 1 and token.isalpha()


def _tight_in_number(tokens: Sequence[str], place: int) -> bool:
    after = tokens[place + 1]
    if tokens[place] == ",":
        # "12,000" and "1,2-dichloroethane", but "of 2, 3 and 5".
        return len(after) == 3 or tokens[place + 2 : place + 3] == ["-"]
    return True


def _dash(tokens: Sequence[str], place: int, style: _Style, choose: random.Random) -> tuple[bool, bool]:
    before = tokens[place - 1] if place else ""
    after = tokens[place + 1] if place + 1 < len(tokens) else ""
    if before == "/":
        return True, False  # "+/- 1.3"
    if before == "-" or after in {"-", ">"}:
        return before == "-", False  # "--", a dash
    if not before or before in BEFORE_MINUS:
        return False, True
    # "time-to-event" has a second dash right after the little word.
    if not after or (after in AFTER_HANGING_DASH and tokens[place + 2 : place + 3] != ["-"]):
        return True, False
    return (False, False) if choose.random() < style.dash_apart else (True, True)


def _quotes(tokens: Sequence[str]) -> dict[int, tuple[bool, bool]]:
    """Return the sides of every quotation mark and apostrophe, by its place."""
    sides: dict[int, tuple[bool, bool]] = {}
    open_since: dict[str, int] = {}
    for place, token in enumerate(tokens):
        if token not in {'"', "'"}:
            continue
        after = "".join(tokens[place + 1 : place + 2]).lower()
        if token == "'" and after in CLITICS and place:
            sides[place] = (True, True)
        elif token in open_since:
            sides[open_since.pop(token)] = (False, True)
            sides[place] = (True, False)
        else:
            open_since[token] = place
            # Until a partner comes it is a plural's apostrophe ("patients' records"), a prime (5') or inches.
            sides[place] = (True, False)
    return sides
