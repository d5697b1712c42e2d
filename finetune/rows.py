"""Training rows: the tokens of a request exactly as a model in use is given them, and the tokens to be learned.

Prompt and answer are tokenized apart, by `clinical.models.text_tokens` and the model's chat format, as they are in
use: the model is never trained on a token sequence that it will not meet. An answer ends with the end token.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from clinical.errors import UsageError
from clinical.finetune import mistral_rows
from clinical.finetune.examples import Example
from clinical.finetune.recipe import Task
from clinical.models import chat as chat_formats
from clinical.models.chat import EOS, ChatFormat, Segment, detect
from clinical.models.language_model import Message, Selection, TaggedCopy
from clinical.models.text_tokens import TextTokens
from clinical.prompts.templates import Part

IGNORED = -100
"""The label of a token that is not learned, as torch's cross-entropy and TRL have it."""
FORMATS = {
    form.name: form for form in (chat_formats.V1, chat_formats.V3, chat_formats.LLAMA2, chat_formats.PLAIN)
}
Loss = Literal["answers", "all", "decisions"]


@dataclass(frozen=True)
class TrainingRow:
    """One row as ids. `learned` are the half-open stretches of `ids` that are learned.

    `options` says of each token of the last stretch what a constraint allowed there (`decisions` only).
    """

    ids: list[int]
    learned: tuple[tuple[int, int], ...]
    task: Task
    place: str
    group: str = ""
    options: list[list[int]] = field(default_factory=list)

    @property
    def labels(self) -> list[int]:
        """The ids where they are learned, `IGNORED` elsewhere."""
        labels = [IGNORED] * len(self.ids)
        for start, end in self.learned:
            labels[start:end] = self.ids[start:end]
        return labels

    @property
    def learned_count(self) -> int:
        """How many tokens are learned."""
        return sum(end - start for start, end in self.learned)

    def cut(self, length: int) -> TrainingRow:
        """Return the row without what stands behind `length` tokens."""
        learned = tuple((start, min(end, length)) for start, end in self.learned if start < length)
        first = self.learned[-1][0] if self.learned else 0
        return TrainingRow(
            self.ids[:length],
            learned,
            self.task,
            self.place,
            self.group,
            self.options[: max(0, length - first)],
        )


def chat_format(tokenizer: Any, named: str) -> ChatFormat:
    """Return the chat format of a model. Raises `UsageError` when the recipe names another than the model speaks."""
    spoken = detect(tokenizer)
    if named not in ("auto", spoken.name):
        raise UsageError(
            f"the recipe says chat: {named}, but the base's tokenizer and template are of the format {spoken.name}, "
            "which is what it will be asked in; leave `chat` out, or give the base that the recipe is made for"
        )
    return spoken


class Writer:
    """Turns examples into rows for one model."""

    def __init__(self, tokenizer: Any, chat: ChatFormat, loss: Loss = "answers") -> None:
        self.tokens = TextTokens(tokenizer, chat)
        self.chat = chat
        self._loss = loss
        self._bos, self._end = self.tokens.control("<s>"), self.tokens.control("</s>")

    def row(self, example: Example) -> TrainingRow | None:
        """Return the row of an example; `None` when its answer cannot be written under its constraint."""
        if example.request is None:
            ids = [self._bos, *self.tokens.plain(example.answer), self._end]
            return TrainingRow(ids, ((1, len(ids)),), example.task, example.place, example.group)
        prompt, earlier = self._prompt(example.request.messages)
        answer, options = self._answer(example)
        if answer is None:
            return None
        ids = [*prompt, *answer]
        learned = (
            [*earlier, (len(prompt), len(ids))] if self._loss == "answers" else [(len(prompt), len(ids))]
        )
        if self._loss == "all":
            learned = [(1, len(ids))]
        keep = options if self._loss == "decisions" else []
        return TrainingRow(ids, tuple(learned), example.task, example.place, example.group, keep)

    def _prompt(self, messages: Sequence[Message]) -> tuple[list[int], list[tuple[int, int]]]:
        """Return the ids of the conversation up to the answer, and where earlier answers stand in them."""
        segments = self.chat.write(messages)
        whole = self.tokens.prompt(segments)
        if all(message.role != "assistant" for message in messages):
            return whole, []
        ids: list[int] = []
        learned: list[tuple[int, int]] = []
        for segment_run, is_answer in _turns(segments, messages):
            start = len(ids)
            ids += self.tokens.prompt(segment_run)
            if is_answer:
                learned.append((start, len(ids)))
        # Turns are parted where the format puts a control token or a blank: else nothing could be said of them.
        return (ids, learned) if ids == whole else (whole, [])

    def _answer(self, example: Example) -> tuple[list[int] | None, list[list[int]]]:
        assert example.request is not None
        constraint = example.request.constraint
        if isinstance(constraint, TaggedCopy):
            wanted = mistral_rows.answer(constraint, self.tokens, example.spans)
            if wanted is None:
                return None, []
            return [*wanted.ids, self._end], [*wanted.options, [self._end]]
        if isinstance(constraint, Selection):
            # Number by number, as constrained decoding writes it.
            words = [f" {number}" for number in example.chosen] or [f" {constraint.write(())}"]
            ids = list(self.tokens.plain(words[0]))
            for word in words[1:]:
                ids += [*self.tokens.plain(","), *self.tokens.plain(word)]
            return [*ids, self._end], []
        return self.tokens.prompt(self.answer_segments(example.answer)), []

    def answer_segments(self, text: str) -> list[Segment]:
        """Return what the chat format writes for an answer, its end token last."""
        asked = Message("user", (Part("?"),))
        head = self.chat.write([asked])
        told = self.chat.write([asked, Message("assistant", (Part(text),)), asked])[len(head) :]
        return told[: told.index(EOS) + 1]

    def rows(self, examples: Sequence[Example]) -> Iterator[tuple[Example, TrainingRow | None]]:
        """Yield each example with its row."""
        for example in examples:
            yield example, self.row(example)


def _turns(segments: Sequence[Segment], messages: Sequence[Message]) -> Iterator[tuple[list[Segment], bool]]:
    """Yield the segments of a conversation in runs; true for those of an answer, with its blank and its end."""
    answers = {id(part) for message in messages if message.role == "assistant" for part in message.parts}
    run: list[Segment] = []
    inside = False
    for segment in segments:
        if id(segment) in answers and not inside:
            # The blank that the format puts before an answer is learned with it.
            blank = [run.pop()] if run and run[-1] == Part(" ") else []
            yield run, False
            run, inside = list(blank), True
        run.append(segment)
        if inside and segment == EOS:
            yield run, True
            run, inside = [], False
    yield run, inside
