"""The order of a training run of the light tagger: windows cut anew in each pass, batched by scheme and length."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from clinical.finetune.light_data import Stream, Window, cut
from clinical.models.light_tagger import END_ID, START_ID, WINDOW_PIECES
from clinical.models.word_pieces import SHAPES

LONGEST = WINDOW_PIECES - 2


def plan(
    streams: Mapping[str, Sequence[Stream]],
    passes: Mapping[str, float],
    batch_pieces: int,
    rng: random.Random,
) -> list[list[Window]]:
    """Return all batches of the run in order. Each scheme's text is read `passes` times, spread evenly over the run."""
    rounds = math.ceil(max(passes.values()))
    ordered: list[list[Window]] = []
    for _ in range(rounds):
        windows: list[Window] = []
        for name, times in passes.items():
            fresh = [window for stream in streams[name] for window in cut(stream, LONGEST, rng)]
            rng.shuffle(fresh)
            windows += fresh[: math.ceil(len(fresh) * times / rounds)]
        ordered += _batches(windows, batch_pieces, rng)
    return ordered


def _batches(windows: Sequence[Window], batch_pieces: int, rng: random.Random) -> Iterator[list[Window]]:
    """Yield batches of one scheme each, of like lengths, about `batch_pieces` pieces, in random order."""
    by_scheme: dict[str, list[Window]] = {}
    for window in windows:
        by_scheme.setdefault(window.scheme, []).append(window)
    made: list[list[Window]] = []
    for group in by_scheme.values():
        group.sort(key=lambda window: len(window.ids) + rng.uniform(0, 8))
        batch: list[Window] = []
        for window in group:
            if batch and (len(batch) + 1) * max(len(window.ids), len(batch[-1].ids)) > batch_pieces:
                made.append(batch)
                batch = []
            batch.append(window)
        made.append(batch)
    rng.shuffle(made)
    yield from made


def tensors(
    batch: Sequence[Window], rng: random.Random | None = None
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Return the tagger's arguments for a batch, padded to its longest window, and the tags of all its words.

    With `rng` the way words are written is varied, as in training.
    """
    width = max(len(window.ids) for window in batch) + 2
    ids = np.zeros((len(batch), width), dtype=np.int64)
    shapes, mask = np.zeros_like(ids), np.zeros_like(ids)
    for row, window in enumerate(batch):
        length = len(window.ids) + 2
        ids[row, :length] = [START_ID, *window.ids, END_ID]
        shapes[row, 1 : length - 1] = _vary(window.shapes, rng) if rng else window.shapes
        mask[row, :length] = 1
    rows = np.repeat(np.arange(len(batch)), [len(window.word_starts) for window in batch])
    columns = np.concatenate([window.word_starts + 1 for window in batch])
    arrays = {"ids": ids, "mask": mask, "shapes": shapes, "word_rows": rows, "word_columns": columns}
    tags = torch.from_numpy(np.concatenate([window.tags for window in batch]))
    return {name: torch.from_numpy(array) for name, array in arrays.items()}, tags


def _vary(shapes: NDArray[np.int64], rng: random.Random) -> NDArray[np.int64]:
    """Return the shapes, sometimes as if all were written in capitals or in small letters: notes often are."""
    draw = rng.random()
    if draw < 0.05:
        return np.full_like(shapes, SHAPES.index("upper"))
    return np.zeros_like(shapes) if draw < 0.12 else shapes
