"""Vectors as an index keeps them: of length one, times 127, in int8."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def in_int8(vectors: NDArray[np.float32]) -> NDArray[np.int8]:
    """Return the vectors times 127: no number of a vector of length one is larger than 1."""
    import numpy as np

    scaled: NDArray[np.int8] = np.rint(vectors * 127).astype(np.int8)
    return scaled


def whole(vectors: NDArray[np.int8]) -> NDArray[np.int8]:
    """Return the vector of a document, given those of its passages: their mean, drawn out to length one.

    An embedder reads only the beginning of a long text; so all of it counts.
    """
    import numpy as np

    total = vectors.sum(axis=0, dtype=np.float32)
    return in_int8(total / (float(np.linalg.norm(total)) or 1.0))
