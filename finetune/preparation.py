"""From a recipe to rows of tokens in the order in which they are read: what pre-flight checks and training takes.

Everything that decides the rows happens here, before any weight is read.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from clinical.finetune.examples import (
    FRESH_PASSES,
    HELD_OUT,
    SYNTHETIC,
    Example,
    gold_of,
    gold_of_held,
    halves,
    read_source,
    template_of,
)
from clinical.finetune.recipe import Recipe, Source
from clinical.finetune.rows import TrainingRow, Writer
from clinical.models.chat import ChatFormat
from clinical.models.language_model import Request
from clinical.scoring.gold import Gold

POOL_STEPS = 50
"""Rows of a like length go through the model together; those of so many steps are sorted at a time."""


@dataclass(frozen=True)
class Scored:
    """A held-out request with the answer that a person gave: sentence numbers, or a text."""

    task: str
    request: Request
    chosen: frozenset[int] = frozenset()
    reference: str = ""


@dataclass
class Prepared:
    """The rows of a run. `order` lists the rows in the order of reading, the passes one after another.

    `long` are the rows above the maximum length, before they were cut; `dropped` those of them that hold nothing
    to learn once they are cut; `unwritable` are answers that their constraint cannot write.
    """

    rows: list[TrainingRow] = field(default_factory=list)
    order: list[int] = field(default_factory=list)
    rows_of_a_pass: int = 0
    dev: list[TrainingRow] = field(default_factory=list)
    scored: list[Scored] = field(default_factory=list)
    gold: list[Gold] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)
    files: list[Path] = field(default_factory=list)
    long: list[tuple[str, int]] = field(default_factory=list)
    dropped: int = 0
    unwritable: int = 0
    overlapping: int = 0
    duplicates: int = 0

    def steps(self, recipe: Recipe, devices: int = 1) -> int:
        """Return how many steps the optimizer takes."""
        steps = math.ceil(len(self.order) / (recipe.rows_per_step * devices))
        return min(steps, recipe.train.max_steps or steps)

    def steps_of_a_pass(self, recipe: Recipe, devices: int = 1) -> int:
        """Return how many steps one pass over the rows takes."""
        return max(1, math.ceil(self.rows_of_a_pass / (recipe.rows_per_step * devices)))


def prepare(recipe: Recipe, tokenizer: Any, chat: ChatFormat) -> Prepared:
    """Return the rows of a recipe for this tokenizer. Raises `UsageError` for a source that there is not."""
    return _Preparation(recipe, Writer(tokenizer, chat, recipe.train.loss)).run()


class _Preparation:
    def __init__(self, recipe: Recipe, writer: Writer) -> None:
        self.recipe = recipe
        self.writer = writer
        self.out = Prepared()
        self._held_out: list[Example] = []
        # The rows of each source, of each fresh pass for those that are cut anew.
        self._numbers: dict[tuple[int, int], list[int]] = {}

    def run(self) -> Prepared:
        passes = max(1, math.ceil(self.recipe.train.epochs))
        for place, source in enumerate(self.recipe.data):
            anew = source.corpus == SYNTHETIC or (source.task == "ner" and not source.file)
            fresh = min(passes, FRESH_PASSES) if anew else 1
            for number in range(fresh):
                self._read(place, source, number)
        self._nothing_left()
        self._dev()
        self._order(passes)
        seen = Counter(tuple(row.ids) for number in self._of_pass(0) for row in [self.out.rows[number]])
        self.out.duplicates = sum(count - 1 for count in seen.values())
        return self.out

    def _read(self, place: int, source: Source, number: int) -> None:
        found = read_source(self.recipe, source, number)
        if number == 0:
            self.out.faults += found.faults
            self.out.passed_over += found.passed_over
            self.out.files += [path for path in found.files if path not in self.out.files]
        kept = self._apart(found.examples)
        start = len(self.out.rows)
        self.out.rows += self._rows(kept, source)
        self._numbers[place, number] = list(range(start, len(self.out.rows)))

    def _apart(self, examples: Sequence[Example]) -> list[Example]:
        """Set the held-out share apart, by a hash of the document or question, and return the rest."""
        share = 0.0 if self.recipe.dev else self.recipe.hold_out
        kept: list[Example] = []
        for example in examples:
            held = int(hashlib.sha256(f"{example.group}".encode()).hexdigest()[:8], 16) < share * 16**8
            (self._held_out if held else kept).append(example)
        return kept

    def _nothing_left(self) -> None:
        """Call it a fault when all rows are held out, as happens to rows that are the same: they go together."""
        if self._held_out and not self.out.rows and not self.out.long:
            groups = len({example.group for example in self._held_out})
            of = "one document or question" if groups == 1 else f"{groups} documents or questions"
            self.out.faults.append(
                f"hold_out: all {len(self._held_out)} rows are held out to score on, none is left to train on; they "
                f"are of {of}, of which the rows go together: add others, or set hold_out=0"
            )

    def _rows(self, examples: Sequence[Example], source: Source, *, count: bool = True) -> list[TrainingRow]:
        rows: list[TrainingRow] = []
        waiting = list(reversed(examples))
        while waiting:
            example = waiting.pop()
            row = self.writer.row(example)
            if row is None:
                self.out.unwritable += count
                continue
            if len(row.ids) > self.recipe.max_length:
                parts = halves(example, template_of(self.recipe, source)) if example.question else None
                if parts is not None:
                    waiting += reversed(parts)
                    continue
                if count:
                    self.out.long.append((row.place, len(row.ids)))
                row = row.cut(self.recipe.max_length)
                if not row.learned_count:
                    self.out.dropped += count
                    continue
            rows.append(row)
        return rows

    def _dev(self) -> None:
        rows = self.recipe.evaluate.rows
        known = {row.group for row in self.out.rows}
        if not self.recipe.dev:
            held = [example for example in self._held_out if example.group not in known][:rows]
            self._score(held, self.recipe.data[0])
            self.out.gold += gold_of_held(held)
            return
        for source in self.recipe.dev:
            limited = replace(source, limit=min(rows, source.limit or rows))
            if source.task == "ner":
                self.out.gold.append(gold_of(self.recipe, source, rows))
            examples = read_source(self.recipe, limited, HELD_OUT).examples
            apart = [example for example in examples if example.group not in known]
            self.out.overlapping += len(examples) - len(apart)
            self._score(apart, source)

    def _score(self, examples: Sequence[Example], source: Source) -> None:
        self.out.dev += self._rows(examples, source, count=False)
        for example in examples:
            if example.request is not None and example.task != "ner":
                self.out.scored.append(
                    Scored(example.task, example.request, frozenset(example.chosen), example.answer)
                )

    def _of_pass(self, number: int) -> list[int]:
        """Return the rows of one pass, sources by their weight, shuffled."""
        choose = random.Random(f"{self.recipe.train.seed} {number}")
        chosen: list[int] = []
        for place, source in enumerate(self.recipe.data):
            cuts = sum(1 for known, _ in self._numbers if known == place)
            own = self._numbers[place, number % cuts]
            whole, part = divmod(source.weight, 1)
            chosen += own * int(whole) + choose.sample(own, round(part * len(own)))
        choose.shuffle(chosen)
        return chosen

    def _order(self, passes: int) -> None:
        for number in range(passes):
            chosen = self._of_pass(number)
            if number == 0:
                self.out.rows_of_a_pass = len(chosen)
            share = min(1.0, self.recipe.train.epochs - number) if self.recipe.train.epochs else 1.0
            chosen = chosen[: math.ceil(share * len(chosen))]
            self.out.order += self._grouped(chosen, number) if self.recipe.train.group_by_length else chosen

    def _grouped(self, chosen: list[int], number: int) -> list[int]:
        """Return the rows so that those of a batch are of like length, the batches in random order."""
        batch, pool = self.recipe.train.batch, POOL_STEPS * self.recipe.rows_per_step
        batches: list[list[int]] = []
        for start in range(0, len(chosen), pool):
            ordered = sorted(chosen[start : start + pool], key=lambda row: len(self.out.rows[row].ids))
            batches += [ordered[at : at + batch] for at in range(0, len(ordered), batch)]
        # A batch that is not full stays last, so that the others keep their bounds.
        full = [one for one in batches if len(one) == batch]
        random.Random(f"batches {self.recipe.train.seed} {number}").shuffle(full)
        return [row for one in [*full, *(one for one in batches if len(one) < batch)] for row in one]
