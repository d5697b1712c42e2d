"""The best legal path is the best one, and spells the spans it should."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinical.models.tag_decoding import best_path, spans


def is_legal(path: tuple[int, ...]) -> bool:
    """An I tag (even, above 0) follows its own B (one less) or itself."""
    return all(
        tag == 0 or tag % 2 == 1 or (i > 0 and path[i - 1] in (tag, tag - 1)) for i, tag in enumerate(path)
    )


@given(st.integers(0, 5), st.integers(1, 2), st.integers(0, 10_000))
def test_best_path_equals_trying_every_legal_path(words: int, labels: int, seed: int) -> None:
    scores = np.random.default_rng(seed).normal(size=(words, 2 * labels + 1)).astype(np.float32)
    legal = filter(is_legal, itertools.product(range(2 * labels + 1), repeat=words))
    best = max(legal, key=lambda path: sum(scores[i, tag] for i, tag in enumerate(path)))
    assert tuple(best_path(scores)) == best


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ([], []),
        ([0, 0], []),
        ([1, 2, 2], [(0, 3, 0)]),
        ([1, 1], [(0, 1, 0), (1, 2, 0)]),
        ([0, 3, 4, 1, 2, 0], [(1, 3, 1), (3, 5, 0)]),
    ],
)
def test_spans(path: list[int], expected: list[tuple[int, int, int]]) -> None:
    assert spans(path) == expected
