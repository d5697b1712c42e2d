"""The pieces of a text: where a tag may stand, and what is tokenized on its own.

A piece is a run of letters, a run of digits or a single other sign, each with the one blank before it, or
white space. Every piece is tokenized by itself, so a tag between two of them never changes the tokens
around it.
"""

from __future__ import annotations

import re
import unicodedata

# The blank belongs to the word after it, as in the vocabularies of GPT-2 and SentencePiece (" fever").
# "2ug/mL" falls into "2", "ug", "/", "mL": a mention may begin or end inside what blanks hold together.
_PIECE = re.compile(r" ?[^\W\d_]+| ?\d+| ?[^\w\s]| ?_|\s+(?!\S)|\s")


def split_pieces(text: str) -> list[str]:
    """Return the pieces of `text` in order; joined they are `text`, whatever its characters.

    >>> split_pieces("Gave 2mg  IV.")
    ['Gave', ' 2', 'mg', ' ', ' IV', '.']
    """
    pieces: list[str] = []
    for match in _PIECE.finditer(text):
        piece = match.group()
        # An accent that stands as a character of its own stays with its letter.
        if pieces and unicodedata.combining(piece[0]):
            pieces[-1] += piece
        else:
            pieces.append(piece)
    return pieces
