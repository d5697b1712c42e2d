"""The one file that training on another machine needs: texts as tokens, their mentions, and rows of other tasks.

A text is stored once. It serves as text to go on with, and under each guideline that marks it (a `Layer`, gold or
silver) as an exercise for `ner`: rows of prompt and answer are made from it anew each time, of other sentences, for
other labels. A row is token for token what the product would ask and want (`clinical.finetune.mistral_rows`).
Nothing but numpy and safetensors is needed to read the file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from clinical.models.text_tokens import TextTokens

Array = NDArray[Any]

STARTS_PIECE, VISIBLE = 1, 2
"""Flags of a token: a piece begins with it; that piece is more than white space."""

HELD_OUT = "held_out."
"""What the name of a layer begins with that nothing may be trained on."""

DRILL = "drill"
"""The name of rows that practise to find a word."""

GOES_ON = 255
"""In the place of a label: the doubt is whether the open mention goes on."""


@dataclass(frozen=True)
class Layer:
    """Texts and their mentions under one guideline. `labels` are numbers in `Packed.labels`.

    `spans` has columns `start, end, label`, `doubts` `place, label, probability in 255ths`; places count tokens of
    their sentence, as it stands at the beginning of a passage. `span_rows[s]:span_rows[s + 1]` are those of sentence s.
    """

    name: str
    labels: tuple[int, ...]
    sentences: Array
    spans: Array
    span_rows: Array
    doubts: Array
    doubt_rows: Array


@dataclass(frozen=True)
class Exercise:
    """A passage and its mentions: `tokens`, `flags`, spans `(start, end, label)`, doubts by place."""

    tokens: list[int]
    flags: list[int]
    spans: list[tuple[int, int, int]]
    doubts: dict[int, list[tuple[int, float]]]


class Packed:
    """The file, opened."""

    def __init__(self, header: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        self.header = dict(header)
        self.arrays = dict(arrays)
        self.labels: tuple[str, ...] = tuple(header["labels"])
        self.control: dict[str, int] = header["control"]
        self.opening: list[int] = header["opening"]
        self.closing: list[int] = header["closing"]
        self.tokens = arrays["tokens"]
        count = len(self.tokens)
        self.flags = STARTS_PIECE * np.unpackbits(arrays["starts"], count=count) + VISIBLE * np.unpackbits(
            arrays["visible"], count=count
        )

    def save(self, path: Path) -> None:
        """Write the file."""
        from safetensors.numpy import save_file

        save_file(
            {name: np.ascontiguousarray(array) for name, array in self.arrays.items()},
            path,
            metadata={"packed": json.dumps(self.header)},
        )
        path.chmod(0o644)

    @classmethod
    def open(cls, path: Path) -> Packed:
        """Read the file."""
        from safetensors import safe_open

        with safe_open(path, framework="numpy") as file:
            header = json.loads(file.metadata()["packed"])
            return cls(header, {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118

    @cached_property
    def layers(self) -> dict[str, Layer]:
        """The annotated layers by name."""
        return {name: self._layer(name, one["labels"]) for name, one in self.header["layers"].items()}

    def _layer(self, name: str, labels: Sequence[int]) -> Layer:
        documents = self.arrays[f"{name}.documents"].astype(np.int64)
        first = self._document_rows
        sentences = np.concatenate(
            [np.arange(first[d], first[d + 1]) for d in documents] or [np.zeros(0, np.int64)]
        )
        return Layer(
            name,
            tuple(labels),
            sentences,
            self.arrays[f"{name}.spans"],
            self._rows_of(sentences, self.arrays[f"{name}.spans.count"]),
            self.arrays[f"{name}.doubts"],
            self._rows_of(sentences, self.arrays[f"{name}.doubts.count"]),
        )

    def _rows_of(self, sentences: Array, counts: Array) -> Array:
        """Return where the rows of each sentence of the file begin, and at last their number."""
        of_sentence = np.zeros(len(self.arrays["sentence.start"]), np.int64)
        of_sentence[sentences] = counts
        return np.append(0, np.cumsum(of_sentence))

    @cached_property
    def _document_rows(self) -> Array:
        """The first sentence of each document, and at last the number of sentences."""
        starts = self.arrays["document.start"].astype(np.int64)
        return np.append(starts, len(self.arrays["sentence.start"]))

    @cached_property
    def _sentences(self) -> tuple[list[int], list[int], list[int], list[int], list[int]]:
        names = ("start", "head", "plain", "breaks", "pieces")
        start, head, plain, breaks, pieces = (self.arrays[f"sentence.{name}"].tolist() for name in names)
        return [*start, len(self.tokens)], head, plain, breaks, pieces

    def sentence(self, number: int, *, first: bool, breaks: int | None = None) -> tuple[list[int], list[int]]:
        """Return the tokens and flags of a sentence as the first of a passage, or as it goes on after another."""
        start, head, plain, own_breaks, _ = self._sentences
        begin, end = start[number], start[number + 1]
        middle = begin + head[number]
        rest = middle + plain[number]
        count = own_breaks[number] if breaks is None else breaks
        if first or count == 0:
            lead, flags = self.tokens[begin:middle].tolist(), self.flags[begin:middle].tolist()
        else:
            newline = self.control["newline"]
            lead = [newline] * count + self.tokens[middle:rest].tolist()
            flags = [STARTS_PIECE] * count + self.flags[middle:rest].tolist()
        return lead + self.tokens[rest:end].tolist(), flags + self.flags[rest:end].tolist()

    def pieces(self, number: int) -> int:
        """Return how many pieces a sentence has."""
        return self._sentences[4][number]

    def document_of(self, sentence: int) -> tuple[int, int]:
        """Return the first sentence of the document that this one stands in, and that after its last."""
        rows = self._document_rows
        place = int(np.searchsorted(rows, sentence, side="right")) - 1
        return int(rows[place]), int(rows[place + 1])

    def exercise(
        self, layer: Layer, numbers: Sequence[int], asked: frozenset[int], breaks: int | None = None
    ) -> Exercise:
        """Return consecutive sentences as a passage, with the mentions and doubts of the labels asked for."""
        tokens: list[int] = []
        flags: list[int] = []
        spans: list[tuple[int, int, int]] = []
        doubts: dict[int, list[tuple[int, float]]] = {}
        for place, number in enumerate(numbers):
            more, more_flags = self.sentence(number, first=place == 0, breaks=breaks)
            shift = len(tokens) + len(more) - self._length(number)
            for start, end, label in layer.spans[
                layer.span_rows[number] : layer.span_rows[number + 1]
            ].tolist():
                if label in asked:
                    # A first piece that is written without its blank may have another number of tokens.
                    begin = (
                        start + shift
                        if start
                        else len(tokens) + _breaks(more, self.control["newline"], place)
                    )
                    spans.append((begin, end + shift, label))
            rows = layer.doubts[layer.doubt_rows[number] : layer.doubt_rows[number + 1]].tolist()
            for at, label, probability in rows:
                if label in asked or label == GOES_ON:
                    begin = at + shift if at else len(tokens) + _breaks(more, self.control["newline"], place)
                    doubts.setdefault(begin, []).append((label, probability / 255))
            tokens += more
            flags += more_flags
        return Exercise(tokens, flags, spans, doubts)

    def _length(self, number: int) -> int:
        start, _, plain, _, _ = self._sentences
        return start[number + 1] - start[number] - plain[number]

    def document_rows(self, layer: Layer) -> Iterator[range]:
        """Yield the sentences of each document of a layer."""
        place = 0
        while place < len(layer.sentences):
            first, end = self.document_of(int(layer.sentences[place]))
            yield range(first, end)
            place += end - first

    def text_stream(self) -> Array:
        """Return all texts end to end as tokens, each between the tokens for begin and end."""
        rows = self._document_rows
        twins = set(self.arrays["document.twins"].tolist())
        out: list[int] = []
        for document in range(len(rows) - 1):
            if document in twins:
                continue
            out.append(self.control["<s>"])
            for number in range(rows[document], rows[document + 1]):
                out += self.sentence(number, first=number == rows[document])[0]
            out.append(self.control["</s>"])
        return np.array(out, dtype=np.uint16)

    def add_task_rows(self, rows: Iterable[tuple[str, list[int]]]) -> None:
        """Take in rows of other tasks: name of the task, ids."""
        found = list(rows)
        names = sorted({task for task, _ in found})
        self.header["tasks"] = names
        lengths = [len(ids) for _, ids in found]
        self.arrays |= {
            "rows.ids": np.array([token for _, ids in found for token in ids], np.uint16),
            "rows.start": np.cumsum([0, *lengths])[:-1].astype(np.uint32),
            "rows.task": np.array([names.index(task) for task, _ in found], np.uint8),
        }

    def add_held_out(self, tokens: TextTokens, texts: Iterable[str]) -> None:
        """Take in text to measure the loss on, with its size in bytes of UTF-8."""
        ids: list[int] = []
        count = 0
        for text in texts:
            ids += [self.control["<s>"], *tokens.note(text, " "), self.control["</s>"]]
            count += len(text.encode())
        self.arrays["held_out"] = np.array(ids, np.uint16)
        self.header["held_out_bytes"] = count

    def task_rows(self) -> Iterator[tuple[str, list[int]]]:
        """Yield the rows of the other tasks: name of the task, ids."""
        starts = [*self.arrays["rows.start"].tolist(), len(self.arrays["rows.ids"])]
        for number, task in enumerate(self.arrays["rows.task"].tolist()):
            ids = self.arrays["rows.ids"][starts[number] : starts[number + 1]].tolist()
            yield self.header["tasks"][task], ids

    def answers(self, ids: Sequence[int]) -> list[tuple[int, int]]:
        """Return where the answers of a conversation stand, each with its end token: `[start, end)`."""
        asked, end = self.control["[/INST]"], self.control["</s>"]
        starts = [place + 1 for place, token in enumerate(ids) if token == asked]
        return [(start, ids.index(end, start) + 1) for start in starts]


def _breaks(tokens: Sequence[int], newline: int, place: int) -> int:
    """Return how many line breaks a later sentence of a passage begins with."""
    count = 0
    while place and count < len(tokens) and tokens[count] == newline:
        count += 1
    return count
