"""Ranks passages for a query: by words, by meaning, or by both together.

Words find the drug name and the lab value, meaning finds "heart attack" where the note says "myocardial infarction".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from clinical.index.filters import EVERYTHING, Filter
from clinical.index.store import Store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Mode = Literal["hybrid", "lexical", "dense"]
MODES: tuple[Mode, ...] = get_args(Mode)

WEIGHT_OF_MEANING = 0.65
"""Share of the cosine in the hybrid score; BM25 has the rest. Chosen on the tuning half of the queries of
`clinical evaluate search`, over reciprocal rank fusion and min-max normalized scores."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """A passage with its score, and its rank by each of the ways that found it."""

    passage: int
    score: float
    ranks: Mapping[str, int]


def rank(
    store: Store,
    query: str,
    vector: NDArray[np.float32] | None,
    mode: Mode,
    limit: int,
    filter: Filter = EVERYTHING,
) -> list[Ranked]:
    """Return up to `limit` passages, the best first; `vector` is that of the query, needed unless lexical.

    The score is BM25 (lexical), the cosine (dense), or their weighted mean, BM25 as a share of the best (hybrid).
    """
    lexical = dict(store.lexical(query, limit, filter)) if mode != "dense" else {}
    if vector is None or mode == "lexical":
        return _best(lexical, {"lexical": lexical}, limit)
    dense = dict(store.nearest(vector, limit, filter))
    others = [id for id in lexical if id not in dense]
    scores = dense if mode == "dense" else fuse(lexical, dense | store.cosines_of(vector, others))
    return _best(scores, {"lexical": lexical, "dense": dense}, limit)


def fuse(lexical: Mapping[int, float], cosines: Mapping[int, float]) -> dict[int, float]:
    """Return the hybrid score of each passage that has a cosine; one without words of the query has no BM25."""
    best = max(lexical.values(), default=0.0) or 1.0
    return {
        id: WEIGHT_OF_MEANING * cosine + (1 - WEIGHT_OF_MEANING) * lexical.get(id, 0.0) / best
        for id, cosine in cosines.items()
    }


def _best(scores: Mapping[int, float], ways: Mapping[str, Mapping[int, float]], limit: int) -> list[Ranked]:
    """Return the best passages, each with its rank by each of the ways, whose scores are in order."""
    ranks = {way: {id: place for place, id in enumerate(found, 1)} for way, found in ways.items()}
    best = sorted(scores, key=lambda id: (-scores[id], id))[:limit]
    return [
        Ranked(id, scores[id], {way: places[id] for way, places in ranks.items() if id in places})
        for id in best
    ]
