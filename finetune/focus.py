"""Train the weights of query words (`clinical.tasks.focus`): which words of a question does its summary keep?

    python -m clinical.finetune.focus            # prints the scores
    python -m clinical.finetune.focus --write    # and writes tasks/focus.yaml

A logistic regression over the words of MeQSum's consumer questions; a word is kept when its stem is in the one-line
summary. The odds of a single word are its log odds of being kept beyond those of all words, drawn towards zero by
eight average words; in training they come from the other folds, so that the regression sees them as unsure as they
are. Messages that are also in LiveQA, on which search is measured, are left out. Takes seconds; nothing is random.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clinical.corpora.folder import corpora_folder
from clinical.corpora.records import read_records
from clinical.index.terms import stems_of
from clinical.tasks import focus

FOLDS = 5
LEAST_SEEN = 5
AVERAGE_WORDS = 8.0
RIDGE = 1.0

_CARD = """\
# The weights of query words; `focus.py` says what they mean. Made by `python -m clinical.finetune.focus --write` from
# MeQSum, train ({questions:,} consumer questions with one-line summaries, CC BY 4.0; without those also in LiveQA).
# No text of it is here: only how often its {words:,} most frequent words, as stems, are kept in the summaries.
# Mean average precision of the words of a summary among those of its question, {dev} questions of MeQSum's dev split:
# {score:.3f}; by rarity alone {rarity:.3f}. They are consumers' questions in English: the words of other queries are
# weighed by rarity, place and repetition.
"""


@dataclass(frozen=True)
class Question:
    """A message, and the stems of its one-line summary."""

    message: str
    kept: frozenset[str]


@dataclass(frozen=True)
class Table:
    """The words of some questions: their features, whether each is kept, and the question it is from."""

    values: NDArray[np.float64]
    kept: NDArray[np.float64]
    question: NDArray[np.int64]


def read_questions(split: str) -> list[Question]:
    """Return the questions of a split of MeQSum that are not in LiveQA."""
    elsewhere = list(_messages_of_liveqa())
    return [
        Question(message, frozenset(stem for stems in stems_of(record["target"].split()) for stem in stems))
        for record in read_records("meqsum", split)
        for message in [re.sub(r"^SUBJECT:\s*|^MESSAGE:\s*", "", record["source"], flags=re.MULTILINE)]
        if not any(other in _letters(message) for other in elsewhere)
    ]


def _messages_of_liveqa() -> Iterator[str]:
    path = corpora_folder() / "retrieval" / "medquad_liveqa" / "queries.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines():
        if message := _letters(json.loads(line)["message"])[:60]:
            yield message


def _letters(text: str) -> str:
    return re.sub(r"\W+", "", text.lower())


def odds_of(questions: Sequence[Question]) -> dict[str, float]:
    """Return the log odds of each frequent word to be kept, beyond those of all words."""
    seen: Counter[str] = Counter()
    kept: Counter[str] = Counter()
    for question in questions:
        for stem, _, _ in focus.features(question.message, {}):
            seen[stem] += 1
            kept[stem] += stem in question.kept
    base = kept.total() / seen.total()

    def odds(stem: str) -> float:
        share = (kept[stem] + AVERAGE_WORDS * base) / (seen[stem] + AVERAGE_WORDS)
        return math.log(share / (1 - share)) - math.log(base / (1 - base))

    return {stem: round(odds(stem), 2) for stem in sorted(seen) if seen[stem] >= LEAST_SEEN}


def table(questions: Sequence[Question], odds: Mapping[str, float]) -> Table:
    """Return the words of the questions with their features."""
    rows = [
        (values, stem in question.kept, number)
        for number, question in enumerate(questions)
        for stem, _, values in focus.features(question.message, odds)
    ]
    values, kept, numbers = zip(*rows, strict=True)
    return Table(np.array(values), np.array(kept, float), np.array(numbers))


def training_table(questions: Sequence[Question]) -> Table:
    """Return the words of all questions, the odds of each fold from the other folds."""
    parts = []
    for fold in range(FOLDS):
        others = [question for number, question in enumerate(questions) if number % FOLDS != fold]
        parts.append(table(questions[fold::FOLDS], odds_of(others)))
    return Table(
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.kept for part in parts]),
        np.concatenate([part.question for part in parts]),
    )


def fit(words: Table, steps: int = 30) -> NDArray[np.float64]:
    """Return the weights of a logistic regression with a small ridge, by Newton's method."""
    weights = np.zeros(words.values.shape[1])
    for _ in range(steps):
        chance = 1 / (1 + np.exp(-words.values @ weights))
        slope = words.values.T @ (chance - words.kept) + RIDGE * weights
        curve = (words.values * (chance * (1 - chance))[:, None]).T @ words.values
        weights -= np.linalg.solve(curve + RIDGE * np.eye(len(weights)), slope)
    return weights


def average_precision(words: Table, weights: NDArray[np.float64]) -> float:
    """Return the mean average precision of the kept words, over the questions that keep any."""
    scores = words.values @ weights
    found = []
    for number in np.unique(words.question):
        here = words.question == number
        kept = words.kept[here][np.argsort(-scores[here], kind="stable")]
        if kept.any():
            found.append((np.cumsum(kept) / np.arange(1, len(kept) + 1) * kept).sum() / kept.sum())
    return float(np.mean(found))


def main() -> None:
    """Train, print the scores, and write the numbers when asked to."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="write tasks/focus.yaml")
    asked = parser.parse_args()
    questions, dev = read_questions("train"), read_questions("dev")
    weights, odds = fit(training_table(questions)), odds_of(questions)
    words = table(dev, odds)
    rarity = np.array([float(name == "rarity") for name in focus.FEATURES])
    score, by_rarity = average_precision(words, weights), average_precision(words, rarity)
    print(f"mean average precision on {len(dev)} questions: {score:.3f}; by rarity alone {by_rarity:.3f}")
    for name, weight in zip(focus.FEATURES, weights, strict=True):
        print(f"{name:8} {weight:+.3f}")
    if asked.write:
        head = _CARD.format(
            questions=len(questions), words=len(odds), dev=len(dev), score=score, rarity=by_rarity
        )
        lines = ["weights:"]
        lines += [f"  {name}: {weight:.3f}" for name, weight in zip(focus.FEATURES, weights, strict=True)]
        lines += [
            "odds:",
            *(f"  {json.dumps(stem, ensure_ascii=False)}: {odd}" for stem, odd in odds.items()),
        ]
        path = Path(focus.__file__).with_name("focus.yaml")
        path.write_text(head + "\n".join(lines) + "\n", encoding="utf-8")
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
