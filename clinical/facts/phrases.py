"""Phrases of several words, found in a text by walking a tree of words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

V = TypeVar("V")


@dataclass(slots=True)
class PhraseTree(Generic[V]):
    """A word on the way through the phrases, with the words that may follow; `value` is set where a phrase ends."""

    next: dict[str, PhraseTree[V]] = field(default_factory=dict)
    value: V | None = None

    def reach(self, words: Iterable[str]) -> PhraseTree[V]:
        """Return the place of these words, which is made where there is none."""
        node = self
        for word in words:
            node = node.next.setdefault(word, PhraseTree())
        return node

    def found(self, words: Sequence[str], first: int) -> list[tuple[V, int]]:
        """Return the value of each phrase that begins at this word, with the word after it; the longest is the last."""
        node, ended = self, []
        for index in range(first, len(words)):
            following = node.next.get(words[index])
            if following is None:
                break
            node = following
            if node.value is not None:
                ended.append((node.value, index + 1))
        return ended
