"""The light tagger's training text: corpora as streams of tagged words, cut into windows as notes are in use."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clinical.corpora import records
from clinical.documents.annotations import Entity
from clinical.finetune.synthetic_notes import fillers, synthetic
from clinical.models.word_pieces import split

SENTENCES_PER_STREAM = 40


@dataclass(frozen=True)
class Scheme:
    """An annotation guideline that the tagger learns: its name and its tags, `O` first, then `B-`/`I-` per label."""

    name: str
    tags: tuple[str, ...]


@dataclass(frozen=True)
class Stream:
    """Text in order, in pieces and tagged words. `breaks`: indices of the words that begin a sentence."""

    scheme: str
    ids: NDArray[np.int64]
    shapes: NDArray[np.int64]
    word_starts: NDArray[np.int64]
    tags: NDArray[np.int64]
    breaks: tuple[int, ...] | None


@dataclass(frozen=True)
class Window:
    """What the encoder reads at once: `word_starts` count from the window's first piece; one tag per word."""

    scheme: str
    ids: NDArray[np.int64]
    shapes: NDArray[np.int64]
    word_starts: NDArray[np.int64]
    tags: NDArray[np.int64]


@dataclass(frozen=True)
class Source:
    """Where a scheme's text comes from. `held_out` is the share of the last split kept back for choosing."""

    corpus: str
    splits: tuple[str, ...]
    held_out: float
    sentences: bool = False


SYNTHETIC = "notes"
"""The name of the source of made-up notes, which teach the head of the scheme `clinical` how notes are jotted down."""

SYNTHETIC_NOTES = 1500


# BC5CDR's published dev split is training text too, but for its last fifth: its test split alone judges.
# NCBI-disease and MACCROBAT have no open test split here, so their dev splits judge, and choices are made on
# a part of their training text.
SOURCES = {
    "bc5cdr": Source("bc5cdr", ("train", "dev"), 0.2, sentences=True),
    "ncbi_disease": Source("ncbi_disease", ("train",), 0.07),
    "clinical": Source("maccrobat", ("train",), 0.09),
    "anatem": Source("anatem", ("train", "dev"), 0.1, sentences=True),
    "bc2gm": Source("bc2gm", ("train",), 0.04, sentences=True),
    "linnaeus": Source("linnaeus", ("train",), 0.05, sentences=True),
    "craft": Source("craft", ("train",), 0.05, sentences=True),
}


def outermost(entities: Sequence[Entity]) -> list[Entity]:
    """Return the entities without those that overlap a longer one: a tag sequence has one layer."""
    kept: list[Entity] = []
    for entity in sorted(entities, key=lambda entity: (entity.start - entity.end, entity.start)):
        if all(entity.end <= other.start or entity.start >= other.end for other in kept):
            kept.append(entity)
    return sorted(kept, key=lambda entity: entity.start)


def tag_words(spans: NDArray[np.int64], entities: Sequence[Entity], tags: Sequence[str]) -> NDArray[np.int64]:
    """Return one tag index per word span; a word belongs to an entity that covers any of its characters."""
    index = {tag: number for number, tag in enumerate(tags)}
    found = np.zeros(len(spans), dtype=np.int64)
    for entity in outermost(entities):
        first = int(np.searchsorted(spans[:, 1], entity.start, side="right"))
        last = int(np.searchsorted(spans[:, 0], entity.end, side="left"))
        if first < last and not found[first:last].any():
            found[first:last] = index[f"I-{entity.label}"]
            found[first] = index[f"B-{entity.label}"]
    return found


def load_schemes(
    names: Sequence[str], seed: int
) -> tuple[list[Scheme], dict[str, list[Stream]], dict[str, list[Stream]]]:
    """Return the schemes, the streams of each source for training, and those of each scheme for choosing.

    `names`: schemes, and `SYNTHETIC`, whose notes belong to the scheme `clinical`.
    """
    schemes: dict[str, Scheme] = {}
    training: dict[str, list[Stream]] = {}
    held_out: dict[str, list[Stream]] = {}
    for name in [name for name in names if name != SYNTHETIC]:
        source = SOURCES[name]
        splits = [list(records.read(source.corpus, part)) for part in source.splits]
        keep = round(len(splits[-1]) * (1 - source.held_out))
        used = [document for part in splits[:-1] for document in part] + splits[-1][:keep]
        labels = sorted({entity.label for document in used for entity in document.entities})
        schemes[name] = Scheme(name, ("O", *(f"{part}-{label}" for label in labels for part in "BI")))
        training[name] = list(streams(used, schemes[name], source.sentences))
        held_out[name] = list(streams(splits[-1][keep:], schemes[name], source.sentences))
    if SYNTHETIC in names:
        training[SYNTHETIC] = list(
            streams(list(_synthetic_notes(seed)), schemes["clinical"], sentences=False)
        )
    return list(schemes.values()), training, held_out


def _synthetic_notes(seed: int) -> Iterator[records.GoldDocument]:
    for number, passage in enumerate(synthetic(SYNTHETIC_NOTES, seed, fillers())):
        mentions = tuple(
            records.Mention(start, end, passage.text[start:end], label, label)
            for start, end, label in passage.spans
        )
        yield records.GoldDocument(f"synthetic-{number}", passage.text, mentions)


def streams(documents: Sequence[records.GoldDocument], scheme: Scheme, sentences: bool) -> Iterator[Stream]:
    """Yield one stream per document, or per run of consecutive sentences where documents are not marked."""
    known = set(scheme.tags)
    size = SENTENCES_PER_STREAM if sentences else 1
    for start in range(0, len(documents), size):
        ids, shapes, starts, tags, breaks = [], [], [], [], []
        pieces_before = words_before = 0
        for document in documents[start : start + size]:
            pieces = split(document.text)
            entities = [entity for entity in document.entities if f"B-{entity.label}" in known]
            breaks.append(words_before)
            ids.append(pieces.ids)
            shapes.append(pieces.shapes)
            starts.append(pieces.word_starts + pieces_before)
            tags.append(tag_words(pieces.spans, entities, scheme.tags))
            pieces_before += len(pieces.ids)
            words_before += len(pieces.word_starts)
        yield Stream(
            scheme.name,
            np.concatenate(ids),
            np.concatenate(shapes),
            np.concatenate(starts),
            np.concatenate(tags),
            tuple(breaks) if sentences else None,
        )


def cut(stream: Stream, size: int, rng: random.Random, *, whole: bool = False) -> Iterator[Window]:
    """Yield windows of at most `size` pieces, none cutting a word.

    Streams of sentences are cut where sentences begin; documents anywhere, as long notes are, with the first cut
    at a random place so that each pass sees other windows. `whole` cuts full windows from the start (for scoring).
    A window never starts inside an entity.
    """
    total = len(stream.word_starts)
    ends = np.append(stream.word_starts[1:], len(stream.ids))
    allowed = set(stream.breaks) if stream.breaks else None
    first = 0
    limit = size if whole else rng.randint(size // 4, size)
    while first < total:
        last = int(np.searchsorted(ends, stream.word_starts[first] + limit, side="right"))
        last = max(last, first + 1)
        if last < total:
            last = _good_cut(stream, first, last, allowed)
        yield _window(stream, first, last, int(ends[last - 1]))
        first = last
        limit = size if whole or rng.random() < 0.7 else rng.randint(size // 4, size)


def _good_cut(stream: Stream, first: int, last: int, allowed: set[int] | None) -> int:
    """Return the last place at or before `last` where a cut may fall; `last` itself when there is none."""
    for place in range(last, first + 1, -1):
        if allowed is not None and place not in allowed:
            continue
        if stream.tags[place] == 0 or stream.tags[place] % 2 == 1:
            return place
    return last


def _window(stream: Stream, first: int, last: int, end_piece: int) -> Window:
    start_piece = int(stream.word_starts[first])
    return Window(
        stream.scheme,
        stream.ids[start_piece:end_piece],
        stream.shapes[start_piece:end_piece],
        stream.word_starts[first:last] - start_piece,
        stream.tags[first:last],
    )
