"""Ranks passages, or documents, for a query: by words, by meaning, or by both together.

Words find the drug name and the lab value, meaning finds "heart attack" where the note says "myocardial infarction".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from clinical.index.backend import Index, Unit
from clinical.index.filters import EVERYTHING, Filter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Mode = Literal["hybrid", "lexical", "dense"]
MODES: tuple[Mode, ...] = get_args(Mode)

BASELINES = ("bm25", "cosine", "rrf")
"""Plain ways of ranking that the modes are measured against."""

RANK_CONSTANT = 60
"""Of reciprocal rank fusion, as its authors have it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The numbers of a hybrid search.

    `meaning` is the share of the cosine in the score; BM25 has the rest. So many `examples`, the best passages, say
    what else to search for, with the share `pull` beside the query: with more of it what has many answers is found
    better, and what has one is found worse.
    """

    meaning: float = 0.75
    examples: int = 3
    pull: float = 0.5


CHOSEN = Settings()
"""Chosen on the tuning halves of several collections together (`benchmarks/search.md`), over reciprocal rank fusion and
min-max normalized scores."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """A passage, or a document, with its score, and its rank by each of the ways that found it."""

    id: int
    score: float
    ranks: Mapping[str, int]


def rank(
    store: Index,
    words: str | Mapping[str, float],
    vector: NDArray[np.float32] | None,
    mode: Mode,
    limit: int,
    filter: Filter = EVERYTHING,
    settings: Settings = CHOSEN,
    by: Unit = "passage",
) -> list[Ranked]:
    """Return up to `limit` passages, or documents, the best first; the `vector` of the query is needed unless lexical.

    `words` is the query, or its words with how much each counts. The score is BM25 (lexical), the cosine (dense), or
    their weighted mean, BM25 as a share of the best (hybrid). What the best passages of a hybrid search mean is
    searched for once more together with the query, since they say it in other words (Rocchio 1971).
    """
    lexical = dict(store.lexical(words, limit, filter, by)) if mode != "dense" else {}
    if vector is None or mode == "lexical":
        return _best(lexical, {"lexical": lexical}, limit)
    dense = dict(store.nearest(vector, limit, filter, by))
    if mode == "dense":
        return _best(dense, {"dense": dense}, limit)
    scores = _fused(store, lexical, dense, vector, settings.meaning, by)
    if scores and settings.pull:
        best = sorted(scores, key=lambda id: (-scores[id], id))[: settings.examples]
        vector = towards(vector, store.vectors_of(best, by), settings.pull)
        nearest = dict(store.nearest(vector, limit, filter, by))
        scores = _fused(store, lexical, nearest, vector, settings.meaning, by)
    return _best(scores, {"lexical": lexical, "dense": dense}, limit)


def _fused(
    store: Index,
    lexical: Mapping[int, float],
    dense: Mapping[int, float],
    vector: NDArray[np.float32],
    meaning: float,
    by: Unit,
) -> dict[int, float]:
    others = [id for id in lexical if id not in dense]
    return fuse(lexical, {**dense, **store.cosines_of(vector, others, by)}, meaning)


def towards(vector: NDArray[np.float32], examples: NDArray[np.float32], pull: float) -> NDArray[np.float32]:
    """Return the vector moved by so much towards the mean of the examples, of length one."""
    import numpy as np

    moved = vector + pull * examples.mean(axis=0)
    found: NDArray[np.float32] = (moved / np.linalg.norm(moved)).astype(np.float32)
    return found


def fuse(
    lexical: Mapping[int, float], cosines: Mapping[int, float], meaning: float = CHOSEN.meaning
) -> dict[int, float]:
    """Return the hybrid score of each passage that has a cosine; one without words of the query has no BM25."""
    best = max(lexical.values(), default=0.0) or 1.0
    return {
        id: meaning * cosine + (1 - meaning) * lexical.get(id, 0.0) / best for id, cosine in cosines.items()
    }


def _best(scores: Mapping[int, float], ways: Mapping[str, Mapping[int, float]], limit: int) -> list[Ranked]:
    """Return the best passages, each with its rank by each of the ways, whose scores are in order."""
    ranks = {way: {id: place for place, id in enumerate(found, 1)} for way, found in ways.items()}
    best = sorted(scores, key=lambda id: (-scores[id], id))[:limit]
    return [
        Ranked(id, scores[id], {way: places[id] for way, places in ranks.items() if id in places})
        for id in best
    ]


def baseline(
    store: Index, query: str, vector: NDArray[np.float32], name: str, limit: int, by: Unit = "passage"
) -> list[Ranked]:
    """Return the ranking of one of `BASELINES`: all words of the query alike, its vector, or both by their ranks.

    Cormack, Clarke, Büttcher. Reciprocal rank fusion outperforms Condorcet. SIGIR 2009.
    """
    ways = {
        "bm25": dict(store.lexical(query, limit, by=by)) if name != "cosine" else {},
        "cosine": dict(store.nearest(vector, limit, by=by)) if name != "bm25" else {},
    }
    if name != "rrf":
        return _best(ways[name], ways, limit)
    scores: dict[int, float] = {}
    for found in ways.values():
        for place, id in enumerate(found, 1):
            scores[id] = scores.get(id, 0.0) + 1 / (RANK_CONSTANT + place)
    return _best(scores, ways, limit)
