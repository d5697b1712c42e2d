"""How good summaries are: ROUGE and chrF against a person's, and how much they say that is not in the text.

ROUGE-1, -2, -L and -Lsum are F1 by rouge-score without stemming (Lin 2004; "L" over the summary as one sequence,
"Lsum" over its lines), chrF by sacrebleu (Popović 2015). All are means over the texts, times 100, with bootstrap
intervals. The entities of both summaries are compared as sets of mention and label, micro-averaged, as MEDCON does
with UMLS concepts (Yim et al. 2023). Support and omission are measured by the caller, from the text alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from clinical.scoring.bootstrap import DRAWS
from clinical.scoring.rendering import columns
from clinical.scoring.retrieval import difference_line, mean_difference, mean_interval

ROUGE = {"R1": "rouge1", "R2": "rouge2", "RL": "rougeL", "RLsum": "rougeLsum"}
"""By our name the one of rouge-score."""

MAIN = "R1"

EntitySet = frozenset[tuple[str, str]]
"""Mentions, in small letters, with their labels."""


@dataclass(frozen=True)
class SummaryScores:
    """What one system did on a set: by measure the value of each text, in their order, between 0 and 100.

    A value is `None` where the measure has no meaning: the support of a summary without sentences, say.
    `entities` are precision, recall and F1 over all texts.
    """

    name: str
    values: Mapping[str, Sequence[float | None]]
    entities: tuple[float, float, float] | None = None

    def mean(self, measure: str) -> float | None:
        """Return the mean over the texts where the measure has a meaning."""
        known = [value for value in self.values[measure] if value is not None]
        return sum(known) / len(known) if known else None


@dataclass(frozen=True)
class SummaryEvaluation:
    """All systems on one set; the first is compared with each other one."""

    name: str
    style: str
    texts: int
    leaked: int
    systems: Sequence[SummaryScores]
    remarks: Sequence[str] = field(default_factory=tuple)


def score_texts(made: Sequence[str], wanted: Sequence[str]) -> dict[str, list[float | None]]:
    """Return ROUGE, chrF and the number of words of each summary; one sentence to a line in both."""
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu.metrics.chrf import CHRF

    scorer, chrf = RougeScorer(list(ROUGE.values()), use_stemmer=False), CHRF()
    values: dict[str, list[float | None]] = {name: [] for name in (*ROUGE, "chrF", "words")}
    for text, target in zip(made, wanted, strict=True):
        scores = scorer.score(target, text)
        for ours, theirs in ROUGE.items():
            values[ours].append(100 * scores[theirs].fmeasure)
        values["chrF"].append(chrf.sentence_score(text, [target]).score)
        values["words"].append(len(text.split()))
    return values


def compare_entities(made: Sequence[EntitySet], wanted: Sequence[EntitySet]) -> tuple[float, float, float]:
    """Return precision, recall and F1 of the entities of all summaries against the people's, 0 to 100."""
    shared = sum(len(one & other) for one, other in zip(made, wanted, strict=True))
    said, gold = sum(map(len, made)), sum(map(len, wanted))
    return _share(shared, said), _share(shared, gold), _share(2 * shared, said + gold)


def _share(part: int, whole: int) -> float:
    return 100 * part / whole if whole else 0.0


def render_summaries(evaluations: Sequence[SummaryEvaluation], format: str) -> str:
    """Return the evaluations as a table to read, or as JSON."""
    if format == "json":
        return json.dumps([_as_dict(evaluation) for evaluation in evaluations], indent=2) + "\n"
    return "\n".join(_table(evaluation) for evaluation in evaluations)


def _as_dict(evaluation: SummaryEvaluation) -> dict[str, Any]:
    return {
        "gold": evaluation.name,
        "style": evaluation.style,
        "texts": evaluation.texts,
        "leaked": evaluation.leaked,
        "rouge": "F1, rouge-score, no stemmer",
        "remarks": list(evaluation.remarks),
        "systems": [_system(scores) for scores in evaluation.systems],
    }


def _system(scores: SummaryScores) -> dict[str, Any]:
    means = {name: scores.mean(name) for name in scores.values}
    interval = _interval(scores)
    return {
        "system": scores.name,
        **{name: None if mean is None else round(mean, 2) for name, mean in means.items()},
        f"{MAIN} interval": [round(bound, 2) for bound in interval],
        "entities": None
        if scores.entities is None
        else dict(zip(("precision", "recall", "f1"), (round(x, 2) for x in scores.entities), strict=True)),
    }


def _table(evaluation: SummaryEvaluation) -> str:
    measures = list(evaluation.systems[0].values)
    rows = [("system", f"{MAIN} interval", *measures, "entities P/R/F1")]
    for scores in evaluation.systems:
        low, high = _interval(scores)
        rows.append(
            (
                scores.name,
                f"{low:.1f}-{high:.1f}",
                *(_figure(scores.mean(name), 0 if name == "words" else 1) for name in measures),
                "-" if scores.entities is None else "/".join(f"{x:.1f}" for x in scores.entities),
            )
        )
    left_out = f", {evaluation.leaked} left out that training rows hold" if evaluation.leaked else ""
    lines = [
        f"{evaluation.name}: {evaluation.texts:,} texts{left_out}; style {evaluation.style}",
        f"ROUGE: F1 of rouge-score without stemmer. Intervals: 95%, {DRAWS:,} bootstrap draws of the texts.",
        *evaluation.remarks,
        "",
        *columns(iter(rows)),
        "",
        *_differences(evaluation.systems),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _figure(value: float | None, places: int) -> str:
    return "-" if value is None else f"{value:.{places}f}"


def _interval(scores: SummaryScores) -> tuple[float, float]:
    interval = mean_interval([value or 0.0 for value in scores.values[MAIN]])
    return interval.low, interval.high


def _differences(systems: Sequence[SummaryScores]) -> list[str]:
    first, *others = systems
    lines = []
    for other in others:
        if other.name == "oracle":
            continue
        gap = mean_difference(
            [value or 0.0 for value in first.values[MAIN]], [value or 0.0 for value in other.values[MAIN]]
        )
        lines.append(difference_line(f"{first.name} minus {other.name}: {MAIN}", gap, digits=1))
    return lines
