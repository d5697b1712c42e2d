"""From prompts and notes to token ids, so that no text can ever become a control token.

Control tokens come from the chat format alone. A note is tokenized piece by piece
(`clinical.models.pieces`): a piece is a word, a number or a single sign, so "[/INST]" or "</s>" in a note
are five and four pieces of plain text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain
from typing import Any

from clinical.models.chat import ChatFormat, Control, Segment
from clinical.models.pieces import split_pieces
from clinical.prompts.templates import Part

# SentencePiece puts a blank before the first word of a text, others treat it in their own ways. So every
# stretch is tokenized behind one of these and their tokens are cut off again; the first that does not melt
# into it is taken.
_ANCHORS = ("\n", "|", "0")
# The template's own words, and what the user's own files put beside them. Everything else that a prompt is
# given (a note, a question, its sentences) is data.
WORDS_OF_A_PROMPT = (None, "labels", "examples")
# Words repeat; numbers and misspellings without end must not fill the memory in a long run.
REMEMBERED_PIECES = 200_000


class TextTokens:
    """The tokenizer of a language model, for text that is data."""

    def __init__(self, tokenizer: Any, chat: ChatFormat) -> None:
        self._tokenizer = tokenizer
        self._backend = tokenizer.backend_tokenizer
        # Without this, the text "</s>" would become the token that ends an answer.
        self._backend.encode_special_tokens = True
        self._chat = chat
        special = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
        # The token for unknown characters is plain text too, where a vocabulary needs one.
        self._special = special - {tokenizer.unk_token_id}
        self._anchors = [(anchor, self._encode(anchor)) for anchor in _ANCHORS]
        self._vocabulary = dict(tokenizer.get_added_vocab())
        self._pieces: dict[str, tuple[int, ...]] = {}
        self._tags: dict[str, tuple[int, ...]] = {}

    def control(self, token: str) -> int:
        """Return the id of a control token."""
        names = {"<s>": self._tokenizer.bos_token, "</s>": self._tokenizer.eos_token}
        return int(self._tokenizer.convert_tokens_to_ids(names.get(token) or token))

    def plain(self, text: str) -> tuple[int, ...]:
        """Return the ids of a stretch of text in the middle of other text."""
        for anchor, ids in self._anchors:
            whole = self._encode(anchor + text)
            if whole[: len(ids)] == ids:
                return tuple(whole[len(ids) :])
        return tuple(self._encode(text))

    def piece(self, piece: str) -> tuple[int, ...]:
        """Return the ids of one piece of a note."""
        if piece not in self._pieces:
            letters = piece if piece.strip() in self._chat.spelled else (piece,)
            ids = tuple(chain.from_iterable(self.plain(part) for part in letters))
            if self._special & set(ids):
                raise ValueError(f"the tokenizer has no plain tokens for {piece!r}")
            if len(self._pieces) >= REMEMBERED_PIECES:
                self._pieces.clear()
            # Some tokenizers drop characters; a piece without tokens would leave a tag no place to stand.
            self._pieces[piece] = ids or self.plain("\ufffd")
        return self._pieces[piece]

    def tag(self, tag: str) -> tuple[int, ...]:
        """Return the ids of a tag: one where the vocabulary has it as a token, else those of its text."""
        if tag not in self._tags:
            token = self._vocabulary.get(tag)
            self._tags[tag] = self.plain(tag) if token is None else (int(token),)
        return self._tags[tag]

    def prompt(self, segments: Sequence[Segment]) -> list[int]:
        """Return the ids of a conversation that a chat format has written.

        A blank of the template right before a note becomes the blank of the note's first word.
        """
        ids: list[int] = []
        text = ""
        for segment in segments:
            if isinstance(segment, Part) and segment.variable in WORDS_OF_A_PROMPT:
                text += segment.text
                continue
            is_note = isinstance(segment, Part) and segment.variable != "tags"
            blank = " " if is_note and text.endswith(" ") else ""
            ids += self.plain(text.removesuffix(blank))
            text = ""
            if isinstance(segment, Control):
                ids.append(self.control(segment.token))
            elif is_note:
                ids += self.note(segment.text, blank)
            else:
                ids += chain.from_iterable(self.tag(tag) for tag in re.findall("<[^<>]+>", segment.text))
        return ids + list(self.plain(text))

    def note(self, text: str, blank: str = "") -> list[int]:
        """Return the ids of a note, piece by piece, with `blank` before its first piece."""
        pieces = split_pieces(text)
        if pieces:
            pieces[0] = blank + pieces[0]
        return list(chain.from_iterable(self.piece(piece) for piece in pieces))

    def _encode(self, text: str) -> list[int]:
        # Half a surrogate pair is no character and has no UTF-8; the offsets do not come from here.
        sound = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return list(self._backend.encode(sound, add_special_tokens=False).ids)
