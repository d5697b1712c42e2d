"""What a message asks: stretches of it that ask, what they are about, and what the trained heads choose."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from summary_cases import HashEmbedder, WordRecognizer, entities_in

from clinical.documents.note import Note
from clinical.documents.summaries import GAP
from clinical.tasks.extracts import LightSummarizer
from clinical.tasks.questions import question_candidates, word_features, words_of
from clinical.tasks.salience import Material
from clinical.tasks.summarize import load_summarizer, summarize

MESSAGE = (
    "Hello doctor, I am 35 and was told last week that I have gout. I would like to know what the treatment is, "
    "because it hurts. Thank you"
)


def material(text: str) -> Material:
    note = Note("m", text)
    return Material.of(note, entities_in(note), HashEmbedder())


def no_word_is_likely(of: Material) -> Mapping[str, float]:
    return {}


def candidates(text: str) -> list[str]:
    found = question_candidates(material(text), HashEmbedder(), no_word_is_likely)
    assert len(found.features) == len(found.units)
    return [unit.text for unit in found.units]


def test_a_clause_that_asks_is_cut_out_and_joined_by_what_it_is_about() -> None:
    found = candidates(MESSAGE)
    assert "what the treatment is" in found
    assert f"gout{GAP}what the treatment is" in found
    assert not any(text.startswith(("Hello", "35")) and "treatment" in text for text in found)


def test_a_subject_line_can_be_what_a_question_is_about() -> None:
    found = candidates("Life with one kidney\n\nI feel well. Is it safe to run a marathon?")
    assert f"Life with one kidney{GAP}Is it safe to run a marathon?" in found
    greeted = candidates("Hello dear doctors\n\nI feel well. Is it safe to run a marathon?")
    assert not any("Hello" in text for text in greeted)


def test_what_the_clause_says_itself_is_not_said_twice() -> None:
    assert not any(GAP in text for text in candidates("How can I treat gout? I have had gout for years."))


def test_a_message_that_does_not_ask_is_its_sentences() -> None:
    assert candidates("Hi. He fell. He walks again.") == ["Hi.", "He fell.", "He walks again."]


def test_words_carry_where_they_stand() -> None:
    words, rows = word_features(material("Gout. What is gout?"), {"what": 300})
    assert words == ["gout", "what", "is"]
    known = rows[:, -1]
    assert known.tolist() == [0.0, 1.0, 0.0]
    assert rows[0].tolist() != rows[2].tolist()


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=150) | st.text("what is it? ,.\ngout", max_size=150))
def test_candidates_are_quotes(text: str) -> None:
    found = material(text)
    if not found.units:
        return
    for unit in question_candidates(found, HashEmbedder(), no_word_is_likely).units:
        quoted = GAP.join(" ".join(text[start:end].split()) for start, end in unit.spans)
        assert unit.text == quoted or len(unit.spans) == 2, "a question with its answer has no gap"


@settings(max_examples=15, deadline=None)
@given(st.text(max_size=150))
def test_a_question_is_supported_by_what_it_quotes(text: str) -> None:
    (summary,) = summarize(
        [Note("m", text)], LightSummarizer(HashEmbedder()), "question", recognizer=WordRecognizer()
    )
    assert all(sentence.support == "supported" for sentence in summary.sentences)


def test_a_letter_of_a_patient_with_headings_is_a_message() -> None:
    note = Note("m", "SUBJECT: gout\nMESSAGE: I would like to know how to treat it. Thanks")
    drafts = LightSummarizer(HashEmbedder()).draft(note, "question", entities=entities_in(note))
    assert len(drafts) == 1


def test_words_are_those_of_rouge() -> None:
    assert words_of("Is HbA1c 7.5 high?") == ["is", "hba1c", "7", "5", "high"]


@pytest.mark.embedded
def test_the_shipped_heads_find_the_question() -> None:
    light = load_summarizer("light")
    (summary,) = summarize([Note("m", MESSAGE)], light, "question")
    (sentence,) = summary.sentences
    assert "treatment" in sentence.text
    assert "gout" in sentence.text
    assert "Hello" not in sentence.text
    assert len(sentence.text.split()) < 15
