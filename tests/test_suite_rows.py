"""Rows of the tasks beside ner: in the words of the product, with answers that its constraints allow."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any, cast

import pytest

from clinical.corpora import medquad_questions
from clinical.corpora.medquad_questions import Article
from clinical.documents.annotations import Span
from clinical.documents.note import Note
from clinical.finetune import selections, suite_rows
from clinical.finetune.rows import TrainingRow, Writer
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
    questions = [("Why was apixaban stopped?", frozenset({0, 1}))]
    example = suite_rows._asked(template, "visit", LINES, questions, random.Random(0))
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
    assert selections.found(template, texts, [("why no apixaban", frozenset())]).request == asked
    queries = [("?", frozenset({2}))]
    examples = [suite_rows._found(template, texts, queries, random.Random(seed)) for seed in range(20)]
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


def test_more_questions_on_the_same_sentences_follow_the_first(writer: Writer) -> None:
    template = templates.load("ask.quote.v1")
    why, labs = ("Why was apixaban stopped?", frozenset({0, 1})), ("potassium", frozenset({2}))
    smoking = ("Does he smoke?", frozenset[int]())
    choose = random.Random(0)
    row = writer.row(suite_rows._asked(template, "visit", LINES, [why, smoking, labs], choose))
    alone = [writer.row(suite_rows._asked(template, "visit", LINES, [one], choose)) for one in (why, smoking)]
    assert row is not None
    assert [_learned(row, place) for place in range(3)] == [
        *(_learned(one, 0) for one in alone),
        _of("3", writer),
    ]
    # The first turn is what the product asks, token for token.
    assert alone[0] is not None
    assert row.ids[: len(alone[0].ids)] == alone[0].ids
    assert writer.tokens._tokenizer.decode(row.ids).endswith("[INST] Question: potassium[/INST] 3</s>")


def _learned(row: TrainingRow | None, place: int) -> list[int]:
    assert row is not None
    start, end = row.learned[place]
    return row.ids[start:end]


def _of(answer: str, writer: Writer) -> list[int]:
    return [*writer.tokens.plain(f" {answer}"), writer.tokens.control("</s>")]


def test_rows_hold_answers_that_are_allowed(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite_rows, "WORD_DRILLS", 0)
    monkeypatch.setattr(suite_rows, "SENTENCE_DRILLS", 0)
    monkeypatch.setattr(suite_rows, "MADE_UP", 20)
    monkeypatch.setattr(suite_rows, "RECALLED", 10)
    monkeypatch.setattr(suite_rows, "SEARCHED_NOTES", 5)
    monkeypatch.setattr(suite_rows, "SEARCHED_TEXTS", 10)
    monkeypatch.setattr(suite_rows, "LONGEST", 9000)
    texts = [
        ["She feels well.", "He coughs at night.", "Fever since May.", "On apixaban."],
        ["3.", "4.", "5."],
    ]
    monkeypatch.setattr(suite_rows, "_sentences_of_notes", lambda: ["She feels well."] * 6)
    monkeypatch.setattr(suite_rows, "_texts", lambda: texts)
    monkeypatch.setattr(suite_rows.medquad_questions, "articles", lambda split: [])
    for source in ("_questions_of_patients", "_dialogues"):
        monkeypatch.setattr(suite_rows, source, lambda *given: [])
    examples = [one for one in suite_rows.examples(1) if one.request]
    counts = Counter(one.task for one in examples)
    assert 20 < counts["ask"] < 30  # of numbers alone nothing is asked
    assert 5 < counts["search"] <= 15
    rows = [row for row in map(writer.row, examples) if row]
    answers = [
        writer.tokens._tokenizer.decode(row.ids[start:end]).removesuffix("</s>")
        for row in rows
        for start, end in row.learned
    ]
    assert len(answers) > 2 * len(rows)
    assert all(Selection(24).parse(answer) is not None for answer in answers)
    assert " none" in answers
    assert len(set(answers)) > 5
    assert [ids for _, ids in suite_rows.rows(writer, 1)] == [row.ids for row in rows]


def test_drills_ask_for_single_words(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    sentences = ["Fever since May.", "No cough now.", "On apixaban.", "Potassium low.", "x" * 200]
    monkeypatch.setattr(suite_rows, "WORD_DRILLS", 10)
    monkeypatch.setattr(suite_rows, "SENTENCE_DRILLS", 10)
    monkeypatch.setattr(suite_rows, "_sentences_of_notes", lambda: sentences * 4)
    drills = list(suite_rows._drills(random.Random(3)))
    assert len(drills) > 10
    for chosen in drills:
        row = writer.row(suite_rows._example("ask", "drill", chosen))
        assert row is not None
        first, *turns = writer.tokens._tokenizer.decode(row.ids).removesuffix("</s>").split("</s>[INST] ")
        shown, _, asked = first.removeprefix("<s>[INST] ").partition("\n\n")
        lines = shown.split("\n")
        for turn in [asked, *turns]:
            word, _, number = turn.partition("[/INST] ")
            assert [line for line in lines if word in line] == [lines[int(number) - 1]]


def test_an_article_is_asked_what_it_answers() -> None:
    sentences = tuple((number * 3, number * 3 + 2) for number in range(40))
    text = " ".join(f"{number:02}" for number in range(40))
    blocks = (("Signs of gout?", "symptoms", frozenset({7, 8})), ("Gout?", "causes", frozenset({20})))
    article = Article("x", "gout", text, sentences, blocks)
    seen = set()
    for seed in range(80):
        first, lines = suite_rows._window(article, random.Random(seed))
        assert 1 <= len(lines) <= 24
        assert lines[0] == ("", f"{first:02}")
        shown = range(first, first + len(lines))
        for question, answers in suite_rows._of_article(article, shown, random.Random(seed)):
            said = {lines[number][1] for number in answers}
            wanted = {"07", "08"} if question in SIGNS else {"20"}
            assert said == wanted & {line for _, line in lines}
            seen |= said
    assert seen == {"07", "08", "20"}


SIGNS = {"Signs of gout?", *(medquad_questions.plainly("gout", "symptoms", number) for number in range(9))}
