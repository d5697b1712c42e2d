"""From notes to entities: chunks, offsets, and a model behind the one method."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinical.documents.annotations import Entity
from clinical.errors import UsageError
from clinical.models.language_model import Completion, Request, TaggedSpan
from clinical.models.mistral_tagger import MistralTagger, chunks
from clinical.models.pieces import split_pieces
from clinical.prompts import templates
from clinical.prompts.labels import Label, by_name

NOTE = "Seen today. No fever.\r\n\r\nPLAN: aspirin 81 mg.\t\x00 Fever again? " + "cough, " * 30 + "end."


class Finds:
    """A model that marks every occurrence of some words, as the constraint would let it."""

    def __init__(self, *words: str, enforced: bool = True) -> None:
        self.name = "fake"
        self.words = words
        self.enforced = enforced
        self.asked: list[Request] = []

    def complete(self, requests: Sequence[Request]) -> list[Completion]:
        self.asked += requests
        return [self._answer(request) for request in requests]

    def _answer(self, request: Request) -> Completion:
        assert request.constraint is not None
        source, label = request.constraint.source, request.constraint.labels[0]
        spans = [
            TaggedSpan(start, start + len(word), label, 0.5)
            for word in self.words
            for start in range(len(source))
            if source.startswith(word, start)
        ]
        return Completion("", tuple(sorted(spans, key=lambda span: span.start)), self.enforced)


def tagger(model: Finds, chunk_pieces: int = 12) -> MistralTagger:
    return MistralTagger(model, templates.load("ner.v1"), chunk_pieces=chunk_pieces)


def test_offsets_are_lifted_to_the_note_and_repeats_stay_apart() -> None:
    model = Finds("ever", "cough")
    found, empty, other = tagger(model).tag([NOTE, " \n", "cough"], by_name(["Symptom"]))
    assert len(model.asked) > 5
    assert [(entity.start, entity.text) for entity in found] == [
        (place, word)
        for place in range(len(NOTE))
        for word in ("ever", "cough")
        if NOTE.startswith(word, place)
    ]
    assert all(NOTE[entity.start : entity.end] == entity.text for entity in found)
    assert empty == []
    assert other == [Entity(0, 5, "cough", "Symptom", 0.5, "decoded")]


def test_a_model_that_did_not_hold_the_constraint_is_a_bug() -> None:
    with pytest.raises(ValueError, match="fake did not hold the constraint"):
        tagger(Finds("cough", enforced=False)).tag(["cough"], by_name(["Symptom"]))


def test_a_label_that_cannot_be_a_tag_is_the_users_mistake() -> None:
    with pytest.raises(UsageError, match="cannot be a tag"):
        tagger(Finds()).tag(["x"], [Label("a<b", "odd")])


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=300) | st.text("ab .\n,!", max_size=300), st.integers(1, 40))
def test_chunks_hold_every_character_once_and_keep_their_size(text: str, most: int) -> None:
    places = list(chunks(text, most))
    assert all(end <= start for (_, end), (start, _) in pairwise(places))
    assert all(text[start:end].strip() == text[start:end] != "" for start, end in places)
    assert all(len(split_pieces(text[start:end])) <= most + 1 for start, end in places)
    read = "".join(text[start:end] for start, end in places)
    assert "".join(read.split()) == "".join(text.split())


def test_chunks_are_whole_sentences_where_they_fit() -> None:
    text = "No fever today. Cough since Monday. Given aspirin."
    assert [text[start:end] for start, end in chunks(text, 10)] == [
        "No fever today. Cough since Monday.",
        "Given aspirin.",
    ]
