"""Search: where is it said? Passages of the notes that answer to a query, best first.

    found = find("chest pain on exertion", ["notes/"], Embedder(), k=5)
    for hit in found.hits:
        print(hit.path, hit.line, hit.text)

Or which documents speak of it (`by="document"`)? Then each is ranked by all of its words and the mean of what its
passages mean, and is shown by the passage that is best by itself.

The notes are indexed at the first search and kept in step with their files at each one. A passage is found by its
words, by its meaning, or both (`clinical.index.ranking`); which words count how much, and by what other names they go,
says `clinical.tasks.query`. Where the words of the query, or the other names, stand in a passage,
`clinical.facts.assertion` tells whether they are affirmed there: "denies chest pain" is about chest pain, but nobody
has it. No passage is shown whose file has changed since it was indexed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Protocol, get_args

from clinical.documents.annotations import Assertion, AssertionStatus, Entity
from clinical.documents.sections import find_sections
from clinical.documents.sentences import split_sentences
from clinical.errors import UsageError
from clinical.facts.assertion import PRIORITY, assess
from clinical.facts.synonyms import is_meant
from clinical.formats.display import counted
from clinical.index.backend import Busy, Index, StoredPassage, Unit
from clinical.index.filters import EVERYTHING, Filter
from clinical.index.hits import Hit
from clinical.index.location import shown
from clinical.index.opening import open_index
from clinical.index.ranking import Mode, Ranked, fuse, rank
from clinical.index.update import LOOK_AGAIN, Changes, check_paths, files_of, sha256_of, update
from clinical.index.words import word_spans, words_in, words_of
from clinical.tasks.query import Query, read_query

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from clinical.models.embedders import TextEmbedder

__all__ = ["NOT_NEGATED", "Found", "assertion_of", "find", "mentions_of"]

NOT_NEGATED: tuple[AssertionStatus, ...] = tuple(
    status for status in get_args(AssertionStatus) if status != "negated"
)
"""What is not denied: what is there, was, may be, will be, or runs in the family."""

CANDIDATES = 100
"""How deep each ranking is read, at least."""

CANDIDATES_PER_HIT = 10
"""Some passages overlap a better one, or do not pass the filters."""

LEAST_AT_ONCE, MOST_AT_ONCE = 10, 500
"""Of as many documents as are wanted, within these bounds, the passages are looked at together."""

ATTEMPTS = 3
"""How often to index files anew that change while they are searched."""

PATIENCE, LOOK_EVERY = 120.0, 0.2
"""Seconds that a search waits for another process to make its index, and between two looks at how far it is."""

LABEL = "Query"

NEAR = 0.4
"""The least cosine of words that are shown as if they had been asked for."""

NEARNESS, ALL_WORDS = 0.52, 0.75
"""A hit is near with so much cosine, to which what it has of the words adds, or with so much of the words. Calibrated
for MiniLM on queries for what is in the notes and for what is not (`benchmarks/search.md`)."""

WORDS_ADD, FEW, FEW_ADD = 0.3, 3, 0.1
"""How much all words would add to the cosine, and how much in a query of few: half of "kidney transplant" is another
question, half of a message is not."""

CALIBRATED = "all-MiniLM-L6-v2/"
"""Cosines of other embedders have other scales: what they find is not told apart."""

ENOUGH_WORDS = 0.5
"""With a smaller share of what the words of the query weigh, a passage was found by its meaning."""


@dataclass(frozen=True)
class Found:
    """The hits, the best first, what was done to the index before, and what the user should know.

    `reading` are those of the remarks that only say how the query was read.
    """

    hits: Sequence[Hit]
    changes: Changes = field(default_factory=Changes)
    remarks: Sequence[str] = field(default_factory=tuple)
    reading: Sequence[str] = field(default_factory=tuple)


class Chooser(Protocol):
    """What puts some of the sentences of the hits in their place, as a language model does."""

    def hits(self, query: str, found: Sequence[Hit], k: int) -> tuple[list[Hit], list[str]]:
        """Return at most `k` hits, and what the user should know."""
        ...


def find(
    query: str,
    paths: Sequence[str],
    embedder: TextEmbedder,
    *,
    k: int = 10,
    by: Unit = "passage",
    mode: Mode = "hybrid",
    assertion: AssertionStatus | Collection[AssertionStatus] | None = None,
    section: str | None = None,
    filter: Filter = EVERYTHING,
    expand: bool = True,
    chooser: Chooser | None = None,
    done: Callable[[int, int], None] = lambda files, of: None,
) -> Found:
    """Return the `k` best passages of the notes in the paths, or the best passage of each of the `k` best documents.

    With `assertion`, one or several, as `NOT_NEGATED`, only those where it is that of the query's words; `present`
    keeps passages without any of the words too, since nothing there speaks against them. With `section` only those in
    that section, with `filter` only those that it lets through. A document counts when one of its passages does; where
    some have the words, those say what is said of them there. What is far from the query comes last. Unless told not
    to `expand`, other names of what is asked for are looked for too. A `chooser` reads the best passages and puts the
    sentences that it chooses in their place.
    Raises `UsageError` for a query without words, paths that are not there, and a section that there is not, and
    `Busy` when another process has been making the index for long and nothing is in it yet.
    """
    asked = read_query(query, names=expand)
    wanted: Collection[AssertionStatus] | None = (assertion,) if isinstance(assertion, str) else assertion
    check_paths(paths)
    with open_index(paths, embedder.id) as store:
        vector = None if mode == "lexical" else asked.vector(embedder)
        total = Changes()
        remarks: tuple[str, ...] = ()
        for _ in range(ATTEMPTS):
            try:
                total = _updated(store, paths, embedder, done)
            except Busy as busy:
                if not store.files():
                    raise Busy(f"{busy}; nothing is in it yet") from busy
                remarks = (f"{busy}; searched what is indexed so far",)
                total = replace(total, paths=files_of(paths)[0])
            search = _Search(store, asked, vector, total.paths, embedder)
            hits = search.hits(k, mode, wanted, filter, section, by)
            if not search.stale or remarks:
                break
            with store.transaction():
                for name in search.stale:
                    store.touch(name, LOOK_AGAIN, 0)
        if chooser is not None:
            hits, said = chooser.hits(asked.text, hits, k)
            remarks = (*remarks, *said)
        reading = tuple(asked.remarks)
        return Found(hits, total, (*reading, *remarks, *search.remarks()), reading)


def _updated(
    store: Index, paths: Sequence[str], embedder: TextEmbedder, done: Callable[[int, int], None]
) -> Changes:
    """Bring the index up to date; raises `Busy` when another process is writing.

    When there was nothing in the index, it has first waited `PATIENCE` for that process: no hits in a part of the notes
    would read like none in all of them.
    """
    until = time.monotonic() + (0 if store.files() else PATIENCE)
    while True:
        try:
            return update(store, paths, embedder, done)
        except Busy:
            if time.monotonic() >= until:
                raise
        _wait_for_writer(store, until, len(files_of(paths)[0]), done)


def _wait_for_writer(store: Index, until: float, files: int, done: Callable[[int, int], None]) -> None:
    """Return when no other process writes, or at that time; `done` is told how many of the files are in meanwhile."""
    while time.monotonic() < until:
        try:
            with store.writing():
                return
        except Busy:
            done(len(store.files()), files)
            time.sleep(LOOK_EVERY)


class _Search:
    """One query to one index. `stale` are the files that are not what the index has of them."""

    def __init__(
        self,
        store: Index,
        query: Query,
        vector: NDArray[np.float32] | None,
        paths: dict[str, str],
        embedder: TextEmbedder,
    ) -> None:
        self.store = store
        self.query = query
        self.vector = vector
        self.paths = paths
        self.embedder = embedder
        self.stale: set[str] = set()
        self._undated = 0
        self._sha256_of = cache(sha256_of)

    def hits(
        self,
        k: int,
        mode: Mode,
        assertion: Collection[AssertionStatus] | None,
        filter: Filter = EVERYTHING,
        section: str | None = None,
        by: Unit = "passage",
    ) -> list[Hit]:
        """Return the hits that pass the filters, none overlapping a better one.

        Passages that are near come first. Documents keep their order, so those before a near one count as near.
        """
        if section is not None:
            filter = replace(filter, sections=(_known_section(section, self.store.sections()),))
        limit = max(CANDIDATES, k * CANDIDATES_PER_HIT)
        ranked = rank(self.store, self.query.terms, self.vector, mode, limit, filter, by=by)
        self._undated = self.store.undated(filter)
        closely = assertion is not None
        hits: list[Hit] = []
        candidates = (
            self._distinct(ranked) if by == "passage" else self._documents(ranked, k, mode, filter, closely)
        )
        for candidate, passages in candidates:
            if len(hits) == k:
                break
            found = (
                self._hit(len(hits) + 1, passage, candidate, by, closely)
                for passage in passages
                if self._is_current(passage)
            )
            passing = (hit for hit in found if assertion is None or _passes(hit, assertion))
            hits += islice(passing, 1)
        if by == "document":
            near = max((place for place, hit in enumerate(hits, 1) if hit.near), default=0)
            return [replace(hit, near=hit.rank <= near) for hit in hits]
        hits.sort(key=lambda hit: not hit.near)
        return [replace(hit, rank=place) for place, hit in enumerate(hits, 1)]

    def _is_near(self, found: StoredPassage, mentions: Sequence[Entity]) -> bool:
        """Return whether a passage has the words of the query or its meaning, or was only the best there is."""
        if self.vector is None or not self.embedder.id.startswith(CALIBRATED):
            return True
        above = "\n".join(filter(None, (found.title, found.passage.heading)))
        share = self.query.share_in([*mentions, *mentions_of(self.query, above, 0, len(above))])
        adds = FEW_ADD if len(self.query.words) <= FEW else WORDS_ADD
        cosine = self.store.cosines_of(self.vector, [found.id])[found.id]
        return share >= ALL_WORDS or cosine + adds * share >= NEARNESS

    def remarks(self) -> Iterator[str]:
        """Yield what the user should know of the search."""
        for name in sorted(self.stale):
            yield f"{self.paths.get(name, name)} is not what was indexed; its passages are left out"
        if self._undated:
            yield (
                f"{counted(self._undated, 'document')} left out for want of a date: none comes with it, stands "
                "at its head or in its name"
            )

    def _distinct(self, ranked: Sequence[Ranked]) -> Iterator[tuple[Ranked, list[StoredPassage]]]:
        """Yield each passage that overlaps none before it, in a list of its own."""
        taken: dict[int, list[tuple[int, int]]] = {}
        for candidate in ranked:
            found = self.store.passage(candidate.id)
            if found is None:
                continue
            span = found.passage
            before = taken.setdefault(found.document, [])
            if all(span.end <= start or end <= span.start for start, end in before):
                before.append((span.start, span.end))
                yield candidate, [found]

    def _documents(
        self, ranked: Sequence[Ranked], k: int, mode: Mode, filter: Filter, closely: bool
    ) -> Iterator[tuple[Ranked, Iterable[StoredPassage]]]:
        """Yield each document with its passages, the best first; `closely`, those that can tell what is said in it."""
        at_once = min(max(k, LEAST_AT_ONCE), MOST_AT_ONCE)
        for first in range(0, len(ranked), at_once):
            some = ranked[first : first + at_once]
            best = self._best_passages([candidate.id for candidate in some], mode, filter)
            for candidate in some:
                stored = map(self.store.passage, best.get(candidate.id, []))
                found = (passage for passage in stored if passage is not None)
                yield candidate, self._telling(list(found)) if closely else found

    def _best_passages(self, documents: Sequence[int], mode: Mode, filter: Filter) -> dict[int, list[int]]:
        """Return the passages of each document that the filter lets through, the best first.

        When only words are searched for, those that have one.
        """
        inside = replace(filter, documents=tuple(documents))
        passages: dict[int, list[int]] = {}
        for id, document in self.store.passages_in(inside).items():
            passages.setdefault(document, []).append(id)
        every = [id for some in passages.values() for id in some]
        by_words = mode != "dense" and every
        lexical = dict(self.store.lexical(self.query.terms, len(every), inside)) if by_words else {}
        cosines = {} if self.vector is None else self.store.cosines_of(self.vector, every)

        def in_order(some: Sequence[int]) -> list[int]:
            scores = {id: lexical[id] for id in some if id in lexical}
            if self.vector is not None:
                scores = fuse(scores, {id: cosines[id] for id in some if id in cosines})
            return sorted(scores, key=lambda id: (-scores[id], id))

        return {document: in_order(some) for document, some in passages.items()}

    def _telling(self, passages: Sequence[StoredPassage]) -> Sequence[StoredPassage]:
        """Return the passages of a document that have the words of the query; if none has, the one nearest to it.

        "No stroke" is not made present by the next passage, which speaks of something else.
        """

        def share(found: StoredPassage) -> float:
            span = found.passage
            return self.query.share_in(mentions_of(self.query, found.text, span.start, span.end))

        return [found for found in passages if share(found) >= ENOUGH_WORDS] or passages[:1]

    def _is_current(self, found: StoredPassage) -> bool:
        path = self.paths.get(found.path)
        if path is not None and self._sha256_of(path) == found.sha256:
            return True
        self.stale.add(found.path)
        return False

    def _hit(self, place: int, found: StoredPassage, ranked: Ranked, by: Unit, closely: bool) -> Hit:
        passage, text = found.passage, found.text
        path = shown(self.paths[found.path])
        mentions = _assessed(text, mentions_of(self.query, text, passage.start, passage.end))
        said = assertion_of(mentions)
        near = self._is_near(found, mentions)
        if closely and self.vector is not None and self.query.share_in(mentions) < ENOUGH_WORDS:
            # Found by its meaning: whether that is affirmed, the words nearest to it must tell.
            words, cosine = nearest_words(self.vector, self.embedder, text, passage.start, passage.end)
            nearest = _assessed(text, words)
            said = assertion_of(nearest)
            mentions = nearest if cosine >= NEAR else mentions
        return Hit(
            rank=place,
            score=ranked.score,
            id=found.own_id or path + found.place,
            path=path,
            start=passage.start,
            end=passage.end,
            text=text[passage.start : passage.end],
            line=text.count("\n", 0, passage.start) + 1,
            section=passage.section,
            heading=passage.heading,
            title=found.title,
            date=found.date,
            assertion=said,
            mentions=mentions,
            ranks=ranked.ranks,
            near=near,
            by=by,
        )


def _known_section(name: str, known: Sequence[str]) -> str:
    plain = "_".join(name.lower().split())
    if plain not in known:
        raise UsageError(f"no section {name!r} in these notes; there are: {', '.join(known) or 'none'}")
    return plain


# --- what the note says of the words of the query ---


def nearest_words(
    vector: NDArray[np.float32], embedder: TextEmbedder, text: str, start: int, end: int
) -> tuple[list[Entity], float]:
    """Return the word, or the two side by side, in `text[start:end]` that mean most nearly what the vector does.

    With their cosine. There are none where there are no words.
    """
    words = words_in(text[start:end])
    spans = [(word.start, word.start + len(word.text)) for word in words]
    spans += [
        (one, other_end)
        for (one, one_end), (other, other_end) in pairwise(spans)
        if text[start + one_end : start + other] in (" ", "-")
    ]
    if not spans:
        return [], 0.0
    cosines = embedder.embed([text[start + first : start + last] for first, last in spans]) @ vector
    first, last = spans[int(cosines.argmax())]
    return [Entity(start + first, start + last, text[start + first : start + last], LABEL)], cosines.max()


def mentions_of(query: str | Query, text: str, start: int, end: int) -> list[Entity]:
    """Return the words of the query in `text[start:end]`; words that stand side by side are one mention.

    Where another name of what is asked for stands, the label of the mention says for what: "Query: MI".
    """
    words = words_of(query) if isinstance(query, str) else query.plain_terms
    spans: list[tuple[int, int]] = []
    for first, last in word_spans(words, text[start:end]):
        first, last = first + start, last + start
        if spans and text[spans[-1][1] : first].strip(" -/") == "":
            spans[-1] = (spans[-1][0], last)
        else:
            spans.append((first, last))
    found = [Entity(first, last, text[first:last], LABEL) for first, last in spans]
    if isinstance(query, Query):
        for name in query.names:
            label = f"{LABEL}: {name.text}"
            meant = {short for short in name.unsure if is_meant(short, name, text[start:end])}
            for first, last in word_spans([*name.others, *meant], text[start:end]):
                mention = Entity(first + start, last + start, text[first + start : last + start], label)
                # In small letters "as" is no aortic stenosis.
                if mention.text.upper() not in meant or mention.text.isupper():
                    found.append(mention)
    return _apart(found)


def _apart(mentions: Sequence[Entity]) -> list[Entity]:
    """Return the mentions in the order of the text; of those that overlap the longest."""
    kept: list[Entity] = []
    for mention in sorted(mentions, key=lambda mention: (mention.start - mention.end, mention.start)):
        if all(mention.end <= other.start or other.end <= mention.start for other in kept):
            kept.append(mention)
    return sorted(kept, key=lambda mention: mention.start)


def _assessed(text: str, mentions: Sequence[Entity]) -> tuple[Entity, ...]:
    return tuple(assess(text, mentions, _sections(text), _sentences(text)))


_sections = lru_cache(maxsize=32)(find_sections)
_sentences = lru_cache(maxsize=32)(split_sentences)


def assertion_of(mentions: Sequence[Entity]) -> Assertion | None:
    """Return the assertion of the mention with the most words of the query; of equals `present` comes first."""
    known = [mention for mention in mentions if mention.assertion]
    if not known:
        return None
    best = max(known, key=lambda mention: (len(mention.text.split()), _weight(mention.assertion)))
    return best.assertion


def _weight(assertion: Assertion | None) -> int:
    return PRIORITY.index(assertion.status) if assertion else -1


def _passes(hit: Hit, wanted: Collection[AssertionStatus]) -> bool:
    status = hit.assertion.status if hit.assertion else "present"
    return status in wanted
