"""What every summarizer must beat, and what the best choice of sentences would reach.

- lead-k: the first k sentences; random-k: k sentences by lot, in their order.
- TextRank-k: the k most central sentences (Mihalcea and Tarau 2004) of the graph of TF-IDF cosines, by PageRank
  with damping 0.85.
- source: the whole text.
- nearest: the summary of the training text that is most alike by TF-IDF; it knows nothing of this patient.
- oracle: sentences added one by one as long as ROUGE-1 plus ROUGE-2 against the human summary grows (Nallapati et
  al. 2017); no choice of whole sentences does much better. It sees the answer, so it is no system.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

from clinical.corpora.summaries import SummaryPair, SummarySet
from clinical.documents.sentences import split_sentences

Floor = Callable[[Sequence[SummaryPair]], list[str]]
"""Returns the summary of each text, one sentence to a line."""

LENGTHS = (1, 2, 3, 5, 8, 12, 20, 40)
"""How many sentences a floor may take; which, is chosen on training rows."""

CHOOSING_ROWS = 100

DAMPING = 0.85

ROUNDS = 50


def floors(gold: SummarySet) -> Iterator[tuple[str, Floor]]:
    """Yield name and function of each floor; their lengths are chosen on training rows by ROUGE-1.

    A set without training rows gets three sentences, and no `nearest`.
    """
    for name, pick in (("lead", lead), ("TextRank", text_rank), ("random", by_lot)):
        count = _best_length(pick, gold.training[:CHOOSING_ROWS])
        yield f"{name}-{count}", partial(_picked, pick=pick, count=count)
    yield "source", lambda pairs: ["\n".join(sentences_of(pair.source)) for pair in pairs]
    if gold.training:
        yield "nearest", partial(nearest, training=gold.training)
    yield "oracle", lambda pairs: ["\n".join(oracle(pair)) for pair in pairs]


def sentences_of(text: str) -> list[str]:
    """Return the sentences of a text; lines of white space are none."""
    found = (" ".join(text[start:end].split()) for start, end in split_sentences(text))
    return [sentence for sentence in found if sentence]


Pick = Callable[[Sequence[str], int], list[int]]


def lead(sentences: Sequence[str], count: int) -> list[int]:
    """Return the places of the first sentences."""
    return list(range(min(count, len(sentences))))


def by_lot(sentences: Sequence[str], count: int) -> list[int]:
    """Return places drawn by lot, the same at each call for the same sentences."""
    draw = random.Random(len("".join(sentences)))
    return sorted(draw.sample(range(len(sentences)), min(count, len(sentences))))


def text_rank(sentences: Sequence[str], count: int) -> list[int]:
    """Return the places of the most central sentences, in their order."""
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer

    if len(sentences) <= count or not any(re.search(r"\w\w", sentence) for sentence in sentences):
        return lead(sentences, count)
    vectors = TfidfVectorizer().fit_transform(sentences)
    alike = (vectors @ vectors.T).toarray()
    np.fill_diagonal(alike, 0)
    sums = alike.sum(axis=0)
    # A sentence that is like no other passes its rank on to all of them.
    steps = np.where(sums > 0, alike / np.where(sums > 0, sums, 1), 1 / len(sentences))
    rank = np.full(len(sentences), 1 / len(sentences))
    for _ in range(ROUNDS):
        rank = (1 - DAMPING) / len(sentences) + DAMPING * steps @ rank
    best: list[int] = np.argsort(-rank, kind="stable")[:count].tolist()
    return sorted(best)


def nearest(pairs: Sequence[SummaryPair], training: Sequence[SummaryPair]) -> list[str]:
    """Return for each text the summary of the training text that is most alike."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer()
    known = vectorizer.fit_transform(pair.source for pair in training)
    alike = vectorizer.transform(pair.source for pair in pairs) @ known.T
    return [training[int(row)].target for row in alike.toarray().argmax(axis=1)]


def oracle(pair: SummaryPair) -> list[str]:
    """Return the sentences of the source whose choice is best by ROUGE-1 plus ROUGE-2, in their order."""
    sentences = sentences_of(pair.source)
    wanted = _grams([pair.target])
    chosen: list[int] = []
    best = 0.0
    while len(chosen) < len(sentences):
        left = [place for place in range(len(sentences)) if place not in chosen]
        scored = [
            (_rouge(_grams([sentences[at] for at in sorted([*chosen, place])]), wanted), -place)
            for place in left
        ]
        score, place = max(scored)
        if score <= best:
            break
        best = score
        chosen.append(-place)
    return [sentences[place] for place in sorted(chosen)]


def _picked(pairs: Sequence[SummaryPair], pick: Pick, count: int) -> list[str]:
    summaries = []
    for pair in pairs:
        sentences = sentences_of(pair.source)
        summaries.append("\n".join(sentences[place] for place in pick(sentences, count)))
    return summaries


def _best_length(pick: Pick, rows: Sequence[SummaryPair]) -> int:
    if not rows:
        return 3
    wanted = [_grams([row.target])[0] for row in rows]

    def mean_rouge(count: int) -> float:
        made = _picked(rows, pick, count)
        return sum(_f1(_grams([text])[0], target) for text, target in zip(made, wanted, strict=True))

    return max(LENGTHS, key=mean_rouge)


Grams = tuple[Counter[str], Counter[tuple[str, str]]]


def _grams(sentences: Sequence[str]) -> Grams:
    words = [word for sentence in sentences for word in re.findall(r"[a-z0-9]+", sentence.lower())]
    return Counter(words), Counter(pairwise(words))


def _rouge(made: Grams, wanted: Grams) -> float:
    return _f1(made[0], wanted[0]) + _f1(made[1], wanted[1])


def _f1(made: Counter[Any], wanted: Counter[Any]) -> float:
    shared = (made & wanted).total()
    total = made.total() + wanted.total()
    return 2 * shared / total if total else 0.0
