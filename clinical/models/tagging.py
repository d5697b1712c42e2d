"""Constrained decoding of inline tags: the answer is the note, and the model decides where tags stand.

Greedy decoding over the answers that `TaggedCopy` allows. Nearly every token of such an answer is a copy,
so the source is not generated but fed: the coming tokens of the source go through the model in one forward
pass as a draft, and at each boundary the probability of a tag is compared with that of the next token of
the source. Up to the first boundary where a tag wins the draft stands; the tag is put in, and the rest of
the source is the next draft. The result is that of step-by-step decoding, exactly (it is speculative
decoding whose draft is the note; Leviathan et al., ICML 2023, with greedy acceptance).

`TagWalk` is the constraint: which tokens are allowed next. It knows nothing of models. `decode` feeds the
model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from clinical.models.language_model import TaggedCopy, TaggedSpan
from clinical.models.text_tokens import TextTokens
from clinical.prompts.inline_tags import close_tag, open_tag

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# A longer draft wastes more when a tag cuts it short, a shorter one takes more passes. On a CPU every token costs,
# on a GPU every pass; 8 was the best of 8 to 64 with the shipped model on one core (1,600 words/s; 32: 940).
DRAFT_TOKENS = {"cpu": 8, "cuda": 48}
# A prefix that all prompts of a batch share (instruction, labels) is run once from this length on.
SHARED_PREFIX_TOKENS = 32


@dataclass(frozen=True)
class _Tag:
    label: str
    opens: bool
    ids: tuple[int, ...]


def _by_first(tags: Sequence[_Tag]) -> dict[int, list[_Tag]]:
    """Return the tags by their first token."""
    table: dict[int, list[_Tag]] = {}
    for tag in tags:
        table.setdefault(tag.ids[0], []).append(tag)
    return table


@dataclass(frozen=True)
class _Pending:
    """A tag that may be under way: `depth` of its tokens are taken. It was begun before the piece `boundary`.

    `log_probability` is that of the open span up to here, if this is its tag.
    """

    tag: _Tag
    depth: int
    boundary: int
    log_probability: float


@dataclass
class TagWalk:
    """One answer in the making: what may come next, and what it has marked so far.

    A tag may be several tokens, and may begin with the token that the source goes on with ("<" in "PaO2<60").
    Then both readings are kept until a token tells them apart.
    """

    constraint: TaggedCopy
    tokens: TextTokens
    # Chat formats put a blank before the answer; it is written as part of the first piece.
    blank: str = " "
    spans: list[TaggedSpan] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.source: list[int] = []
        self._piece_at: dict[int, int] = {}
        for number, piece in enumerate(self.constraint.pieces):
            self._piece_at[len(self.source)] = number
            self.source += self.tokens.piece(piece if number else self.blank + piece)
        self._piece_at[len(self.source)] = len(self.constraint.pieces)
        self._token_at = {number: place for place, number in self._piece_at.items()}
        labels = self.constraint.labels
        self._opening = _by_first([_Tag(label, True, self.tokens.tag(open_tag(label))) for label in labels])
        self._closing = {
            label: _by_first([_Tag(label, False, self.tokens.tag(close_tag(label)))]) for label in labels
        }
        self.place = 0  # the tokens of the source that are copied
        self.copying = True  # whether the last tokens can be read as a copy
        self._inside: tuple[str, int] | None = None
        self._log_probability = 0.0  # of the open span up to here
        self._pending: list[_Pending] = []
        self._beginning: dict[int, list[_Tag]] = {}  # tags that may begin here, by their first token
        self._allow_tags()

    @property
    def done(self) -> bool:
        """Whether the answer is complete."""
        return self.copying and self._inside is None and self.place == len(self.source)

    @property
    def next_copy(self) -> list[int]:
        """The rest of the source, if the answer can go on with it now; empty in the middle of a tag."""
        return self.source[self.place :] if self.copying else []

    @property
    def vocabulary(self) -> set[int]:
        """All tokens that the answer could have."""
        tables = [self._opening, *self._closing.values()]
        tags = [tag for table in tables for group in table.values() for tag in group]
        return set(self.source).union(*(tag.ids for tag in tags))

    def options(self) -> list[int]:
        """Return the tokens that may come next, that of the source first; one alone is no decision."""
        copy = self.source[self.place : self.place + 1] if self.copying else []
        under_way = [pending.tag.ids[pending.depth] for pending in self._pending]
        return list(dict.fromkeys([*copy, *under_way, *self._beginning]))

    def take(self, token: int, log_probability: float) -> None:
        """Go on with one of the options, chosen with this probability among them."""
        begun = [
            _Pending(tag, 0, self._piece_at[self.place], 0.0 if tag.opens else self._log_probability)
            for tag in self._beginning.get(token, ())
        ]
        self._pending = [
            replace(
                pending,
                depth=pending.depth + 1,
                log_probability=pending.log_probability + log_probability,
            )
            for pending in [*self._pending, *begun]
            if pending.tag.ids[pending.depth] == token
        ]
        self.copying = self.copying and self.source[self.place : self.place + 1] == [token]
        self._log_probability += log_probability
        self.place += self.copying
        self._allow_tags()
        if self.copying:
            return
        for pending in self._pending:
            if pending.depth == len(pending.tag.ids):
                self._finish(pending)
                return

    def _allow_tags(self) -> None:
        """Lay out the tags that may begin here."""
        self._beginning = {}
        boundary = self._piece_at.get(self.place)
        if boundary is None or not self.copying:
            return
        inside = self._inside[0] if self._inside else None
        table = self._closing[inside] if inside else self._opening
        if not self.constraint.bracket(boundary):
            if inside or self.constraint.visible(boundary):
                self._beginning = table
            return
        allowed = self.constraint.may_close if inside else self.constraint.may_open
        for token, tags in table.items():
            if here := [tag for tag in tags if allowed(boundary, tag.label)]:
                self._beginning[token] = here

    def _finish(self, pending: _Pending) -> None:
        """Put the tag in: whatever was read as a copy since it began was the tag."""
        self.place = self._token_at[pending.boundary]
        self.copying = True
        self._pending = []
        self._log_probability = pending.log_probability
        if pending.tag.opens:
            self._inside = (pending.tag.label, pending.boundary)
            return
        assert self._inside is not None
        label, first = self._inside
        score = math.exp(min(0.0, self._log_probability))
        self.spans.append(self.constraint.span(first, pending.boundary, label, score))
        self._inside = None
        self._allow_tags()


@dataclass
class _Row:
    """One answer being decoded: prompt and answer, of which the cache holds the first `read` tokens."""

    walk: TagWalk
    ids: list[int]
    read: int = 0
    draft: list[int] = field(default_factory=list)

    def prepare(self, draft_tokens: int) -> None:
        """Take what is forced without asking the model, and lay out the next draft."""
        while not self.walk.done and not self.walk.next_copy and len(options := self.walk.options()) == 1:
            self.take(options[0], 0.0)
        self.draft = self.walk.next_copy[:draft_tokens]

    def accept(self, logits: NDArray[np.float32], column: Mapping[int, int]) -> int:
        """Walk on as far as the draft holds and return how many of its tokens stand.

        `logits[0]` are those after the last known token, `logits[i]` those after token `i - 1` of the draft;
        `column` says where a token stands in them.
        """
        for step in range(len(self.draft) + 1):
            if self.walk.done:
                return step
            token, log_probability = choose(logits[step], self.walk.options(), column)
            self.take(token, log_probability)
            if step == len(self.draft) or token != self.draft[step]:
                return step
        raise AssertionError("the last step always returns")

    def take(self, token: int, log_probability: float) -> None:
        """Go on with this token."""
        self.walk.take(token, log_probability)
        self.ids.append(token)


def choose(
    logits: NDArray[np.float32], options: Sequence[int], column: Mapping[int, int]
) -> tuple[int, float]:
    """Return the most probable of the options (the first of equals), and its log-probability among them."""
    if len(options) == 1:
        return options[0], 0.0
    values = [float(logits[column[option]]) for option in options]
    best = max(values)
    return options[values.index(best)], -math.log(sum(math.exp(value - best) for value in values))


class Decoder:
    """Decodes a batch of rows that accept different lengths, over one cache.

    What a row rejects of its draft stays in the cache until no row needs those places, hidden by the
    attention mask; the positions are given explicitly, so nothing shifts. With one row, or rows in step, it
    is cut off at once.
    """

    def __init__(self, model: Any, rows: list[_Row], pad: int) -> None:
        import torch
        from transformers import DynamicCache

        causal = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._body, self._head = causal.get_decoder(), causal.get_output_embeddings()
        self._device = next(causal.parameters()).device
        self._pad = pad
        self._rows = rows
        self._cache = DynamicCache()
        self._mask = torch.zeros((len(rows), 0), dtype=torch.long, device=self._device)
        columns = sorted({token for row in rows for token in row.walk.vocabulary})
        self._columns = torch.tensor(columns, device=self._device)
        self._column = {token: place for place, token in enumerate(columns)}
        self._read_shared_prefix()

    def _read_shared_prefix(self) -> None:
        """Run what all prompts begin with (instruction, labels) once instead of once a row."""
        import torch

        # The last token of a prompt is read with its row, because its logits are asked for.
        beginnings = [row.ids[:-1] for row in self._rows]
        count = sum(
            1 for _ in takewhile(lambda column: len(set(column)) == 1, zip(*beginnings, strict=False))
        )
        if len(self._rows) < 2 or count < SHARED_PREFIX_TOKENS:
            return
        ids = torch.tensor([beginnings[0][:count]], device=self._device)
        self._body(input_ids=ids, past_key_values=self._cache, use_cache=True)
        self._cache.batch_repeat_interleave(len(self._rows))
        self._mask = torch.ones((len(self._rows), count), dtype=torch.long, device=self._device)
        for row in self._rows:
            row.read = count

    def step(self, draft_tokens: int) -> None:
        """Draft, ask the model once, and accept."""
        self._drop_finished()
        for row in self._rows:
            row.prepare(draft_tokens)
        if all(row.walk.done for row in self._rows):
            return
        fed = [[] if row.walk.done else row.ids[row.read :] + row.draft for row in self._rows]
        held = self._mask.shape[1]
        logits = self._forward(fed)
        stand = [
            0 if row.walk.done else len(row.ids) - row.read + row.accept(scores, self._column)
            for row, scores in zip(self._rows, logits, strict=True)
        ]
        for number, (row, count) in enumerate(zip(self._rows, stand, strict=True)):
            row.read += count
            self._mask[number, held + count :] = 0
        surplus = self._mask.shape[1] - held - max(stand)
        if surplus:
            self._cache.crop(-surplus)
            self._mask = self._mask[:, :-surplus]

    def _drop_finished(self) -> None:
        """Take finished rows out of the cache, once they are a quarter of it: it is copied each time."""
        import torch

        left = [number for number, row in enumerate(self._rows) if not row.walk.done]
        if len(left) * 4 > len(self._rows) * 3:
            return
        index = torch.tensor(left, device=self._device)
        self._cache.batch_select_indices(index)
        self._mask = self._mask[index]
        self._rows = [self._rows[number] for number in left]

    def _forward(self, fed: list[list[int]]) -> list[NDArray[np.float32]]:
        """Return for each row the logits after its last known token and after each token of its draft."""
        import numpy as np
        import torch

        width = max(map(len, fed))
        ids = torch.tensor([row + [self._pad] * (width - len(row)) for row in fed], device=self._device)
        new = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in fed], device=self._device)
        read = torch.tensor([row.read for row in self._rows], device=self._device)
        self._mask = torch.cat([self._mask, new], dim=1)
        hidden = self._body(
            input_ids=ids,
            attention_mask=self._mask,
            position_ids=read[:, None] + torch.arange(width, device=self._device),
            past_key_values=self._cache,
            use_cache=True,
        ).last_hidden_state
        counts = [len(row.draft) + 1 if tokens else 0 for row, tokens in zip(self._rows, fed, strict=True)]
        asked = [
            hidden[number, len(tokens) - count : len(tokens)]
            for number, (tokens, count) in enumerate(zip(fed, counts, strict=True))
        ]
        logits = self._head(torch.cat(asked))[:, self._columns].float().cpu().numpy()
        return np.split(logits, np.cumsum(counts)[:-1])


def decode(
    model: Any,
    tokens: TextTokens,
    prompts: Sequence[list[int]],
    constraints: Sequence[TaggedCopy],
    pad: int,
    draft_tokens: int | None = None,
) -> list[list[TaggedSpan]]:
    """Return the spans that the model marks in each source; the rows go through the model together.

    `model` is a causal language model of `transformers` whose attention sees the whole prompt, `pad` any id.
    """
    import torch

    rows = [
        _Row(TagWalk(constraint, tokens), list(ids))
        for ids, constraint in zip(prompts, constraints, strict=True)
    ]
    unfinished = [row for row in rows if not row.walk.done]
    if unfinished:
        with torch.inference_mode():
            decoder = Decoder(model, unfinished, pad)
            draft_tokens = draft_tokens or DRAFT_TOKENS.get(model.device.type, DRAFT_TOKENS["cuda"])
            while not all(row.walk.done for row in unfinished):
                decoder.step(draft_tokens)
    return [row.walk.spans for row in rows]
