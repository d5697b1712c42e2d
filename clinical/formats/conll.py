r"""CoNLL: one word a line, `word TAB start TAB end TAB tag`, and a blank line after each sentence.

    -DOCSTART-	note-1	-X-	O

    No	0	2	O
    pneumonia	3	12	B-Disease
    .	12	13	O

The four columns stand as in CoNLL-2003 (word first, BIO tag last), so its readers take them; the middle two
are the offsets of the word in the note, in code points. They also tell where white space was, not which.

Words are cut at the edges of entities, so a tag never says more or less than the entity (white space at its
edge apart). Where entities overlap, the last column holds the longer ones, and every further layer has a
column of its own before it, as in GermEval 2014: nothing is left out, and the last column alone is plain BIO.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence

from clinical.documents.annotations import Entity, Extraction
from clinical.documents.note import Note
from clinical.documents.sentences import split_sentences
from clinical.formats.streams import encode
from clinical.formats.tokens import cut

_SPACE = re.compile(r"\s")


def document(note: Note, extraction: Extraction) -> bytes:
    """Return the document from its -DOCSTART- line to the blank line after its last word."""
    sentences = {start for start, _ in split_sentences(note.text)}
    edges = [edge for entity in extraction.entities for edge in (entity.start, entity.end)]
    pieces = cut(note.text, sentences.union(edges))
    words = [(start, end) for start, end in pieces if not note.text[start:end].isspace()]
    columns = _columns(words, extraction.entities)
    lines = ["\t".join(("-DOCSTART-", _SPACE.sub(" ", extraction.id), "-X-", *("O" for _ in columns)))]
    for (start, end), tags in zip(words, zip(*columns, strict=True), strict=True):
        if start in sentences and not _continues(tags):
            lines.append("")
        lines.append("\t".join((note.text[start:end], str(start), str(end), *tags)))
    return encode("".join(line + "\n" for line in [*lines, ""]))


def _columns(words: Sequence[tuple[int, int]], entities: Sequence[Entity]) -> list[list[str]]:
    """Return as many columns of BIO tags as the entities need, the one of the longest last."""
    starts = [start for start, _ in words]
    columns = [["O"] * len(words)]
    for entity in sorted(entities, key=lambda entity: (entity.start - entity.end, entity.start)):
        inside = range(bisect_left(starts, entity.start), bisect_left(starts, entity.end))
        column = next((column for column in columns if all(column[at] == "O" for at in inside)), None)
        if column is None:
            column = ["O"] * len(words)
            columns.append(column)
        for at in inside:
            column[at] = ("B-" if at == inside.start else "I-") + _SPACE.sub("_", entity.label)
    return columns[::-1]


def _continues(tags: Sequence[str]) -> bool:
    """Return whether an entity goes on at this word: no sentence ends inside one."""
    return any(tag.startswith("I-") for tag in tags)
