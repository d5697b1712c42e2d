"""What is ranked, as arrays: the vectors and the words of many passages, in memory or in one mapped file.

Passages are rows, in the order of their documents; or whole documents are, each as if it were one passage. For the
words there is a list for each stem, of the rows that have it and how often. Everything here can be made again from the
index; the file is in the safetensors format.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinical.index.vectors import whole

ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class Segment:
    """Some passages, ready to be ranked. `sections` are places in `section_names`; 0 is that without a name.

    `columns` has a vector of int8 in each column, `sums` the sum of each. Stem `stems[i]` stands in
    `rows[starts[i]:starts[i + 1]]`, `counts` times in each; `lengths` are all stems of a passage.
    """

    passages: NDArray[np.int64]
    documents: NDArray[np.int64]
    sections: NDArray[np.int16]
    lengths: NDArray[np.int32]
    columns: NDArray[np.int8]
    sums: NDArray[np.int32]
    stems: NDArray[np.int32]
    starts: NDArray[np.int64]
    rows: NDArray[np.int32]
    counts: NDArray[np.uint16]
    section_names: tuple[str, ...] = ("",)

    def __len__(self) -> int:
        return len(self.passages)

    def holding(self, stem: int) -> tuple[NDArray[np.int32], NDArray[np.uint16]]:
        """Return the rows that have a stem, in order, and how often each has it."""
        place = int(np.searchsorted(self.stems, stem))
        if place == len(self.stems) or self.stems[place] != stem:
            return self.rows[:0], self.counts[:0]
        span = slice(self.starts[place], self.starts[place + 1])
        return self.rows[span], self.counts[span]

    def in_sections(self, names: Iterable[str]) -> NDArray[np.bool_]:
        """Return which rows stand in one of these sections."""
        known = [place for place, name in enumerate(self.section_names) if place and name in set(names)]
        return np.isin(self.sections, known)


def build(
    passages: Sequence[tuple[int, int, str | None]],
    documents: Iterable[tuple[bytes, bytes]],
    size: int,
) -> Segment:
    """Return the segment of these passages: id, document and section of each, in the order of the documents.

    `documents` gives, in the same order, the vectors and the stems of each as the index keeps them.
    """
    names = ("", *sorted({section for _, _, section in passages if section}))
    codes = {name: code for code, name in enumerate(names)}
    columns = np.empty((size, len(passages)), np.int8)
    stems: list[NDArray[np.int32]] = []
    waiting: list[NDArray[np.int8]] = []
    first = done = 0
    for vectors, counted in documents:
        in_document = np.frombuffer(counted, np.int32).reshape(3, -1)
        stems.append(in_document + np.array([[0], [first], [0]], np.int32))
        waiting.append(np.frombuffer(vectors, np.int8).reshape(-1, size))
        first += len(waiting[-1])
        # Many rows at once: each becomes a column, which is slow for one alone.
        if first - done >= ROWS_AT_ONCE:
            done = _stand_up(columns, done, waiting)
    _stand_up(columns, done, waiting)
    terms, rows, counts = np.concatenate(stems, axis=1) if stems else np.empty((3, 0), np.int32)
    del stems
    lengths = np.bincount(rows, counts, len(passages)).astype(np.int32)
    order = np.argsort(terms, kind="stable")
    known, starts = np.unique(terms[order], return_index=True)
    return Segment(
        passages=np.fromiter((id for id, _, _ in passages), np.int64, len(passages)),
        documents=np.fromiter((document for _, document, _ in passages), np.int64, len(passages)),
        sections=np.fromiter((codes[section or ""] for _, _, section in passages), np.int16, len(passages)),
        lengths=lengths,
        columns=columns,
        sums=columns.sum(axis=0, dtype=np.int32),
        stems=known.astype(np.int32),
        starts=np.append(starts, len(order)).astype(np.int64),
        rows=rows[order],
        counts=np.minimum(counts[order], np.iinfo(np.uint16).max).astype(np.uint16),
        section_names=names,
    )


def wholes(documents: Iterable[tuple[int, bytes, bytes]], size: int) -> Segment:
    """Return the segment of whole documents: the number of each, the vectors of its passages, its own stems."""
    kept = [
        (id, whole(np.frombuffer(vectors, np.int8).reshape(-1, size)).tobytes(), stems)
        for id, vectors, stems in documents
    ]
    return build([(id, id, None) for id, _, _ in kept], ((vector, stems) for _, vector, stems in kept), size)


def same(one: Segment, other: Segment) -> bool:
    """Return whether two segments are equal in all."""
    return one.section_names == other.section_names and all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in _ARRAYS
    )


def _stand_up(columns: NDArray[np.int8], done: int, waiting: list[NDArray[np.int8]]) -> int:
    if waiting:
        block = np.concatenate(waiting)
        columns[:, done : done + len(block)] = block.T
        done += len(block)
        waiting.clear()
    return done


# --- the file ---

_ARRAYS = tuple(field.name for field in fields(Segment) if field.name != "section_names")
_NAMES = {"int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8", "uint16": "U16"}
_TYPES = {short: np.dtype(name) for name, short in _NAMES.items()}
# The arrays are mapped as they lie, so each begins where its numbers may.
_ALIGNED = 64


def save(segment: Segment, path: Path, about: Mapping[str, str]) -> None:
    """Write the segment, whole or not at all, for its owner alone."""
    arrays = {name: np.ascontiguousarray(getattr(segment, name)) for name in _ARRAYS}
    header: dict[str, Any] = {
        "__metadata__": {**about, "sections": json.dumps(segment.section_names)},
    }
    end = 0
    # The largest numbers first: then each array begins at a multiple of the size of its own.
    for name, array in sorted(arrays.items(), key=lambda item: -item[1].itemsize):
        header[name] = {
            "dtype": _NAMES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [end, end + array.nbytes],
        }
        end += array.nbytes
    written = json.dumps(header).encode()
    written += b" " * (-(len(written) + 8) % _ALIGNED)
    scratch = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        with open(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(len(written).to_bytes(8, "little") + written)
            for name in header:
                if name in arrays:
                    arrays[name].tofile(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)


def load(path: Path, about: Mapping[str, str | None]) -> tuple[Segment, dict[str, str]] | None:
    """Return the segment in the file, mapped, with what it says of itself; `None` when it is not that of `about`.

    Where `about` has `None` anything will do. A file that is not there, cut off or of another kind is `None` too:
    it is made again.
    """
    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            data = np.memmap(file, np.uint8, "r")
        header = json.loads(data[8 : 8 + length].tobytes())
        said = header.pop("__metadata__")
        if any(value is not None and said.get(key) != value for key, value in about.items()):
            return None
        arrays = {}
        for name in _ARRAYS:
            start, end = (8 + length + offset for offset in header[name]["data_offsets"])
            flat = data[start:end].view(_TYPES[header[name]["dtype"]])
            arrays[name] = np.asarray(flat.reshape(header[name]["shape"]))
        return Segment(**arrays, section_names=tuple(json.loads(said["sections"]))), said
    except (OSError, ValueError, KeyError, TypeError):
        return None
