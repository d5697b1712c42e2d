"""The embedder that a user names: `--embedder`, else MiniLM, which ships with the package."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DEFAULT = "all-MiniLM-L6-v2"


class TextEmbedder(Protocol):
    """What turns texts into vectors of length one; `id` names the function: other ids do not compare."""

    id: str

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return a vector for each text that is to be found."""
        ...

    def embed_queries(self, queries: Sequence[str]) -> NDArray[np.float32]:
        """Return a vector for each text that is looked for."""
        ...


def load_embedder(name: str | None = None) -> TextEmbedder:
    """Return the embedder of this name: a sentence-transformers model, its folder, or `None` for the default.

    Two models with a comma between embed texts and queries. Nothing is loaded before the first use.
    Raises `UsageError` when the model is not on this machine.
    """
    if name is None or name == DEFAULT:
        from clinical.models.embedder import Embedder

        return Embedder()
    from clinical.models.sentence_encoder import SentenceEncoder

    return SentenceEncoder(name)
