"""PubMedQA: a question on an abstract, answered yes, no or maybe (Jin et al., EMNLP 2019).

The text is the abstract without its conclusion; the conclusion (`long_answer`) is what the annotators decided by, and
is no part of the text. Which sentences of the abstract bear it out nobody annotated: `evidence` takes those that share
the most with the conclusion, as a silver standard for training.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from clinical.corpora.qa import QuestionOnText
from clinical.corpora.records import read_records
from clinical.documents.sentences import split_sentences

_WORD = re.compile(r"[a-z]{4,}|\d+(?:\.\d+)?")

MIN_SHARE = 0.25
"""Of the conclusion's words, how many a sentence must hold to count as evidence."""


def read(split: str) -> Iterator[QuestionOnText]:
    """Yield the questions of a split, each with its decision and without answer sentences."""
    for record in read_records("pubmedqa", split):
        text = "\n".join(record["contexts"])
        yield QuestionOnText(
            str(record["id"]),
            record["question"],
            text,
            tuple(split_sentences(text)),
            None,
            decision=record["final_decision"],
        )


def evidence(split: str) -> Iterator[QuestionOnText]:
    """Yield the questions of a split with their silver evidence: up to three sentences nearest to the conclusion."""
    conclusions = {str(record["id"]): record["long_answer"] for record in read_records("pubmedqa", split)}
    for item in read(split):
        wanted = set(_WORD.findall(conclusions[item.id].lower()))
        shares = [
            len(wanted.intersection(_WORD.findall(item.sentence(number).lower()))) / max(len(wanted), 1)
            for number in range(len(item.sentences))
        ]
        best = sorted(range(len(shares)), key=lambda number: -shares[number])[:3]
        yield replace(item, answers=frozenset(number for number in best if shares[number] >= MIN_SHARE))
