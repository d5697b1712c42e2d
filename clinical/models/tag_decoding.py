"""From tag scores to spans: the best legal BIO sequence, and the entities it spells.

Tags are in the order `O, B-x, I-x, B-y, I-y, …`, so that an odd index begins an entity and the even index after it
continues it. The best path is Viterbi's (1967) with one rule: `I-x` may only follow `B-x` or `I-x`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def best_path(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the tag index of each word on the best legal path.

    `scores`: log-probabilities, shape (words, tags). Because only `I` tags are restricted, and each only to its own
    `B` and `I`, a step costs one maximum over all tags and one comparison per label.
    """
    words, tags = scores.shape
    path = np.zeros(words, dtype=np.int64)
    if not words:
        return path
    back = np.zeros((words, tags), dtype=np.int64)
    begin, inside = np.arange(1, tags, 2), np.arange(2, tags, 2)
    total = scores[0].astype(np.float64)
    total[inside] = -np.inf
    for word in range(1, words):
        best = int(total.argmax())
        stay = total[inside] > total[begin]
        came_from = np.where(stay, inside, begin)
        back[word] = best
        back[word, inside] = came_from
        following = np.full(tags, total[best])
        following[inside] = total[came_from]
        total = following + scores[word]
    path[-1] = int(total.argmax())
    for word in range(words - 1, 0, -1):
        path[word - 1] = back[word, path[word]]
    return path


def spans(path: Sequence[int] | NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """Return `(first word, word after the last, label number)` of each entity on a legal path.

    >>> spans([0, 1, 2, 0, 3])
    [(1, 3, 0), (4, 5, 1)]
    """
    found: list[tuple[int, int, int]] = []
    start = label = -1
    for word, tag in enumerate([*path, 0]):
        if start >= 0 and tag != 2 * label + 2:
            found.append((start, word, label))
            start = -1
        if tag % 2 == 1:
            start, label = word, int(tag) // 2
    return found
