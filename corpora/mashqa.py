"""MASHQA: health questions whose answers are several sentences of a web article (Zhu et al., Findings of EMNLP 2020).

The files are the user's to bring: the articles are WebMD's, and no licence of the data is stated, so none of it is in
this package and nothing that ships was trained on it. The layout is SQuAD's with additions:

    data[].title                              address of the article
    data[].paragraphs[].context               the article
                       .sent_list             its sentences
                       .sent_starts           [start, length] of each sentence
                       .qas[].id, .question, .is_impossible
                             .answers[0].text           the answer's sentences, joined
                                        .answer_start   None when they do not follow each other
                                        .answer_starts  [start, length] of each, as in sent_starts
                                        .answer_span    their numbers in sent_list

Files of the variant `consec` hold the questions whose answer is one stretch.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clinical.corpora.qa import QuestionOnText
from clinical.errors import UsageError


@dataclass(frozen=True)
class Mashqa:
    """The questions of one file, and what was wrong with those that were left out."""

    questions: Sequence[QuestionOnText]
    faults: Sequence[str] = field(default_factory=tuple)


def read(path: Path) -> Mashqa:
    """Return the questions of a file. One whose numbers contradict each other is left out and named.

    Raises `UsageError` for a file that is not there or not of this layout.
    """
    try:
        articles = json.loads(path.read_text(encoding="utf-8"))["data"]
        paragraphs = [
            (str(article.get("title") or ""), paragraph)
            for article in articles
            for paragraph in article["paragraphs"]
        ]
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such file; MASHQA's files are yours to bring") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{path} is not a file of MASHQA's layout (data, paragraphs, sent_starts)"
        ) from error
    questions: list[QuestionOnText] = []
    faults: list[str] = []
    for title, paragraph in paragraphs:
        for qa in paragraph.get("qas", ()):
            try:
                questions.append(_question(title, paragraph, qa))
            except (KeyError, TypeError, ValueError, IndexError) as error:
                faults.append(f"question {qa.get('id', '?')}: {error}")
    return Mashqa(questions, faults)


def _question(title: str, paragraph: Mapping[str, Any], qa: Mapping[str, Any]) -> QuestionOnText:
    context = paragraph["context"]
    sentences = tuple(_spans(context, paragraph["sent_list"], paragraph["sent_starts"]))
    answers: frozenset[int] = frozenset()
    if not qa.get("is_impossible") and qa["answers"]:
        answer = qa["answers"][0]
        numbers = answer.get("answer_span")
        starts = [tuple(pair) for pair in answer["answer_starts"]]
        places = {tuple(pair): number for number, pair in enumerate(paragraph["sent_starts"])}
        answers = frozenset(places[pair] for pair in starts if pair in places)
        if len(answers) != len(set(starts)):
            raise ValueError("an answer_starts is none of the sent_starts")
        if numbers is not None and frozenset(numbers) != answers:
            raise ValueError("answer_span and answer_starts name different sentences")
    return QuestionOnText(str(qa["id"]), qa["question"], context, sentences, answers, _topic(title))


def _spans(context: str, texts: Sequence[str], places: Sequence[Sequence[int]]) -> Iterator[tuple[int, int]]:
    if len(texts) != len(places):
        raise ValueError(f"{len(texts)} sentences in sent_list, {len(places)} in sent_starts")
    for text, (start, length) in zip(texts, places, strict=True):
        if context[start : start + length].split() != text.split():
            raise ValueError(f"sent_starts {start} does not hold its sentence")
        yield start, start + length


def _topic(address: str) -> str:
    """Return the words of an article's address: "…/atrial-fibrillation/guide/causes" is "causes"."""
    last = address.rstrip("/").rsplit("/", 1)[-1]
    return " ".join(last.split("?")[0].replace("-", " ").split())
