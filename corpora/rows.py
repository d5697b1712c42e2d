"""The one shape of training rows, whatever they come from.

A row is a conversation that ends with the assistant, or a plain text; as JSON

    {"id": "…", "messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}
    {"id": "…", "text": "…"}

Roles are `system` (at most once, first), then `user` and `assistant` in turn. What is to be learned are the turns
of the assistant alone, or the whole of a plain text. How a conversation is written down for a model is for its
chat format, never for a reader. Readers return `Rows`: the rows, every fault with its line, and how many entries
were passed over for which reason. Nothing is dropped without a word.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle
from pathlib import Path
from typing import Any, Literal, get_args

from clinical.errors import UsageError

Role = Literal["system", "user", "assistant"]
MOST_FAULTS = 20
ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True)
class Turn:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True)
class Row:
    """One training example: `messages`, or a plain `text` when there are none.

    `fields` are the values of the entry by the names that a prompt template may ask for (`question`, `context`,
    `text` …), `place` says where it stands ("chat.jsonl line 12").
    """

    id: str
    messages: tuple[Turn, ...] = ()
    text: str = ""
    place: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)

    def to_record(self) -> dict[str, Any]:
        """Return the row as the object that is written to JSON."""
        if not self.messages:
            return {"id": self.id, "text": self.text}
        turns = [{"role": turn.role, "content": turn.content} for turn in self.messages]
        return {"id": self.id, "messages": turns}

    @property
    def prompt(self) -> str:
        """All that comes before the last answer; of a plain text, nothing."""
        return "\n\n".join(turn.content for turn in self.messages[:-1])

    @property
    def answer(self) -> str:
        """The last answer; of a plain text, all of it."""
        return self.messages[-1].content if self.messages else self.text


@dataclass(frozen=True)
class Fault:
    """What is wrong with one entry. `line` is its line, of a JSON list the number of its entry; 1 is the first."""

    source: str
    line: int | None
    reason: str
    unit: str = "line"

    def __str__(self) -> str:
        where = "" if self.line is None else f" {self.unit} {self.line}"
        return f"{self.source}{where}: {self.reason}"


@dataclass
class Rows:
    """What a source gave: rows in their order, all faults, and by reason how many entries were passed over."""

    rows: list[Row] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)
    files: list[Path] = field(default_factory=list)

    def add(self, other: Rows) -> None:
        """Append what another source gave."""
        self.rows += other.rows
        self.faults += other.faults
        self.passed_over += other.passed_over
        self.files += other.files


def all_faults(faults: Sequence[str]) -> UsageError:
    """Return the error that names the faults of a file, the first `MOST_FAULTS` of them, one a line."""
    more = [f"and {len(faults) - MOST_FAULTS} more"] if len(faults) > MOST_FAULTS else []
    return UsageError("\n".join([*faults[:MOST_FAULTS], *more]))


def conversation(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """Return the turns without blanks at their edges; raises `ValueError` that says what no conversation may be."""
    trimmed = tuple(replace(turn, content=turn.content.strip()) for turn in turns)
    spoken = trimmed[1:] if trimmed and trimmed[0].role == "system" else trimmed
    if not spoken:
        raise ValueError("a conversation without turns")
    for number, turn in enumerate(trimmed, 1):
        if not turn.content:
            raise ValueError(f"turn {number} ({turn.role}) is empty")
    for number, (turn, role) in enumerate(zip(spoken, cycle(ROLES[1:]), strict=False), 1):
        if turn.role != role:
            raise ValueError(f"turn {number} is of {turn.role}, where {role} is expected")
    if spoken[-1].role != "assistant":
        raise ValueError("the last turn is not of the assistant: nothing to learn")
    return trimmed


def question_and_answer(question: str, answer: str, context: str = "", system: str = "") -> tuple[Turn, ...]:
    """Return the conversation of a question with its answer; a context stands before the question.

    Raises `ValueError` when either is empty.
    """
    for name, value in (("question", question), ("answer", answer)):
        if not value.strip():
            raise ValueError(f"the {name} is empty")
    asked = f"{context.strip()}\n\n{question.strip()}" if context.strip() else question
    head = [Turn("system", system)] if system.strip() else []
    return conversation([*head, Turn("user", asked), Turn("assistant", answer)])
