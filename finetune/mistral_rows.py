"""Training rows for `ner` by a language model: corpora as requests of the product, and the answers they want."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from clinical.corpora.catalog import find
from clinical.corpora.records import GoldDocument, read
from clinical.corpora.typography import detokenize
from clinical.documents.annotations import Entity
from clinical.models.chat import ChatFormat
from clinical.models.language_model import TaggedCopy
from clinical.models.mistral_tagger import chunks, request
from clinical.models.tagging import TagWalk
from clinical.models.text_tokens import TextTokens
from clinical.prompts.inline_tags import close_tag, open_tag
from clinical.prompts.labels import Label, by_name, core_labels
from clinical.prompts.templates import Template

# A run of sentences to be joined: short ones teach the most per second, longer ones are what a note is read
# in.
SENTENCES = (1, 1, 2, 3)


@dataclass(frozen=True)
class Passage:
    """A stretch of a corpus, as a model reads it at a time, and the labels that are annotated in it."""

    text: str
    spans: tuple[tuple[int, int, str], ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """One training example as ids. `options` says of each place in the answer what the constraint allowed there.

    `answer` is where the answer begins; `options[i]` belongs to `ids[answer + i]`. A single option is no
    decision.
    """

    ids: list[int]
    answer: int
    options: list[list[int]]


def flat(document: GoldDocument) -> list[Entity]:
    """Return the entities of a document that inline tags can show: of overlapping ones the longest.

    A discontinuous mention is left out, because its hull would teach that the words between belong to it.
    """
    broken = {(m.start, m.end, m.label) for m in document.mentions if m.discontinuous}
    kept: list[Entity] = []
    for entity in sorted(document.entities, key=lambda e: (e.start - e.end, e.start)):
        apart = all(entity.end <= other.start or other.end <= entity.start for other in kept)
        if apart and (entity.start, entity.end, entity.label) not in broken:
            kept.append(entity)
    return sorted(kept, key=lambda entity: entity.start)


def passages(source: str, seed: int, most_pieces: int) -> Iterator[Passage]:
    """Yield a `corpus:split` cut into passages, at other places for every seed.

    Half of the sentences of tokenized corpora get the typography of a note back.
    """
    corpus, split = source.split(":")
    choose = random.Random(f"{corpus} {seed}")
    labels = find(corpus).clinical_labels
    documents = list(read(corpus, split))
    if find(corpus).unit == "document":
        for document in documents:
            yield from _cut(document, labels, choose.randint(most_pieces // 6, most_pieces))
        return
    place = choose.randint(0, 2)
    while place < len(documents):
        count = choose.choice(SENTENCES)
        group = documents[place : place + count]
        yield _joined(group, labels, choose.choice((" ", "\n")), restore=choose.random() < 0.5, seed=seed)
        place += count


def _cut(document: GoldDocument, labels: tuple[str, ...], most_pieces: int) -> Iterator[Passage]:
    entities = flat(document)
    for start, end in chunks(document.text, most_pieces):
        inside = [entity for entity in entities if start <= entity.start and entity.end <= end]
        yield Passage(
            document.text[start:end],
            tuple((entity.start - start, entity.end - start, entity.label) for entity in inside),
            labels,
        )


def _joined(
    documents: Sequence[GoldDocument], labels: tuple[str, ...], between: str, *, restore: bool, seed: int
) -> Passage:
    text = ""
    spans: list[tuple[int, int, str]] = []
    for document in documents:
        sentence, entities = document.text, tuple(flat(document))
        if restore:
            sentence, entities = detokenize(sentence, entities, seed=seed)
        text += between if text else ""
        spans += [(len(text) + e.start, len(text) + e.end, e.label) for e in entities]
        text += sentence
    return Passage(text, tuple(spans), labels)


def asked(labels: Sequence[str], choose: random.Random) -> tuple[Label, ...]:
    """Return the labels to ask for: all that are annotated, the core ones or a few, in any order at times.

    So a model learns to mark what it is asked for, and that other mentions are then to be left alone.
    """
    core = [label.name for label in core_labels() if label.name in labels]
    few = [name for name in labels if choose.random() < 0.5] or [choose.choice(labels)]
    names = choose.choice((list(labels), core or list(labels), few))
    if choose.random() < 0.5:
        choose.shuffle(names)
    return by_name(names)


def answer(constraint: TaggedCopy, tokens: TextTokens, spans: Iterable[tuple[int, int, str]]) -> Row | None:
    """Return the answer that marks these spans, as a row without a prompt; `None` when no answer can.

    A span whose edge lies within a piece is widened to the piece.
    """
    starts, ends = _at_pieces(constraint, spans)
    walk = TagWalk(constraint, tokens)
    ids: list[int] = []
    options: list[list[int]] = []
    for place in range(len(constraint.pieces) + 1):
        wanted: list[tuple[int, ...]] = []
        if place in ends:
            wanted.append(tokens.tag(close_tag(ends[place])))
        if place in starts:
            wanted.append(tokens.tag(open_tag(starts[place])))
        if place < len(constraint.pieces):
            wanted.append(
                tokens.piece(constraint.pieces[place] if place else walk.blank + constraint.pieces[0])
            )
        for token in (token for group in wanted for token in group):
            allowed = walk.options()
            if token not in allowed:
                return None
            ids.append(token)
            options.append(allowed)
            walk.take(token, 0.0)
    return Row(ids, 0, options) if walk.done else None


def _at_pieces(
    constraint: TaggedCopy, spans: Iterable[tuple[int, int, str]]
) -> tuple[dict[int, str], dict[int, str]]:
    """Return the label that begins, and that which ends, before the piece of each number."""
    starts: dict[int, str] = {}
    ends: dict[int, str] = {}
    done = 0
    for start, end, label in sorted(spans):
        if label not in constraint.labels:
            continue
        covered = [
            number
            for number in range(len(constraint.pieces))
            if constraint.offsets[number + 1] > start and constraint.offsets[number] < end
        ]
        if covered and covered[0] >= done:
            done = covered[-1] + 1
            starts[covered[0]], ends[done] = label, label
    return starts, ends


def row(
    passage: Passage, template: Template, chat: ChatFormat, tokens: TextTokens, choose: random.Random
) -> Row | None:
    """Return the passage as prompt and answer in ids; `None` when the answer cannot be written with tags."""
    ask = request(template, asked(passage.labels, choose), passage.text)
    assert isinstance(ask.constraint, TaggedCopy)
    wanted = answer(ask.constraint, tokens, passage.spans)
    if wanted is None:
        return None
    prompt = tokens.prompt(chat.write(ask.messages))
    end = tokens.control("</s>")
    # The end of the answer follows from the source, but a server that decodes freely needs it.
    return Row([*prompt, *wanted.ids, end], len(prompt), [*wanted.options, [end]])
