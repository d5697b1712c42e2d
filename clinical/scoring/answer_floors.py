"""What any answering system must beat: the first sentences, the sentences with the question's words, the nearest ones.

Each scores sentences as `clinical.tasks.likelihood` does, so the same program makes answers of
them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from clinical.documents.answers import Reading
from clinical.index.terms import count_stems, stems_of
from clinical.index.words import words_of
from clinical.models.embedders import TextEmbedder

K1, B = 1.2, 0.75  # the usual settings of BM25


@dataclass(frozen=True)
class First:
    """The earlier, the better."""

    name: str = "first"

    def score(self, question: str, readings: Sequence[Reading]) -> list[list[float]]:
        """Return the share of sentences that stand further back, by reading in the order they come."""
        total = sum(len(reading.lines) for reading in readings)
        places = iter(range(total))
        return [[1 - next(places) / total for _ in reading.lines] for reading in readings]


@dataclass(frozen=True)
class Words:
    """BM25 of the question's words over all sentences at hand, as a share of the best."""

    name: str = "bm25"

    def score(self, question: str, readings: Sequence[Reading]) -> list[list[float]]:
        """Return the scores; all are 0 where no word of the question is."""
        flat = _bags([sentence for reading in readings for _, sentence in reading.lines])
        rest = iter(flat)
        bags = [[next(rest) for _ in reading.lines] for reading in readings]
        mean = sum(map(Counter.total, flat)) / max(len(flat), 1)
        wanted = {stem for stems in stems_of(words_of(question)) for stem in stems}
        rarity = {word: _rarity(sum(word in bag for bag in flat), len(flat)) for word in wanted}
        scores = [[_bm25(bag, rarity, mean) for bag in some] for some in bags]
        best = max((score for some in scores for score in some), default=0.0) or 1.0
        return [[score / best for score in some] for some in scores]


@dataclass(frozen=True)
class Nearest:
    """The cosine of sentence and question by an embedder."""

    embedder: TextEmbedder
    name: str = "cosine"

    def score(self, question: str, readings: Sequence[Reading]) -> list[list[float]]:
        """Return the cosines, those below 0 as 0."""
        texts = [sentence for reading in readings for _, sentence in reading.lines]
        if not texts:
            return [[] for _ in readings]
        vectors = self.embedder.embed([question, *texts])
        cosines = iter((vectors[1:] @ vectors[0]).clip(0).tolist())
        return [[next(cosines) for _ in reading.lines] for reading in readings]


def _bags(sentences: Sequence[str]) -> list[Counter[str]]:
    """Return of each sentence how often each stem stands in it."""
    bags: list[Counter[str]] = [Counter() for _ in sentences]
    for stem, number, count in count_stems(sentences):
        bags[number][stem] = count
    return bags


def _rarity(holding: int, total: int) -> float:
    return math.log(1 + (total - holding + 0.5) / (holding + 0.5))


def _bm25(bag: Counter[str], rarity: dict[str, float], mean: float) -> float:
    length = bag.total() / max(mean, 1e-9)
    return sum(
        weight * bag[word] * (K1 + 1) / (bag[word] + K1 * (1 - B + B * length))
        for word, weight in rarity.items()
        if bag[word]
    )
