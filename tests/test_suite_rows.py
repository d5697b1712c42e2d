"""Rows of the tasks beside ner: in the words of the product, with answers that its constraints allow."""

from __future__ import annotations

import random
from typing import Any, cast

import pytest

from clinical.corpora.qa import QuestionOnText
from clinical.documents.annotations import Span
from clinical.documents.note import Note
from clinical.finetune import suite_rows
from clinical.finetune.rows import Writer
from clinical.finetune.tokenizer import train_tokenizer
from clinical.models.chat import V3
from clinical.models.language_model import Selection
from clinical.models.mistral_summarizer import MistralSummarizer
from clinical.prompts import templates
from clinical.prompts.labels import clinical_labels
from clinical.tasks.ask import Scored
from clinical.tasks.ask_mistral import MistralAnswerer
from clinical.tasks.evidence import stretch_of
from clinical.tasks.search_mistral import PROMPT, MistralChooser

LINES = [("PLAN", "Apixaban was stopped."), ("PLAN", "The reason was melena."), ("LABS", "Potassium 4.1.")]


@pytest.fixture(scope="module")
def writer() -> Writer:
    texts = [text for _, text in LINES]
    return Writer(train_tokenizer(texts * 3, [label.name for label in clinical_labels()], 420), V3)


def test_a_question_is_put_as_the_product_puts_it() -> None:
    template = templates.load("ask.quote.v1")
    example = suite_rows._asked(
        template, "Why was apixaban stopped?", "visit", LINES, frozenset({0, 1}), random.Random(0)
    )
    note = Note("visit", "PLAN\nApixaban was stopped.\nThe reason was melena.\n\nLABS\nPotassium 4.1.")
    told = [one for one in stretch_of(note).told if one.text not in ("PLAN", "LABS")]
    answerer = MistralAnswerer(cast(Any, None), template, cast(Any, None), quote=True)
    asked = answerer._request(
        "Why was apixaban stopped?", [Scored(stretch_of(note), one, None) for one in told]
    )
    assert example.request is not None
    assert example.request.constraint == asked.constraint
    assert example.request.messages[0].text == asked.messages[0].text
    assert (example.answer, example.chosen) == ("1, 2", (1, 2))


def test_a_search_is_put_as_the_product_puts_it() -> None:
    class Roomy:
        window = 10_000

        def count_tokens(self, text: str) -> int:
            return len(text)

    template = templates.load(PROMPT)
    texts = ["Apixaban was stopped.", "Potassium 4.1.", "Melena."]
    asked, count = MistralChooser(cast(Any, Roomy()), template)._request("why no apixaban", texts)
    assert count == 3
    assert suite_rows.searched(template, "why no apixaban", texts) == asked
    found = [(text, text == "Melena.") for text in texts]
    examples = [suite_rows._found(template, "?", found, random.Random(seed)) for seed in range(20)]
    for example in examples:
        assert example.request is not None
        (number,) = example.chosen
        assert f"[{number}] Melena." in example.request.messages[0].text
        assert example.answer == str(number)
    assert len({example.chosen for example in examples}) == 3


def test_sentences_are_chosen_as_the_product_lets_choose() -> None:
    sentences = ["Any fever today?", "No fever, but a cough for a week.", "Okay.", "And lisinopril daily."]
    (example,) = suite_rows._needed(
        sentences, "Cough for one week without fever. On lisinopril daily.", random.Random(0), "x"
    )
    assert (example.answer, example.chosen) == ("2, 4", (2, 4))
    template = templates.load("summarize.extract.v1")
    summarizer = MistralSummarizer(cast(Any, None), {}, template)
    text = "\n".join(sentences)
    spans = [
        Span(text.index(sentence), text.index(sentence) + len(sentence), sentence) for sentence in sentences
    ]
    assert suite_rows.choice(template, sentences, "brief") == summarizer._choice(spans, "brief")
    assert list(suite_rows._needed(sentences[:3], "Cough, no fever.", random.Random(0), "x")) == []


def test_rows_end_with_an_answer_that_is_allowed(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite_rows, "MADE_UP", 30)
    monkeypatch.setattr(suite_rows, "LONGEST", 5000)
    monkeypatch.setattr(suite_rows, "_sentences_of_notes", lambda: ["She feels well."] * 6)
    monkeypatch.setattr(suite_rows, "_on_articles", lambda template, choose: [])
    monkeypatch.setattr(suite_rows, "_questions_of_patients", lambda: [])
    monkeypatch.setattr(suite_rows, "_dialogues", lambda choose: [])
    monkeypatch.setattr(suite_rows, "SEARCHED_NOTES", 10)
    monkeypatch.setattr(suite_rows.medquad_questions, "read", lambda split: [])
    made = list(suite_rows.rows(writer, seed=1))
    answers = [writer.tokens._tokenizer.decode(ids[answer:]).removesuffix("</s>") for _, ids, answer in made]
    assert [task for task, _, _ in made] == ["ask"] * 30 + ["search"] * 10
    assert all(Selection(24).parse(answer) is not None for answer in answers)
    assert " none" in answers
    assert len(set(answers)) > 5


def test_a_window_of_an_article_holds_what_answers() -> None:
    sentences = tuple((number * 3, number * 3 + 2) for number in range(40))
    text = " ".join(f"{number:02}" for number in range(40))
    item = QuestionOnText("x", "?", text, sentences, frozenset({7, 8}), title="Gout")
    for seed in range(50):
        lines, answers = suite_rows._window(item, frozenset({7, 8}), random.Random(seed))
        assert 4 <= len(lines) <= 24
        assert answers
        assert {lines[number][1] for number in answers} <= {"07", "08"}
        assert {"07", "08"} & {line for _, line in lines} == {lines[number][1] for number in answers}
