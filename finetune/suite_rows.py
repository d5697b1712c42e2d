"""Rows of the tasks beside `ner`, in the words of the product: questions, and sentences to be chosen for summaries.

    rows(Writer(tokenizer, V3))          # task, ids

- `ask`: which of up to 24 numbered sentences answer (`ask.quote.v1`), on made-up notes, on articles of MedQuAD, and on
  real text of which is asked for sentences by their own words (`clinical.finetune.recall_questions`).
- `search`: which of the sentences that were found answer (`search.v1`): those of some texts, in any order.
- `summarize`: what a patient asks (`summarize.question.v1`), from MeQSum; and which sentences of a talk between doctor
  and patient are needed for the note (`summarize.extract.v1`): those of MTS-Dialog and ACI-Bench whose words the human
  note has. Summaries in prose are left out: a model of this size makes them up.

- `drill`: on which of some lines does this word stand? Lines of a few words, and sentences, without any wording around
  them. A small network that is only shown the rows above stays at chance for millions of tokens; by drills it finds
  out within one million how to look for what is asked, and then learns the rest.

A row of `ask`, `search` or `drill` is a conversation (`clinical.finetune.selections`): a few hundred tokens of
sentences are read for many decisions in place of one.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache

from clinical.corpora import medquad_questions
from clinical.corpora.medquad_questions import Article
from clinical.corpora.records import read, read_records
from clinical.documents.sentences import split_sentences
from clinical.facts.terms import content
from clinical.finetune import recall_questions, selections, synthetic_questions
from clinical.finetune.examples import Example
from clinical.finetune.packed import DRILL
from clinical.finetune.recipe import Task
from clinical.finetune.rows import Writer
from clinical.finetune.selections import MOST_CHOSEN, Asked, Chosen, Line
from clinical.models.language_model import Message, Request, Selection
from clinical.models.mistral_summarizer import WANTED
from clinical.prompts import templates
from clinical.prompts.templates import Template
from clinical.tasks.ask_mistral import READ
from clinical.tasks.search_mistral import PROMPT
from clinical.tasks.search_mistral import READ as SEARCH_READ

MADE_UP = 2500
RECALLED = 5000
ARTICLES = 2500
SEARCHED_NOTES = 1000
SEARCHED_TEXTS = 2000
SEARCHED_ARTICLES = 1000
WORD_DRILLS = 12_000
SENTENCE_DRILLS = 9000
DRILLED = 16
"""So many words are asked for one after another in a drill."""

DRILL_WORDS = 1500
"""The drills of words are made of the most frequent ones, which are mostly single tokens."""

STRANGERS = 0.15
"""The share of articles of which is asked what another article answers, and they do not."""

TURNS = 8
"""So many questions are asked of the same sentences at most."""

LEAST_SHARED = 0.6
"""A sentence is needed for a note that has so many of its words."""

SIZES = (400, 900, 1800, 3600)
"""How many characters of sentences a row shows at most; long and short ones are as frequent."""

LONGEST = 1400
"""Longer rows, in tokens, are left out."""


def rows(writer: Writer, seed: int = 0) -> Iterator[tuple[str, list[int]]]:
    """Yield the rows: name of the task, ids."""
    for example in examples(seed):
        row = writer.row(example)
        if row is not None and len(row.ids) <= LONGEST:
            yield example.task, row.ids
    for chosen in _drills(random.Random(seed + 2)):
        row = writer.row(_example("ask", "drill", chosen))
        if row is not None:
            yield DRILL, row.ids


def examples(seed: int) -> Iterator[Example]:
    """Yield the examples of all tasks."""
    choose = random.Random(seed)
    template = templates.load("ask.quote.v1")
    for note in synthetic_questions.notes(MADE_UP, seed, _sentences_of_notes()):
        yield _asked(template, "", note.lines, note.asked, choose)
    yield from _recalled(template, choose)
    yield from _on_articles(template, choose)
    yield from _searches(seed + 1, choose)
    yield from _questions_of_patients()
    yield from _dialogues(choose)


@cache
def _sentences_of_notes() -> list[str]:
    texts = [record["target"] for record in read_records("mts_dialog", "train")]
    texts += [document.text for document in read("maccrobat", "train")]
    found = (text[start:end] for text in texts for start, end in split_sentences(text))
    return [" ".join(sentence.split()) for sentence in found if 20 < len(sentence) < 200]


@cache
def _texts() -> list[list[str]]:
    """Return texts of the permitted corpora in sentences, notes and articles."""
    texts = [document.text for corpus in ("maccrobat", "ncbi_disease") for document in read(corpus, "train")]
    texts += [
        record["target"] for name in ("mts_dialog", "aci_bench") for record in read_records(name, "train")
    ]
    texts += [" ".join(record["contexts"]) for record in read_records("pubmedqa", "train")]
    texts += [record["answer"] for record in read_records("medquad", "train")][::4]
    found = ([" ".join(text[s:e].split()) for s, e in split_sentences(text)] for text in texts)
    return [sentences for sentences in found if len(sentences) > 2]


def _drills(choose: random.Random) -> Iterator[Chosen]:
    sentences = _sentences_of_notes()
    counts = Counter(word for sentence in sentences for word in recall_questions.telling(sentence.lower()))
    words = [word for word, _ in counts.most_common(DRILL_WORDS)]
    for _ in range(WORD_DRILLS):
        lines = [
            choose.sample(words, choose.choice((1, 2, 3))) for _ in range(choose.choice((2, 3, 4, 5, 7)))
        ]
        asked = recall_questions.single_words([" ".join(line) for line in lines], DRILLED, choose)
        if asked:
            # Asked for again, a word is found beside its first question: the easier half of the lesson.
            yield selections.drilled([" ".join(line) for line in lines], (3 * asked)[:DRILLED])
    short = [sentence for sentence in sentences if len(sentence) < 80]
    for _ in range(SENTENCE_DRILLS):
        shown = choose.sample(short, choose.choice((2, 3, 4, 5, 6, 8, 10, 14)))
        asked = recall_questions.single_words(shown, DRILLED, choose)
        if asked:
            yield selections.drilled(shown, asked)


def _recalled(template: Template, choose: random.Random) -> Iterator[Example]:
    texts = _texts()
    for _ in range(RECALLED):
        text, other = choose.choice(texts), choose.choice(texts)
        first = choose.randrange(len(text) - 2)
        lines = _fitting([("", sentence) for sentence in text[first : first + READ]], choose)
        recalled = recall_questions.questions([said for _, said in lines], other, TURNS, choose)
        if recalled:
            yield _asked(template, "", lines, recalled, choose)


def _on_articles(template: Template, choose: random.Random) -> Iterator[Example]:
    articles = list(medquad_questions.articles("train"))
    for article in choose.sample(articles, min(ARTICLES, len(articles))):
        first, lines = _window(article, choose)
        told = _of_article(article, range(first, first + len(lines)), choose)
        if choose.random() < STRANGERS:
            other = choose.choice(articles)
            if other.focus != article.focus:
                told[choose.randrange(len(told))] = (
                    _question(other, choose, choose.randrange(len(other.questions)))[0],
                    frozenset(),
                )
        yield _asked(template, article.focus, lines, told, choose)


def _window(article: Article, choose: random.Random) -> tuple[int, list[Line]]:
    """Return up to 24 sentences of an article, and the number of the first."""
    count = len(article.sentences)
    first = choose.randrange(max(1, count - 3))
    spans = article.sentences[first : first + READ]
    return first, _fitting([("", article.text[start:end]) for start, end in spans], choose)


def _of_article(article: Article, shown: range, choose: random.Random) -> list[Asked]:
    """Return the questions on an article in any order, with the first of the sentences shown that answer each."""
    found = []
    for number in choose.sample(range(len(article.questions)), min(TURNS, len(article.questions))):
        question, answers = _question(article, choose, number)
        inside = sorted(place - shown.start for place in answers if place in shown)
        found.append((question, frozenset(inside[:MOST_CHOSEN])))
    return found


def _question(article: Article, choose: random.Random, number: int) -> Asked:
    question, kind, answers = article.questions[number]
    if choose.random() < 0.5:
        question = medquad_questions.plainly(article.focus, kind, choose.randrange(100))
    return question, answers


def _fitting(lines: Sequence[Line], choose: random.Random) -> list[Line]:
    """Return as many of the lines as fit, at least one."""
    left = choose.choice(SIZES)
    kept: list[Line] = []
    for heading, sentence in lines:
        left -= len(sentence)
        if kept and left < 0:
            break
        kept.append((heading, sentence))
    return kept


def _searches(seed: int, choose: random.Random) -> Iterator[Example]:
    template = templates.load(PROMPT)
    for note in synthetic_questions.notes(SEARCHED_NOTES, seed, _sentences_of_notes()):
        yield _found(template, [sentence for _, sentence in note.lines], note.asked, choose)
    texts = _texts()
    for _ in range(SEARCHED_TEXTS):
        some = [choose.choice(texts) for _ in range(choose.randint(1, 4))]
        sentences = []
        for text in some:
            first = choose.randrange(len(text) - 2)
            sentences += text[first : first + choose.randint(3, 6)]
        shown = [sentence for _, sentence in _fitting([("", one) for one in sentences], choose)]
        recalled = recall_questions.questions(shown, choose.choice(texts), TURNS, choose)
        if recalled:
            yield _found(template, shown, recalled, choose)
    articles = list(medquad_questions.articles("train"))
    for article in choose.sample(articles, min(SEARCHED_ARTICLES, len(articles))):
        first, lines = _window(article, choose)
        questions = _of_article(article, range(first, first + len(lines)), choose)
        other = choose.choice(articles)
        if other.focus != article.focus:
            lines += _window(other, choose)[1][:8]
        yield _found(template, [sentence for _, sentence in lines], questions, choose)


def _asked(
    template: Template, title: str, lines: Sequence[Line], questions: Sequence[Asked], choose: random.Random
) -> Example:
    """Return questions on the first sentences of a note, which has any name where it has none."""
    title = title or choose.choice(("discharge.txt", "note", "visit 3", "consult.txt", "letter"))
    return _example("ask", title, selections.asked(template, title, lines[:READ], questions))


def _found(
    template: Template, sentences: Sequence[str], queries: Sequence[Asked], choose: random.Random
) -> Example:
    """Return queries on sentences that a search found, in any order."""
    order = choose.sample(range(len(sentences)), min(len(sentences), SEARCH_READ))
    shown = [sentences[place] for place in order]
    mixed = [
        (query, frozenset(order.index(place) for place in answers if place in order))
        for query, answers in queries
    ]
    return _example("search", "search", selections.found(template, shown, mixed))


def _example(task: Task, place: str, chosen: Chosen) -> Example:
    return Example(task, place, chosen.answer, chosen.request, chosen=chosen.numbers)


def _questions_of_patients() -> Iterator[Example]:
    template = templates.load("summarize.question.v1")
    for record in read_records("meqsum", "train"):
        values = templates.checked(template, {"text": record["source"]})
        request = Request((Message("user", template.render(values)),))
        yield Example("summarize", record["id"], record["target"], request)


def _dialogues(choose: random.Random) -> Iterator[Example]:
    for corpus in ("mts_dialog", "aci_bench"):
        for record in read_records(corpus, "train"):
            told = split_sentences(record["source"])
            sentences = [" ".join(record["source"][start:end].split()) for start, end in told]
            size = choose.randint(12, 40)
            for first in range(0, len(sentences), size):
                yield from _needed(sentences[first : first + size], record["target"], choose, record["id"])


def _needed(sentences: Sequence[str], note: str, choose: random.Random, place: str) -> Iterator[Example]:
    """Yield which of the sentences the note was written from, at most half; nothing where there are too few."""
    wanted = content(note)
    shares = {}
    for number, sentence in enumerate(sentences, 1):
        said = content(sentence)
        if len(said) > 1:
            shares[number] = len(said & wanted) / len(said)
    needed = sorted(
        (number for number, share in shares.items() if share >= LEAST_SHARED),
        key=lambda number: -shares[number],
    )
    if len(sentences) < 4 or not needed:
        return
    chosen = tuple(sorted(needed[: len(sentences) // 2]))
    request = choice(templates.load("summarize.extract.v1"), sentences, choose.choice(("brief", "soap")))
    assert isinstance(request.constraint, Selection)
    yield Example("summarize", place, request.constraint.write(chosen), request, chosen=chosen)


def choice(template: Template, sentences: Sequence[str], style: str) -> Request:
    """Return the request to choose the sentences for a summary, as `clinical summarize` puts it."""
    text = "\n".join(f"{number}. {sentence}" for number, sentence in enumerate(sentences, 1))
    values = templates.checked(template, {"wanted": WANTED[style], "text": text})
    constraint = Selection(len(sentences), max(1, len(sentences) // 2))
    return Request((Message("user", template.render(values)),), constraint)
