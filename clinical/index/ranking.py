"""Ranks passages for a query: by words, by meaning, or by both together.

Words find the drug name and the lab value, meaning finds "heart attack" where the note says "myocardial infarction".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from clinical.index.store import Store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Mode = Literal["hybrid", "lexical", "dense"]
MODES: tuple[Mode, ...] = get_args(Mode)

RRF_CONSTANT = 60
"""How slowly the weight of a rank falls; the value of the paper below."""


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
    section: str | None = None,
) -> list[Ranked]:
    """Return up to `limit` passages, the best first; `vector` is that of the query, needed unless lexical.

    The score is BM25 (lexical), cosine (dense), or the sum over both of 1 / (60 + rank) (hybrid).
    """
    found: dict[str, list[tuple[int, float]]] = {}
    if mode != "dense":
        found["lexical"] = store.lexical(query, limit, section)
    if mode != "lexical" and vector is not None:
        found["dense"] = store.dense(vector, limit, section)
    ranks = {way: {id: place for place, (id, _) in enumerate(hits, 1)} for way, hits in found.items()}
    scores = (
        fuse([[id for id, _ in hits] for hits in found.values()]) if mode == "hybrid" else dict(found[mode])
    )
    best = sorted(scores, key=lambda id: (-scores[id], id))[:limit]
    return [
        Ranked(id, scores[id], {way: places[id] for way, places in ranks.items() if id in places})
        for id in best
    ]


def fuse(rankings: Sequence[Sequence[int]]) -> dict[int, float]:
    """Return the score of each passage by reciprocal rank fusion.

    Cormack, Clarke, Buettcher. Reciprocal rank fusion outperforms Condorcet and individual rank learning
    methods. SIGIR 2009.
    """
    scores: dict[int, float] = {}
    for ranking in rankings:
        for place, id in enumerate(ranking, 1):
            scores[id] = scores.get(id, 0.0) + 1 / (RRF_CONSTANT + place)
    return scores
