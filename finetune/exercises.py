"""Batches for a small Mistral out of a packed file: text to go on with, notes to mark, and rows of other tasks.

What a batch holds follows from the seed and its number alone, so training can stop anywhere and go on as if it had not.
Batches are made in pools, in which rows of a like length come together. Needs numpy alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinical.finetune.packed import DRILL, GOES_ON, HELD_OUT, STARTS_PIECE, VISIBLE, Exercise, Layer, Packed

Random = np.random.Generator
POOL = 16
"""How many batches are made together."""

COPY = 0
"""The column of a decision for going on with the note; behind it stand those to open each label, then to close it."""

TRUE_BREAKS = frozenset({"ncbi_disease", "maccrobat", "notes"})
"""Layers whose texts are whole notes. The sentences of the others are joined by a blank or a line break."""


@dataclass(frozen=True)
class Mixture:
    """What the batches hold. `layers`: the share of each layer among the rows of `ner`.

    `text`, `tasks` and `drills` are the shares of batches with text to go on with, with rows of the other tasks and
    with drills for these; the rest is `ner`. A passage has up to one of `pieces`.
    """

    layers: Mapping[str, float] = field(
        default_factory=lambda: {
            "bc5cdr": 0.25,
            "ncbi_disease": 0.12,
            "maccrobat": 0.18,
            "notes": 0.05,
            "silver.bc5cdr": 0.18,
            "silver.ncbi_disease": 0.06,
            "silver.clinical": 0.10,
            "anatem": 0.02,
            "bc2gm": 0.02,
            "linnaeus": 0.01,
            "craft": 0.01,
        }
    )
    text: float = 0.0
    tasks: float = 0.0
    drills: float = 0.0
    text_length: int = 256
    pieces: tuple[int, ...] = (32, 64, 96, 96)


@dataclass(frozen=True)
class Decision:
    """One choice while a note is copied: at `place` in the row, outside (`state` -1) or in a mention of this label.

    `copy` is the token that goes on with the note, `wanted` the probability of each column.
    """

    place: int
    state: int
    copy: int
    wanted: dict[int, float]


@dataclass(frozen=True)
class Row:
    """Prompts and answers as ids; `answers` are where these stand. `asked` are the labels of `ner`, else none."""

    ids: list[int]
    answers: Sequence[tuple[int, int]]
    asked: tuple[int, ...] = ()
    decisions: tuple[Decision, ...] = ()


@dataclass(frozen=True)
class Batch:
    """Rows side by side, filled up on the right. `kind` is `text`, `ner`, `drill` or `task`.

    `predict` lists the places (flat, of the token predicted) that the plain loss counts. Of each decision: `places`
    (flat), `copies` the token to go on with, `states` and `rows` (its state and row; `asked` are the labels of each
    row). `wanted` are probabilities, `wanted_at` their decision and column.
    """

    kind: str
    ids: NDArray[np.int32]
    predict: NDArray[np.int32]
    places: NDArray[np.int32]
    copies: NDArray[np.int32]
    states: NDArray[np.int32]
    rows: NDArray[np.int32]
    asked: NDArray[np.bool_]
    wanted_at: NDArray[np.int32]
    wanted: NDArray[np.float32]

    @property
    def tokens(self) -> int:
        """The tokens that go through the model."""
        return int(self.ids.size)


def row(packed: Packed, exercise: Exercise, asked: Sequence[int]) -> Row:
    """Return the exercise as the product asks it (`ner.short.v1`, chat format v3) and as it wants it answered.

    `asked` are the labels in the order of the prompt; all labels of the exercise's spans are among them.
    """
    control, opening, closing = packed.control, packed.opening, packed.closing
    ids = [control["<s>"], control["[INST]"], *packed.header["after_inst"]]
    ids += [*(opening[label] for label in asked), *exercise.tokens, control["[/INST]"]]
    answer = len(ids)
    labels = len(opening)
    starts = {start: label for start, _, label in exercise.spans}
    ends = {end for _, end, _ in exercise.spans}
    decisions: list[Decision] = []
    state = -1
    for place, token in enumerate([*exercise.tokens, control["</s>"]]):
        last = place == len(exercise.tokens)
        flags = STARTS_PIECE if last else exercise.flags[place]
        if flags & STARTS_PIECE:
            doubts = exercise.doubts.get(place, ())
            if state >= 0:
                closes = place in ends
                if not last:
                    goes_on = next((p for label, p in doubts if label == GOES_ON), float(not closes))
                    wanted = {COPY: goes_on, 1 + labels + state: 1 - goes_on}
                    decisions.append(Decision(len(ids), state, token, wanted))
                if closes:
                    ids.append(closing[state])
                    state = -1
            if state < 0 and flags & VISIBLE:
                wanted = {1 + label: p for label, p in doubts if label in asked}
                if not wanted and place in starts:
                    wanted = {1 + starts[place]: 1.0}
                total = sum(wanted.values())
                wanted = {column: p / max(1.0, total) for column, p in wanted.items()}
                wanted[COPY] = max(0.0, 1 - total)
                decisions.append(Decision(len(ids), -1, token, wanted))
                if place in starts:
                    state = starts[place]
                    ids.append(opening[state])
        ids.append(token)
    return Row(ids, [(answer, len(ids))], tuple(asked), tuple(decisions))


def asked_labels(layer: Layer, core: frozenset[int], choose: Random) -> tuple[int, ...]:
    """Return the labels to ask for: mostly all in their order, at times the core ones or a few in any order."""
    every = list(layer.labels)
    if len(every) == 1 or choose.random() < 0.6:
        return tuple(every)
    inner = [label for label in every if label in core] or every
    few = [label for label in every if choose.random() < 0.5] or [int(choose.choice(every))]
    names = inner if choose.random() < 0.4 else few
    if choose.random() < 0.5:
        choose.shuffle(names)
    return tuple(names)


def passage(packed: Packed, layer: Layer, most_pieces: int, choose: Random) -> list[int]:
    """Return consecutive sentences of a text, as many as fit into `most_pieces`; at least one."""
    number = int(layer.sentences[choose.integers(len(layer.sentences))])
    first, end = packed.document_of(number)
    # A sentence is as often in the middle of a passage as at its beginning, the first of a text too.
    number = max(first, number - int(choose.integers(3)))
    chosen = [number]
    size = packed.pieces(number)
    while chosen[-1] + 1 < end and size + packed.pieces(chosen[-1] + 1) <= most_pieces:
        chosen.append(chosen[-1] + 1)
        size += packed.pieces(chosen[-1])
    return chosen


def cut(exercise: Exercise, most_tokens: int) -> Exercise:
    """Return the beginning of a long passage, cut between two pieces and not within a mention."""
    if len(exercise.tokens) <= most_tokens:
        return exercise
    place = most_tokens
    while place and (
        not exercise.flags[place] & STARTS_PIECE or any(s < place < e for s, e, _ in exercise.spans)
    ):
        place -= 1
    spans = [span for span in exercise.spans if span[1] <= place]
    return Exercise(exercise.tokens[:place], exercise.flags[:place], spans, exercise.doubts)


class Exercises:
    """The batches of one training run. `mixture_of` tells the mixture from the share of the run that is done."""

    def __init__(
        self, packed: Packed, batch_tokens: int, seed: int, stages: Sequence[tuple[float, Mixture]]
    ) -> None:
        self.packed = packed
        self.batch_tokens = batch_tokens
        self.seed = seed
        self.stages = list(stages)
        self._core = frozenset(packed.header["core"])
        self._text: NDArray[np.uint16] | None = None
        self._task_rows: dict[bool, list[Row]] | None = None

    def pool(self, number: int, pools: int) -> list[Batch]:
        """Return the batches of one of the run's pools, in the order of training."""
        choose = np.random.default_rng([self.seed, number])
        done = number / max(1, pools)
        mixture = next(mixture for until, mixture in self.stages if done < until)
        shares = {"text": mixture.text, "drill": mixture.drills, "task": mixture.tasks}
        shares["ner"] = max(0.0, 1 - sum(shares.values()))
        kinds = choose.choice(list(shares), POOL, p=list(shares.values())).tolist()
        made: list[Batch] = []
        for kind in shares:
            count = kinds.count(kind)
            if count == 0:
                continue
            if kind == "text":
                made += [self._text_batch(mixture.text_length, choose) for _ in range(count)]
                continue
            ner = kind == "ner"
            rows = self._ner(count, mixture, choose) if ner else self._tasks(count, kind == "drill", choose)
            made += [collate(self.packed, kind, group) for group in _groups(rows, count)]
        choose.shuffle(made)  # type: ignore[arg-type]
        return made

    def _text_batch(self, length: int, choose: Random) -> Batch:
        if self._text is None:
            self._text = self.packed.text_stream()
        starts = choose.integers(0, len(self._text) - length, max(1, self.batch_tokens // length))
        ids = np.stack([self._text[start : start + length] for start in starts]).astype(np.int32)
        predict = np.arange(ids.size, dtype=np.int32).reshape(ids.shape)[:, 1:].ravel()
        none: Any = np.zeros(0, np.int32)
        return Batch("text", ids, predict, none, none, none, none, np.zeros((0, 0), bool), none, none)

    def _ner(self, count: int, mixture: Mixture, choose: Random) -> list[Row]:
        names = [
            name for name in mixture.layers if name in self.packed.layers and not name.startswith(HELD_OUT)
        ]
        shares = np.array([mixture.layers[name] for name in names])
        rows: list[Row] = []
        tokens = 0
        while tokens < count * self.batch_tokens * 0.95:
            layer = self.packed.layers[names[int(choose.choice(len(names), p=shares / shares.sum()))]]
            most = int(choose.choice(mixture.pieces))
            asked = asked_labels(layer, self._core, choose)
            silver = layer.name.startswith("silver.")
            breaks = None if silver or layer.name in TRUE_BREAKS else int(choose.random() < 0.75)
            chosen = passage(self.packed, layer, most, choose)
            exercise = cut(self.packed.exercise(layer, chosen, frozenset(asked), breaks), 2 * most)
            if exercise.tokens:
                rows.append(row(self.packed, exercise, asked))
                tokens += len(rows[-1].ids)
        return rows

    def _tasks(self, count: int, drills: bool, choose: Random) -> list[Row]:
        if self._task_rows is None:
            self._task_rows = {True: [], False: []}
            for task, ids in self.packed.task_rows():
                self._task_rows[task == DRILL].append(Row(ids, self.packed.answers(ids)))
        there = self._task_rows[drills]
        rows: list[Row] = []
        tokens = 0
        while tokens < count * self.batch_tokens * 0.95:
            rows.append(there[int(choose.integers(len(there)))])
            tokens += len(rows[-1].ids)
        return rows


def held_out(packed: Packed, batch_tokens: int, most_pieces: int = 96) -> Iterator[tuple[str, Batch]]:
    """Yield the layers that are held out, read as in use: from the beginning of a text, for all labels."""
    for name, layer in packed.layers.items():
        if not name.startswith(HELD_OUT):
            continue
        rows: list[Row] = []
        for document in packed.document_rows(layer):
            numbers: list[int] = []
            for number in document:
                if numbers and sum(map(packed.pieces, [*numbers, number])) > most_pieces:
                    rows.append(_held_out_row(packed, layer, numbers, most_pieces))
                    numbers = []
                numbers.append(number)
            rows.append(_held_out_row(packed, layer, numbers, most_pieces))
        count = max(1, sum(len(one.ids) for one in rows) // batch_tokens)
        for group in _groups(rows, count):
            yield name.removeprefix(HELD_OUT), collate(packed, "ner", group)


def _held_out_row(packed: Packed, layer: Layer, numbers: Sequence[int], most_pieces: int) -> Row:
    exercise = packed.exercise(layer, numbers, frozenset(layer.labels))
    return row(packed, cut(exercise, 2 * most_pieces), layer.labels)


def _groups(rows: list[Row], count: int) -> Iterator[list[Row]]:
    """Yield the rows in groups of like length and about as many tokens."""
    rows = sorted(rows, key=lambda one: len(one.ids))
    ends = np.cumsum([len(one.ids) for one in rows])
    bounds = np.searchsorted(ends, np.arange(1, count) * ends[-1] / count)
    for first, last in zip([0, *bounds], [*bounds, len(rows)], strict=True):
        yield rows[first:last]


def collate(packed: Packed, kind: str, rows: Sequence[Row]) -> Batch:
    """Return rows as a batch."""
    width = -(-max(len(one.ids) for one in rows) // 8) * 8
    ids = np.full((len(rows), width), packed.control["<pad>"], np.int32)
    predict: list[NDArray[np.int64]] = []
    asked = np.zeros((len(rows), len(packed.labels)), bool)
    decisions: list[tuple[int, int, int, int]] = []
    wanted_at: list[tuple[int, int]] = []
    wanted: list[float] = []
    for number, one in enumerate(rows):
        ids[number, : len(one.ids)] = one.ids
        predict += [np.arange(number * width + start, number * width + end) for start, end in one.answers]
        asked[number, list(one.asked)] = True
        for decision in one.decisions:
            wanted_at += [(len(decisions), column) for column in decision.wanted]
            wanted += decision.wanted.values()
            decisions.append((number * width + decision.place, decision.copy, decision.state, number))
    places, copies, states, of_row = np.array(decisions, np.int32).reshape(-1, 4).T
    at = np.array(wanted_at, np.int32).reshape(-1, 2)
    flat = np.concatenate(predict).astype(np.int32)
    return Batch(kind, ids, flat, places, copies, states, of_row, asked, at, np.array(wanted, np.float32))


def batches(
    data: Path,
    batch_tokens: int,
    seed: int,
    stages: Sequence[tuple[float, Mixture]],
    steps: range,
    workers: int,
) -> Generator[Batch, None, None]:
    """Yield the batches of these steps of a run; with `workers`, other processes make them ahead of time.

    The run ends with the last step, which is that of a whole pool.
    """
    pools = steps.stop // POOL
    skipped = steps.start % POOL
    numbers = list(range(steps.start // POOL, pools))
    if not workers:
        made = Exercises(Packed.open(data), batch_tokens, seed, stages)
        for number in numbers:
            yield from made.pool(number, pools)[skipped:]
            skipped = 0
        return
    # Not by fork: a process that holds a GPU cannot be copied.
    with ProcessPoolExecutor(
        workers, get_context("spawn"), _begin_worker, (data, batch_tokens, seed, stages)
    ) as executor:
        waiting: deque[Future[list[Batch]]] = deque()
        try:
            while numbers or waiting:
                while numbers and len(waiting) < 2 * workers:
                    waiting.append(executor.submit(_pool_of_worker, numbers.pop(0), pools))
                yield from waiting.popleft().result()[skipped:]
                skipped = 0
        finally:
            executor.shutdown(wait=False, cancel_futures=True)


_worker: Exercises | None = None


def _begin_worker(data: Path, batch_tokens: int, seed: int, stages: Sequence[tuple[float, Mixture]]) -> None:
    global _worker
    _worker = Exercises(Packed.open(data), batch_tokens, seed, stages)


def _pool_of_worker(number: int, pools: int) -> list[Batch]:
    assert _worker is not None
    return _worker.pool(number, pools)
