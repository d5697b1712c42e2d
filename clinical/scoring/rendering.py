"""Evaluations as a table for people (scores in percent), as JSON or as CSV (scores as shares of 1)."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

from clinical.scoring.bootstrap import DRAWS, Interval
from clinical.scoring.evaluation import Evaluation, Measurement
from clinical.scoring.spans import WAYS, Counts, Way

# Below this many units the reader is warned: percentile intervals of small samples are too narrow.
FEW_UNITS = 20


def render(evaluations: Sequence[Evaluation], format: str, *, per_label: bool = False) -> str:
    """Return the evaluations in this format, ending in a line break."""
    if format == "json":
        return (
            json.dumps([as_dict(evaluation) for evaluation in evaluations], ensure_ascii=False, indent=2)
            + "\n"
        )
    if format == "csv":
        return _csv(evaluations)
    return "\n".join(_table(evaluation, per_label) for evaluation in evaluations)


def as_dict(evaluation: Evaluation) -> dict[str, Any]:
    """Return everything there is to say about one gold standard, all scores as shares of 1."""
    gold = evaluation.gold
    return {
        "gold": gold.name,
        "texts": len(gold.documents),
        "sentences_per_text": gold.sentences_per_text,
        "words": gold.words,
        "labels": list(evaluation.labels),
        "remarks": list(evaluation.remarks),
        "systems": [_system(measurement) for measurement in evaluation.measurements],
        "differences": [
            {
                "first": first.system,
                "second": second.system,
                "strict_f1": round(difference.interval.value, 4),
                "interval": [round(difference.interval.low, 4), round(difference.interval.high, 4)],
                "p": round(difference.p, 4),
            }
            for first, second, difference in evaluation.differences()
        ],
    }


def _system(measurement: Measurement) -> dict[str, Any]:
    report = measurement.report
    record: dict[str, Any] = {
        "system": measurement.system,
        "model": measurement.model,
        "words_per_second": round(measurement.words_per_second, 1),
        "words_per_cpu_second": round(measurement.words_per_cpu_second, 1),
    }
    for way in WAYS:
        interval = measurement.f1_interval(way)
        record[way] = {
            **_counts(report.micro.way(way)),
            "f1_interval": [round(interval.low, 4), round(interval.high, 4)],
            "macro_f1": round(report.macro_f1(way), 4),
        }
    record["labels"] = {
        label: {way: _counts(score.way(way)) for way in WAYS} for label, score in report.labels.items()
    }
    if measurement.seen:
        seen, unseen = measurement.seen.seen, measurement.seen.unseen
        record["seen"] = {"gold": seen.gold, "recall": round(seen.recall, 4)}
        record["unseen"] = {"gold": unseen.gold, "recall": round(unseen.recall, 4)}
    return record


def _counts(counts: Counts) -> dict[str, Any]:
    return {
        "precision": round(counts.precision, 4),
        "recall": round(counts.recall, 4),
        "f1": round(counts.f1, 4),
        "correct": counts.correct,
        "partial": counts.partial,
        "gold": counts.gold,
        "predicted": counts.predicted,
    }


def _csv(evaluations: Sequence[Evaluation]) -> str:
    """One row per gold standard, system, label (`micro` for all of them) and way of counting."""
    columns = ("precision", "recall", "f1", "correct", "partial", "gold", "predicted")
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("gold_standard", "system", "model", "label", "counted", *columns))
    for evaluation in evaluations:
        for measurement in evaluation.measurements:
            start = (evaluation.gold.name, measurement.system, measurement.model)
            for label, score in {"micro": measurement.report.micro, **measurement.report.labels}.items():
                for way in WAYS:
                    rows.writerow((*start, label, way, *_counts(score.way(way)).values()))
    return text.getvalue()


def _table(evaluation: Evaluation, per_label: bool) -> str:
    lines = [*_heading(evaluation), "", *columns(_scores(evaluation)), "", *columns(_behaviour(evaluation))]
    if per_label:
        lines += ["", *columns(_labels(evaluation))]
    if len(evaluation.measurements) > 1:
        lines += ["", *_differences(evaluation)]
    return "\n".join(lines) + "\n"


def _heading(evaluation: Evaluation) -> Iterator[str]:
    gold = evaluation.gold
    mentions = evaluation.measurements[0].report.micro.strict.gold
    size = f" of {gold.sentences_per_text} sentences" if gold.sentences_per_text else ""
    yield (
        f"{gold.name}: {len(gold.documents):,} texts{size}, {gold.words:,} words, "
        f"{mentions:,} mentions of {', '.join(evaluation.labels)}"
    )
    yield from evaluation.remarks
    units = -(-len(gold.documents) // gold.block)
    together = f" of {gold.block} texts together" if gold.block > 1 else ""
    few = "; so few say little" if units < FEW_UNITS else ""
    yield f"Intervals: 95%, {DRAWS:,} bootstrap draws of {units:,} texts{together}{few}."


def _scores(evaluation: Evaluation) -> Iterator[Sequence[str]]:
    yield "system", "counted", "P", "R", "F1", "interval", "macro F1"
    for measurement in evaluation.measurements:
        for place, way in enumerate(WAYS):
            counts = measurement.report.micro.way(way)
            yield (
                measurement.system if place == 0 else "",
                way,
                *_precision_recall_f1(counts),
                _range(measurement.f1_interval(way)),
                percent(measurement.report.macro_f1(way)),
            )


def _behaviour(evaluation: Evaluation) -> Iterator[Sequence[str]]:
    yield "system", "model", "recall of seen", "of unseen", "words/s", "words/CPU s"
    for measurement in evaluation.measurements:
        seen = measurement.seen
        yield (
            measurement.system,
            measurement.model,
            f"{percent(seen.seen.recall)} of {seen.seen.gold:,}" if seen else "-",
            f"{percent(seen.unseen.recall)} of {seen.unseen.gold:,}" if seen else "-",
            f"{measurement.words_per_second:,.0f}",
            f"{measurement.words_per_cpu_second:,.0f}",
        )


def _labels(evaluation: Evaluation) -> Iterator[Sequence[str]]:
    ways: tuple[Way, ...] = ("partial", "type")
    yield "label", "system", "gold", "P", "R", "F1", *(f"{way} F1" for way in ways)
    for label in evaluation.labels:
        for place, measurement in enumerate(evaluation.measurements):
            score = measurement.report.labels[label]
            yield (
                label if place == 0 else "",
                measurement.system,
                f"{score.strict.gold:,}",
                *_precision_recall_f1(score.strict),
                *(percent(score.way(way).f1) for way in ways),
            )


def _differences(evaluation: Evaluation) -> Iterator[str]:
    for first, second, difference in evaluation.differences():
        value = difference.interval
        yield (
            f"{first.system} - {second.system}: strict F1 {100 * value.value:+.2f} "
            f"({100 * value.low:+.2f} to {100 * value.high:+.2f}), p = {difference.p:.3f} (paired bootstrap)"
        )


def _precision_recall_f1(counts: Counts) -> tuple[str, str, str]:
    return percent(counts.precision), percent(counts.recall), percent(counts.f1)


def percent(share: float) -> str:
    """Return the share in percent with two decimals, as the field prints F1."""
    return f"{100 * share:.2f}"


def _range(interval: Interval) -> str:
    return f"{percent(interval.low)}-{percent(interval.high)}"


def columns(rows: Iterator[Sequence[str]]) -> Iterator[str]:
    """Yield the rows with their cells under each other: the first two to the left, figures to the right."""
    table = list(rows)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        cells = (
            cell.ljust(width) if place < 2 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()
