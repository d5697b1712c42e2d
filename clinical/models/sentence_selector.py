"""Tells which sentences of a note answer a question: MiniLM with an adapter of ours, int8 on onnxruntime.

    selector = SentenceSelector()
    selector.score("Why was warfarin stopped?", [Reading("", lines)])

Question and note are read together, up to 256 pieces at a time: what "it" was that was stopped stands in the sentence
before, and what a line of a list is about stands in its heading. A sentence's score is the probability that it belongs
to the answer, from the mean state of its pieces. Trained by `clinical finetune sentence-selector`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clinical.errors import ClinicalError
from clinical.models import minilm
from clinical.models.selector_export import ready_selector

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

MAX_PIECES = 256
QUESTION_PIECES = 48
TITLE_PIECES = 16
HEADING_PIECES = 10
SENTENCE_PIECES = 80
START_ID, END_ID = 101, 102  # [CLS] and [SEP] of MiniLM's vocabulary

SHIPPED = "light-ask"


@dataclass(frozen=True)
class Reading:
    """A stretch of one note to look for answers in: its title, and its sentences, each with its heading."""

    title: str
    lines: tuple[tuple[str, str], ...]


@dataclass
class Window:
    """What the encoder reads at once. `places` are the pieces `[first, end)` of each sentence by its number."""

    ids: list[int] = field(default_factory=list)
    types: list[int] = field(default_factory=list)
    places: list[tuple[int, int, int]] = field(default_factory=list)

    def add(self, pieces: Sequence[int], kind: int) -> None:
        """Append pieces of the question (0) or of the note (1)."""
        self.ids += pieces
        self.types += [kind] * len(pieces)


class SentenceSelector:
    """The shipped selector, or one that training wrote to a folder; loaded at the first use."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or shipped_folder()
        self.name = self.folder.name

    @cached_property
    def card(self) -> dict[str, Any]:
        """What the training wrote beside the weights: recipe, scores, provenance."""
        card: dict[str, Any] = json.loads((self.folder / "selector.json").read_text(encoding="utf-8"))
        return card

    def score(self, question: str, readings: Sequence[Reading]) -> list[list[float]]:
        """Return for each reading the probability of each of its sentences; one read twice has the mean."""
        return [self._score(question, reading).tolist() for reading in readings]

    def _score(self, question: str, reading: Reading) -> NDArray[np.float32]:
        totals = np.zeros(len(reading.lines), np.float32)
        counts = np.zeros(len(reading.lines), np.float32)
        for window in windows(question, reading):
            (hidden,) = self._session.run(
                ["hidden"],
                {"ids": np.array([window.ids], np.int64), "types": np.array([window.types], np.int64)},
            )
            for number, first, end in window.places:
                state = hidden[0, first:end].mean(axis=0)
                totals[number] += 1 / (1 + np.exp(-float(state @ self._weight + self._bias)))
                counts[number] += 1
        mean: NDArray[np.float32] = totals / np.maximum(counts, 1)
        return mean

    @cached_property
    def _head(self) -> dict[str, NDArray[np.float32]]:
        from safetensors.numpy import load_file

        return {
            name: array.astype(np.float32)
            for name, array in load_file(self.folder / "head.safetensors").items()
        }

    @property
    def _weight(self) -> NDArray[np.float32]:
        weight: NDArray[np.float32] = self._head["weight"][0]
        return weight

    @property
    def _bias(self) -> float:
        return float(self._head["bias"][0])

    @cached_property
    def _session(self) -> InferenceSession:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS") or 0)  # 0: all cores
        options.inter_op_num_threads = 1
        return onnxruntime.InferenceSession(
            ready_selector(self.folder), options, providers=["CPUExecutionProvider"]
        )


def shipped_folder() -> Path:
    """Return the folder of the selector that comes with the package."""
    found = Path(str(resources.files("clinical.models"))) / "weights" / SHIPPED
    if not (found / "selector.json").is_file():
        raise ClinicalError(f"the weights {SHIPPED} are missing from this installation; reinstall clinical")
    return found


def windows(question: str, reading: Reading) -> Iterator[Window]:
    """Yield the windows of a reading; the last sentence of one is the first of the next, as its context.

    `[CLS] question [SEP] title [SEP] heading [SEP] sentence [SEP] sentence [SEP] heading …`: a heading stands
    before the first sentence under it in each window.
    """
    head = Window()
    head.add([START_ID, *_pieces(question, QUESTION_PIECES), END_ID], 0)
    if reading.title:
        head.add([*_pieces(reading.title, TITLE_PIECES), END_ID], 1)
    window, heading = _begun(head), ""
    for number, (above, sentence) in enumerate(reading.lines):
        own = [*_pieces(sentence, SENTENCE_PIECES), END_ID]
        title = [*_pieces(above, HEADING_PIECES), END_ID] if above else []
        added = title if above != heading else []
        if window.places and len(window.ids) + len(added) + len(own) > MAX_PIECES:
            yield window
            window = _carried_over(head, window, reading, number - 1)
            added = title if above != reading.lines[number - 1][0] or len(window.places) == 0 else []
        window.add(added, 1)
        window.places.append((number, len(window.ids), len(window.ids) + len(own)))
        window.add(own, 1)
        heading = above
    if window.places:
        yield window


def _begun(head: Window) -> Window:
    return Window(list(head.ids), list(head.types))


def _carried_over(head: Window, before: Window, reading: Reading, number: int) -> Window:
    """Return a window that begins with the last sentence of the one before, where that leaves room."""
    window = _begun(head)
    _, first, end = before.places[-1]
    above = reading.lines[number][0]
    if end - first > SENTENCE_PIECES // 2:
        return window
    if above:
        window.add([*_pieces(above, HEADING_PIECES), END_ID], 1)
    window.places.append((number, len(window.ids), len(window.ids) + end - first))
    window.add(before.ids[first:end], 1)
    return window


def _pieces(text: str, most: int) -> list[int]:
    ids: list[int] = minilm.tokenizer().encode(text[: 20 * most], add_special_tokens=False).ids
    return ids[:most]
