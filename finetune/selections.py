"""Numbered sentences to choose from, as `clinical ask` and `clinical search` put them to a model, and what to choose.

More than one question on the same sentences make a conversation: the first turn is what the product asks, token for
token, and the questions after it stand alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from clinical.documents.note import Note
from clinical.finetune.recipe import Task
from clinical.models.language_model import Message, Request, Selection
from clinical.prompts import templates
from clinical.prompts.sentences import numbered as sentences_by_number
from clinical.prompts.templates import Part, Template
from clinical.tasks.ask import Scored
from clinical.tasks.ask_mistral import numbered
from clinical.tasks.evidence import Stretch, Told

MOST_CHOSEN = 5
"""How many sentences a model may choose at a time, as in `clinical ask`."""

Line = tuple[str, str]
"""A heading, or "", and a sentence."""

Asked = tuple[str, frozenset[int]]
"""A question, and the numbers from 0 of the sentences that answer it."""


@dataclass(frozen=True)
class Chosen:
    """A request, whose earlier answers are given, and the numbers from 1 that are to be chosen at its end."""

    request: Request
    numbers: tuple[int, ...]

    @property
    def answer(self) -> str:
        """The numbers as a model writes them."""
        assert isinstance(self.request.constraint, Selection)
        return self.request.constraint.write(self.numbers)


def chosen(
    task: Task, template: Template, title: str, lines: Sequence[Line], questions: Sequence[Asked]
) -> Chosen:
    """Return questions on sentences as the product puts them for `task`, `search` or `ask`."""
    if task == "search":
        return found(template, [sentence for _, sentence in lines], questions)
    return asked(template, title, lines, questions)


def asked(template: Template, title: str, lines: Sequence[Line], questions: Sequence[Asked]) -> Chosen:
    """Return questions on sentences of one note, as `clinical ask --quote` puts them (`ask.quote.v1`)."""
    note = Note(title, "\n".join(sentence for _, sentence in lines))
    told = [Told(0, 0, sentence, 1, heading) for heading, sentence in lines]
    stretch = Stretch(note, title, tuple(told))
    text = "\n".join(numbered([Scored(stretch, one, None) for one in told]))

    def prompt(question: str) -> Message:
        values = templates.checked(template, {"question": question, "text": text})
        return Message("user", template.render(values))

    return _conversation(prompt, "Question: ", Selection(len(lines), MOST_CHOSEN), questions)


def found(template: Template, sentences: Sequence[str], queries: Sequence[Asked]) -> Chosen:
    """Return queries on sentences that were found, as `clinical search --system mistral` puts them (`search.v1`)."""
    text = sentences_by_number(sentences)

    def prompt(query: str) -> Message:
        return Message("user", template.render(templates.checked(template, {"query": query, "text": text})))

    return _conversation(prompt, "Query: ", Selection(len(sentences), len(sentences)), queries)


def drilled(sentences: Sequence[str], words: Sequence[Asked]) -> Chosen:
    """Return words, each asked for by itself on these sentences, as no product asks."""
    text = sentences_by_number(sentences)

    def prompt(word: str) -> Message:
        return Message("user", (Part(text), Part("\n\n"), Part(word)))

    return _conversation(prompt, "", Selection(len(sentences), 1), words)


def _conversation(
    prompt: Callable[[str], Message], again: str, constraint: Selection, questions: Sequence[Asked]
) -> Chosen:
    """Return a conversation: `prompt` puts the first question, those after it follow `again`."""
    chosen = [tuple(sorted(number + 1 for number in answers))[: constraint.limit] for _, answers in questions]
    messages = [prompt(questions[0][0])]
    for numbers, (question, _) in zip(chosen, questions[1:], strict=False):
        messages.append(Message("assistant", (Part(constraint.write(numbers)),)))
        messages.append(Message("user", (Part(again), Part(question, "question"))))
    return Chosen(Request(tuple(messages), constraint), chosen[-1])
