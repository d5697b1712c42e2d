"""Looks for what makes a corpus dishonest: repeated rows, and rows of one part that also stand in another.

    audit([part_of("opi:train"), part_of("opi:dev")])

Two rows are the same when their words are, whatever their case and blanks. Beyond that, a row is compared by its
stretches of 80 characters: two rows that share one stretch have a sentence in common (it may be a stock phrase), and
a row is *mostly known* when half of its stretches stand elsewhere. Of large corpora every n-th stretch is looked at,
chosen by its hash, so that the same words are chosen wherever they stand (Manber's sampling of fingerprints).

Manber U. Finding similar files in a large file system. USENIX Winter 1994.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clinical.corpora.catalog import CORPORA, find
from clinical.corpora.originals import BY_HAND
from clinical.corpora.records import read_records
from clinical.corpora.row_files import Columns
from clinical.corpora.rows import Row
from clinical.corpora.training import read_rows
from clinical.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

STRETCH = 80
MOST_STRETCHES = 2_000_000
CHUNK_CHARACTERS = 1_000_000
MOSTLY = 0.5
LABEL_FIELDS = ("type", "decision", "section")
"""Fields of a row by which a corpus classes it."""


@dataclass(frozen=True)
class Item:
    """One row as it is compared: what is asked, what is answered, its labels."""

    asked: str
    answered: str = ""
    labels: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """All of the row."""
        return f"{self.asked} {self.answered}".strip()


@dataclass
class Part:
    """A split, or a file: its rows as items, and what was wrong with the others."""

    name: str
    items: list[Item]
    faults: list[str] = field(default_factory=list)
    passed_over: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Stretches:
    """The hashes of stretches of a part's items, and for each the number of its item, in their order."""

    hashes: NDArray[Any]
    owners: NDArray[Any]


@dataclass(frozen=True)
class PartReport:
    """What was found within one part. `same_asked` are rows whose question stands there with another answer too."""

    name: str
    rows: int
    faults: int
    empty: int
    same_row: int
    same_asked: int
    mostly_known: int
    words_median: int
    words_p90: int
    words_max: int
    labels: Mapping[str, int]
    passed_over: Mapping[str, int]


@dataclass(frozen=True)
class Leak:
    """How many of the rows of one part stand in another too."""

    name: str
    other: str
    rows: int
    same_asked: int
    same_answer: int
    mostly_known: int
    one_stretch: int


@dataclass(frozen=True)
class Report:
    """An audit: each part by itself, each part against each other, all faults; `every` n-th stretch was looked at."""

    parts: Sequence[PartReport]
    leaks: Sequence[Leak]
    faults: Sequence[str]
    every: int

    def to_record(self) -> dict[str, Any]:
        """Return the report as it is written to JSON."""
        return asdict(self)


def parts_of(source: str, columns: Columns | None = None) -> list[Part]:
    """Return the splits of a corpus, one `corpus:split`, or a file; raises `UsageError` when there is none.

    The name of a corpus means the corpus, even where a folder of that name lies at hand; write `./name` for that.
    """
    known = any(corpus.name == source for corpus in CORPORA)
    if not known and (Path(source).exists() or Path(source).suffix or {":", "/"} & set(source)):
        return [part_of(source, columns)]
    corpus = find(source)
    if not corpus.files:
        raise UsageError(f"{source} is not kept here; name its files ({BY_HAND[source]})")
    return [part_of(f"{source}:{split}") for split in corpus.splits]


def part_of(source: str, columns: Columns | None = None) -> Part:
    """Return one part to audit."""
    name, _, split = source.partition(":")
    if not Path(source).exists() and ":" in source and find(name).task in READ_AS_STORED:
        return Part(source, [_stored(record) for record in read_records(name, split)])
    read = read_rows(source, columns)
    label = source if ":" in source else Path(source).name
    return Part(
        label, [_item(row) for row in read.rows], [str(fault) for fault in read.faults], read.passed_over
    )


READ_AS_STORED = ("ner", "assertion", "retrieval", "abbreviations")


def _stored(record: Mapping[str, Any]) -> Item:
    labels = tuple(entity["label"] for entity in record.get("entities", ()))
    asked = record.get("text") or record.get("abbreviation") or ""
    return Item(str(asked), str(record.get("sense", "")), labels)


def _item(row: Row) -> Item:
    labels = tuple(f"{name}: {row.fields[name]}" for name in LABEL_FIELDS if row.fields.get(name))
    return Item(row.prompt, row.answer, labels) if row.messages else Item(row.text, labels=labels)


def audit(parts: Sequence[Part]) -> Report:
    """Return what is repeated within each part, and what each part shares with each other."""
    size = sum(len(item.text) for part in parts for item in part.items)
    every = 1 << max(0, (size // MOST_STRETCHES).bit_length())
    looked_at = [(part, _stretches([normal(item.text) for item in part.items], every)) for part in parts]
    return Report(
        [_report(part, stretches) for part, stretches in looked_at],
        [_leak(one, other) for one, other in permutations(looked_at, 2)],
        [fault for part in parts for fault in part.faults],
        every,
    )


def leaking(texts: Sequence[str], elsewhere: Sequence[str]) -> list[bool]:
    """Return of each text whether it stands elsewhere: with the same words, or half of its stretches.

    Nothing is sampled here; of each text the stretches that follow one another are looked for among all of the others.

    >>> leaking(["No  fever.", "Cough."], ["no fever."])
    [True, False]
    """
    import numpy as np

    same = {normal(text) for text in elsewhere}
    stretches, known = (_stretches([normal(text) for text in some], 1) for some in (texts, elsewhere))
    first = np.searchsorted(stretches.owners, stretches.owners)
    apart = (np.arange(len(stretches.owners)) - first) % STRETCH == 0
    looked_at = Stretches(stretches.hashes[apart], stretches.owners[apart])
    mostly = set(np.flatnonzero(_mostly(np.isin(looked_at.hashes, known.hashes), looked_at)).tolist())
    return [number in mostly or normal(text) in same for number, text in enumerate(texts)]


def normal(text: str) -> str:
    """Return the words of a text, in lower case with one blank between them."""
    return " ".join(text.casefold().split())


def _report(part: Part, stretches: Stretches) -> PartReport:
    rows = Counter(normal(item.text) for item in part.items)
    asked = {(normal(item.asked), normal(item.answered)) for item in part.items}
    words = [len(item.text.split()) for item in part.items] or [0]
    return PartReport(
        part.name,
        rows=len(part.items),
        faults=len(part.faults),
        empty=rows.pop("", 0) + sum("is empty" in fault for fault in part.faults),
        same_row=_repeated(rows.values()),
        same_asked=_repeated(Counter(question for question, answer in asked if answer).values()),
        mostly_known=int(_mostly(_known_earlier(stretches), stretches).sum()),
        words_median=int(statistics.median(words)),
        words_p90=sorted(words)[int(0.9 * (len(words) - 1))],
        words_max=max(words),
        labels=dict(Counter(label for item in part.items for label in item.labels).most_common()),
        passed_over=dict(part.passed_over),
    )


def _repeated(counts: Iterable[int]) -> int:
    """Return how many are there beyond the first of each."""
    return sum(count - 1 for count in counts)


def _leak(one: tuple[Part, Stretches], another: tuple[Part, Stretches]) -> Leak:
    import numpy as np

    (part, stretches), (other, known) = one, another
    asked = {normal(item.asked) for item in other.items} - {""}
    answered = {normal(item.answered) for item in other.items} - {""}
    shared = np.isin(stretches.hashes, known.hashes)
    return Leak(
        part.name,
        other.name,
        rows=len(part.items),
        same_asked=sum(normal(item.asked) in asked for item in part.items),
        same_answer=sum(normal(item.answered) in answered for item in part.items),
        mostly_known=int(_mostly(shared, stretches).sum()),
        one_stretch=len(np.unique(stretches.owners[shared])),
    )


def _mostly(shared: NDArray[Any], stretches: Stretches) -> NDArray[Any]:
    """Return for each item whether half of its stretches are among the shared ones."""
    import numpy as np

    known = np.bincount(stretches.owners, weights=shared)
    result: NDArray[Any] = (known > 0) & (known >= MOSTLY * np.bincount(stretches.owners))
    return result


def _known_earlier(stretches: Stretches) -> NDArray[Any]:
    """Return for each stretch whether an earlier item has it too."""
    import numpy as np

    _, first, group = np.unique(stretches.hashes, return_index=True, return_inverse=True)
    # Items stand in order, and `first` is the first place of each.
    earlier: NDArray[Any] = stretches.owners[first][group] < stretches.owners
    return earlier


def _stretches(texts: Sequence[str], every: int) -> Stretches:
    """Return the stretches of the texts, one in `every` of them."""
    import numpy as np

    hashes, owners = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    for first, chunk in _chunks(texts):
        found, owner = _hashes(chunk)
        chosen = found % np.uint64(every) == 0
        hashes.append(found[chosen])
        owners.append(owner[chosen] + first)
    return Stretches(np.concatenate(hashes), np.concatenate(owners))


def _chunks(texts: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield the texts in runs of about a million characters, each with the number of its first."""
    chunk: list[str] = []
    first = size = 0
    for number, text in enumerate(texts):
        if size > CHUNK_CHARACTERS:
            yield first, chunk
            chunk, first, size = [], number, 0
        chunk.append(text)
        size += len(text)
    yield first, chunk


def _hashes(texts: Sequence[str]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return a hash of every stretch of the texts, which are in one line each, and the number of its text.

    The hash of a stretch is made of those of its halves, from single characters upwards: a few passes over all
    characters, whatever the length of a stretch. 80 is 64 and 16.
    """
    import numpy as np

    codes = np.frombuffer("\n".join(texts).encode("utf-32-le"), dtype=np.uint32).astype(np.uint64)
    if len(codes) < STRETCH:
        return np.zeros(0, np.uint64), np.zeros(0, np.int64)
    by_length = {1: codes * np.uint64(0x9E3779B97F4A7C15)}
    length = 1
    while 2 * length <= STRETCH:
        by_length[2 * length] = _combined(by_length[length], by_length[length], length)
        length *= 2
    hashes = _combined(by_length[64], by_length[16], 64)
    owner = np.repeat(np.arange(len(texts)), [len(text) + 1 for text in texts])
    last = slice(STRETCH - 1, STRETCH - 1 + len(hashes))
    # A stretch that runs over the end of a text belongs to none.
    whole = (owner[: len(hashes)] == owner[last]) & (codes[last] != ord("\n"))
    return hashes[whole], owner[: len(hashes)][whole]


def _combined(left: NDArray[Any], right: NDArray[Any], length: int) -> NDArray[Any]:
    """Return the hashes of stretches that are one of `left` and, `length` characters later, one of `right`."""
    import numpy as np

    count = min(len(left), len(right) - length)
    mixed: NDArray[Any] = (left[:count] ^ (left[:count] >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed += right[length : length + count] * np.uint64(0x94D049BB133111EB)
    result: NDArray[Any] = mixed ^ (mixed >> np.uint64(32))
    return result
