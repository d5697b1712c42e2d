"""Runs a system over a gold standard and keeps what is to be said about it: quality, certainty, speed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from clinical.documents.annotations import Entity
from clinical.scoring.bootstrap import Difference, Interval, f1_difference, f1_interval
from clinical.scoring.gold import Gold
from clinical.scoring.spans import Report, SeenRecall, Way, recall_by_seen, score

Recognize = Callable[[Sequence[str]], list[list[Entity]]]
TEXTS_AT_ONCE = 64
THREAD_COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
WARM_UP = "The patient was given aspirin for chest pain."


@dataclass(frozen=True)
class Measurement:
    """What one system did on one gold standard.

    `seconds` is wall time on `words` words, loading excluded; `cpu_seconds` is what the process itself used
    of it: less where others share the core, more where it runs on several, next to nothing where a server
    does the work.
    """

    system: str
    model: str
    report: Report
    seen: SeenRecall | None
    words: int
    seconds: float
    cpu_seconds: float
    block: int = 1

    @property
    def words_per_second(self) -> float:
        """The speed, in words as blanks separate them."""
        return self.words / self.seconds if self.seconds else 0.0

    @property
    def words_per_cpu_second(self) -> float:
        """The speed on a core of its own."""
        return self.words / self.cpu_seconds if self.cpu_seconds else 0.0

    def f1_interval(self, way: Way) -> Interval:
        """Return micro F1 with its bootstrap interval over the texts."""
        return f1_interval(self.report.documents, way, block=self.block)

    def f1_difference(self, other: Measurement, way: Way = "strict") -> Difference:
        """Return how much better this system is than the other on the same texts (paired bootstrap)."""
        return f1_difference(self.report.documents, other.report.documents, way, block=self.block)


def measure(
    system: str,
    model: str,
    recognize: Recognize,
    gold: Gold,
    labels: Sequence[str],
    *,
    count_as: Mapping[str, str] | None = None,
    done: Callable[[int], None] = lambda texts: None,
) -> Measurement:
    """Return how the system does on the gold standard, with the mentions of `labels` scored.

    `count_as` renames labels that the gold standard does not keep apart. `done` is told the number of texts
    after each batch. The time of a first short call, in which models load, is not counted.
    """
    recognize([WARM_UP])
    predicted: list[list[Entity]] = []
    seconds = cpu_seconds = 0.0
    every = gold.texts
    for start in range(0, len(every), TEXTS_AT_ONCE):
        texts = every[start : start + TEXTS_AT_ONCE]
        began, cpu_began = time.perf_counter(), time.process_time()
        found = recognize(texts)
        seconds += time.perf_counter() - began
        cpu_seconds += time.process_time() - cpu_began
        predicted.extend(renamed(entities, count_as or {}) for entities in found)
        done(len(texts))
    right = [document.entities for document in gold.documents]
    return Measurement(
        system,
        model,
        score(right, predicted, labels),
        recall_by_seen(right, predicted, labels, gold.training) if gold.training else None,
        gold.words,
        seconds,
        cpu_seconds,
        gold.block,
    )


@dataclass(frozen=True)
class Evaluation:
    """What systems did on one gold standard, with the labels that were scored. `remarks` say what was not."""

    gold: Gold
    labels: tuple[str, ...]
    measurements: tuple[Measurement, ...]
    remarks: tuple[str, ...] = ()

    def differences(self) -> list[tuple[Measurement, Measurement, Difference]]:
        """Return the first system against each of the others, by strict F1."""
        first, *others = self.measurements
        return [(first, other, first.f1_difference(other)) for other in others]


def renamed(entities: Sequence[Entity], names: Mapping[str, str]) -> list[Entity]:
    """Return the entities with the labels of `names` renamed."""
    return [replace(entity, label=names.get(entity.label, entity.label)) for entity in entities]


@contextmanager
def one_thread() -> Iterator[None]:
    """Have the numerical libraries work in one thread, so that speeds are those of one core and compare.

    They read the number when they are loaded: load the models within. No core is named: on a machine with
    other work the scheduler finds the better one.
    """
    wanted = {**dict.fromkeys(THREAD_COUNTS, "1"), "TOKENIZERS_PARALLELISM": "false"}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
