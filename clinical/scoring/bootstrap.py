"""How sure a score is: bootstrap intervals of micro F1, and whether two systems truly differ.

Documents are drawn with replacement, as many as there are, a thousand times (Efron and Tibshirani 1993,
chapters 13 and 16). Two systems are compared on the same draws; p is the share of draws whose difference lies
as far from the observed one as that lies from zero (the shift of Berg-Kirkpatrick et al. 2012, on both
sides).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clinical.scoring.spans import Score, Way

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DRAWS = 1000
# An abstract of BC5CDR has ten sentences (4,797 in the 500 of its test split). Sentences of one abstract
# repeat the same mentions, so drawing them one by one would make the interval too narrow; where the borders
# of the documents are unknown, this many consecutive sentences stand for one.
SENTENCES_PER_BLOCK = 10


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate of F1, or of a difference of two, with its 95% percentile interval, all in [-1, 1]."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Difference:
    """F1 of the first system minus that of the second, and the two-sided p of "they do not differ"."""

    interval: Interval
    p: float


def f1_interval(
    documents: Sequence[Score], way: Way = "strict", *, block: int = 1, draws: int = DRAWS, seed: int = 0
) -> Interval:
    """Return micro F1 over the documents with its interval; `block` consecutive ones are drawn together."""
    import numpy as np

    table = _table(documents, way, block)
    drawn = _f1(_weights(len(table), draws, seed) @ table)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(float(_f1(table.sum(axis=0))), float(low), float(high))


def f1_difference(
    first: Sequence[Score],
    second: Sequence[Score],
    way: Way = "strict",
    *,
    block: int = 1,
    draws: int = DRAWS,
    seed: int = 0,
) -> Difference:
    """Return the paired comparison of two systems on the same documents in the same order."""
    import numpy as np

    if len(first) != len(second):
        raise ValueError(f"{len(first)} documents of one system, {len(second)} of the other")
    one, two = _table(first, way, block), _table(second, way, block)
    weights = _weights(len(one), draws, seed)
    observed = float(_f1(one.sum(axis=0)) - _f1(two.sum(axis=0)))
    drawn = _f1(weights @ one) - _f1(weights @ two)
    low, high = np.percentile(drawn, [2.5, 97.5])
    as_far = int((np.abs(drawn - observed) >= abs(observed)).sum())
    # The observed sample is one of the draws, so that p is never 0 (Davison and Hinkley 1997, 4.2.3).
    return Difference(Interval(observed, float(low), float(high)), (as_far + 1) / (draws + 1))


def _table(documents: Sequence[Score], way: Way, block: int) -> NDArray[np.float64]:
    """Return a row per block: twice the credit, and the mentions of both sides; their ratio is F1."""
    import numpy as np

    counts = [document.way(way) for document in documents]
    rows = np.array([(2 * c.correct + c.partial, c.gold + c.predicted) for c in counts], dtype=np.float64)
    rows = rows.reshape(-1, 2)
    if not len(rows):
        return np.zeros((1, 2))
    return np.add.reduceat(rows, np.arange(0, len(rows), block))


def _weights(units: int, draws: int, seed: int) -> NDArray[np.float64]:
    """Return how often each unit is in each draw, shape `(draws, units)`."""
    import numpy as np

    chosen = np.random.default_rng(seed).integers(0, units, size=(draws, units))
    return np.stack([np.bincount(row, minlength=units) for row in chosen]).astype(np.float64)


def _f1(credit_and_mentions: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    credit, mentions = credit_and_mentions[..., 0], credit_and_mentions[..., 1]
    return np.divide(credit, mentions, out=np.zeros_like(credit), where=mentions > 0)
