"""Abbreviations that a note defines itself: "congestive heart failure (CHF)", "CHF (congestive heart failure)".

    find_definitions("He has congestive heart failure (CHF).")     CHF, congestive heart failure
    expand_abbreviations(note.text, entities)                      each CHF of the note carries its long form

The letters of the short form are looked for in the words before the bracket, from right to left; the first
letter must begin a word. scispaCy's detector follows the same paper, but starts spaCy, which takes seconds.

    Schwartz, Hearst. A simple algorithm for identifying abbreviation definitions in biomedical text.
    Pac Symp Biocomput 8 (2003) 451-462.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from clinical.documents.annotations import Entity, Span
from clinical.documents.sentences import split_sentences

__all__ = ["Definition", "expand_abbreviations", "find_definitions"]

FURTHEST = 400
"""No long form begins further before its bracket, in characters."""

_SHORT = re.compile(r"[^\W_][\w\-/&.+]{0,8}[\w+]")
_WORD = re.compile(r"\S+")
_BRACKET = re.compile(r"[()]")
# "(CHF, NYHA III)", "(CHF; EF 20 %)", "(CHF [congestive])": the short form ends there.
_ASIDE = re.compile(r"[,;:(\[].*", re.DOTALL)
# "(or CHF)", "(i.e., CHF)", "(abbreviated as CHF)"
_LEAD_IN = re.compile(r"\s*(?:(?:or|i\.e\.,?|aka|abbreviated(?: as)?|hereafter)\s+)?[\"“']?")
_PLURAL = re.compile(r"(.*[A-Z0-9])s")


@dataclass(frozen=True, slots=True)
class Definition:
    """A short form and the long form that the note gives for it, each at its characters."""

    short: Span
    long: Span


def find_definitions(text: str, sentences: Sequence[tuple[int, int]] | None = None) -> list[Definition]:
    """Return the definitions of the note in the order of the text, long and short form in one sentence.

    A text whose sentences are not given is split.
    """
    if "(" not in text:
        return []
    if sentences is None:
        sentences = split_sentences(text)
    return [definition for start, end in sentences for definition in _in_sentence(text, start, end)]


def expand_abbreviations(
    text: str, entities: Sequence[Entity], sentences: Sequence[tuple[int, int]] | None = None
) -> list[Entity]:
    """Return the entities in the same order; those that are short forms of the note carry their long form.

    Where a short form is defined twice, the last definition before the entity holds. A plural is known by its
    singular and the other way round ("PVCs", "PVC").
    """
    long_forms: dict[str, list[Definition]] = {}
    for definition in find_definitions(text, sentences):
        long_forms.setdefault(_singular(definition.short.text), []).append(definition)
    return [
        replace(entity, expansion=_long_form(entity, long_forms) or entity.expansion) for entity in entities
    ]


def _long_form(entity: Entity, long_forms: dict[str, list[Definition]]) -> str | None:
    definitions = long_forms.get(_singular(entity.text))
    if not definitions:
        return None
    before = bisect_right(definitions, entity.start, key=lambda definition: definition.short.start)
    return definitions[max(before - 1, 0)].long.text


def _singular(short: str) -> str:
    found = _PLURAL.fullmatch(short)
    return found.group(1) if found else short


# --- one sentence ---


def _in_sentence(text: str, start: int, end: int) -> Iterator[Definition]:
    """Yield the definitions of a sentence: for each bracket "long (short)" is tried first, then "short (long)"."""
    for opening, closing in _brackets(text, start, end):
        definition = _short_in_brackets(text, start, opening, closing)
        definition = definition or _long_in_brackets(text, start, opening, closing)
        if definition is not None:
            yield definition


def _brackets(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Return where round brackets open and close, outer and nested ones, in the order of their opening."""
    pairs, open_ones = [], []
    for found in _BRACKET.finditer(text, start, end):
        if found.group() == "(":
            open_ones.append(found.start())
        elif open_ones:
            pairs.append((open_ones.pop(), found.start()))
    return sorted(pairs)


def _short_in_brackets(text: str, start: int, opening: int, closing: int) -> Definition | None:
    """Return the definition of "congestive heart failure (CHF)"."""
    lead_in = _LEAD_IN.match(text, opening + 1, closing)
    inside = lead_in.end() if lead_in else opening + 1
    short = _ASIDE.sub("", text[inside:closing]).rstrip(" \"”'")
    if not _is_short_form(short):
        return None
    words = _words_before(text, start, opening)
    if not words:
        return None
    first = words[-_most_words(short) :][0].start()
    candidate = text[first:opening].rstrip()
    begin = _long_form_start(short, candidate)
    if begin is None or not _is_long_form(candidate[begin:], short):
        return None
    return Definition(
        _span(text, inside, inside + len(short)), _span(text, first + begin, first + len(candidate))
    )


def _long_in_brackets(text: str, start: int, opening: int, closing: int) -> Definition | None:
    """Return the definition of "CHF (congestive heart failure)": the bracket holds the long form and no more."""
    words = _words_before(text, start, opening)
    if not words or not _is_short_form(words[-1].group()):
        return None
    short = words[-1].group()
    inside = text[opening + 1 : closing]
    candidate = inside.strip()
    begin = opening + 1 + len(inside) - len(inside.lstrip())
    few = len(candidate.split()) <= _most_words(short)
    if not few or _long_form_start(short, candidate) != 0 or not _is_long_form(candidate, short):
        return None
    return Definition(
        _span(text, words[-1].start(), words[-1].end()), _span(text, begin, begin + len(candidate))
    )


def _most_words(short: str) -> int:
    """Return how many words a long form may have (the paper's bound)."""
    return min(len(short) + 5, len(short) * 2)


def _words_before(text: str, start: int, opening: int) -> list[re.Match[str]]:
    """Return the words in front of a bracket, as far back as a long form can begin."""
    words = list(_WORD.finditer(text, max(start, opening - FURTHEST), opening))
    # The first of them may have been cut.
    return words[1:] if opening - FURTHEST > start else words


def _is_short_form(word: str) -> bool:
    """Return whether a word can be a short form: two to ten characters, capitals among them.

    The letters of "(left)" are soon found in the words before it, and those of "(Tylenol)" in any drug's name.
    """
    capitals = sum(map(str.isupper, word))
    return bool(_SHORT.fullmatch(word)) and (capitals > 1 or (capitals == 1 and len(word) <= 4))


def _long_form_start(short: str, candidate: str) -> int | None:
    """Return where the long form begins in the candidate; a plural may stand for a singular."""
    begin = _match_from_right(short, candidate)
    return begin if begin is not None else _match_from_right(_singular(short), candidate)


def _match_from_right(short: str, candidate: str) -> int | None:
    at = len(candidate)
    for index in range(len(short) - 1, -1, -1):
        letter = short[index].lower()
        if not letter.isalnum():
            continue
        at -= 1
        while at >= 0 and not (
            candidate[at].lower() == letter and (index > 0 or _begins_word(candidate, at))
        ):
            at -= 1
        if at < 0:
            return None
    return at


def _begins_word(candidate: str, at: int) -> bool:
    return at == 0 or not candidate[at - 1].isalnum()


def _is_long_form(long: str, short: str) -> bool:
    """Return whether the words found say more than the short form: not "WBC count (WBC)", brackets in pairs."""
    words = re.findall(r"[^\s()]+", long)
    return len(long) > len(short) and short not in words and long.count("(") == long.count(")")


def _span(text: str, start: int, end: int) -> Span:
    return Span(start, end, text[start:end])
