"""What the tasks ask of a language model: one method, from prompts to answers.

A request may carry a constraint, as data: what the answer must look like. A model in this process enforces
it while it decodes; a server is handed it as a grammar (`TaggedCopy.to_lark`), and what it answers is read
back with `TaggedCopy.parse`, which accepts exactly the same answers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

from clinical.models.pieces import split_pieces
from clinical.prompts.inline_tags import check_label, close_tag, open_tag
from clinical.prompts.templates import Part


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """The turn as one string, as a server receives it."""
        return "".join(part.text for part in self.parts)


@dataclass(frozen=True)
class TaggedSpan:
    """A stretch of the source that was given a label, `[start, end)` in code points.

    `score` is the probability, among the answers that the constraint allows, that a mention of this label
    begins here and ends exactly there, given the answer up to here; `None` when the model does not tell.
    """

    start: int
    end: int
    label: str
    score: float | None = None


@dataclass(frozen=True)
class TaggedCopy:
    """The answer is the source, character by character, with `<Label>…</Label>` around stretches of it.

    Tags stand between pieces (`clinical.models.pieces`); stretches do not nest and do not begin with white
    space. A tag may not stand where the source itself goes on with the very same characters, so that every
    answer can be read in one way only. The first piece may have one blank more than in the source, since
    chat formats put one there.
    """

    source: str
    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        for label in self.labels:
            check_label(label)

    @cached_property
    def pieces(self) -> tuple[str, ...]:
        """The pieces of the source."""
        return tuple(split_pieces(self.source))

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """Where each piece begins, and at last the length of the source."""
        places = [0]
        for piece in self.pieces:
            places.append(places[-1] + len(piece))
        return tuple(places)

    def may_open(self, boundary: int, label: str) -> bool:
        """Return whether a stretch of this label may begin before the piece with this number."""
        return self.visible(boundary) and not self._goes_on_with(open_tag(label), boundary)

    def may_close(self, boundary: int, label: str) -> bool:
        """Return whether a stretch of this label that has at least one piece may end before this piece."""
        return not self._goes_on_with(close_tag(label), boundary)

    def visible(self, boundary: int) -> bool:
        """Return whether there is a piece after this boundary that is more than white space."""
        return boundary < len(self.pieces) and not self.pieces[boundary].isspace()

    def bracket(self, boundary: int) -> bool:
        """Return whether the source goes on with "<" here; only there could it be mistaken for a tag."""
        return self.source.startswith("<", self.offsets[boundary])

    def _goes_on_with(self, tag: str, boundary: int) -> bool:
        return self.source.startswith(tag, self.offsets[boundary])

    def span(self, first: int, end: int, label: str, score: float | None = None) -> TaggedSpan:
        """Return the stretch of the pieces `[first, end)`, without the white space at its edges."""
        text = self.source[self.offsets[first] : self.offsets[end]]
        start = self.offsets[first] + len(text) - len(text.lstrip())
        return TaggedSpan(start, start + len(text.strip()), label, score)

    def to_lark(self) -> str:
        """Return the answers that are allowed as a Lark grammar, as servers with llguidance take it.

        It is a finite automaton written as rules: `o3` is the rest of an answer that has copied three
        pieces and has no tag open, `i3_1` one that has the label with number 1 open.
        """
        rules = ["start: o0"]
        count = len(self.pieces)
        for place in range(count + 1):
            copy = json.dumps(self.pieces[place]) if place < count else ""
            if place == 0 and copy:
                copy = f'" "? {copy}'
            ways = [f"{copy} o{place + 1}" if copy else '""']
            ways += [
                f"{json.dumps(open_tag(label))} {copy} i{place + 1}_{number}"
                for number, label in enumerate(self.labels)
                if self.may_open(place, label)
            ]
            rules.append(f"o{place}: {' | '.join(ways)}")
            for number, label in enumerate(self.labels if place else ()):
                inside = [f"{copy} i{place + 1}_{number}"] if copy else []
                if self.may_close(place, label):
                    inside.append(f"{json.dumps(close_tag(label))} o{place}")
                rules.append(f"i{place}_{number}: {' | '.join(inside)}")
        return "\n".join(rules) + "\n"

    def parse(self, answer: str) -> tuple[TaggedSpan, ...] | None:
        """Return the stretches that an answer marks, or `None` when it is not one of the allowed answers."""
        spans = self._parse(answer, "")
        return self._parse(answer, " ") if spans is None else spans

    def _parse(self, answer: str, blank: str) -> tuple[TaggedSpan, ...] | None:
        spans: list[TaggedSpan] = []
        inside: tuple[str, int] | None = None
        at = 0
        for place in range(len(self.pieces) + 1):
            if inside is not None:
                label, first = inside
                if answer.startswith(close_tag(label), at) and place > first and self.may_close(place, label):
                    spans.append(self.span(first, place, label))
                    at += len(close_tag(label))
                    inside = None
            if inside is None:
                for label in self.labels:
                    if answer.startswith(open_tag(label), at) and self.may_open(place, label):
                        at += len(open_tag(label))
                        inside = (label, place)
                        break
            if place < len(self.pieces):
                copied = self.pieces[place] if place else blank + self.pieces[place]
                if not answer.startswith(copied, at):
                    return None
                at += len(copied)
        return None if inside or at != len(answer) else tuple(spans)


@dataclass(frozen=True)
class Request:
    """What to answer, and how the answer must look. Without a constraint it may be any text."""

    messages: tuple[Message, ...]
    constraint: TaggedCopy | None = None
    max_new_tokens: int = 512


@dataclass(frozen=True)
class Completion:
    """One answer. `enforced`: the constraint was held while decoding, the spans could not be otherwise.

    When it is false the answer is free text, and it is for the caller to check it against the constraint.
    """

    text: str
    spans: tuple[TaggedSpan, ...] = ()
    enforced: bool = False


class LanguageModel(Protocol):
    """A model that answers prompts; in this process or behind a URL. `name` is printed with every result."""

    name: str

    def complete(self, requests: Sequence[Request]) -> list[Completion]:
        """Return one answer for each request, in their order."""
        ...
