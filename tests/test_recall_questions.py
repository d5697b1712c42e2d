"""Questions made of a sentence's own words."""

from __future__ import annotations

import random

from clinical.finetune import recall_questions
from clinical.finetune.recall_questions import questions, stems

SENTENCES = [
    "Apixaban was stopped after the bleed.",
    "The bleed came from a duodenal ulcer.",
    "Potassium was low on admission.",
]
ELSEWHERE = ["Hearing aids were fitted.", "Apixaban tablets were dispensed."]


def test_the_answers_are_the_sentences_that_hold_all_the_words() -> None:
    found = questions(SENTENCES, [], 60, random.Random(1))
    answers = dict(found)
    assert frozenset({0, 1}) in answers.values()  # the bleed
    assert all(0 < len(numbers) <= 2 for numbers in answers.values())
    assert len(answers) == len(found)
    # A word of one sentence alone asks for that sentence, under another name or ending too.
    for question, numbers in found:
        for word, place in (("duodenal", 1), ("potassium", 2), ("admission", 2), ("stopped", 0)):
            if word in question.lower():
                assert numbers == {place}


def test_what_is_said_elsewhere_alone_has_no_answer() -> None:
    found = questions(SENTENCES, ELSEWHERE, 400, random.Random(2))
    strange = [question for question, numbers in found if not numbers]
    assert strange
    assert all(not stems(question) & stems(" ".join(SENTENCES)) for question in strange)
    assert not any("apixaban" in question.lower() for question in strange)


def test_other_names_stand_in_for_words() -> None:
    asked = {
        question.lower()
        for seed in range(40)
        for question, _ in questions(["Heparin for DVT."], [], 8, random.Random(seed))
    }
    assert any("thrombosis" in question for question in asked)
    assert any("dvt" in question for question in asked)


def test_sentences_without_words_ask_nothing() -> None:
    assert questions(["12.5", "It was so."], ["3"], 5, random.Random(0)) == []
    assert recall_questions.stems("It was 3.") == frozenset()
