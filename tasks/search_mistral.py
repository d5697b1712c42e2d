"""A language model reads what a search found, and chooses the set of sentences that answers the query.

It reads the sentences of the best passages, numbered, behind the prompt `prompts/search.v1.txt`, and can answer with
numbers alone, so nothing can be made up. The sentences chosen are the hits, ordered by the probability that the
model gives each. Search goes without it unless asked (`--system mistral`): `clinical evaluate search --systems
light,mistral:MODEL` tells whether a model is better than none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from clinical.documents.sentences import split_sentences
from clinical.index.hits import Hit
from clinical.models.language_model import MeasuringModel, Message, Request, Selection
from clinical.prompts.sentences import numbered
from clinical.prompts.templates import Template, checked
from clinical.tasks.search import assertion_of

__all__ = ["Choosing", "MistralChooser", "load_chooser", "sentences_of"]

PROMPT = "search.v1"

"""The model that is read when the user has chosen none."""

READ = 24
"""How many sentences the model is shown at most: those of the best passages."""

_RESERVE = 64
"""Tokens kept free for the answer and what a chat format puts around a prompt."""


@dataclass(frozen=True)
class Choosing:
    """What a model decided on numbered texts: those chosen, the best first, and all in the order of likelihood.

    Places count from 0. `likelihoods` has one for each text, `None` where the model does not tell; `unread` are
    those that it had no room for.
    """

    chosen: tuple[int, ...]
    order: tuple[int, ...]
    likelihoods: tuple[float | None, ...]
    unread: int = 0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class MistralChooser:
    """Chooses with a language model."""

    language_model: MeasuringModel
    template: Template
    most: int | None = None

    @property
    def model(self) -> str:
        """The name of the language model."""
        return self.language_model.name

    def choose(self, query: str, texts: Sequence[str]) -> Choosing:
        """Return what the model decides on the texts; the last ones are left out when it has no room for all."""
        request, count = self._request(query, texts)
        if request is None:
            return Choosing((), tuple(range(len(texts))), (None,) * len(texts), unread=len(texts))
        (completion,) = self.language_model.complete([request])
        told = {candidate.number - 1: candidate.probability for candidate in completion.candidates}
        chosen = {choice.number - 1: choice.probability for choice in completion.choices}
        likelihoods = {**told, **chosen}

        def place(number: int) -> tuple[bool, float, int]:
            return number not in chosen, -(likelihoods.get(number) or 0.0), number

        order = sorted(range(len(texts)), key=place)
        return Choosing(
            tuple(order[: len(chosen)]),
            tuple(order),
            tuple(likelihoods.get(number) for number in range(len(texts))),
            len(texts) - count,
            tuple(completion.warnings),
        )

    def hits(self, query: str, found: Sequence[Hit], k: int) -> tuple[list[Hit], list[str]]:
        """Return the sentences that the model chooses as hits, at most `k`, and what the user should know.

        When it chooses none, the passages that were found stay as they are.
        """
        sentences = [sentence for hit in found for sentence in sentences_of(hit)][:READ]
        if not sentences:
            return list(found), []
        choosing = self.choose(query, [sentence.text for sentence in sentences])
        remarks = [f"{self.model}: {warning}" for warning in choosing.warnings]
        read = len(sentences) - choosing.unread
        if not choosing.chosen:
            remarks.append(
                f"{self.model} found no answer in the {read} nearest sentences; the passages follow"
            )
            return list(found)[:k], remarks
        return [
            replace(
                sentences[number],
                rank=place,
                score=likelihood if (likelihood := choosing.likelihoods[number]) is not None else 0.0,
                ranks={**sentences[number].ranks, "mistral": place},
            )
            for place, number in enumerate(choosing.chosen[:k], 1)
        ], remarks

    def _request(self, query: str, texts: Sequence[str]) -> tuple[Request | None, int]:
        """Return the request for as many of the texts as the model has room for, and how many those are."""
        for count in range(len(texts), 0, -1):
            values = checked(self.template, {"query": query, "text": numbered(texts[:count])})
            message = Message("user", self.template.render(values))
            if self.language_model.count_tokens(message.text) + _RESERVE <= self.language_model.window:
                return Request((message,), Selection(count, min(self.most or count, count))), count
        return None, 0


def sentences_of(hit: Hit) -> Iterator[Hit]:
    """Yield the sentences of a hit as hits of their own, each with the mentions that stand in it."""
    for start, end in split_sentences(hit.text):
        mentions = tuple(
            mention
            for mention in hit.mentions
            if hit.start + start <= mention.start and mention.end <= hit.start + end
        )
        yield replace(
            hit,
            start=hit.start + start,
            end=hit.start + end,
            text=hit.text[start:end],
            line=hit.line + hit.text.count("\n", 0, start),
            mentions=mentions,
            assertion=assertion_of(mentions),
        )


def load_chooser(model: str | None, adapter: str | None = None, prompt: str | None = None) -> MistralChooser:
    """Return the chooser with this model, the user's own when none is named, else the shipped one.

    Raises `UsageError` for a model or prompt that there is not.
    """
    from clinical.models import settings
    from clinical.models.loading import load
    from clinical.prompts import templates

    loaded = load(model or settings.chosen_model() or settings.SMALL_MISTRAL, "search", adapter)
    return MistralChooser(loaded.model, templates.load(prompt or PROMPT))
