"""How good a ranking is: nDCG, MAP, MRR and recall by ir-measures, with bootstrap intervals over the queries.

MacAvaney, Macdonald, Ounis. Streamlining evaluation with ir-measures. ECIR 2022.
Sakai. Alternatives to Bpref. SIGIR 2007 (condensed lists: documents that nobody judged are left out).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clinical.scoring.bootstrap import DRAWS, Difference, Interval
from clinical.scoring.rendering import columns

MEASURES = {
    "nDCG@10": "nDCG@10",
    "condensed nDCG@10": "nDCG(judged_only=True)@10",
    "MAP": "AP",
    "MRR": "RR",
    "recall@10": "R@10",
    "recall@100": "R@100",
    "judged@10": "Judged@10",
}
"""By our name the one of ir-measures. Without "condensed", what nobody judged does not answer."""

MAIN = "nDCG@10"

DEPTH = 100
"""How many documents of a ranking are looked at."""

Run = Mapping[str, Mapping[str, float]]
"""By query the score of each document found."""


@dataclass(frozen=True)
class Ranking:
    """What one way of searching did: by measure the value of each query, in the order of the queries."""

    name: str
    values: Mapping[str, Sequence[float]]

    def interval(self, measure: str) -> Interval:
        """Return the mean over the queries with its 95% bootstrap interval."""
        return mean_interval(self.values[measure])


@dataclass(frozen=True)
class RetrievalEvaluation:
    """All ways of searching on one collection; the first is compared with each other one."""

    collection: str
    documents: int
    queries: int
    rankings: Sequence[Ranking]

    def as_dict(self) -> dict[str, Any]:
        """Return it as `--format json` writes it."""
        return {
            "collection": self.collection,
            "documents": self.documents,
            "queries": self.queries,
            "rankings": [
                {"mode": ranking.name, **{name: _rounded(ranking.interval(name)) for name in MEASURES}}
                for ranking in self.rankings
            ],
        }


def score_run(name: str, run: Run, judgements: Mapping[str, Mapping[str, int]]) -> Ranking:
    """Return the values of every judged query; one for which nothing was found has 0."""
    import ir_measures

    asked = {ir_measures.parse_measure(theirs): ours for ours, theirs in MEASURES.items()}
    values: dict[str, dict[str, float]] = {ours: dict.fromkeys(judgements, 0.0) for ours in MEASURES}
    found = {query: dict(documents) for query, documents in run.items() if documents}
    grades = {query: dict(documents) for query, documents in judgements.items()}
    for value in ir_measures.iter_calc(list(asked), grades, found):
        values[asked[value.measure]][value.query_id] = value.value
    return Ranking(name, {ours: list(by_query.values()) for ours, by_query in values.items()})


def mean_interval(values: Sequence[float], draws: int = DRAWS, seed: int = 0) -> Interval:
    """Return the mean with its 95% percentile interval over draws of the values with replacement."""
    import numpy as np

    sample = np.asarray(values, np.float64)
    drawn = np.random.default_rng(seed).choice(sample, (draws, len(sample))).mean(axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(float(sample.mean()), float(low), float(high))


def mean_difference(
    one: Sequence[float], two: Sequence[float], draws: int = DRAWS, seed: int = 0
) -> Difference:
    """Return the mean difference of the same queries, and the two-sided p of "they do not differ"."""
    import numpy as np

    gaps = np.asarray(one, np.float64) - np.asarray(two, np.float64)
    interval = mean_interval(gaps.tolist(), draws, seed)
    drawn = np.random.default_rng(seed).choice(gaps, (draws, len(gaps))).mean(axis=1)
    as_far = int((np.abs(drawn - interval.value) >= abs(interval.value)).sum())
    return Difference(interval, (as_far + 1) / (draws + 1))


def render_retrieval(evaluations: Sequence[RetrievalEvaluation], format: str) -> str:
    """Return the evaluations as a table to read, or as JSON."""
    if format == "json":
        return json.dumps([evaluation.as_dict() for evaluation in evaluations], indent=2) + "\n"
    return "\n".join(_table(evaluation) for evaluation in evaluations)


def _table(evaluation: RetrievalEvaluation) -> str:
    rows = [("mode", MAIN, "interval", *(name for name in MEASURES if name != MAIN))]
    for ranking in evaluation.rankings:
        main = ranking.interval(MAIN)
        others = (f"{ranking.interval(name).value:.3f}" for name in MEASURES if name != MAIN)
        rows.append((ranking.name, f"{main.value:.3f}", f"{main.low:.3f}-{main.high:.3f}", *others))
    lines = [
        f"{evaluation.collection}: {evaluation.documents:,} documents, {evaluation.queries:,} queries",
        f"Intervals: 95%, {DRAWS:,} bootstrap draws of the queries.",
        "",
        *columns(iter(rows)),
        "",
        *_differences(evaluation.rankings),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _differences(rankings: Sequence[Ranking]) -> list[str]:
    first, *others = rankings
    lines = []
    for other in others:
        gap = mean_difference(first.values[MAIN], other.values[MAIN])
        lines.append(difference_line(f"{first.name} minus {other.name}: {MAIN}", gap))
    return lines


def difference_line(what: str, gap: Difference, digits: int = 3) -> str:
    """Return a difference with its interval and p as a line to read.

    >>> difference_line("light minus lead: R1", Difference(Interval(1.25, -0.5, 3.0), 0.04), digits=1)
    'light minus lead: R1 +1.2 [-0.5, +3.0], p = 0.040'
    """
    inside = gap.interval
    value, low, high = (f"{bound:+.{digits}f}" for bound in (inside.value, inside.low, inside.high))
    return f"{what} {value} [{low}, {high}], p = {gap.p:.3f}"


def _rounded(interval: Interval) -> dict[str, float]:
    return {
        "mean": round(interval.value, 4),
        "low": round(interval.low, 4),
        "high": round(interval.high, 4),
    }
