"""Questions of several answer sentences made from MedQuAD: which part of an article answers this question?

The articles of MedQuAD are cut up by question: symptoms, causes, treatment, outlook … Put together again, an article is
a text of which each question is answered by a few sentences, and nearly every sentence speaks of the very thing the
question names, so that naming it alone does not help. The recipe:

1. The answers to all questions of a document (or of two documents about the same focus) are blocks. A block of more
   than `MAX_ANSWER` sentences, and GARD's table of phenotypes, is left out; a document with one block left is passed
   over.
2. The blocks are laid one after another in an order given by a hash, so that the place in the article says nothing.
3. A sentence that stands in two blocks is nobody's answer and is taken out of the blocks.
4. The question is asked as MedQuAD has it (`template`) or in one of our own wordings (`plain`), chosen by hash:
   MedQuAD's own questions are the same sixteen patterns throughout, and a selector that knows these only knows nothing.

`train` is for training. The split `dev` of the corpus is halved by a hash of the focus into `dev` (for choices) and
`test`; a focus that stands in the training split under any document is in neither.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import Any, Literal

from clinical.corpora.qa import QuestionOnText
from clinical.corpora.records import read_records
from clinical.documents.sentences import split_sentences
from clinical.errors import UsageError

Wording = Literal["template", "plain"]
SPLITS = ("train", "dev", "test")

MAX_ANSWER = 12
"""In sentences. Longer answers are whole articles by themselves."""

MAX_ARTICLE = 60

PHENOTYPES = "Human Phenotype Ontology"

WORDINGS: Mapping[str, Sequence[str]] = {
    "information": (
        "What is {focus}?",
        "Can you explain {focus}?",
        "Definition of {focus}",
        "What does it mean to have {focus}?",
    ),
    "symptoms": (
        "What are the signs of {focus}?",
        "How does {focus} show itself?",
        "How would I notice {focus}?",
        "Clinical features of {focus}",
        "What does {focus} feel like?",
    ),
    "treatment": (
        "How is {focus} treated?",
        "What helps against {focus}?",
        "Is there a therapy for {focus}?",
        "Management of {focus}",
        "Which drugs or operations are used for {focus}?",
    ),
    "inheritance": (
        "Does {focus} run in families?",
        "How do you inherit {focus}?",
        "Can parents pass {focus} on to their children?",
    ),
    "frequency": (
        "How common is {focus}?",
        "How many people have {focus}?",
        "Prevalence of {focus}",
        "Is {focus} rare?",
    ),
    "genetic changes": (
        "Which genes are involved in {focus}?",
        "What mutation leads to {focus}?",
        "Genetics of {focus}",
    ),
    "causes": (
        "Why do people get {focus}?",
        "What brings on {focus}?",
        "Where does {focus} come from?",
        "Etiology of {focus}",
    ),
    "exams and tests": (
        "How is {focus} diagnosed?",
        "Which tests show {focus}?",
        "How do doctors find out that it is {focus}?",
        "Work-up of {focus}",
    ),
    "research": ("What studies are done on {focus}?", "What is being researched about {focus}?"),
    "outlook": (
        "What is the prognosis of {focus}?",
        "Will it get better with {focus}?",
        "How long do people live with {focus}?",
        "Chance of recovery from {focus}",
    ),
    "susceptibility": (
        "Who gets {focus}?",
        "Am I likely to get {focus}?",
        "Risk factors for {focus}",
    ),
    "considerations": ("What should I know about living with {focus}?", "What else matters with {focus}?"),
    "prevention": (
        "How can I avoid {focus}?",
        "What protects against {focus}?",
        "Prevention of {focus}",
    ),
    "stages": ("How is {focus} staged?", "What stages does {focus} have?"),
    "complications": (
        "What can go wrong with {focus}?",
        "What problems does {focus} lead to?",
        "Consequences of {focus}",
    ),
}
"""Our own ways to ask each type of question."""


@dataclass(frozen=True)
class _Block:
    question: str
    kind: str
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Article:
    """A text put together from answers: the focus, the text, its sentences, and the questions with their answers."""

    id: str
    focus: str
    text: str
    sentences: tuple[tuple[int, int], ...]
    questions: tuple[tuple[str, str, frozenset[int]], ...]


def read(split: str, wording: Wording | None = None) -> Iterator[QuestionOnText]:
    """Yield the questions of a split; without a `wording` a hash chooses half of each."""
    for article in articles(split):
        for number, (question, kind, answers) in enumerate(article.questions):
            id = f"{article.id}#{number}"
            chosen = wording or ("template" if _hash(id) % 2 else "plain")
            yield QuestionOnText(
                id,
                plainly(article.focus, kind, _hash(id) // 2) if chosen == "plain" else question,
                article.text,
                article.sentences,
                answers,
                article.focus,
            )


def plainly(focus: str, kind: str, choice: int) -> str:
    """Return one of our own wordings of a question of this kind."""
    wordings = WORDINGS[kind]
    return wordings[choice % len(wordings)].format(focus=focus)


def articles(split: str) -> Iterator[Article]:
    """Yield the articles of a split that have two blocks or more. Raises `UsageError` for an unknown split."""
    if split not in SPLITS:
        raise UsageError(f"medquad questions have no split {split!r}; available: {', '.join(SPLITS)}")
    records = sorted(read_records("medquad", "train" if split == "train" else "dev"), key=_focus)
    trained = frozenset() if split == "train" else _trained()
    for focus, group in groupby(records, key=_focus):
        half = "test" if _hash(focus) % 2 else "dev"
        if split == "train" or (half == split and focus not in trained):
            article = _article(list(group))
            if article is not None:
                yield article


@cache
def _trained() -> frozenset[str]:
    return frozenset(_focus(record) for record in read_records("medquad", "train"))


def _article(records: Sequence[Mapping[str, Any]]) -> Article | None:
    blocks: dict[str, _Block] = {}
    for record in records:
        block = _Block(
            record["question"].replace(" ?", "?"), record["question_type"], _sentences(record["answer"])
        )
        if (
            0 < len(block.sentences) <= MAX_ANSWER
            and PHENOTYPES not in record["answer"]
            and block.kind in WORDINGS
        ):
            blocks.setdefault(
                block.kind, block
            )  # a second document's answer to the same would be an answer too
    counts = Counter(sentence for block in blocks.values() for sentence in set(block.sentences))
    id = str(records[0]["document"])
    order = sorted(blocks.values(), key=lambda block: _hash(id + block.kind))
    text = ""
    spans: list[tuple[int, int]] = []
    questions: list[tuple[str, str, frozenset[int]]] = []
    for block in order:
        own = [sentence for sentence in block.sentences if counts[sentence] == 1]
        if not own or len(spans) + len(own) > MAX_ARTICLE:
            continue
        questions.append((block.question, block.kind, frozenset(range(len(spans), len(spans) + len(own)))))
        for sentence in own:
            spans.append((len(text), len(text) + len(sentence)))
            text += sentence + "\n"
    if len(questions) < 2:
        return None
    return Article(id, str(records[0]["focus"]), text, tuple(spans), tuple(questions))


def _sentences(answer: str) -> tuple[str, ...]:
    found = (" ".join(answer[start:end].split()) for start, end in split_sentences(answer))
    # GARD repeats its question as the first line of the answer: that line answers nothing.
    return tuple(sentence for sentence in found if len(sentence.split()) > 2 and not sentence.endswith("?"))


def _focus(record: Mapping[str, Any]) -> str:
    return re.sub(r"\W+", " ", record["focus"].lower()).strip()


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])
