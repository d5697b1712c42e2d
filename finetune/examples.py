"""What a recipe's sources hold, as requests of the product and the answers it wants; not yet as tokens.

Every task asks through the very templates and constraints that it uses afterwards, so that what was learned is
what is asked. A fault has its file and line, and nothing is left out without being counted.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from clinical.corpora.catalog import find
from clinical.corpora.qa import QuestionOnText, read_questions
from clinical.corpora.records import GoldDocument, Mention, split_path
from clinical.corpora.rows import Row, Turn
from clinical.corpora.training import read_rows
from clinical.errors import UsageError
from clinical.finetune import selections, synthetic_questions
from clinical.finetune.mistral_rows import Passage, asked, flat, passages
from clinical.finetune.recipe import Recipe, Source, Task
from clinical.finetune.selections import MOST_CHOSEN
from clinical.finetune.synthetic_notes import fillers, synthetic
from clinical.models.language_model import Message, Request, TaggedCopy
from clinical.models.mistral_tagger import chunks
from clinical.models.mistral_tagger import request as ner_request
from clinical.prompts import templates
from clinical.prompts.labels import Label, clinical_labels, core_labels, known_or_defined
from clinical.prompts.templates import Part, Template
from clinical.scoring.gold import Gold, read_gold
from clinical.tasks.ask_mistral import READ

SYNTHETIC = "synthetic"
"""The source of made-up notes (`clinical.finetune.synthetic_notes`), as many as its `limit` says."""
MADE_UP = 2000
TURNS = 6
"""So many questions are asked of one made-up note at most."""
HELD_OUT = 999
"""The number of the pass that is held out: made-up notes of it stand in no other."""
FRESH_PASSES = 3
"""So many passes over the corpora of ner are cut at places of their own; later ones repeat them."""


@dataclass(frozen=True)
class Example:
    """One thing to learn. Without a request it is a plain text; `spans` and `chosen` are the answers of constraints.

    `group` is what must not stand on both sides of a held-out share: the document, or else the question.
    """

    task: Task
    place: str
    answer: str = ""
    request: Request | None = None
    spans: tuple[tuple[int, int, str], ...] = ()
    chosen: tuple[int, ...] = ()
    question: QuestionOnText | None = None
    group: str = ""


@dataclass
class Found:
    """What a source gave: examples, faults with file and line, and how many were passed over for which reason."""

    examples: list[Example] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)
    files: list[Path] = field(default_factory=list)


def template_of(recipe: Recipe, source: Source) -> Template:
    """Return the prompt template of a task: the recipe's, else the product's own."""
    named = recipe.prompt.get(source.task)
    return templates.load(
        named or (f"summarize.{source.style}.v1" if source.task == "summarize" else PROMPTS[source.task])
    )


PROMPTS: dict[str, str] = {"ner": "ner.v1", "search": "search.v1", "ask": "ask.quote.v1"}
"""The template that each task is asked in."""


def read_source(recipe: Recipe, source: Source, number: int = 0) -> Found:
    """Return the examples of a source in pass `number`. Raises `UsageError` when there is no such source."""
    if source.task == "ner":
        return _ner(recipe, source, number)
    if source.task in ("search", "ask"):
        return _made_up(recipe, source, number) if source.corpus == SYNTHETIC else _selections(recipe, source)
    if source.corpus == SYNTHETIC:
        raise UsageError(f"the source {SYNTHETIC} has rows for ner, ask and search, not for {source.task}")
    found = read_rows(source.file or source.corpus, source.columns or None, source.where or None)
    make = _summary if source.task == "summarize" else _conversation
    rows = found.rows[: source.limit]
    template = template_of(recipe, source) if source.task == "summarize" else None
    return Found(
        [make(row, source, template) for row in rows],
        [str(fault) for fault in found.faults],
        found.passed_over,
        found.files,
    )


def _conversation(row: Row, source: Source, template: Template | None) -> Example:
    if not row.messages:
        return Example("text", row.place, row.text, group=_key(row.text))
    turns = row.messages
    if source.system and turns[0].role != "system":
        turns = (Turn("system", source.system), *turns)
    messages = tuple(Message(turn.role, (Part(turn.content),)) for turn in turns[:-1])
    return Example("chat", row.place, turns[-1].content, Request(messages), group=_key(row.prompt))


def _summary(row: Row, source: Source, template: Template | None) -> Example:
    assert template is not None
    text = row.fields.get("text") or row.prompt
    values = templates.checked(template, {**row.fields, "text": text})
    request = Request((Message("user", template.render(values)),))
    return Example("summarize", row.place, row.answer, request, group=_key(text))


def questions(source: Source) -> list[QuestionOnText]:
    """Return the questions on texts that a source of `search` or `ask` holds."""
    name = f"{source.corpus}:{source.file}" if source.corpus and source.file else source.corpus or source.file
    return [item for item in read_questions(name, source.limit, source.columns) if item.answers is not None]


def _selections(recipe: Recipe, source: Source) -> Found:
    template = template_of(recipe, source)
    examples = [
        selection(source.task, part, template) for item in questions(source) for part in windows(item)
    ]
    return Found(examples, files=_files_of(source))


def windows(item: QuestionOnText) -> list[QuestionOnText]:
    """Return a question on stretches of its text that a model is shown at a time, each with its answers.

    At most `READ` sentences with at most `MOST_CHOSEN` answers, so that no answer is cut off. A stretch without any
    stays for one question in eight: a model must also learn to choose nothing.
    """
    if len(item.sentences) <= READ and len(item.answers or ()) <= MOST_CHOSEN:
        seldom = int(_key(item.id)[:4], 16) % 8 == 0
        return [item] if item.answers or seldom else []
    return [part for half in _halves(item) for part in windows(half)]


def _halves(item: QuestionOnText) -> tuple[QuestionOnText, QuestionOnText]:
    middle = len(item.sentences) // 2
    answers = item.answers or frozenset()
    return (
        replace(item, sentences=item.sentences[:middle], answers=frozenset(n for n in answers if n < middle)),
        replace(
            item,
            sentences=item.sentences[middle:],
            answers=frozenset(n - middle for n in answers if n >= middle),
        ),
    )


def selection(task: Task, item: QuestionOnText, template: Template) -> Example:
    """Return the question as the product puts it to a model: which of these sentences answer it?"""
    lines = [("", item.text[start:end]) for start, end in item.sentences]
    question = [(item.question, item.answers or frozenset())]
    chosen = selections.chosen(task, template, item.title or item.id, lines, question)
    return Example(
        task,
        item.id,
        chosen.answer,
        chosen.request,
        chosen=chosen.numbers,
        question=item,
        group=_key(item.text),
    )


def _made_up(recipe: Recipe, source: Source, number: int) -> Found:
    """Return questions on made-up notes, some on each, others in each pass; one on each where they are held out."""
    template = template_of(recipe, source)
    held = number == HELD_OUT
    seed = 1000 * recipe.train.seed + number
    notes = synthetic_questions.notes(source.limit or MADE_UP, seed, most=1 if held else TURNS)
    found = Found()
    for place, note in enumerate(notes, 1):
        lines = note.lines[:READ]
        asked = [(ask, answers) for ask, answers in note.asked if all(n < len(lines) for n in answers)]
        if not asked:
            continue
        chosen = selections.chosen(source.task, template, f"note {place}", lines, asked)
        found.examples.append(
            Example(
                source.task,
                f"made-up {place}",
                chosen.answer,
                chosen.request,
                chosen=chosen.numbers,
                group=_key("\n".join(sentence for _, sentence in lines)),
            )
        )
    return found


def halves(example: Example, template: Template) -> tuple[Example, Example] | None:
    """Return a question on a text that is too long as two on its halves; `None` when it cannot be halved."""
    item = example.question
    if item is None or len(item.sentences) < 2:
        return None
    first, second = _halves(item)
    return selection(example.task, first, template), selection(example.task, second, template)


def _ner(recipe: Recipe, source: Source, number: int) -> Found:
    template = template_of(recipe, source)
    seed = 1000 * recipe.train.seed + (number if number == HELD_OUT else number % FRESH_PASSES)
    choose = random.Random(f"{source.name} {seed}")
    cut = list(_passages(recipe, source, seed))[: source.limit]
    examples = [
        _tagged(
            passage,
            template,
            _labels(passage.labels, choose, recipe.labels),
            f"{source.name} passage {place}",
            group,
        )
        for place, (passage, group) in enumerate(cut, 1)
    ]
    return Found(examples, files=_files_of(source))


def _tagged(
    passage: Passage, template: Template, labels: Sequence[Label], place: str, group: str = ""
) -> Example:
    request = ner_request(template, labels, passage.text)
    return Example("ner", place, request=request, spans=passage.spans, group=group or _key(passage.text))


def _labels(names: tuple[str, ...], choose: random.Random, definitions: Mapping[str, str]) -> Sequence[Label]:
    """Return the labels to ask for: for those of the label set some or all, a user's own always all."""
    if set(names) <= {label.name for label in clinical_labels()}:
        return asked(names, choose)
    return known_or_defined(names, definitions)


def _passages(recipe: Recipe, source: Source, seed: int) -> Iterable[tuple[Passage, str]]:
    """Return the passages of a source with what tells their document from others, where that is known."""
    if source.file:
        gold = read_gold(source.file, columns=source.columns)
        return [
            (made, _key(document.text))
            for document in gold.documents
            for made in _cut(document, gold.labels, recipe.chunk_pieces)
        ]
    if source.corpus == SYNTHETIC:
        return ((made, "") for made in synthetic(source.limit or MADE_UP, seed, synthetic_fillers()))
    if ":" not in source.corpus:
        raise UsageError(f"{source.corpus}: say which split, as in {source.corpus}:train")
    return ((made, "") for made in passages(source.corpus, seed, recipe.chunk_pieces))


def gold_of_held(examples: Sequence[Example]) -> list[Gold]:
    """Return what `ner` is scored on where a share of the rows is held out: their passages."""
    documents: list[GoldDocument] = []
    labels: set[str] = set()
    for example in examples:
        if example.request is not None and isinstance(constraint := example.request.constraint, TaggedCopy):
            labels |= set(constraint.labels)
            text = constraint.source
            mentions = tuple(Mention(s, e, text[s:e], label, label) for s, e, label in example.spans)
            documents.append(GoldDocument(example.place, text, mentions))
    return [Gold("held out", tuple(documents), tuple(sorted(labels)))] if documents else []


def synthetic_fillers() -> dict[str, list[str]]:
    """Return mentions to put into made-up notes: those of the corpora, a few of ours where they are not here."""
    try:
        return fillers()
    except UsageError:
        return FILLERS


FILLERS = {
    "Disease": ["asthma", "type 2 diabetes", "pneumonia", "atrial fibrillation", "gout", "hypertension"],
    "Medication": ["aspirin", "metformin", "lisinopril", "warfarin", "ibuprofen", "amoxicillin"],
    "Symptom": ["fever", "chest pain", "cough", "shortness of breath", "nausea", "headache"],
    "Procedure": ["appendectomy", "coronary bypass", "knee replacement"],
    "Test": ["chest X-ray", "ECG", "CT", "hemoglobin", "creatinine"],
    "Anatomy": ["left knee", "abdomen", "right lung", "liver"],
    "Severity": ["mild", "severe", "moderate"],
}
"""Mentions of our own, for machines without corpora."""


def _cut(document: GoldDocument, labels: tuple[str, ...], most_pieces: int) -> Iterator[Passage]:
    entities = flat(document)
    for start, end in chunks(document.text, most_pieces):
        inside = [entity for entity in entities if start <= entity.start and entity.end <= end]
        spans = tuple((entity.start - start, entity.end - start, entity.label) for entity in inside)
        yield Passage(document.text[start:end], spans, labels)


def gold_of(recipe: Recipe, source: Source, rows: int) -> Gold:
    """Return what `ner` is scored on: the annotated texts of a source."""
    limit = min(rows, source.limit or rows)
    if source.corpus != SYNTHETIC:
        return read_gold(source.file or source.corpus, limit=limit, columns=source.columns)
    # Another seed than any that is trained on.
    cut = list(synthetic(limit, 1000 * recipe.train.seed + HELD_OUT, synthetic_fillers()))
    documents = tuple(
        GoldDocument(
            f"made-up {number}",
            passage.text,
            tuple(Mention(s, e, passage.text[s:e], label, label) for s, e, label in passage.spans),
        )
        for number, passage in enumerate(cut)
    )
    labels = tuple(dict.fromkeys(label for passage in cut for *_, label in passage.spans))
    return Gold(SYNTHETIC, documents, labels)


def known_labels(recipe: Recipe) -> list[str]:
    """Return the labels that the ner sources of a recipe annotate, in the order of the label set."""
    found: set[str] = set()
    for source in recipe.data:
        if source.task != "ner":
            continue
        if source.file:
            found |= set(read_gold(source.file, columns=source.columns).labels)
        elif source.corpus == SYNTHETIC:
            found |= {label.name for label in core_labels()}
        else:
            found |= set(find(source.corpus.split(":")[0]).clinical_labels)
    ordered = [label.name for label in clinical_labels() if label.name in found]
    return [*ordered, *sorted(found - set(ordered))]


def _files_of(source: Source) -> list[Path]:
    if source.file:
        return [Path(source.file)]
    name, _, split = source.corpus.partition(":")
    if source.corpus == SYNTHETIC:
        return []
    corpus = find(name)
    return [split_path(corpus, split if split in corpus.splits else corpus.splits[0])]


def _key(text: str) -> str:
    """Return what tells a text from others, whatever its blanks and letter case."""
    return hashlib.sha256(" ".join(text.lower().split()).encode("utf-8", "replace")).hexdigest()[:16]


__all__ = [
    "FRESH_PASSES", "HELD_OUT", "PROMPTS", "Example", "Found", "gold_of", "gold_of_held", "halves", "known_labels",
    "questions", "read_source", "selection", "template_of", "windows",
]  # fmt: skip
