"""What the tasks ask of a language model: one method, from prompts to answers.

A request may carry a constraint, as data: what the answer must look like. A model in this process enforces
it while it decodes; a server is handed it as a grammar (`to_lark`), and what it answers is read back with
`parse`, which accepts exactly the same answers. There are three constraints, and answers without any:

    Request(messages, TaggedCopy(note, ("Disease", "Symptom")))
        The note with tags in it. `completion.spans` are the marked stretches.

    Request(messages, Selection(count=12))
        Which of the sentences 1 to 12 of the prompt? `completion.choices` are those chosen, ascending, maybe
        none. `completion.candidates` are all twelve, each with a probability to rank by:

            best = sorted(completion.candidates, key=lambda choice: -(choice.probability or 0.0))

    Request(messages, OneOf(("yes", "no", "maybe")))
        `completion.text` is one of them; `completion.options` maps each to its probability. A server that was
        not held may have given none of them: then the text is empty, and a server may not tell probabilities.

    Request(messages, max_new_tokens=200, stop=("\\n\\n",))
        Free text. `completion.finish` says why it ended: `stop` (by itself, or at a stop string), `length`
        (cut at `max_new_tokens`) or `repetition` (it began to say the same again, and was cut there).

Give many requests in one call: those of a kind go through the model together. `completion.enforced` is true
where the answer could not have been otherwise; where it is false, a server answered freely, and the spans,
choices and options are what of its answer could be tied to the constraint (see `warnings`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Literal, Protocol

from clinical.documents.annotations import Grounding
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
    `grounding` is `decoded` where the answer could not have been otherwise; else it says how the stretch
    was tied to the source.
    """

    start: int
    end: int
    label: str
    score: float | None = None
    grounding: Grounding = "decoded"


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
class Selection:
    """The answer is "none", or some of the numbers 1 to `count` as "2, 5, 7": ascending, each at most once.

    `most` bounds how many. Like every answer it may begin with a blank, since chat formats put one there.
    """

    count: int
    most: int | None = None

    def __post_init__(self) -> None:
        if self.count < 1 or (self.most is not None and self.most < 1):
            raise ValueError("a selection is out of at least one, and of at least one")

    @property
    def limit(self) -> int:
        """How many may be chosen at most."""
        return min(self.count, self.most or self.count)

    def write(self, numbers: Sequence[int]) -> str:
        """Return the answer that chooses these numbers.

        >>> Selection(9).write([2, 5])
        '2, 5'
        """
        return ", ".join(map(str, numbers)) or NONE

    def to_lark(self) -> str:
        """Return the answers that are allowed as a Lark grammar, as servers with llguidance take it.

        `n4_2` is the rest of an answer that goes on with a number from 4 on and may hold two numbers more.
        """
        rules = [f'start: " "? ("{NONE}" | n1_{self.limit})']
        for left in range(self.limit, 0, -1):
            for number in range(1, self.count + 1):
                more = f' (", " n{number + 1}_{left - 1})?' if number < self.count and left > 1 else ""
                later = f" | n{number + 1}_{left}" if number < self.count else ""
                rules.append(f'n{number}_{left}: "{number}"{more}{later}')
        return "\n".join(rules) + "\n"

    def parse(self, answer: str) -> tuple[int, ...] | None:
        """Return the numbers of an answer, or `None` when it is not one of the allowed answers."""
        answer = answer.removeprefix(" ")
        if answer == NONE:
            return ()
        if not re.fullmatch(r"[1-9][0-9]*(, [1-9][0-9]*)*", answer):
            return None
        numbers = tuple(map(int, answer.split(", ")))
        ascending = all(first < second for first, second in pairwise(numbers))
        return numbers if ascending and numbers[-1] <= self.count and len(numbers) <= self.limit else None


@dataclass(frozen=True)
class OneOf:
    """The answer is one of some strings, as it stands."""

    options: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.options or len(set(self.options)) < len(self.options):
            raise ValueError("options are some different strings")
        if any(not option or option != option.strip() for option in self.options):
            raise ValueError("an option is not empty and has no blanks at its edges")

    def to_lark(self) -> str:
        """Return the answers that are allowed as a Lark grammar, as servers with llguidance take it."""
        return f'start: " "? ({" | ".join(map(json.dumps, self.options))})\n'

    def parse(self, answer: str) -> str | None:
        """Return the option that an answer is, or `None` when it is none of them."""
        answer = answer.removeprefix(" ")
        return answer if answer in self.options else None


NONE = "none"
"""The answer of a `Selection` that chooses nothing."""

Constraint = TaggedCopy | Selection | OneOf


@dataclass(frozen=True)
class Request:
    """What to answer, and how the answer must look. Without a constraint it may be any text.

    `max_new_tokens`, `stop`, `temperature` and `seed` are for free text alone: it ends before the first of
    the `stop` strings, and is the most probable text, token by token, unless `temperature` is above 0; then
    it is drawn at random, the same for the same `seed`.
    """

    messages: tuple[Message, ...]
    constraint: Constraint | None = None
    max_new_tokens: int = 512
    stop: tuple[str, ...] = ()
    temperature: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Choice:
    """One of the numbers of a `Selection`.

    `probability`: that this number is chosen, given what the answer decided on the numbers before it, among
    the answers that the constraint allows; `None` when the model does not tell. So it is one decision for
    each number, and all of them can be ranked by it, those not chosen too.
    """

    number: int
    probability: float | None = None


Finish = Literal["stop", "length", "repetition"]
"""Why an answer ended: by itself or at a stop string, at its greatest length, or because it went in circles."""


@dataclass(frozen=True)
class Completion:
    """One answer. `enforced`: the constraint was held while decoding, the answer could not be otherwise.

    When it is false and there was a constraint, the answer was free text: `spans`, `choices` and `text` hold
    what of it could be verified against the constraint, and `warnings` say what could not.
    """

    text: str
    spans: tuple[TaggedSpan, ...] = ()
    enforced: bool = False
    choices: tuple[Choice, ...] = ()
    candidates: tuple[Choice, ...] = ()
    options: Mapping[str, float] = field(default_factory=dict)
    finish: Finish = "stop"
    warnings: tuple[str, ...] = ()


class LanguageModel(Protocol):
    """A model that answers prompts; in this process or behind a URL. `name` is printed with every result."""

    @property
    def name(self) -> str:
        """The name of the model."""
        ...

    def complete(self, requests: Sequence[Request]) -> list[Completion]:
        """Return one answer for each request, in their order."""
        ...


class MeasuringModel(LanguageModel, Protocol):
    """A language model that says how much it can read, for tasks whose documents may be too long for it."""

    @property
    def window(self) -> int:
        """How many tokens a prompt and its answer may have together."""
        ...

    def count_tokens(self, text: str) -> int:
        """Return how many tokens a text has; where a model cannot tell, no fewer than it may have."""
        ...
