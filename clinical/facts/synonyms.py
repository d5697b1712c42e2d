"""Other names for what a query asks for: "MI" is looked for as "myocardial infarction" and "heart attack" too.

    expand("MI or MS in the family")
    names      MI: myocardial infarction, heart attack
    unclear    MS: multiple sclerosis, mitral stenosis, morphine sulfate

The names are our own list, `synonyms.yaml`. The longest name at a place counts: "heart attack" is no heart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

import yaml

from clinical.facts.phrases import PhraseTree

__all__ = ["Expanded", "Name", "Unclear", "expand", "is_meant", "meaning_of", "unclear_forms"]

MOST_NAMES = 8
"""So many other names are looked for at most."""

_WORD = re.compile(r"\w+(?:['’]\w+)?")


@dataclass(frozen=True, slots=True)
class Name:
    """A name as the query has it, at `[start, end)` of it, and the other names for the same thing.

    `unsure` are short forms that stand for it where the words beside them say so: CVA for a stroke (`is_meant`).
    """

    start: int
    end: int
    text: str
    others: tuple[str, ...]
    unsure: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unclear:
    """A short form of the query that has several meanings, of which nothing in the query favours one."""

    text: str
    meanings: tuple[str, ...]


@dataclass(frozen=True)
class Expanded:
    """What was found in a query."""

    names: tuple[Name, ...] = ()
    unclear: tuple[Unclear, ...] = ()


@dataclass(frozen=True)
class _Names:
    """What `synonyms.yaml` says: the names as a tree of words, and the short forms that need care."""

    tree: PhraseTree[tuple[str, ...]]
    capitals: Mapping[str, tuple[str, ...]]
    unclear: Mapping[str, Mapping[str, frozenset[str]]]


def expand(query: str) -> Expanded:
    """Return the names in the query that have others, and the short forms that cannot be told."""
    known = _names()
    words = list(_WORD.finditer(query))
    plain = [_plain(word.group()) for word in words]
    shouts = query.isupper() and len(words) > 1
    names: list[Name] = []
    unclear: list[Unclear] = []
    place = 0
    while place < len(words):
        text, end, others = words[place].group(), place + 1, tuple[str, ...]()
        if text in known.capitals and not shouts:
            others = known.capitals[text]
        elif meanings := known.unclear.get(text.upper()):
            others = _meant(meanings, {*plain[:place], *plain[place + 1 :]}, known)
            # In small letters it may be anything: "ms" stands before a name, "as" is a word.
            if not others and text.isupper() and not shouts:
                unclear.append(Unclear(text, tuple(meanings)))
        else:
            end, others = _longest(known.tree, plain, place)
        if others:
            start, stop = words[place].start(), words[end - 1].end()
            name = query[start:stop]
            short = _unsure([name, *others]) if name.upper() not in known.unclear else ()
            names.append(Name(start, stop, name, others, short))
        place = end
    return Expanded(tuple(names), tuple(unclear))


def is_meant(short: str, name: Name, passage: str) -> bool:
    """Return whether a short form of several meanings stands for this name, by the other words of the passage."""
    meaning = meaning_of(short, passage)
    return meaning is not None and _same(meaning, [name.text, *name.others])


def unclear_forms() -> frozenset[str]:
    """Return the short forms of several meanings, in capitals."""
    return frozenset(_names().unclear)


def meaning_of(short: str, passage: str) -> str | None:
    """Return which of the meanings of such a form the other words of the passage speak for, `None` unless it is one.

    >>> meaning_of("RA", "SpO2 93% RA"), meaning_of("RA", "RA since 2019")
    ('room air', None)
    """
    beside = set(_words(passage)) - {_plain(short)}
    spoken_for = [meaning for meaning, signs in _names().unclear[short].items() if signs & beside]
    return spoken_for[0] if len(spoken_for) == 1 else None


def _unsure(names: Sequence[str]) -> tuple[str, ...]:
    """Return the short forms one of whose meanings has one of these names."""
    return tuple(
        short
        for short, meanings in _names().unclear.items()
        if any(_same(meaning, names) for meaning in meanings)
    )


def _same(meaning: str, names: Sequence[str]) -> bool:
    return _words(meaning) in [_words(name) for name in names]


def _meant(meanings: Mapping[str, frozenset[str]], beside: set[str], known: _Names) -> tuple[str, ...]:
    """Return the names of the one meaning that words beside it speak for."""
    spoken_for = [meaning for meaning, signs in meanings.items() if signs & beside]
    if len(spoken_for) != 1:
        return ()
    return _with_others(known.tree, spoken_for[0])


def _longest(
    tree: PhraseTree[tuple[str, ...]], words: Sequence[str], place: int
) -> tuple[int, tuple[str, ...]]:
    """Return where the longest name that begins at this word ends, and its others; without one, the next word."""
    found = tree.found(words, place)
    others, end = found[-1] if found else ((), place + 1)
    return end, others


def _words(name: str) -> list[str]:
    return [_plain(word) for word in _WORD.findall(name)]


def _plain(word: str) -> str:
    """Return a word in small letters, without the "s" of a plural or genitive.

    >>> [_plain(word) for word in ("Clots", "Alzheimer's", "pus", "diagnosis", "ASS")]
    ['clot', 'alzheimer', 'pus', 'diagnosis', 'ass']
    """
    small = re.sub(r"['’]s$", "", word.lower())
    return small[:-1] if len(small) > 3 and small.endswith("s") and small[-2] not in "sui" else small


# --- the list ---


@cache
def _names() -> _Names:
    text = resources.files("clinical.facts").joinpath("synonyms.yaml").read_text(encoding="utf-8")
    # The parser in C takes a tenth of the time, where PyYAML has it.
    listed = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    tree = PhraseTree[tuple[str, ...]]()
    for group in listed["same"]:
        for name in group:
            _plant(tree, name, group)
    for name, others in listed["narrower"].items():
        _plant(tree, name, others)
    capitals = {short: _with_others(tree, long) for short, long in listed["capitals"].items()}
    unclear = {
        short: {meaning: frozenset(map(_plain, signs)) for meaning, signs in meanings.items()}
        for short, meanings in listed["unclear"].items()
    }
    return _Names(tree, capitals, unclear)


def _with_others(tree: PhraseTree[tuple[str, ...]], name: str) -> tuple[str, ...]:
    words = _words(name)
    end, others = _longest(tree, words, 0)
    return (name, *(others if end == len(words) else ()))[:MOST_NAMES]


def _plant(tree: PhraseTree[tuple[str, ...]], name: str, others: Iterable[str]) -> None:
    """Add a name; one that is in two groups has the others of both."""
    own = _words(name)
    node = tree.reach(own)
    others = (other for other in others if _words(other) != own)
    # A name without others is none: what is shorter counts then.
    node.value = tuple(dict.fromkeys((*(node.value or ()), *others)))[:MOST_NAMES] or None
