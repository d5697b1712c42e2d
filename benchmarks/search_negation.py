"""How many of the best hits deny what was searched for, with and without `--assertion`.

    python benchmarks/search_negation.py             # E3C train, whose errors were read
    python benchmarks/search_negation.py --test      # E3C dev, on which nothing was chosen
    python benchmarks/search_negation.py --errors    # and each wrong decision of `--assertion present`

The case reports of E3C say of every event whether it is affirmed or negated. Each term that is affirmed in one place
and negated in another is searched for, as a user would, among all reports of the split. A passage denies the term
when all that the annotators marked of it there is negated; a passage where nothing of it is marked is not counted.
"Clinical" terms are those that stand within a clinical entity somewhere; others are words such as "found" or "history".
A search by meaning alone is measured with the terms that have another name (`clinical.facts.synonyms`): that one is
searched for, without expansion, so that the words of the query stand in none of the passages that count.
The annotators call affirmed what was once, is planned or is only suspected, too: so beside `present` alone stands
`not-negated`, which is the question that they answered.
The aim: less than 5 % of the hits deny the term, and 95 % of those that affirm it are kept. Intervals are bootstrapped
over the terms. The last line is the same as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from clinical.corpora.records import GoldDocument, read
from clinical.documents.annotations import AssertionStatus
from clinical.facts.synonyms import expand
from clinical.index.hits import Hit
from clinical.models.embedder import Embedder
from clinical.tasks.search import NOT_NEGATED, find

K = 10
DRAWS = 1000
WANTED: Mapping[str, Collection[AssertionStatus]] = {"present": ("present",), "not-negated": NOT_NEGATED}
"""The values of `--assertion` that are compared, and what they let through."""


@dataclass(frozen=True)
class Counts:
    """The labelled hits of one term: without the filter, and with it. `kept` are affirming ones of before."""

    denying: int = 0
    affirming: int = 0
    denying_left: int = 0
    affirming_left: int = 0
    kept: int = 0


@dataclass(frozen=True)
class Row:
    """Shares in percent, each with its 95 % interval."""

    split: str
    searched: str
    assertion: str
    terms: int
    denied_before: tuple[float, float, float]
    denied_after: tuple[float, float, float]
    kept: tuple[float, float, float]


def terms_of(documents: Sequence[GoldDocument]) -> dict[str, bool]:
    """Return the terms that are affirmed in one place and negated in another, and whether each is clinical."""
    seen: dict[str, set[bool]] = defaultdict(set)
    clinical: set[str] = set()
    for document in documents:
        entities = [mention for mention in document.mentions if mention.raw_label == "CLINENTITY"]
        for event in document.mentions:
            if event.raw_label == "EVENT":
                seen[event.text.lower()].add(event.attributes.get("polarity") == "NEG")
                if any(entity.start <= event.start and event.end <= entity.end for entity in entities):
                    clinical.add(event.text.lower())
    return {term: term in clinical for term, negated in sorted(seen.items()) if len(negated) == 2}


def other_names(term: str) -> list[str]:
    """Return other names of a term that share no word with it."""
    names = [other for name in expand(term).names if name.text == term for other in name.others]
    return [name for name in names if not set(name.lower().split()) & set(term.split())]


def denies(hit: Hit, term: str, documents: Mapping[str, GoldDocument]) -> bool | None:
    """Return whether a passage denies the term, `None` when nobody marked it there."""
    events = [
        event.attributes.get("polarity") == "NEG"
        for event in documents[Path(hit.path).stem].mentions
        if event.raw_label == "EVENT"
        and event.text.lower() == term
        and hit.start <= event.start
        and event.end <= hit.end
    ]
    return all(events) if events else None


def count(
    query: str, term: str, folder: str, documents: Mapping[str, GoldDocument], embedder: Embedder, log: bool
) -> list[Counts]:
    """Return the counts of one term when this is searched for, with each of `WANTED`."""
    expanded = query == term
    before = find(query, [folder], embedder, k=K, expand=expanded).hits
    filtered = [
        find(query, [folder], embedder, k=K, expand=expanded, assertion=wanted).hits
        for wanted in WANTED.values()
    ]
    if log:
        _log(term, before, filtered[0], documents)
    return [_counts(term, before, after, documents) for after in filtered]


def _counts(
    term: str, before: Sequence[Hit], after: Sequence[Hit], documents: Mapping[str, GoldDocument]
) -> Counts:
    places = {(hit.path, hit.start) for hit in after}
    said = {(hit.path, hit.start): denies(hit, term, documents) for hit in before}
    left = [denies(hit, term, documents) for hit in after]
    return Counts(
        denying=sum(value is True for value in said.values()),
        affirming=sum(value is False for value in said.values()),
        denying_left=left.count(True),
        affirming_left=left.count(False),
        kept=sum(value is False and place in places for place, value in said.items()),
    )


def _log(
    term: str,
    before: Sequence[Hit],
    after: Sequence[Hit],
    documents: Mapping[str, GoldDocument],
) -> None:
    places = {(hit.path, hit.start) for hit in after}
    for hit in after:
        if denies(hit, term, documents):
            print(f"denies, was shown   [{term}] {' '.join(hit.text.split())}")
    for hit in before:
        if denies(hit, term, documents) is False and (hit.path, hit.start) not in places:
            said = hit.assertion
            print(f"affirms, was left out [{term}: {said and said.as_dict()}] {' '.join(hit.text.split())}")


def measure(split: str, log: bool) -> list[Row]:
    """Return the rows of one split."""
    documents = list(read("e3c", split))
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_DATA_HOME"] = str(Path(folder) / "index")
        notes = Path(folder) / "notes"
        notes.mkdir()
        by_name = {f"{number}": document for number, document in enumerate(documents)}
        for name, document in by_name.items():
            (notes / f"{name}.txt").write_bytes(document.text.encode())
        embedder = Embedder()
        terms = terms_of(documents)

        def counted(query: str, term: str) -> list[Counts]:
            return count(query, term, str(notes), by_name, embedder, log)

        found = {term: counted(term, term) for term in terms}
        clinical = [found[term] for term, is_clinical in terms.items() if is_clinical]
        named = [counted(name, term) for term in terms for name in other_names(term)]
    searched = {"terms": list(found.values()), "clinical terms": clinical, "by another name": named}
    return [
        Row(split, name, wanted, len(some), *_shares([counts[place] for counts in some]))
        for name, some in searched.items()
        for place, wanted in enumerate(WANTED)
        if some
    ]


def _shares(found: Sequence[Counts]) -> Iterator[tuple[float, float, float]]:
    """Yield the share of denying hits before and after, and of affirming ones that were kept."""
    table = np.array([list(asdict(counts).values()) for counts in found], float)
    drawn = np.random.default_rng(0).integers(0, len(table), (DRAWS, len(table)))
    sums = np.concatenate([table.sum(axis=0)[None], table[drawn].sum(axis=1)])
    denying, affirming, denying_left, affirming_left, kept = sums.T
    for part, whole in (
        (denying, denying + affirming),
        (denying_left, denying_left + affirming_left),
        (kept, affirming),
    ):
        shares = 100 * part / np.maximum(whole, 1)
        low, high = np.percentile(shares[1:], [2.5, 97.5])
        yield round(float(shares[0]), 1), round(float(low), 1), round(float(high), 1)


def main() -> None:
    """Measure, and print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--test", action="store_true", help="the held-out split")
    parser.add_argument("--errors", action="store_true", help="print each wrong decision (train only)")
    asked = parser.parse_args()
    rows = measure("dev" if asked.test else "train", asked.errors and not asked.test)
    print("| split | searched for | queries | --assertion | hits that deny | with it | affirming hits kept |")
    print("|---|---|---:|---|---:|---:|---:|")
    for row in rows:
        cells = (
            f"{value} % ({low}-{high})"
            for value, low, high in (row.denied_before, row.denied_after, row.kept)
        )
        print(f"| {row.split} | {row.searched} | {row.terms} | {row.assertion} | {' | '.join(cells)} |")
    print(json.dumps([asdict(row) for row in rows]))


if __name__ == "__main__":
    main()
