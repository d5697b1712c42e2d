"""The state of an index at one moment, to be ranked: what the mapped file has, and what came since.

BM25 is computed as SQLite's FTS5 does it, over lists of rows: a word in half of a million passages costs
milliseconds there, and tenths of a second in FTS5.

Robertson, Zaragoza. The probabilistic relevance framework: BM25 and beyond. 2009.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from clinical.index import products
from clinical.index.segment import Segment

K1, B = 1.2, 0.75

LEAST_WEIGHT = 1e-6
"""Of a word in more than half of the passages: it says nothing, but speaks against nothing."""

FEW = 100
"""So many passages are compared one by one, more of them along with all."""

SAMPLE = 97
"""One of so many scores is looked at to tell where the best begin."""


@dataclass
class Part:
    """A segment and which of its rows are still in the index; `None` means all."""

    segment: Segment
    alive: NDArray[np.bool_] | None = None

    def count(self) -> int:
        """Return how many rows are still in the index."""
        return len(self.segment) if self.alive is None else int(self.alive.sum())


@dataclass
class Snapshot:
    """Segments one behind the other; a row counts through them all."""

    parts: Sequence[Part]
    _last: tuple[bytes, NDArray[np.float32]] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        segments = [part.segment for part in self.parts]
        self.ends = np.cumsum([0, *map(len, segments)])
        self.count = sum(part.count() for part in self.parts)
        total = sum(
            int((segment.lengths if part.alive is None else segment.lengths[part.alive]).sum())
            for segment, part in zip(segments, self.parts, strict=True)
        )
        average = total / self.count if self.count else 1.0
        self._norms = [
            K1 * (1 - B + B * segment.lengths.astype(np.float32) / average) for segment in segments
        ]

    def lexical(
        self,
        words: Sequence[tuple[Sequence[int], float]],
        limit: int,
        allowed: Sequence[NDArray[np.bool_]] | None = None,
    ) -> list[tuple[int, float]]:
        """Return the best passages by BM25 with their scores. A word of several stems stands where all of them do.

        With each word comes how much it counts.
        """
        scores = np.zeros(self.ends[-1], np.float32)
        for stems, share in words:
            found = [self._holding(place, stems) for place in range(len(self.parts))]
            number = sum(len(rows) for rows, _ in found)
            weight = math.log((self.count - number + 0.5) / (number + 0.5)) if number else 0.0
            weight = share * max(weight, LEAST_WEIGHT) * (K1 + 1)
            for place, (rows, counts) in enumerate(found):
                frequency = counts.astype(np.float32)
                scores[self.ends[place] + rows] += weight * frequency / (frequency + self._norms[place][rows])
        if allowed is not None:
            scores[~np.concatenate(allowed)] = 0
        return self._best(scores, limit, above=0.0)

    def nearest(
        self,
        vector: NDArray[np.float32],
        limit: int,
        allowed: Sequence[NDArray[np.bool_]] | None = None,
    ) -> list[tuple[int, float]]:
        """Return the passages nearest to the vector with their cosines."""
        scores = self._cosines(vector)
        if allowed is not None:
            scores = np.where(np.concatenate(allowed), scores, -np.inf)
        return self._best(scores, limit, above=-np.inf)

    def cosines_of(self, vector: NDArray[np.float32], passages: Sequence[int]) -> dict[int, float]:
        """Return how near each of these passages is to the vector, from -1 to 1."""
        wanted = np.asarray(passages, np.int64)
        if len(wanted) <= FEW and (self._last is None or self._last[0] != vector.tobytes()):
            return self._few_cosines(vector, wanted)
        scores = self._cosines(vector)
        found: dict[int, float] = {}
        for place, part in enumerate(self.parts):
            ids = part.segment.passages
            rows = np.minimum(np.searchsorted(ids, wanted), max(len(ids) - 1, 0))
            here = ids[rows] == wanted if len(ids) else np.zeros(len(wanted), bool)
            found |= zip(wanted[here].tolist(), scores[self.ends[place] + rows[here]].tolist(), strict=True)
        return found

    def _few_cosines(self, vector: NDArray[np.float32], wanted: NDArray[np.int64]) -> dict[int, float]:
        """Return the cosines of a few passages without those of all others."""
        found: dict[int, float] = {}
        for part in self.parts:
            ids = part.segment.passages
            rows = np.flatnonzero(np.isin(ids, wanted))
            cosines = vector @ part.segment.columns[:, rows].astype(np.float32) / 127
            if part.alive is not None:
                cosines[~part.alive[rows]] = -np.inf
            found |= zip(ids[rows].tolist(), cosines.tolist(), strict=True)
        return found

    def vectors_of(self, passages: Sequence[int]) -> NDArray[np.float32]:
        """Return the vectors of these passages, each of length one; those not here are left out."""
        wanted = np.asarray(passages, np.int64)
        found = []
        for part in self.parts:
            ids = part.segment.passages
            rows = np.minimum(np.searchsorted(ids, wanted), max(len(ids) - 1, 0))
            here = ids[rows] == wanted if len(ids) else np.zeros(len(wanted), bool)
            found.append(part.segment.columns[:, rows[here]].T.astype(np.float32))
        vectors = np.concatenate(found) if found else np.zeros((0, 0), np.float32)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        scaled: NDArray[np.float32] = vectors / np.maximum(lengths, 1e-9)
        return scaled

    def _holding(self, place: int, stems: Sequence[int]) -> tuple[NDArray[np.int32], NDArray[np.uint16]]:
        """Return the rows of a segment that have all of the stems, and how often: as often as the rarest."""
        part = self.parts[place]
        rows, counts = part.segment.holding(stems[0])
        for stem in stems[1:]:
            others, also = part.segment.holding(stem)
            rows, first, second = np.intersect1d(rows, others, assume_unique=True, return_indices=True)
            counts = np.minimum(counts[first], also[second])
        if part.alive is not None:
            kept = part.alive[rows]
            rows, counts = rows[kept], counts[kept]
        return rows, counts

    def _cosines(self, vector: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the cosine of each row, of those no longer in the index minus infinity."""
        key = vector.tobytes()
        if self._last is None or self._last[0] != key:
            scores = np.empty(self.ends[-1], np.float32)
            for place, part in enumerate(self.parts):
                here = scores[self.ends[place] : self.ends[place + 1]]
                here[:] = products.cosines(part.segment.columns, part.segment.sums, vector)
                if part.alive is not None:
                    here[~part.alive] = -np.inf
            self._last = (key, scores)
        known: NDArray[np.float32] = self._last[1]
        return known

    def _best(self, scores: NDArray[np.float32], limit: int, above: float) -> list[tuple[int, float]]:
        """Return the passages with the best scores, the best first."""
        rows = np.flatnonzero(scores >= max(_threshold(scores, limit), above))
        if len(rows) < limit:
            rows = np.flatnonzero(scores > above)
        rows = rows[scores[rows] > above]
        if len(rows) > limit:
            rows = rows[np.argpartition(-scores[rows], limit)[:limit]]
        ids = self._ids(rows)
        order = np.lexsort((ids, -scores[rows]))
        return list(zip(ids[order].tolist(), scores[rows][order].tolist(), strict=True))

    def _ids(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        ids = np.empty(len(rows), np.int64)
        for place, part in enumerate(self.parts):
            here = (rows >= self.ends[place]) & (rows < self.ends[place + 1])
            ids[here] = part.segment.passages[rows[here] - self.ends[place]]
        return ids


def _threshold(scores: NDArray[np.float32], limit: int) -> float:
    """Return a score that a few more than `limit` reach, most likely: to sort all costs more than to compare them."""
    sample = scores[::SAMPLE]
    place = 2 * limit // SAMPLE + 3
    return float(np.partition(sample, -place)[-place]) if len(sample) > place else -math.inf
