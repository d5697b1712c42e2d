"""What a message asks, in its own words: the clause that asks, and what it is about where the clause does not say.

    question = best_question(material, embedder)
    question.text           "sarcoidosis … is there any new treatment"

A patient writes half a page, and asks in half a line. Candidates are stretches of the message that ask: a sentence, or
its part from a question word or a comma on, up to its end or to "because" or "thank you". Each may be joined by a
second stretch, the problem, drug or test that is named elsewhere or the subject line. Two trained heads choose
(`clinical finetune salience`): one says of every word of the message how likely a person would put it into the
question, which gives the ROUGE that a candidate may expect; the other weighs that with how the candidate is built.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from clinical.documents.annotations import Entity
from clinical.documents.summaries import GAP
from clinical.facts.units import Unit
from clinical.models.salience_heads import LinearHead, head, known_words
from clinical.tasks.salience import Embeds, Material, entities_of, features

__all__ = ["Candidates", "best_question", "question_candidates", "scored_words", "word_features", "words_of"]

Floats = NDArray[np.float32]
Span = tuple[int, int]

LABELS = ("Disease", "Symptom", "Medication", "Procedure", "Test")
"""What a question can be about."""

LEAST_WORDS, MOST_WORDS = 4, 30
"""Of a stretch that asks."""

MOST_STARTS, MOST_ENDS = 8, 6
"""Of stretches within one sentence."""

MOST_ASKING, MOST_TOPICS = 60, 20
"""Stretches that are weighed, the most promising: a chart must not take longer than a message."""

MOST_SUBJECT_WORDS = 10

LENGTHS = (6, 10, 14)
"""Words that a question may have; people's have ten, give or take."""

_QUESTION_WORD = r"(?:what|where|when|why|who|which|how|if|whether|any)\b"
_VERB = r"(?:is|are|can|could|should|does|do|did|will|would|has|have)\b"
_OPENS = re.compile(rf"\b{_QUESTION_WORD}", re.IGNORECASE)
_CLAUSE = re.compile(
    r"(?<=[,;:.!?\-])\s+|\b(?:and|but|so|because|since|then|or|about|know|wondering|wonder|me|hi|hello|sir|madam"
    r"|doctor)\b[ ,!]+",
    re.IGNORECASE,
)
_CLOSES = re.compile(
    r"\s*(?:[,;:?(]|\b(?:because|since|but|and|as|so|thank)\b)|\s+(?=(?:i am|i'm|i have)\b)", re.IGNORECASE
)
_ASKS = re.compile(
    rf"\?|^{_QUESTION_WORD}|^{_VERB}|\b(?:looking for|need|want|would like|please|help|advi[sc]e|suggest\w*|inform\w*"
    r"|wonder\w*|question|curious|interested|recommend\w*|cure|treat\w*|know|find)\b",
    re.IGNORECASE,
)
_GREETING = re.compile(
    r"\b(?:hi|hello|dear|sir|madam|regards|thanks?|good (?:morning|day|evening))\b", re.IGNORECASE
)
_WORD = re.compile(r"[a-z0-9]+")


class WordScores(Protocol):
    """What tells of each word of a message how likely a person's question has it, between 0 and 1."""

    def __call__(self, material: Material) -> Mapping[str, float]:
        """Return the words of the message, in small letters, each with its probability."""
        ...


@dataclass(frozen=True)
class Candidates:
    """What a message may come to, as units, each with the features that the head `question` weighs."""

    units: Sequence[Unit]
    features: Floats


@dataclass(frozen=True)
class _Topic:
    """A stretch that says what a message is about; `label` is that of an entity, `None` for a subject line."""

    span: Span
    words: frozenset[str]
    label: str | None


def best_question(material: Material, embedder: Embeds) -> tuple[Unit, float]:
    """Return the stretch or the two stretches of a message that ask, with their score."""
    found = question_candidates(material, embedder, _probabilities)
    scores = head("question").score(found.features)
    best = int(scores.argmax())
    return found.units[best], float(scores[best])


def question_candidates(material: Material, embedder: Embeds, score_words: WordScores) -> Candidates:
    """Return what a message may come to; one candidate at least, where there is a unit at all."""
    likely = score_words(material)
    asking = sorted(
        sorted(_asking(material), key=lambda one: -_expected(words_of(one[1].text), likely, LENGTHS[1]))[
            :MOST_ASKING
        ],
        key=lambda one: one[1].spans,
    )
    topics = sorted(_topics(material), key=lambda topic: -_mean(topic.words, likely))[:MOST_TOPICS]
    units = [unit for _, unit in asking]
    entities = [entity for inside in material.entities for entity in inside]
    cut = replace(
        material,
        units=units,
        entities=entities_of(units, entities),
        vectors=embedder.embed([unit.text for unit in units]),
    )
    alone = features(cut)
    asked = sum(unit.text.endswith("?") for unit in material.units)
    joined: list[Unit] = []
    rows: list[list[float]] = []
    of: list[int] = []
    for place, (parent, unit) in enumerate(asking):
        shape = _of_question(unit, material.units[parent], parent, len(material.units), asked)
        named = {entity.label for entity in cut.entities[place]} & set(LABELS)
        for topic in (None, *topics):
            candidate = unit if topic is None else _with_topic(material.note.text, unit, topic)
            if candidate is not None:
                joined.append(candidate)
                of.append(place)
                rows.append([*shape, *_of_pair(unit, candidate, topic, named, likely)])
    return Candidates(joined, np.concatenate([alone[of], np.array(rows, np.float32)], axis=1))


# --- candidates ---


def _asking(material: Material) -> list[tuple[int, Unit]]:
    """The stretches that ask, each with the place of its unit; all units, where none asks."""
    text = material.note.text
    found = [
        (place, replace(unit, spans=(span,), text=" ".join(text[slice(*span)].split())))
        for place, unit in enumerate(material.units)
        for span in _cuts(text, *unit.spans[-1])
    ]
    return found or list(enumerate(material.units))


def _cuts(text: str, start: int, end: int) -> Iterator[Span]:
    starts = {start, *(found.start() for found in _OPENS.finditer(text, start + 1, end))}
    starts |= {found.end() for found in _CLAUSE.finditer(text, start, end)}
    closed = (found.start() for found in _CLOSES.finditer(text, start, end))
    ends = {end, *(at + text.startswith("?", at) for at in closed)}
    seen: set[Span] = set()
    for one in sorted(starts)[:MOST_STARTS]:
        for at in sorted(ends)[-MOST_ENDS:]:
            said = text[one:at].rstrip(" \t\r\n,;:")
            other = one + len(said)
            if (one, other) in seen:
                continue
            seen.add((one, other))
            if LEAST_WORDS <= len(words_of(said)) <= MOST_WORDS and _ASKS.search(said):
                yield one, other


def _topics(material: Material) -> Iterator[_Topic]:
    """Yield the problems, drugs and tests of a message, each once, and its first line if it is a short one."""
    seen: set[frozenset[str]] = set()
    for entity in (entity for inside in material.entities for entity in inside if entity.label in LABELS):
        words = frozenset(words_of(entity.text))
        if words and words not in seen:
            seen.add(words)
            yield _Topic((entity.start, entity.end), words, entity.label)
    first = material.units[0]
    words = frozenset(words_of(first.text))
    is_short = len(material.units) > 1 and len(words_of(first.text)) <= MOST_SUBJECT_WORDS
    if is_short and words and words not in seen and not _GREETING.search(first.text):
        yield _Topic((first.spans[-1][0], first.spans[-1][1]), words, None)


def _with_topic(text: str, unit: Unit, topic: _Topic) -> Unit | None:
    """The two stretches as one unit, in the order of the message; `None` where the one says the other."""
    (start, end), (other_start, other_end) = unit.spans[-1], topic.span
    if (other_start < end and start < other_end) or topic.words <= set(words_of(unit.text)):
        return None
    spans = tuple(sorted(((start, end), topic.span)))
    return replace(unit, spans=spans, text=GAP.join(" ".join(text[slice(*span)].split()) for span in spans))


# --- features ---


def words_of(text: str) -> list[str]:
    """Return the words of a text as ROUGE counts them.

    >>> words_of("Is HbA1c 7.5 high?")
    ['is', 'hba1c', '7', '5', 'high']
    """
    return _WORD.findall(text.lower())


def _expected(words: Sequence[str], likely: Mapping[str, float], length: int) -> float:
    """The F1 of words that these words may expect against a question of so many words."""
    return 2 * sum(likely.get(word, 0.0) for word in set(words)) / (len(words) + length)


def _mean(words: frozenset[str], likely: Mapping[str, float]) -> float:
    return sum(likely.get(word, 0.0) for word in words) / max(len(words), 1)


def _of_pair(
    unit: Unit, candidate: Unit, topic: _Topic | None, named: set[str], likely: Mapping[str, float]
) -> list[float]:
    """What the candidate may expect, how long it is, and what its second stretch adds."""
    words = words_of(candidate.text)
    added = topic.words - set(words_of(unit.text)) if topic else frozenset()
    gain = sum(likely.get(word, 0.0) for word in added)
    of_weight = bool(named & {"Disease", "Medication"})
    return [
        *(_expected(words, likely, length) for length in LENGTHS),
        gain,
        gain / max(len(added), 1),
        float(topic is not None),
        float(len(topic.words) if topic else 0),
        float(topic is not None and topic.label is None),
        *(float(topic is not None and topic.label == label) for label in LABELS),
        float(bool(named)),
        float(bool(named) and topic is not None),
        float(of_weight),
        float(of_weight and topic is not None),
        *(float(len(words) <= most) for most in (6, 10, 15)),
        len(words) / 10,
        (len(words) / 10) ** 2,
    ]


_OPENINGS = ("what", "where", "how", "can", "is", "are", "does", "do", "should", "could", "will")
_ASKING_WORDS = (
    *_OPENINGS[:4], "is there", "treat", "test", "cause", "symptom", "?", "please", "help", "i", "my",
)  # fmt: skip


def _of_question(unit: Unit, parent: Unit, place: int, count: int, asked: int) -> list[float]:
    """How a stretch asks, and where in its sentence and in the message it stands."""
    lower = unit.text.lower()
    return [
        place / count,
        *(float(lower.startswith(word)) for word in _OPENINGS),
        *(float(word in lower) for word in _ASKING_WORDS),
        float(unit.text == parent.text),
        unit.n_words / max(parent.n_words, 1),
        float(place == 0),
        float(place == count - 1),
        float(asked),
        *(float(unit.n_words <= most) for most in (6, 12, 25)),
    ]


# --- words ---


def _probabilities(material: Material) -> Mapping[str, float]:
    return scored_words(head("question_words"), known_words(), material)


def scored_words(scorer: LinearHead, known: Mapping[str, int], material: Material) -> dict[str, float]:
    """Return the words of a message with their probability by a logistic head."""
    words, rows = word_features(material, known)
    scores = scorer.score(rows)
    return dict(zip(words, (1 / (1 + np.exp(-scores))).tolist(), strict=True))


def word_features(material: Material, known: Mapping[str, int]) -> tuple[list[str], Floats]:
    """Return the words of a message, each once, and what the head `question_words` sees of each.

    `known` are the common words of messages, in their order, with how many messages of a thousand have them.
    """
    texts = [unit.text for unit in material.units]
    said = [words_of(text) for text in texts]
    counts = Counter(word for words in said for word in words)
    order = list(counts)
    total = sum(counts.values())
    if not order:
        return [], np.zeros((0, _WORD_FEATURES + len(known)), np.float32)
    inside = _words_by_label([entity for each in material.entities for entity in each])
    named = frozenset().union(*inside)
    asked = {word for text, words in zip(texts, said, strict=True) if text.endswith("?") for word in words}
    asking = {word for text, words in zip(texts, said, strict=True) if _ASKS.search(text) for word in words}
    first, last = set(said[0]), set(said[-1])
    places = {word: place for place, word in reversed(list(enumerate(w for words in said for w in words)))}
    rows = np.zeros((len(order), _WORD_FEATURES + len(known)), np.float32)
    column = {word: _WORD_FEATURES + place for place, word in enumerate(known)}
    for row, word in zip(rows, order, strict=True):
        row[:_WORD_FEATURES] = [
            math.log(counts[word]),
            counts[word] > 1,
            word in first,
            word in last,
            word in asked,
            word in asking,
            bool(asked) and word not in asked,
            *(word in words for words in inside),
            word in named,
            word in named and word in first,
            word in named and word in asked,
            word in named and counts[word] > 1,
            places[word] / total,
            math.log(1000 / (1 + known.get(word, RARE))),
            word in known,
            min(len(word), 12) / 10,
            word.isdigit(),
            math.log(total),
            (word in named) / max(1.0, total / 50),
        ]
        if word in column:
            row[column[word]] = 1
    return order, rows


RARE = 3
"""How many messages of a thousand have a word that is not among the common ones."""

_WORD_FEATURES = 7 + len(LABELS) + 11


def _words_by_label(entities: Sequence[Entity]) -> list[frozenset[str]]:
    return [
        frozenset(word for entity in entities if entity.label == label for word in words_of(entity.text))
        for label in LABELS
    ]
