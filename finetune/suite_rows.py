"""Rows of the tasks beside `ner`, in the words of the product: questions, and sentences to be chosen for summaries.

    rows(Writer(tokenizer, V3))          # task, ids, where the answer begins

- `ask`: which of up to 24 numbered sentences answer (`ask.quote.v1`), on made-up notes and on articles of MedQuAD, a
  part of them without an answer.
- `search`: which of the sentences that were found answer (`search.v1`): those of a made-up note, or of two articles, in
  any order.
- `summarize`: what a patient asks (`summarize.question.v1`), from MeQSum; and which sentences of a talk between doctor
  and patient are needed for the note (`summarize.extract.v1`): those of MTS-Dialog and ACI-Bench whose words the human
  note has. Summaries in prose are left out: a model of this size makes them up.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from clinical.corpora import medquad_questions
from clinical.corpora.qa import QuestionOnText
from clinical.corpora.records import read, read_records
from clinical.documents.note import Note
from clinical.documents.sentences import split_sentences
from clinical.facts.terms import content
from clinical.finetune import synthetic_questions
from clinical.finetune.examples import Example
from clinical.finetune.rows import Writer
from clinical.models.language_model import Message, Request, Selection
from clinical.models.mistral_summarizer import WANTED
from clinical.prompts import templates
from clinical.prompts.templates import Template
from clinical.tasks.ask import Scored
from clinical.tasks.ask_mistral import READ, numbered
from clinical.tasks.evidence import Stretch, Told
from clinical.tasks.search_mistral import PROMPT
from clinical.tasks.search_mistral import READ as SEARCH_READ

MADE_UP = 5000
ARTICLES = 3500
SEARCHED_NOTES = 2500
SEARCHED_ARTICLES = 2000
STRANGERS = 0.15
"""The share of questions on articles that are put to another article, which does not answer them."""

LEAST_SHARED = 0.6
"""A sentence is needed for a note that has so many of its words."""

MOST_CHOSEN = 5
LONGEST = 700
"""Longer rows, in tokens, are left out."""


def rows(writer: Writer, seed: int = 0) -> Iterator[tuple[str, list[int], int]]:
    """Yield the rows: name of the task, ids, where the answer begins."""
    for example in examples(seed):
        row = writer.row(example)
        if row is not None and len(row.ids) <= LONGEST:
            yield example.task, row.ids, row.learned[-1][0]


def examples(seed: int) -> Iterator[Example]:
    """Yield the examples of all tasks."""
    choose = random.Random(seed)
    template = templates.load("ask.quote.v1")
    for made in synthetic_questions.questions(MADE_UP, seed, _sentences_of_notes()):
        yield _asked(template, made.question, "", made.lines, made.answers, choose)
    yield from _on_articles(template, choose)
    yield from _searches(seed + 1, choose)
    yield from _questions_of_patients()
    yield from _dialogues(choose)


def _sentences_of_notes() -> list[str]:
    texts = [record["target"] for record in read_records("mts_dialog", "train")]
    texts += [document.text for document in read("maccrobat", "train")]
    found = (text[start:end] for text in texts for start, end in split_sentences(text))
    return [" ".join(sentence.split()) for sentence in found if 20 < len(sentence) < 200]


def _on_articles(template: Template, choose: random.Random) -> Iterator[Example]:
    items = list(medquad_questions.read("train"))
    for item in choose.sample(items, min(ARTICLES, len(items))):
        text = choose.choice(items) if choose.random() < STRANGERS else item
        strange = text.title != item.title
        if text is not item and not strange:
            continue
        lines, answers = _window(text, frozenset() if strange else item.answers or frozenset(), choose)
        yield _asked(template, item.question, text.title, lines, answers, choose)


def _window(
    item: QuestionOnText, answers: frozenset[int], choose: random.Random
) -> tuple[list[tuple[str, str]], frozenset[int]]:
    """Return up to 24 sentences of an article, with one that answers among them where there is one."""
    count = len(item.sentences)
    size = choose.randint(min(4, count), min(READ, count))
    near = choose.choice(sorted(answers)) if answers else choose.randrange(count)
    first = choose.randint(max(0, near - size + 1), min(near, count - size))
    lines = [("", item.sentence(number)) for number in range(first, first + size)]
    inside = sorted(number - first for number in answers if first <= number < first + size)
    return lines, frozenset(inside[:MOST_CHOSEN])


def _asked(
    template: Template,
    question: str,
    title: str,
    lines: Sequence[tuple[str, str]],
    answers: frozenset[int],
    choose: random.Random,
) -> Example:
    """Return a question on numbered sentences, as `clinical ask` puts it; `lines` are heading and sentence."""
    lines = lines[:READ]
    title = title or choose.choice(("discharge.txt", "note", "visit 3", "consult.txt", "letter"))
    note = Note(title, "\n".join(sentence for _, sentence in lines))
    told = [Told(0, 0, sentence, 1, heading) for heading, sentence in lines]
    stretch = Stretch(note, title, tuple(told))
    text = "\n".join(numbered([Scored(stretch, one, None) for one in told]))
    values = templates.checked(template, {"question": question, "text": text})
    constraint = Selection(len(lines), MOST_CHOSEN)
    request = Request((Message("user", template.render(values)),), constraint)
    chosen = tuple(sorted(number + 1 for number in answers if number < len(lines)))[:MOST_CHOSEN]
    return Example("ask", title, constraint.write(chosen), request, chosen=chosen)


def _searches(seed: int, choose: random.Random) -> Iterator[Example]:
    template = templates.load(PROMPT)
    for made in synthetic_questions.questions(SEARCHED_NOTES, seed, _sentences_of_notes()):
        found = [(sentence, number in made.answers) for number, (_, sentence) in enumerate(made.lines)]
        yield _found(template, made.question, found, choose)
    items = list(medquad_questions.read("train"))
    for item in choose.sample(items, min(SEARCHED_ARTICLES, len(items))):
        lines, answers = _window(item, item.answers or frozenset(), choose)
        found = [(sentence, number in answers) for number, (_, sentence) in enumerate(lines[:12])]
        other = choose.choice(items)
        if other.title != item.title:
            found += [(sentence, False) for _, sentence in _window(other, frozenset(), choose)[0][:12]]
        yield _found(template, item.question, found, choose)


def _found(
    template: Template, query: str, found: Sequence[tuple[str, bool]], choose: random.Random
) -> Example:
    """Return the choice among sentences that a search found, each with whether it answers."""
    mixed = choose.sample(found, len(found))[:SEARCH_READ]
    request = searched(template, query, [sentence for sentence, _ in mixed])
    assert isinstance(request.constraint, Selection)
    chosen = tuple(number for number, (_, answers) in enumerate(mixed, 1) if answers)
    return Example("search", query, request.constraint.write(chosen), request, chosen=chosen)


def searched(template: Template, query: str, sentences: Sequence[str]) -> Request:
    """Return the request to choose among sentences that were found, as `clinical search` puts it."""
    text = "\n".join(f"[{number}] {' '.join(one.split())}" for number, one in enumerate(sentences, 1))
    values = templates.checked(template, {"query": query, "text": text})
    return Request((Message("user", template.render(values)),), Selection(len(sentences), len(sentences)))


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
