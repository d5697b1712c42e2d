"""When two phrases mean the same: "HTN" and "high blood pressure", "Lasix 40 mg b.i.d." and "furosemide twice daily".

    content("He has HTN and was SOB.")          {"hypertension", "shortness", "breath"}
    is_in("CHF", content("known heart failure"))        True

Names are replaced by the one that stands for all (`terms.yaml`, our own list), small words are dropped, and what
is left is compared by its stems. The stemmer only takes the ends of English plurals and verbs away: "swollen ankles"
and "swollen ankle" are the same, "hypotension" and "hypertension" never are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache
from importlib import resources

from clinical.facts.phrases import PhraseTree

__all__ = ["content", "is_in", "plain_words", "stem", "with_plain_words", "without_plain_words", "words"]

_WORD = re.compile(r"[^\W_]+")
_ENDINGS = (
    "ations",
    "ation",
    "ingly",
    "edly",
    "ings",
    "ing",
    "ies",
    "ied",
    "ness",
    "ive",
    "ed",
    "es",
    "ly",
    "s",
)

_SMALL_WORDS = """
a about after again all also am an and any are as at be because been before being both but by can could did
do does doing down during each for from further had has have having he her here hers him his how i if in
into is it its just let ll me more most my no nor not now of off ok okay on once only or other our ours out
over own patient patients per please re s said say says she should so some still such t than that the their
them then there these they this those through to today too um uh under until up upon us ve very was we well
were what when where which while who whom why will with would yes you your yours reports reported states
stated notes noted denies denied status post history known prior past current currently presents presented
shows showed shown
"""
SMALL_WORDS = frozenset(_SMALL_WORDS.split())
"""What says nothing of what is meant; negation and time are compared apart (`clinical.tasks.support`)."""


def words(text: str) -> list[str]:
    """Return the words of the text in lower case, names replaced by the one that stands for all."""
    found = [word.lower() for word in _WORD.findall(text)]
    return [word for piece, _ in _named(found) for word in piece.split()]


@lru_cache(maxsize=4096)
def content(text: str) -> frozenset[str]:
    """Return the stems of the words that say something; numbers are not among them."""
    return frozenset(stem(word) for word in words(text) if word not in SMALL_WORDS and not word.isdigit())


def is_in(phrase: str, stems: frozenset[str]) -> bool:
    """Return whether all of what the phrase says is among these stems; a phrase that says nothing is in none."""
    said = content(phrase)
    return bool(said) and said <= stems


def plain_words(text: str) -> list[tuple[str, str]]:
    """Return the medical words of a text, as they stand there, with what they are in plain words, each once."""
    found = list(_WORD.finditer(text))
    plain = _terms()["plain"]
    glossed: dict[str, str] = {}
    place = 0
    for name, count in _named([word.group().lower() for word in found]):
        if name in plain:
            standing = text[found[place].start() : found[place + count - 1].end()]
            if standing.lower() not in (plain[name], _EVERYDAY.get(name)):
                glossed.setdefault(standing, plain[name])
        place += count
    return list(glossed.items())


_EVERYDAY = {name: name for name in ("as needed", "by mouth", "twice daily")}
"""Plain enough when written out; only their short forms are explained."""

_PLAIN_MARK = " [in plain words: "


def with_plain_words(text: str, explained: set[str]) -> str:
    """Return the text with its medical words explained behind it, in square brackets and marked as not the note's.

    What is among `explained` is not explained again; the others are added to it.
    """
    glossed = [(word, plain) for word, plain in plain_words(text) if plain not in explained]
    explained.update(plain for _, plain in glossed)
    words = "; ".join(f"{word} = {plain}" for word, plain in glossed)
    return f"{text}{_PLAIN_MARK}{words}]" if glossed else text


def without_plain_words(text: str) -> str:
    """Return the text as it was before `with_plain_words`."""
    return text.partition(_PLAIN_MARK)[0] if text.endswith("]") else text


@lru_cache(maxsize=16384)
def stem(word: str) -> str:
    """Return the word without the ending of a plural, a verb or an adverb, where four letters stay.

    >>> [stem(word) for word in ("worsening", "worsened", "allergies", "allergy", "status")]
    ['worsen', 'worsen', 'allerg', 'allerg', 'status']
    """
    if word.endswith(("sis", "ses")) and len(word) > 5:
        return word[:-2]
    if word.endswith(("ss", "us", "is")):
        return word
    if len(word) == 4 and word.endswith("s"):
        return word[:-1]
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            return word[: -len(ending)].rstrip("eiy") or word
    return word.rstrip("ey") if len(word) > 4 else word


def _named(found: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Yield the words, the longest name at each place replaced by what stands for it, with how many they were."""
    place = 0
    while place < len(found):
        named = _tree().found(found, place)
        name, end = named[-1] if named else (found[place], place + 1)
        yield name, end - place
        place = end


@cache
def _terms() -> Mapping[str, Mapping[str, str]]:
    import yaml

    text = resources.files("clinical.facts").joinpath("terms.yaml").read_text(encoding="utf-8")
    loaded: Mapping[str, Mapping[str, str]] = yaml.load(
        text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    )
    return loaded


@cache
def _tree() -> PhraseTree[str]:
    terms = _terms()
    tree = PhraseTree[str]()
    for name, others in terms["same"].items():
        for phrase in (name, *others):
            _plant(tree, phrase, name)
    for name in terms["plain"]:
        if tree.reach(name.split()).value is None:
            _plant(tree, name, name)
    return tree


def _plant(tree: PhraseTree[str], phrase: str, name: str) -> None:
    node = tree.reach(phrase.split())
    if node.value not in (None, name):
        raise ValueError(f"terms.yaml: {phrase!r} is both {node.value} and {name}")
    node.value = name
