"""What a store of an index has to do, whatever keeps it: SQLite on this machine, or LanceDB here or on S3.

`clinical.index.opening` gives the one that the user has; `clinical.tasks.search` and `clinical.index.update` know
only what stands here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Protocol, Self, get_args

from clinical.documents.note import Note
from clinical.errors import ClinicalError
from clinical.index.filters import EVERYTHING, Filter
from clinical.index.passages import Passage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Unit = Literal["passage", "document"]
UNITS: tuple[Unit, ...] = get_args(Unit)
"""What is ranked: each passage by itself, or each document by all of its words and the mean of its passages' vectors.

Documents are ranked by the words of their text: those that two neighbouring passages have in common count once."""

MUCH, MUCH_WHILE_WRITING = 0.05, 0.3
"""The share of passages that came or went, from which on what makes a search fast is made anew."""


class Busy(ClinicalError):
    """Another process is writing to the index."""


@dataclass(frozen=True, slots=True)
class FileState:
    """What the index knows of a file: the hash of its bytes, its time in ns and size, what could not be read."""

    path: str
    sha256: str
    modified: int
    size: int
    faults: str = ""
    id: int | None = None


@dataclass(frozen=True, slots=True)
class IndexedDocument:
    """A note on its way into the index. `own_id` is the id it brings along; others are the path and `place`."""

    note: Note
    passages: Sequence[Passage]
    vectors: NDArray[np.int8]
    own_id: str | None = None
    place: str = ""


@dataclass(frozen=True, slots=True)
class StoredPassage:
    """A passage with its document, as the index has it."""

    id: int
    passage: Passage
    document: int
    path: str
    own_id: str | None
    place: str
    title: str | None
    date: str | None
    sha256: str
    text: str


@dataclass(frozen=True, slots=True)
class Size:
    """How much an index holds; `bytes` on disk."""

    files: int
    documents: int
    passages: int
    bytes: int


class Index(Protocol):
    """An open index; use it in a `with`. Damage comes out as one line that says what to do."""

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths that it is of."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def about(self) -> dict[str, str]:
        """Return what the index says of itself: `format`, `embedder`, `paths`."""
        ...

    def files(self) -> dict[str, FileState]:
        """Return what the index knows of each file, by path."""
        ...

    def size(self) -> Size:
        """Return how much it holds."""
        ...

    def sections(self) -> list[str]:
        """Return the canonical names of the sections that passages stand in."""
        ...

    def passage(self, id: int) -> StoredPassage | None:
        """Return a passage with its document; `None` when it was taken out since it was ranked."""
        ...

    def own_ids(self, by: Unit = "passage") -> dict[int, str]:
        """Return the id that each document, or that of each passage, brought along."""
        ...

    def passages_in(self, filter: Filter) -> dict[int, int]:
        """Return the passages that a filter lets through, in the order of the text, each with its document."""
        ...

    def lexical(
        self,
        query: str | Sequence[str] | Mapping[str, float],
        limit: int,
        filter: Filter = EVERYTHING,
        by: Unit = "passage",
    ) -> list[tuple[int, float]]:
        """Return the passages, or documents, that share words with the query, by BM25, the best first.

        In place of the query, the words of it that are to be looked for, with how much each counts when they
        do not count alike; one of several stems stands where all of them do. A filter lets a document through when
        it does so with one of its passages.
        """
        ...

    def nearest(
        self, vector: NDArray[np.float32], limit: int, filter: Filter = EVERYTHING, by: Unit = "passage"
    ) -> list[tuple[int, float]]:
        """Return the passages, or documents, nearest to the vector with their cosines, the nearest first."""
        ...

    def cosines_of(
        self, vector: NDArray[np.float32], ids: Sequence[int], by: Unit = "passage"
    ) -> dict[int, float]:
        """Return how near each of these passages, or documents, is to the vector, from -1 to 1."""
        ...

    def vectors_of(self, ids: Sequence[int], by: Unit = "passage") -> NDArray[np.float32]:
        """Return the vectors of those of these that are in the index, each of length one, in a row each."""
        ...

    def undated(self, filter: Filter) -> int:
        """Return how many documents a filter by time leaves out only because they have no date."""
        ...

    def writing(self) -> AbstractContextManager[None]:
        """Be the one writer, for as long as it takes; raises `Busy` when there is another."""
        ...

    def transaction(self) -> AbstractContextManager[None]:
        """What is written inside is in the index at its end; of what a kill cuts off, whole files are missing."""
        ...

    def put(self, file: FileState, documents: Sequence[IndexedDocument]) -> None:
        """Write a file with its documents, in place of what the index had of it."""
        ...

    def rename(self, old: str, new: FileState) -> None:
        """Give a file that was moved its new path."""
        ...

    def touch(self, path: str, modified: int, size: int) -> None:
        """Note the time and size of a file whose content is what it was; a time of -1 has it looked at again."""
        ...

    def remove(self, path: str) -> None:
        """Take a file out, with all that belongs to it."""
        ...

    def refresh(self, share: float = MUCH) -> None:
        """Make anew what makes a search fast, when more than this share is out of step; only for the writer."""
        ...

    def compact(self) -> None:
        """Give back the space of what was taken out, and leave no trace of it on the disk."""
        ...

    def faults(self) -> list[str]:
        """Return what is wrong with the index itself, a line each; it does not look at the sources."""
        ...


def check_format(about: Mapping[str, str], format: int, paths: Sequence[str]) -> None:
    """Refuse an index of another version."""
    if about.get("format") != str(format):
        raise ClinicalError(f"the index of {named(paths)} is of another version; {rebuild(paths)}")


def check_about(about: Mapping[str, str], format: int, paths: Sequence[str], embedder: str) -> None:
    """Refuse an index of another version or embedder."""
    check_format(about, format, paths)
    if about.get("embedder") != embedder:
        raise ClinicalError(
            f"the index of {named(paths)} was embedded with {about.get('embedder')}, not with {embedder}; "
            f"name that one (--embedder), or {rebuild(paths)}"
        )


def words_in(note: Note, passage: Passage) -> str:
    """Return all words that a passage is found by: those it is about, and its own."""
    parts = (context(note.title, passage), note.text[passage.start : passage.end])
    return "\n".join(part for part in parts if part)


def context(title: str | None, passage: Passage) -> str:
    """Return what a passage is about beside its own words: the title of its note and the heading above it."""
    return "\n".join(part for part in (title, passage.heading) if part)


def named(paths: Sequence[str]) -> str:
    """Return the paths as messages have them."""
    return ", ".join(paths) or "an unknown folder"


def rebuild(paths: Sequence[str]) -> str:
    """Return what to do about an index that cannot be used."""
    return f"make it anew: clinical index add --rebuild {' '.join(paths) or 'PATH'}"
