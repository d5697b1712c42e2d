"""How well the entities of a system agree with gold entities: precision, recall and F1, by span and by label.

Four ways to count a prediction as right, those of SemEval-2013 task 9.1 (Segura-Bedmar et al. 2013):

- `strict`: same characters and same label
- `exact`: same characters, whatever the label
- `partial`: like `exact`, and an overlap with other characters counts half
- `type`: overlap and the same label

Mentions are paired one to one, in the pairing that scores highest, so that the order of the entities does not
matter and exchanging gold and prediction exchanges precision and recall. Where no mention overlaps two of the
other side this is what nervaluate counts; elsewhere nervaluate pairs first come, first served, and may count
fewer. The same mention twice counts once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from clinical.documents.annotations import Entity

Way = Literal["strict", "exact", "partial", "type"]
WAYS: tuple[Way, ...] = ("strict", "exact", "partial", "type")


@dataclass(frozen=True, slots=True)
class Counts:
    """How many mentions there are, and how many were paired: `correct` ones, and `partial` ones for half."""

    correct: int = 0
    partial: int = 0
    gold: int = 0
    predicted: int = 0

    @property
    def precision(self) -> float:
        """The share of predicted mentions that are right; 0.0 without any."""
        return (self.correct + self.partial / 2) / self.predicted if self.predicted else 0.0

    @property
    def recall(self) -> float:
        """The share of gold mentions that were found; 0.0 without any."""
        return (self.correct + self.partial / 2) / self.gold if self.gold else 0.0

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall; 0.0 when nothing is gold and nothing predicted."""
        total = self.gold + self.predicted
        return (2 * self.correct + self.partial) / total if total else 0.0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.correct + other.correct,
            self.partial + other.partial,
            self.gold + other.gold,
            self.predicted + other.predicted,
        )


@dataclass(frozen=True, slots=True)
class Score:
    """The counts of the four ways for the same mentions."""

    strict: Counts = field(default_factory=Counts)
    exact: Counts = field(default_factory=Counts)
    partial: Counts = field(default_factory=Counts)
    type: Counts = field(default_factory=Counts)

    def way(self, way: Way) -> Counts:
        """Return the counts of one way."""
        counts: Counts = getattr(self, way)
        return counts

    def __add__(self, other: Score) -> Score:
        return Score(*(self.way(way) + other.way(way) for way in WAYS))


@dataclass(frozen=True, slots=True)
class Report:
    """The score over all mentions (micro), of each label, and of each document.

    The score of a label sees only its own mentions. `documents` has the micro score of each, in the order
    given.
    """

    micro: Score
    labels: dict[str, Score]
    documents: tuple[Score, ...]

    def macro_f1(self, way: Way) -> float:
        """Return the mean F1 of the labels that occur in the gold, each with the same weight."""
        present = [score.way(way).f1 for score in self.labels.values() if score.strict.gold]
        return sum(present) / len(present) if present else 0.0


class _Mention(NamedTuple):
    start: int
    end: int
    label: str


def score(
    gold: Sequence[Sequence[Entity]], predicted: Sequence[Sequence[Entity]], labels: Iterable[str]
) -> Report:
    """Return the report on these documents; mentions with other labels are left out on both sides."""
    names = tuple(dict.fromkeys(labels))
    documents: list[Score] = []
    by_label = {name: Score() for name in names}
    for gold_entities, predicted_entities in zip(gold, predicted, strict=True):
        right, answer = _mentions(gold_entities, names), _mentions(predicted_entities, names)
        documents.append(_score(right, answer))
        for name in names:
            ours = [m for m in right if m.label == name], [m for m in answer if m.label == name]
            if any(ours):
                by_label[name] += _score(*ours)
    return Report(sum(documents, Score()), by_label, tuple(documents))


def _mentions(entities: Iterable[Entity], labels: Sequence[str]) -> list[_Mention]:
    return sorted({_Mention(e.start, e.end, e.label) for e in entities if e.label in labels})


def _score(gold: Sequence[_Mention], predicted: Sequence[_Mention]) -> Score:
    same = _pairs(gold, predicted, lambda a, b: a[:2] == b[:2])
    # Exact pairs come first: giving one up to save two half pairs never scores more.
    rest_gold = [m for place, m in enumerate(gold) if place not in same.values()]
    rest_predicted = [m for place, m in enumerate(predicted) if place not in same]
    halves = _pairs(rest_gold, rest_predicted, _overlap)
    typed = _pairs(gold, predicted, lambda a, b: a.label == b.label and _overlap(a, b))
    sizes = len(gold), len(predicted)
    return Score(
        strict=Counts(len(set(gold) & set(predicted)), 0, *sizes),
        exact=Counts(len(same), 0, *sizes),
        partial=Counts(len(same), len(halves), *sizes),
        type=Counts(len(typed), 0, *sizes),
    )


def _overlap(a: _Mention, b: _Mention) -> bool:
    return a.start < b.end and b.start < a.end


def _pairs(
    gold: Sequence[_Mention], predicted: Sequence[_Mention], fit: Callable[[_Mention, _Mention], bool]
) -> dict[int, int]:
    """Return the largest one-to-one pairing that fits, predicted place to gold place (Berge 1957)."""
    choices = [[place for place, right in enumerate(gold) if fit(right, answer)] for answer in predicted]
    taken: dict[int, int] = {}  # gold place to predicted place

    def place_it(answer: int, tried: set[int]) -> bool:
        for right in choices[answer]:
            if right in tried:
                continue
            tried.add(right)
            if right not in taken or place_it(taken[right], tried):
                taken[right] = answer
                return True
        return False

    for answer in range(len(predicted)):
        place_it(answer, set())
    return {answer: right for right, answer in taken.items()}


@dataclass(frozen=True, slots=True)
class SeenRecall:
    """Strict recall of gold mentions that stood in the training split, and of those that did not."""

    seen: Counts
    unseen: Counts


def recall_by_seen(
    gold: Sequence[Sequence[Entity]],
    predicted: Sequence[Sequence[Entity]],
    labels: Iterable[str],
    training: AbstractSet[tuple[str, str]],
) -> SeenRecall:
    """Return strict recall split by whether the mention's `surface` is in `training`.

    Only recall is split: a wrong prediction is neither a seen nor an unseen gold mention. The test mentions
    that repeat training mentions say how well a system remembers, the others how well it reads.
    """
    names = set(labels)
    found = {True: 0, False: 0}
    total = {True: 0, False: 0}
    for gold_entities, predicted_entities in zip(gold, predicted, strict=True):
        answers = {(e.start, e.end, e.label) for e in predicted_entities}
        for entity in {(e.start, e.end, e.label): e for e in gold_entities if e.label in names}.values():
            seen = surface(entity) in training
            total[seen] += 1
            found[seen] += (entity.start, entity.end, entity.label) in answers
    return SeenRecall(Counts(found[True], 0, total[True], 0), Counts(found[False], 0, total[False], 0))


def surface(entity: Entity) -> tuple[str, str]:
    """Return what makes two mentions the same word: the lower-cased text and the label."""
    return entity.text.lower(), entity.label
