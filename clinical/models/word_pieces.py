"""Text as the light tagger reads it: word pieces, the words they make up, and how each word is written.

A *word* here is what BERT's first step cuts at blanks and punctuation; a tag is predicted at its first piece.
The encoder is uncased, so the way a word is written (lower, Capitalised, UPPER, miXed) is told to it through the
token-type embedding, which MiniLM itself leaves unused: "ALL" the leukaemia is not "all" the word.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clinical.models import minilm

SHAPES = ("lower", "capitalised", "upper", "mixed")


@dataclass(frozen=True)
class WordPieces:
    """A text in word pieces, without the special tokens at its ends.

    `ids`, `shapes`: int64 arrays, one number per piece. `word_starts`: index of the first piece of each word.
    `spans`: int array (words, 2), the `[start, end)` of each word in code points of the text.
    """

    ids: NDArray[np.int64]
    shapes: NDArray[np.int64]
    word_starts: NDArray[np.int64]
    spans: NDArray[np.int64]


def shape_of(word: str) -> int:
    """Return the index in `SHAPES` of the way a word is written; a word without letters counts as lower."""
    if word.islower() or not any(map(str.isalpha, word)):
        return 0
    if word.isupper():
        return 1 if len(word) == 1 else 2
    return 1 if word[0].isupper() and word[1:].islower() else 3


def split(text: str) -> WordPieces:
    """Return the pieces of a text of any length."""
    encoding = minilm.tokenizer().encode(text, add_special_tokens=False)
    words = np.array([-1 if word is None else word for word in encoding.word_ids], dtype=np.int64)
    offsets = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)
    starts = np.flatnonzero(np.diff(words, prepend=-2) != 0)
    ends = np.append(starts[1:], len(words)) - 1
    spans = np.stack([offsets[starts, 0], offsets[ends, 1]], axis=1) if len(starts) else offsets
    of_word = np.array([shape_of(text[start:end]) for start, end in spans.tolist()], dtype=np.int64)
    counts = np.diff(np.append(starts, len(words)))
    return WordPieces(np.array(encoding.ids, dtype=np.int64), np.repeat(of_word, counts), starts, spans)
