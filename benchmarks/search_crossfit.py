"""Is search better than the plain ways, on all questions of LiveQA, with settings that none of them had a part in?

    python benchmarks/search_crossfit.py             # minutes of one core; collections are embedded at the first run
    python benchmarks/search_crossfit.py --choices   # and the mean of the sets with each of the settings

The questions fall into two halves by their ids. The numeric settings are chosen from `GRID` on one half, in three
wordings and by two judgements (the collection's own, and the questions' reference answers among all others), together
with the tuning half of NFCorpus dev and MedicationQA, of which no question is among LiveQA's: the best mean of the sets
is taken. They score the other half; then the halves are swapped. So each question is scored with settings that were
chosen without it. The method itself was made by people who looked at the first half, `--half tune`.
Each plain way stands with what the hybrid has more: `cosine` and `rrf` know the beginning of a document, as MiniLM
reads it, those "of the whole" have the same vectors as the hybrid.
Intervals and p are bootstrapped over the questions. The last line is the same as JSON.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinical.corpora.catalog import find
from clinical.corpora.folder import corpora_folder
from clinical.corpora.retrieval import Collection, read_collection
from clinical.documents.note import Note
from clinical.index.collection import open_collection
from clinical.index.ranking import BASELINES, Ranked, Settings, baseline, rank
from clinical.index.store import Store
from clinical.models.embedder import Embedder
from clinical.scoring.retrieval import DEPTH, MAIN, mean_difference, mean_interval, score_run
from clinical.tasks.query import OTHER_NAME, Query, read_query

WORDINGS = ("text", "paraphrase", "summary")
JUDGED = ("medquad_liveqa", "medquad_liveqa:reference")


@dataclass(frozen=True)
class Choice:
    """One of the settings to choose from."""

    settings: Settings
    other_name: float

    def __str__(self) -> str:
        chosen = self.settings
        return f"meaning {chosen.meaning}, pull {chosen.pull}, other names {self.other_name}"


GRID = [
    Choice(Settings(meaning, pull=pull), other_name)
    for meaning, pull, other_name in product(
        (0.65, 0.7, 0.75, 0.8, 0.85), (0.0, 0.25, 0.5, 1.0), (OTHER_NAME, 2 * OTHER_NAME)
    )
]


@dataclass(frozen=True)
class Measured:
    """A set of queries: nDCG@10 of each with each choice, and with each of the plain ways.

    `first` says which queries are of the first half; in a set that only settings are chosen on there are no halves.
    """

    name: str
    by_choice: Mapping[Choice, NDArray[np.float64]]
    plain: Mapping[str, NDArray[np.float64]]
    first: NDArray[np.bool_] | None = None

    def mean(self, choice: Choice, half: bool) -> float:
        """Return what a choice scores on one half, or on all when there are no halves."""
        values = self.by_choice[choice]
        return float((values if self.first is None else values[self.first == half]).mean())


class Remembering:
    """MiniLM, which embeds a text once: the collections have most documents in common."""

    id = Embedder.id

    def __init__(self) -> None:
        self._embedder = Embedder()
        self._known: dict[str, NDArray[np.float32]] = {}

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one vector per text."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        self._known |= zip(new, self._embedder.embed(new), strict=True)
        return np.stack([self._known[text] for text in texts])

    embed_queries = embed


def measured(name: str, collection: Collection, embedder: Remembering, first: Collection | None) -> Measured:
    """Return the scores of all choices and plain ways; `first` has the queries of the first half."""
    queries = {id: read_query(text) for id, text in collection.queries.items()}
    with _opened(collection, embedder, whole=True) as store:
        by_choice = {choice: _with_choice(store, collection, queries, choice, embedder) for choice in GRID}
        stricter = {
            f"{way} of the whole": _plain(store, collection, way, embedder) for way in ("cosine", "rrf")
        }
    with _opened(collection, embedder, whole=False) as store:
        plain = {way: _plain(store, collection, way, embedder) for way in BASELINES}
    halves = None if first is None else np.array([id in first.queries for id in queries])
    return Measured(name, by_choice, plain | stricter, halves)


def _opened(collection: Collection, embedder: Remembering, *, whole: bool) -> Store:
    return open_collection(collection.name, collection.documents, embedder, whole=whole)


def _with_choice(
    store: Store, collection: Collection, queries: Mapping[str, Query], choice: Choice, embedder: Remembering
) -> NDArray[np.float64]:
    def ranked(id: str) -> list[Ranked]:
        query = replace(queries[id], other_name=choice.other_name)
        vector = query.vector(embedder)
        return rank(store, query.terms, vector, "hybrid", DEPTH, settings=choice.settings, by="document")

    return _scores(store, collection, ranked)


def _plain(store: Store, collection: Collection, way: str, embedder: Remembering) -> NDArray[np.float64]:
    def ranked(id: str) -> list[Ranked]:
        text = collection.queries[id]
        return baseline(store, text, embedder.embed_queries([text])[0], way, DEPTH, by="document")

    return _scores(store, collection, ranked)


def _scores(
    store: Store, collection: Collection, ranked: Callable[[str], Sequence[Ranked]]
) -> NDArray[np.float64]:
    own_ids = store.own_ids("document")
    run = {id: {own_ids[one.id]: one.score for one in ranked(id)} for id in collection.queries}
    return np.array(score_run("", run, collection.judgements).values[MAIN])


def medication_questions() -> Collection:
    """Return MedicationQA's questions, whose own answers are put among the documents of LiveQA's collection."""
    corpus = find("medicationqa")
    with gzip.open(corpora_folder() / corpus.folder / corpus.files[0], "rt", encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    return Collection(
        corpus.name,
        [
            *read_collection(JUDGED[0]).documents,
            *(Note(str(record["id"]), record["answer"]) for record in records),
        ],
        {str(record["id"]): record["question"] for record in records},
        {str(record["id"]): {str(record["id"]): 1} for record in records},
    )


def best(sets: Sequence[Measured], half: bool) -> Choice:
    """Return the choice with the best mean of the sets, on this half of those that have halves."""
    return max(GRID, key=lambda choice: mean_of(sets, choice, half))


def mean_of(sets: Sequence[Measured], choice: Choice, half: bool) -> float:
    """Return the mean of the sets."""
    return float(np.mean([one.mean(choice, half) for one in sets]))


def crossfitted(one: Measured, choices: Mapping[bool, Choice]) -> NDArray[np.float64]:
    """Return the score of each question with what was chosen on the half that it is not of."""
    return np.where(one.first, one.by_choice[choices[False]], one.by_choice[choices[True]])


def rows(sets: Sequence[Measured], choices: Mapping[bool, Choice]) -> Iterator[dict[str, Any]]:
    """Yield what is reported of each set of LiveQA, and of its three wordings together."""
    found = [(one.name, crossfitted(one, choices), one.plain) for one in sets if one.first is not None]
    for judged in JUDGED:
        worded = [(hybrid, plain) for name, hybrid, plain in found if name.startswith(f"{judged},")]
        together = {way: np.mean([plain[way] for _, plain in worded], axis=0) for way in worded[0][1]}
        found.append((f"{judged}, all three", np.mean([hybrid for hybrid, _ in worded], axis=0), together))
    for name, hybrid, plain in found:
        yield {
            "set": name,
            "queries": len(hybrid),
            "hybrid": asdict(mean_interval(hybrid.tolist())),
            "plain": {way: float(values.mean()) for way, values in plain.items()},
            "minus": {way: asdict(mean_difference(hybrid.tolist(), v.tolist())) for way, v in plain.items()},
        }


def collections() -> Iterator[tuple[str, Collection, Collection | None]]:
    """Yield each set by its name, with the queries of its first half where it has one."""
    for judged, wording in product(JUDGED, WORDINGS):
        name = f"{judged}, {wording}"
        yield name, read_collection(judged, wording=wording), read_collection(judged, half="tune")
    yield "nfcorpus:dev", read_collection("nfcorpus:dev", half="tune"), None
    yield "medicationqa", medication_questions(), None


def table(found: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of the table: each way with what the hybrid has more."""
    ways = list(found[0]["plain"])
    yield f"| {MAIN} | hybrid | {' | '.join(ways)} |"
    yield "|---" * (2 + len(ways)) + "|"
    for row in found:
        cells = (f"{row['plain'][way]:.3f}: {_gap(row['minus'][way]['interval'])}" for way in ways)
        yield f"| {row['set']} ({row['queries']}) | {row['hybrid']['value']:.3f} | {' | '.join(cells)} |"


def _gap(interval: Mapping[str, float]) -> str:
    return f"{interval['value']:+.3f} [{interval['low']:+.3f}, {interval['high']:+.3f}]"


def main() -> None:
    """Measure, choose, and print the choices, the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--choices", action="store_true", help="print what each of the settings comes to")
    every = parser.parse_args().choices
    embedder = Remembering()
    sets = [measured(name, collection, embedder, first) for name, collection, first in collections()]
    choices = {half: best(sets, half) for half in (True, False)}
    for half, choice in choices.items():
        print(
            f"chosen on the {'first' if half else 'second'} half: {choice}, {mean_of(sets, choice, half):.4f}"
        )
        for other in sorted(GRID, key=lambda one: -mean_of(sets, one, half)) if every else ():
            print(f"    {mean_of(sets, other, half):.4f} {other}")
    found = list(rows(sets, choices))
    print(*table(found), sep="\n")
    print(
        json.dumps(
            {"choices": {str(half): asdict(choice) for half, choice in choices.items()}, "rows": found}
        )
    )


if __name__ == "__main__":
    main()
