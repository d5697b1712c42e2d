"""How good answers are: sentences, exact match, abstention and citations, with bootstrap intervals over the questions.

- Sentences: precision, recall and F1 pooled over the questions that have an answer (micro, as MASHQA's authors score),
  and exact match: the share whose sentences are exactly the gold ones.
- Abstention: how often a system is right to answer or not to, where the gold standard has questions without an answer,
  and the area under the ROC curve of the score it decides by.
- Citations of written answers, by the definitions of ALCE (Gao, Yen, Yu, Chen. EMNLP 2023): recall is the share of
  sentences that what they cite bears out together; precision the share of citations that are needed, which bear the
  sentence out alone or without which the others do not. ALCE's judge is a model for entailment of eleven billion
  weights; here a caller's own judge decides, and `clinical evaluate ask` uses the rules of `clinical.tasks.support`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from clinical.scoring.bootstrap import DRAWS, Interval
from clinical.scoring.rendering import columns
from clinical.scoring.retrieval import mean_interval

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Judge = Callable[[str, Sequence[str]], bool]
"""Whether these passages together bear out this sentence."""

MOST_CITATIONS = 3
"""Of a sentence's citations, how many count (as in ALCE)."""


@dataclass(frozen=True)
class Outcome:
    """What a system did with one question. `score` is what it decides by whether to answer.

    `citation_recall` and `citation_precision` hold a value for each sentence and each citation.
    """

    hits: int
    guessed: int
    gold: int
    abstained: bool = False
    score: float | None = None
    citation_recall: tuple[float, ...] = ()
    citation_precision: tuple[float, ...] = ()
    cosine: float | None = None

    @property
    def answerable(self) -> bool:
        """Whether the gold standard has an answer."""
        return self.gold > 0

    @property
    def right(self) -> bool:
        """Whether it is right to answer, or not to."""
        return self.abstained != self.answerable

    @property
    def exact(self) -> bool:
        """Whether the sentences are exactly the gold ones."""
        return self.hits == self.guessed == self.gold


@dataclass(frozen=True)
class SystemOnQuestions:
    """All outcomes of one system, in the order of the questions, and its seconds per question."""

    name: str
    outcomes: Sequence[Outcome]
    seconds: float | None = None

    def measures(self) -> dict[str, Interval | None]:
        """Return each measure with its interval; `None` where the gold standard has nothing to measure it by."""
        answerable = [outcome for outcome in self.outcomes if outcome.answerable]
        counts = [_counts(outcome) for outcome in answerable]
        some_without = len(answerable) < len(self.outcomes)
        right = [float(outcome.right) for outcome in self.outcomes]
        recall = [value for outcome in self.outcomes for value in outcome.citation_recall]
        precision = [value for outcome in self.outcomes for value in outcome.citation_precision]
        cosines = [outcome.cosine for outcome in answerable if outcome.cosine is not None]
        return {
            "P": _ratio(counts, lambda table: (table[..., 0], table[..., 1])),
            "R": _ratio(counts, lambda table: (table[..., 0], table[..., 2])),
            "F1": _ratio(counts, lambda table: (2 * table[..., 0], table[..., 1] + table[..., 2])),
            "EM": mean_interval([float(outcome.exact) for outcome in answerable]) if answerable else None,
            "abstention": mean_interval(right) if some_without and answerable else None,
            "AUROC": self._auroc(),
            "citation R": mean_interval(recall) if recall else None,
            "citation P": mean_interval(precision) if precision else None,
            "cosine": mean_interval(cosines) if cosines else None,
        }

    def _auroc(self) -> Interval | None:
        with_answer = [o.score for o in self.outcomes if o.answerable and o.score is not None]
        without = [o.score for o in self.outcomes if not o.answerable and o.score is not None]
        if not with_answer or not without:
            return None
        value = auroc(with_answer, without)
        return Interval(value, *_auroc_bounds(with_answer, without))


@dataclass(frozen=True)
class AnswerEvaluation:
    """All systems on one set of questions; the first is compared with each other one."""

    gold: str
    questions: int
    answerable: int
    systems: Sequence[SystemOnQuestions]
    remarks: Sequence[str] = field(default_factory=tuple)

    def differences(self) -> list[tuple[SystemOnQuestions, Mapping[str, Interval]]]:
        """Return each other system with how much better than it the first one is."""
        return [(other, differences(self.systems[0], other)) for other in self.systems[1:]]

    def as_dict(self) -> dict[str, Any]:
        """Return it as `--format json` writes it."""
        return {
            "gold": self.gold,
            "questions": self.questions,
            "answerable": self.answerable,
            "remarks": list(self.remarks),
            "systems": [
                {
                    "system": system.name,
                    **{name: _rounded(found) for name, found in system.measures().items()},
                    "seconds_per_question": None if system.seconds is None else round(system.seconds, 4),
                }
                for system in self.systems
            ],
            "differences": [
                {
                    "system": self.systems[0].name,
                    "from": other.name,
                    **{name: _rounded(found) for name, found in values.items()},
                }
                for other, values in self.differences()
            ],
        }


def differences(one: SystemOnQuestions, other: SystemOnQuestions) -> dict[str, Interval]:
    """Return by how much one system is better than another in F1, exact match and abstention, on the same draws."""
    import numpy as np

    found = {}
    pairs = list(zip(one.outcomes, other.outcomes, strict=True))
    answerable = [(a, b) for a, b in pairs if a.answerable]
    if answerable:
        table = np.array([[_counts(a), _counts(b)] for a, b in answerable], np.float64)
        drawn = np.random.default_rng(0).integers(0, len(table), (DRAWS, len(table)))
        below, above = np.percentile(_f1_gain(table[drawn].sum(axis=1)), [2.5, 97.5])
        found["F1"] = Interval(float(_f1_gain(table.sum(axis=0))), float(below), float(above))
        found["EM"] = mean_interval([float(a.exact) - float(b.exact) for a, b in answerable])
    if answerable and len(answerable) < len(pairs):
        found["abstention"] = mean_interval([float(a.right) - float(b.right) for a, b in pairs])
    return found


def _counts(outcome: Outcome) -> tuple[int, int, int]:
    return outcome.hits, outcome.guessed, outcome.gold


def _f1_gain(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the difference of F1 for sums of hits, guessed and gold sentences, shape (…, 2 systems, 3)."""
    f1 = 2 * sums[..., 0] / (sums[..., 1] + sums[..., 2])
    gain: NDArray[np.float64] = f1[..., 0] - f1[..., 1]
    return gain


def auroc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """Return the chance that one with an answer scores higher than one without; half for equals.

    >>> auroc([0.9, 0.8], [0.1, 0.8])
    0.875
    """
    import numpy as np

    one, other = np.asarray(positive)[:, None], np.asarray(negative)[None, :]
    return float(((one > other) + 0.5 * (one == other)).mean())


def citations(
    sentences: Sequence[tuple[str, Sequence[str]]], judge: Judge
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return recall (one value a sentence) and precision (one a citation) of sentences with what they cite.

    >>> holds = lambda sentence, passages: any(sentence in passage for passage in passages)
    >>> citations([("a", ["a b", "c"]), ("x", [])], holds)
    ((1.0, 0.0), (1.0, 0.0))
    """
    recall: list[float] = []
    precision: list[float] = []
    for text, passages in sentences:
        cited = list(passages)[:MOST_CITATIONS]
        held = bool(cited) and judge(text, cited)
        recall.append(float(held))
        for place, passage in enumerate(cited):
            others = cited[:place] + cited[place + 1 :]
            needed = held and (judge(text, [passage]) or not (others and judge(text, others)))
            precision.append(float(needed))
    return tuple(recall), tuple(precision)


@dataclass(frozen=True)
class DecisionScores:
    """Yes/no questions of one system: accuracy and macro F1 with intervals, and F1 of each answer."""

    name: str
    accuracy: Interval
    macro_f1: Interval
    f1: Mapping[str, float]
    seconds: float | None = None


def score_decisions(
    name: str, gold: Sequence[str], found: Sequence[str], labels: Sequence[str], seconds: float | None = None
) -> DecisionScores:
    """Return how well the decisions found agree with the gold ones."""
    import numpy as np

    numbers = {label: number for number, label in enumerate(labels)}
    truth = np.array([numbers[label] for label in gold])
    guess = np.array([numbers[label] for label in found])
    drawn = np.random.default_rng(0).integers(0, len(truth), (DRAWS, len(truth)))
    macros = [_macro_f1(truth[rows], guess[rows], len(labels))[0] for rows in drawn]
    macro, each = _macro_f1(truth, guess, len(labels))
    low, high = np.percentile(macros, [2.5, 97.5])
    return DecisionScores(
        name,
        mean_interval((truth == guess).astype(float).tolist()),
        Interval(macro, float(low), float(high)),
        dict(zip(labels, each, strict=True)),
        seconds,
    )


def _macro_f1(truth: NDArray[np.int64], guess: NDArray[np.int64], labels: int) -> tuple[float, list[float]]:
    each = []
    for label in range(labels):
        hits = int(((truth == label) & (guess == label)).sum())
        total = int((truth == label).sum() + (guess == label).sum())
        each.append(2 * hits / total if total else 0.0)
    return sum(each) / labels, each


def _ratio(
    counts: Sequence[tuple[int, int, int]], parts: Callable[[NDArray[np.float64]], tuple[Any, Any]]
) -> Interval | None:
    """Return a ratio of sums over the questions with its interval over draws of the questions."""
    import numpy as np

    if not counts:
        return None
    table = np.array(counts, np.float64)
    drawn = np.random.default_rng(0).integers(0, len(table), (DRAWS, len(table)))
    above, below = parts(table[drawn].sum(axis=1))
    values = np.divide(above, below, out=np.zeros(DRAWS), where=below > 0)
    low, high = np.percentile(values, [2.5, 97.5])
    above, below = parts(table.sum(axis=0))
    return Interval(float(above / below) if below else 0.0, float(low), float(high))


def _auroc_bounds(positive: Sequence[float], negative: Sequence[float]) -> tuple[float, float]:
    import numpy as np

    rng = np.random.default_rng(0)
    one, other = np.asarray(positive), np.asarray(negative)
    values = [
        auroc(rng.choice(one, len(one)).tolist(), rng.choice(other, len(other)).tolist()) for _ in range(200)
    ]
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


# --- for people ---


def render_answers(evaluations: Sequence[AnswerEvaluation], format: str) -> str:
    """Return the evaluations as a table to read, or as JSON."""
    if format == "json":
        return json.dumps([evaluation.as_dict() for evaluation in evaluations], indent=2) + "\n"
    return "\n".join(_table(evaluation) for evaluation in evaluations)


def _table(evaluation: AnswerEvaluation) -> str:
    measured = [(system, system.measures()) for system in evaluation.systems]
    shown = [name for name in measured[0][1] if any(values[name] for _, values in measured)]
    rows = [("system", *(head for name in shown for head in _heads(name)), "s/question")]
    for system, values in measured:
        cells = (cell for name in shown for cell in _cells(name, values[name]))
        rows.append((system.name, *cells, "" if system.seconds is None else f"{system.seconds:.3f}"))
    lines = [
        f"{evaluation.gold}: {evaluation.questions:,} questions, {evaluation.answerable:,} with an answer",
        f"Percent; intervals: 95%, {DRAWS:,} bootstrap draws of the questions.",
        *evaluation.remarks,
        "",
        *columns(iter(rows)),
        "",
        *(
            f"{evaluation.systems[0].name} - {other.name}: "
            + ", ".join(map(_signed, values, values.values()))
            for other, values in evaluation.differences()
        ),
    ]
    return "\n".join(lines).rstrip("\n") + "\n"


def _signed(name: str, gain: Interval) -> str:
    return f"{name} {100 * gain.value:+.1f} ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})"


def _heads(name: str) -> tuple[str, ...]:
    return (name, "interval") if name in ("F1", "abstention") else (name,)


def _cells(name: str, found: Interval | None) -> tuple[str, ...]:
    if found is None:
        return ("", "") if name in ("F1", "abstention") else ("",)
    value = f"{100 * found.value:.1f}"
    bounds = f"{100 * found.low:.1f}-{100 * found.high:.1f}"
    return (value, bounds) if name in ("F1", "abstention") else (value,)


def render_decisions(gold: str, questions: int, systems: Sequence[DecisionScores], format: str) -> str:
    """Return the scores of yes/no questions as a table to read, or as JSON."""
    if format == "json":
        found = [
            {
                "system": system.name,
                "accuracy": _rounded(system.accuracy),
                "macro F1": _rounded(system.macro_f1),
                "F1": {label: round(value, 4) for label, value in system.f1.items()},
                "seconds_per_question": None if system.seconds is None else round(system.seconds, 4),
            }
            for system in systems
        ]
        return json.dumps({"gold": gold, "questions": questions, "systems": found}, indent=2) + "\n"
    labels = list(systems[0].f1)
    rows = [
        (
            "system",
            "accuracy",
            "interval",
            "macro F1",
            "interval",
            *(f"F1 {label}" for label in labels),
            "s/question",
        )
    ]
    for system in systems:
        rows.append(
            (
                system.name,
                *_cells("F1", system.accuracy),
                *_cells("F1", system.macro_f1),
                *(f"{100 * system.f1[label]:.1f}" for label in labels),
                "" if system.seconds is None else f"{system.seconds:.3f}",
            )
        )
    lines = [
        f"{gold}: {questions:,} yes/no questions",
        f"Percent; intervals: 95%, {DRAWS:,} bootstrap draws of the questions.",
        "",
        *columns(iter(rows)),
    ]
    return "\n".join(lines) + "\n"


def _rounded(interval: Interval | None) -> dict[str, float] | None:
    if interval is None:
        return None
    return {
        "value": round(interval.value, 4),
        "low": round(interval.low, 4),
        "high": round(interval.high, 4),
    }
