"""Entities by a language model: prompt, constrained answer, spans in the note.

>>> from clinical.models.mistral_tagger import MistralTagger
>>> from clinical.prompts.labels import core_labels
>>> tagger = MistralTagger.load("clinical-mini")                                            # doctest: +SKIP
>>> tagger.tag(["The patient was given metformin."], core_labels())                         # doctest: +SKIP
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from clinical.documents.annotations import Entity
from clinical.documents.sentences import split_sentences
from clinical.models import loading, mistral
from clinical.models.language_model import LanguageModel, Message, Request, TaggedCopy
from clinical.models.pieces import split_pieces
from clinical.prompts import examples, templates
from clinical.prompts.examples import Example
from clinical.prompts.inline_tags import open_tag
from clinical.prompts.labels import Label, known_or_defined
from clinical.prompts.templates import Template

_log = logging.getLogger(__name__)


def prompt_values(labels: Sequence[Label], text: str, shown: Sequence[Example] = ()) -> dict[str, str]:
    """Return all that a template of `ner` may ask for: `$labels`, `$tags`, `$examples` and `$text`."""
    return {
        "labels": "\n".join(_described(label) for label in labels),
        "tags": "".join(open_tag(label.name) for label in labels),
        "examples": examples.render(shown, labels),
        "text": text,
    }


def _described(label: Label) -> str:
    return f"- {label.name}: {label.definition}" + (
        f" (as in: {'; '.join(label.examples)})" if label.examples else ""
    )


def request(template: Template, labels: Sequence[Label], text: str, shown: Sequence[Example] = ()) -> Request:
    """Return the request to mark these labels in a text. Training and use both build it here."""
    values = templates.checked(template, prompt_values(labels, text, shown))
    constraint = TaggedCopy(text, tuple(label.name for label in labels))
    return Request((Message("user", template.render(values)),), constraint)


def chunks(text: str, most_pieces: int) -> Iterator[tuple[int, int]]:
    """Yield the stretches `[start, end)` that a model reads at a time, without white space at their edges.

    A stretch is as many whole sentences as fit into `most_pieces` pieces; a longer sentence is cut between
    pieces. All that is not white space lies in exactly one of them.
    """
    starts = sorted({0, *(start for start, _ in split_sentences(text))})
    begin = size = 0
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        count = len(split_pieces(text[start:end]))
        if size and size + count > most_pieces:
            yield from _trimmed(text, begin, start)
            begin, size = start, 0
        size += count
        if size > most_pieces:
            for piece_start, piece_end in _cut(text, start, end, most_pieces):
                yield from _trimmed(text, piece_start, piece_end)
            begin, size = end, 0
    yield from _trimmed(text, begin, len(text))


def _cut(text: str, start: int, end: int, most_pieces: int) -> Iterator[tuple[int, int]]:
    pieces = split_pieces(text[start:end])
    for first in range(0, len(pieces), most_pieces):
        length = sum(map(len, pieces[first : first + most_pieces]))
        yield start, start + length
        start += length


def _trimmed(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    stretch = text[start:end]
    if words := stretch.strip():
        start += len(stretch) - len(stretch.lstrip())
        yield start, start + len(words)


@dataclass(frozen=True)
class MistralTagger:
    """Marks labels in notes with a language model, which reads `chunk_pieces` of a note at a time.

    `labels` are those that it was trained on, as it was told them; empty when nobody knows.
    """

    model: LanguageModel
    template: Template
    shown: tuple[Example, ...] = ()
    chunk_pieces: int = 200
    labels: tuple[Label, ...] = ()

    @property
    def name(self) -> str:
        """The name of the model, printed with every result."""
        return self.model.name

    @classmethod
    def load(
        cls, model: str = "clinical-mini", adapter: str | None = None, prompt: str | None = None
    ) -> MistralTagger:
        """Return a tagger with a model of this process, or behind a URL.

        `model` may be the URL of a server. `adapter` is a folder; without one the model's own adapter for
        `ner` is taken, if it has one. `prompt` is a template's name or file; without one, that which adapter
        or model was trained with. Examples are shown to models that were not trained with a template of ours.
        Raises `UsageError` when something is not there or does not fit.
        """
        loaded = loading.load(model, "ner", adapter)
        card = loaded.card or mistral.Card()
        return cls(
            loaded.model,
            templates.load(prompt or card.prompt),
            () if loaded.card else examples.load(),
            card.chunk_pieces,
            known_or_defined(card.labels, card.definitions),
        )

    def tag(self, texts: Sequence[str], labels: Sequence[Label]) -> list[list[Entity]]:
        """Return the entities of each text, sorted by start; any label with a definition may be asked for.

        Their grounding is `decoded` where an answer that is not the text with tags in it could not have been
        given; else it says how the span was tied to the text, and what could not be is left out, with a
        remark. The score is the probability of exactly this span with this label among the allowed answers.
        """
        places = [
            (number, *place) for number, text in enumerate(texts) for place in chunks(text, self.chunk_pieces)
        ]
        requests = [
            request(self.template, labels, texts[number][start:end], self.shown)
            for number, start, end in places
        ]
        found: list[list[Entity]] = [[] for _ in texts]
        for (number, offset, _), completion in zip(places, self.model.complete(requests), strict=True):
            for warning in completion.warnings:
                _log.warning("%s: %s", self.name, warning)
            for span in completion.spans:
                if not completion.enforced and span.grounding == "decoded":
                    raise ValueError(f"{self.model.name} did not hold the constraint")
                start, end = offset + span.start, offset + span.end
                found[number].append(
                    Entity(start, end, texts[number][start:end], span.label, span.score, span.grounding)
                )
        return found
