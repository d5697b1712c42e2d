"""What a query is about: how much each of its words says.

    weigh("My son was told he has HNPP. Could the trouble with my hands be this and not arthritis?")
    HNPP 1.0, arthritis 0.87, hands 0.73, trouble 0.33, son 0.12

A consumer's message tells a story around its question; a search for all its words finds other stories. For each
word the chance is estimated that somebody who puts the message into one line would keep it: by logistic
regression, over how rare the word is, where it stands, whether it is repeated or asked for, and how often
people have kept that very word. The numbers are in `focus.yaml`, made by `clinical.finetune.focus` from the
consumer questions with one-line summaries of MeQSum (Ben Abacha, Demner-Fushman, ACL 2019).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

import yaml

from clinical.documents.sentences import split_sentences
from clinical.index.terms import stems_of
from clinical.index.words import words_in
from clinical.models import minilm

__all__ = ["FEATURES", "MOST_WORDS", "Word", "features", "weigh"]

FEATURES = ("bias", "rarity", "pieces", "place", "times", "asked", "length", "odds", "known")
"""What is known of a word; `features` says how each is counted."""

MOST_WORDS = 16
LEAST_CHANCE = 0.05
"""A word less likely to be kept is left out, and so is what comes after the best 16."""

_LONGEST = 50_000
"""So many words of a query are looked at."""

_FURTHEST = 200
"""Messages are seldom longer; in what is, a word is not less telling the further down it stands, nor
the more words there are."""

# The words of MiniLM's vocabulary stand in the order of how common they are, from number 1996 on.
_FIRST_WORD, _VOCABULARY = 1995, 30522

_ASKS = re.compile(
    r"^\W*(?:what|where|when|who|whom|why|how|which|is|are|was|were|can|could|do|does|did|should|would|will|has|have"
    r"|any|if|please)\b|\?\s*$|\b(?:would like to know|want to know|wondering|question is|tell me|looking for"
    r"|need to know|help me|let me know|advi[cs]e|information (?:on|about|regarding)"
    r"|how (?:to|do|can|long|much|often))\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a query as first written, its stem, and what it says: 1.0 is the word that says most."""

    text: str
    stem: str
    weight: float


@dataclass(frozen=True, slots=True)
class _Seen:
    """Where a word stands: its place among all words of the query, how often, and whether in a question."""

    text: str
    place: int
    times: int
    asked: bool


@dataclass(frozen=True)
class _Model:
    """The numbers of `focus.yaml`."""

    weights: Sequence[float]
    odds: Mapping[str, float]


def weigh(query: str) -> list[Word]:
    """Return the words that say what the query is about, those that say most first; never none of some."""
    model = _model()
    chances = [
        (1 / (1 + math.exp(-sum(map(float.__mul__, values, model.weights)))), word, stem)
        for stem, word, values in features(query, model.odds)
    ]
    # Of equals the earlier one comes first: sorting keeps their order.
    chances.sort(key=lambda found: -found[0])
    kept = [found for found in chances if found[0] >= LEAST_CHANCE][:MOST_WORDS] or chances[:1]
    return [Word(word, stem, chance / kept[0][0]) for chance, word, stem in kept]


def features(query: str, odds: Mapping[str, float]) -> list[tuple[str, str, list[float]]]:
    """Return each word that is not a common one by its stem, as first written, with its values of `FEATURES`.

    `rarity` is the logarithm of its rank in English, `pieces` whether it is too rare to be in that list at all,
    `place` the logarithm of how many words stand before it, `times` of how often it stands there, `asked` whether
    a sentence with it asks something, `length` the logarithm of how many different words there are, `odds` and
    `known` how often it was kept by others, if it was seen often enough.
    """
    seen = _seen(query)
    rarities = dict(zip(seen, _rarities([found.text.lower() for found in seen.values()]), strict=True))
    length = math.log(min(len(seen), _FURTHEST)) if seen else 0.0
    return [
        (
            stem,
            found.text,
            [
                1.0,
                *rarities[stem],
                math.log1p(min(found.place, _FURTHEST)),
                math.log(found.times),
                float(found.asked),
                length,
                odds.get(stem, 0.0),
                float(stem in odds),
            ],
        )
        for stem, found in seen.items()
    ]


def _seen(query: str) -> dict[str, _Seen]:
    """Return by stem what is seen of each word that is not common, in the order in which they come."""
    places = [place for place in words_in(query) if place.index < _LONGEST]
    sentences = [(end, bool(_ASKS.search(query[start:end]))) for start, end in split_sentences(query)]
    seen: dict[str, _Seen] = {}
    sentence = 0
    for place, stems in zip(places, stems_of([place.text for place in places]), strict=True):
        while sentence < len(sentences) - 1 and place.start >= sentences[sentence][0]:
            sentence += 1
        asked = bool(sentences) and sentences[sentence][1]
        if stems:
            old = seen.get(stems[0])
            seen[stems[0]] = (
                _Seen(old.text, old.place, old.times + 1, old.asked or asked)
                if old
                else _Seen(place.text, place.index, 1, asked)
            )
    return seen


def _rarities(words: Sequence[str]) -> list[tuple[float, float]]:
    """Return the logarithm of each word's rank in MiniLM's vocabulary, and 1.0 when it is in pieces there."""
    found = minilm.tokenizer().encode_batch(list(words), add_special_tokens=False) if words else []
    return [
        (math.log(max(encoded.ids[0] - _FIRST_WORD, 1)), 0.0)
        if len(encoded.ids) == 1
        else (math.log(_VOCABULARY), 1.0)
        for encoded in found
    ]


@cache
def _model() -> _Model:
    text = resources.files("clinical.tasks").joinpath("focus.yaml").read_text(encoding="utf-8")
    # The parser in C takes a tenth of the time, where PyYAML has it.
    numbers = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return _Model([numbers["weights"][name] for name in FEATURES], numbers["odds"])
