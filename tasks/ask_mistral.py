"""Answers by a language model: written with citations and held against them, or chosen from the notes.

A model reads the likeliest sentences around the hits, numbered. It writes an answer (`prompts/ask.v1.txt`), each
sentence with the numbers of those it rests on; a number that is not there is no citation, and a sentence that nothing
cited bears out (`clinical.tasks.support`) is marked unsupported. Or it chooses (`prompts/ask.quote.v1.txt`): its
answer can only be numbers of the sentences, which are then quoted, so nothing can be made up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from clinical.documents.answers import Answer, AnswerSentence, Citation
from clinical.documents.note import Note
from clinical.documents.sentences import split_sentences
from clinical.documents.summaries import Draft, Source, SummarySentence
from clinical.models.language_model import MeasuringModel, Message, OneOf, Request, Selection
from clinical.prompts.sentences import numbered as sentences_by_number
from clinical.prompts.templates import Template, checked
from clinical.tasks.ask import NEAREST, Scored, Scorer, alike, cite, likely, likely_first
from clinical.tasks.evidence import Stretch, stretch_of
from clinical.tasks.support import Support
from clinical.tasks.yes_no import DECISIONS

if TYPE_CHECKING:
    from clinical.tasks.ner import Recognizer

__all__ = ["ByModel", "MistralAnswerer", "bears_out", "parse_answer"]

READ = 24
"""How many sentences the model is shown at most, the likeliest."""

MAX_NEW_TOKENS = 256

NOTHING = re.compile(r"\W*the notes do not tell\b", re.IGNORECASE)
_NUMBERS = re.compile(r"\s*\[(\d+(?:\s*,\s*\d+)*)\]")


@dataclass(frozen=True)
class MistralAnswerer:
    """Answers with a language model from the sentences that `scorer` finds likeliest; `quote` makes it choose."""

    language_model: MeasuringModel
    template: Template
    scorer: Scorer
    quote: bool = False
    most: int = 5
    system: str = "mistral"

    @property
    def model(self) -> str:
        """The name of the language model."""
        return self.language_model.name

    def answer(self, question: str, evidence: Sequence[Stretch]) -> Answer:
        """Return the model's answer, each sentence with what it cites and whether that bears it out."""
        empty = Answer(question, self.system, self.model, abstained=True)
        shown = self._shown(question, evidence)
        if not shown:
            return empty
        nearest = tuple(cite(question, found) for found in sorted(shown, key=_by_score)[:NEAREST])
        empty = replace(empty, nearest=nearest)
        request = self._request(question, shown)
        (completion,) = self.language_model.complete([request])
        empty = replace(empty, warnings=tuple(completion.warnings))
        if self.quote:
            chosen = {choice.number: choice.probability for choice in completion.choices}
            best = max((choice.probability or 0.0 for choice in completion.candidates), default=None)
            groups = [[replace(shown[number - 1], score=likelihood)] for number, likelihood in chosen.items()]
            quoted = likely(question, groups)
            found = replace(empty, sentences=quoted.sentences, citations=quoted.citations)
        else:
            best = None
            sentences, citations = self._written(question, completion.text, shown)
            found = replace(empty, sentences=sentences, citations=citations)
        if not found.sentences:
            return replace(empty, score=best)
        return replace(found, abstained=False, score=best, nearest=())

    def _shown(self, question: str, evidence: Sequence[Stretch]) -> list[Scored]:
        """Return the likeliest sentences that the model has room for, in the order of the notes."""
        groups = alike(likely_first(question, evidence, self.scorer))[:READ]
        while groups:
            shown = sorted((group[0] for group in groups), key=_in_reading_order)
            (message,) = self._request(question, shown).messages
            room = self.language_model.window - (0 if self.quote else MAX_NEW_TOKENS) - 64
            if self.language_model.count_tokens(message.text) <= room:
                return shown
            groups = groups[: len(groups) * 3 // 4]
        return []

    def _request(self, question: str, shown: Sequence[Scored]) -> Request:
        values = checked(self.template, {"question": question, "text": "\n".join(numbered(shown))})
        messages = (Message("user", self.template.render(values)),)
        if self.quote:
            return Request(messages, Selection(len(shown), self.most))
        return Request(messages, max_new_tokens=MAX_NEW_TOKENS)

    def _written(
        self, question: str, text: str, shown: Sequence[Scored]
    ) -> tuple[tuple[AnswerSentence, ...], tuple[Citation, ...]]:
        """Return the sentences of a written answer, and what they cite in the order of their first mention."""
        if NOTHING.match(text):
            return (), ()
        parsed = parse_answer(text, len(shown))
        order = list(dict.fromkeys(number for _, numbers in parsed for number in numbers))
        citations = tuple(cite(question, shown[number - 1]) for number in order)
        sentences = []
        for words, numbers in parsed:
            checked_one = held_against(words, [shown[number - 1].told.text for number in numbers], _named)
            places = tuple(order.index(number) + 1 for number in numbers)
            sentences.append(AnswerSentence(words, places, checked_one.support, checked_one.reasons))
        return tuple(sentences), citations


@dataclass(frozen=True)
class ByModel:
    """Decides yes, no or maybe with a language model, which can answer nothing else.

    It reads the sentences that the answer cites, or, of a `study`, the whole study that the best hit is from.
    """

    language_model: MeasuringModel
    template: Template
    study: bool = False

    @property
    def name(self) -> str:
        """The name of the language model."""
        return self.language_model.name

    def decide(self, question: str, answer: Answer, evidence: Sequence[Stretch]) -> Mapping[str, float]:
        """Return the likelihood of each decision."""
        if self.study:
            best = min(evidence, key=lambda stretch: stretch.rank)
            return self.judge(question, [told.text for told in stretch_of(best.note).told])
        return self.judge(question, [citation.text for citation in answer.citations])

    def judge(self, question: str, sentences: Sequence[str]) -> Mapping[str, float]:
        """Return the likelihoods for these sentences; where the model does not tell them, 1 for its answer."""
        values = checked(self.template, {"question": question, "text": sentences_by_number(sentences)})
        request = Request((Message("user", self.template.render(values)),), OneOf(DECISIONS))
        (completion,) = self.language_model.complete([request])
        if completion.options:
            return {name: completion.options.get(name, 0.0) for name in DECISIONS}
        found = completion.text if completion.text in DECISIONS else "maybe"
        return {name: float(name == found) for name in DECISIONS}


def numbered(shown: Sequence[Scored]) -> Iterator[str]:
    """Yield the lines that the model reads: each note and section once, and under it its sentences by number."""
    before = ("", "")
    for number, found in enumerate(shown, 1):
        note = found.stretch.note
        above = (" ".join(filter(None, (note.title or note.id, note.date))), found.told.heading)
        if above != before:
            yield f"Note {above[0]}" + (f", {above[1]}:" if above[1] else ":")
            before = above
        yield f"[{number}] {' '.join(found.told.text.split())}"


def parse_answer(text: str, count: int) -> list[tuple[str, tuple[int, ...]]]:
    """Return the sentences of an answer without their marks, each with the numbers up to `count` that it cites.

    >>> parse_answer("Warfarin was stopped [2]. It bled [2, 3][9].", 3)
    [('Warfarin was stopped.', (2,)), ('It bled.', (2, 3))]
    """
    # A mark behind the full stop belongs to the sentence before it.
    text = re.sub(r"([.!?])((?:\s*\[\d+(?:\s*,\s*\d+)*\])+)", r"\2\1", text)
    found = []
    for start, end in split_sentences(text):
        sentence = text[start:end]
        numbers = [int(number) for mark in _NUMBERS.findall(sentence) for number in mark.split(",")]
        words = " ".join(_NUMBERS.sub("", sentence).split())
        if re.search(r"\w", words):
            found.append((words, tuple(dict.fromkeys(n for n in numbers if 1 <= n <= count))))
    return found


# --- whether what is cited bears a sentence out ---


class _Named:
    """The entities of texts by the light tagger, which is loaded at the first use."""

    @cached_property
    def recognizer(self) -> Recognizer:
        from clinical.tasks.ner import load_recognizer

        return load_recognizer("light")


_named = _Named()


def held_against(sentence: str, passages: Sequence[str], named: _Named) -> SummarySentence:
    """Return the sentence with whether these passages together bear it out, and why not."""
    from clinical.tasks.ner import extract

    if not passages:
        return SummarySentence(sentence, (), "unsupported", ("cites nothing that is there",))
    note = Note("cited", "\n\n".join(passages))
    (extraction,) = extract([note], named.recognizer)
    starts = [sum(len(passage) + 2 for passage in passages[:place]) for place in range(len(passages))]
    sources = tuple(
        Source(start, start + len(passage), passage) for start, passage in zip(starts, passages, strict=True)
    )
    (found,) = Support(note, extraction.entities).check([Draft(sentence, sources)], named.recognizer)
    return found


def bears_out(sentence: str, passages: Sequence[str]) -> bool:
    """Return whether these passages together bear out this sentence: the judge of ALCE's measures."""
    return held_against(sentence, passages, _named).support == "supported"


def _by_score(found: Scored) -> float:
    return -(found.score or 0.0)


def _in_reading_order(found: Scored) -> tuple[int, str, int]:
    return found.stretch.rank, found.stretch.note.id, found.told.start
