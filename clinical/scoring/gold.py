"""Gold standards to measure against: a file of records, a brat folder, or a split of a corpus.

    read_gold("bc5cdr:test")     read_gold("notes.jsonl.gz")     read_gold("annotated/")

A record is `{"id", "text", "entities": [{"start", "end", "label", …}]}`: what `clinical ner` writes, with the
text added. An entity may also be a triple `[start, end, label]`, as doccano and spaCy have them, and a column map says
how a file calls the three: `{"text": "note", "entities": "spans"}`.

Some corpora are stored as single sentences. Notes are not read so: their sentences stand in paragraphs, and
systems use what stands around a sentence. Consecutive sentences are therefore joined by line breaks into
texts of eight, about what a window of the small tagger holds, and every system gets the same texts.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clinical.corpora.catalog import find
from clinical.corpora.records import GoldDocument, Mention, read
from clinical.corpora.rows import all_faults
from clinical.corpora.typography import as_in_a_note
from clinical.errors import UsageError
from clinical.prompts.labels import clinical_labels
from clinical.scoring.bootstrap import SENTENCES_PER_BLOCK
from clinical.scoring.spans import surface

CONTEXT_SENTENCES = 8
SPLIT_NAME = re.compile(r"[a-z0-9_]+:[a-z0-9_]+")
RECORD_COLUMNS = ("id", "text", "entities")
ENTITY = ("start", "end", "label")
# brat: T1<tab>Disease 10 20;25 30<tab>text
TEXT_BOUND = re.compile(r"T\S*\t(?P<label>\S+) (?P<spans>\d+ \d+(?:;\d+ \d+)*)\t(?P<text>.*)")


@dataclass(frozen=True)
class Gold:
    """A gold standard. `labels` are those that occur in all of it, whatever part `documents` is.

    `training` holds the `surface` of every mention of the training split, empty where there is none.
    `block` is how many consecutive texts a bootstrap draws together. `dropped` are labels of a corpus that
    have no counterpart in the clinical label set.
    """

    name: str
    documents: tuple[GoldDocument, ...]
    labels: tuple[str, ...]
    dropped: tuple[str, ...] = ()
    training: frozenset[tuple[str, str]] = frozenset()
    block: int = 1
    sentences_per_text: int | None = None

    @property
    def texts(self) -> list[str]:
        """The texts, in order."""
        return [document.text for document in self.documents]

    @property
    def words(self) -> int:
        """How many words the texts have, as blanks separate them."""
        return sum(len(text.split()) for text in self.texts)


def read_gold(
    source: str,
    *,
    limit: int | None = None,
    context_sentences: int = CONTEXT_SENTENCES,
    detokenize: bool = False,
    columns: Mapping[str, str] | None = None,
) -> Gold:
    """Return the gold standard of a file, a brat folder or a `corpus:split`.

    `limit` keeps the first documents, or sentences where those are the records. `detokenize` gives tokens
    joined by blanks the typography of a note first. `columns` says how a file of records calls `RECORD_COLUMNS`.
    Raises `UsageError` that names what cannot be read, each record by its line.
    """
    path = Path(source)
    if path.is_dir():
        return _of_documents(source, _brat(path), limit)
    if path.is_file():
        return _of_documents(source, _records(path, columns or {}), limit)
    if SPLIT_NAME.fullmatch(source):
        return _of_corpus(source, limit, context_sentences, detokenize)
    raise UsageError(f"{source}: no such file or folder, nor a split of a corpus such as bc5cdr:test")


def _of_documents(name: str, documents: Iterable[GoldDocument], limit: int | None) -> Gold:
    every = tuple(documents)
    if not every:
        raise UsageError(f"{name}: no annotated document in it")
    return Gold(name, every[:limit], _labels(every))


def _of_corpus(source: str, limit: int | None, context_sentences: int, detokenize: bool) -> Gold:
    name, split = source.split(":")
    corpus = find(name)
    every = _corpus_documents(name, split, detokenize)
    trained = _corpus_documents(name, "train", detokenize) if split != "train" else ()
    gold = Gold(
        source,
        every[:limit],
        _labels(every),
        dropped=tuple(dict.fromkeys(m.raw_label for d in every for m in d.mentions if m.label is None)),
        training=frozenset(surface(entity) for document in trained for entity in document.entities),
    )
    return _in_paragraphs(gold, context_sentences) if corpus.unit == "sentence" else gold


def _corpus_documents(name: str, split: str, detokenize: bool) -> tuple[GoldDocument, ...]:
    documents = read(name, split)
    if detokenize and find(name).tokenized:
        return tuple(as_in_a_note(document) for document in documents)
    return tuple(documents)


def _labels(documents: Sequence[GoldDocument]) -> tuple[str, ...]:
    return tuple(sorted({entity.label for document in documents for entity in document.entities}))


def _in_paragraphs(gold: Gold, sentences: int) -> Gold:
    starts = range(0, len(gold.documents), sentences)
    return replace(
        gold,
        documents=tuple(join(gold.documents[start : start + sentences]) for start in starts),
        block=max(1, round(SENTENCES_PER_BLOCK / sentences)),
        sentences_per_text=sentences,
    )


def join(sentences: Sequence[GoldDocument]) -> GoldDocument:
    """Return one document of these sentences, each on its line, with their mentions moved along."""
    mentions: list[Mention] = []
    offset = 0
    for sentence in sentences:
        mentions.extend(replace(m, start=m.start + offset, end=m.end + offset) for m in sentence.mentions)
        offset += len(sentence.text) + 1
    return GoldDocument(sentences[0].id, "\n".join(sentence.text for sentence in sentences), tuple(mentions))


def _records(path: Path, columns: Mapping[str, str]) -> list[GoldDocument]:
    opener = gzip.open if path.suffix == ".gz" else open
    documents: list[GoldDocument] = []
    faults: list[str] = []
    try:
        with opener(path, "rt", encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    try:
                        documents.append(_document(line, f"{path} line {number}", columns))
                    except UsageError as error:
                        faults.append(str(error))
    except (UnicodeDecodeError, gzip.BadGzipFile) as error:
        raise UsageError(f"{path}: not JSON lines in UTF-8 ({error})") from error
    if faults and not documents and path.suffix in (".csv", ".tsv", ".json", ".xml", ".txt"):
        raise UsageError(
            f"{path}: annotated texts are JSON lines (.jsonl) or a brat folder, not {path.suffix}"
        )
    if faults:
        raise all_faults(faults)
    return documents


def _document(line: str, place: str, columns: Mapping[str, str]) -> GoldDocument:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise UsageError(f"{place}: not JSON ({error.msg})") from error
    if not isinstance(record, dict):
        raise UsageError(f"{place}: not an object with named values")
    identifier, text, entities = (record.get(columns.get(name, name)) for name in RECORD_COLUMNS)
    for name, value, kind in (("text", text, str), ("entities", entities, list)):
        if not isinstance(value, kind):
            raise UsageError(
                f'{place}: no "{columns.get(name, name)}" (annotated records hold the text beside its entities); '
                f"it has: {', '.join(record)}"
            )
    assert isinstance(text, str)
    assert isinstance(entities, list)
    mentions = tuple(_mention(text, entity, place) for entity in entities)
    return GoldDocument(place if identifier is None else str(identifier), text, mentions)


def _mention(text: str, entity: Any, place: str) -> Mention:
    try:
        named = entity if isinstance(entity, Mapping) else dict(zip(ENTITY, entity, strict=True))
        start, end, label = int(named["start"]), int(named["end"]), str(named["label"])
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f'{place}: an entity wants "start", "end" and "label"') from error
    return _checked(text, start, end, label, named.get("text"), place)


def _checked(text: str, start: int, end: int, label: str, said: str | None, place: str) -> Mention:
    if not 0 <= start < end <= len(text):
        raise UsageError(f"{place}: {label} {start}-{end} lies outside the text of {len(text)} characters")
    if said is not None and said != text[start:end]:
        raise UsageError(f"{place}: {label} {start}-{end} does not hold the text of its entity")
    return Mention(start, end, text[start:end], label, _spelled(label))


def _spelled(label: str) -> str:
    """Return the label as the clinical label set spells it ("DISEASE" is Disease), or as it stands."""
    return next((known.name for known in clinical_labels() if known.name.lower() == label.lower()), label)


def _brat(folder: Path) -> Iterator[GoldDocument]:
    for standoff in sorted(folder.rglob("*.ann")):
        note = standoff.with_suffix(".txt")
        if not note.is_file():
            raise UsageError(f"{standoff}: {note.name} is missing beside it")
        text = _text_of(note)
        lines = _text_of(standoff).split("\n")
        found = ((number, TEXT_BOUND.match(line)) for number, line in enumerate(lines, start=1))
        mentions = [
            _brat_mention(text, match, f"{standoff} line {number}") for number, match in found if match
        ]
        yield GoldDocument(str(note.relative_to(folder)), text, tuple(mentions))


def _text_of(path: Path) -> str:
    # Line ends stay as they are: offsets count both characters of a CRLF.
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8") from error


def _brat_mention(text: str, match: re.Match[str], place: str) -> Mention:
    pieces = [tuple(map(int, piece.split(" "))) for piece in match["spans"].split(";")]
    hull = _checked(text, pieces[0][0], pieces[-1][1], match["label"], None, place)
    said = " ".join(text[start:end] for start, end in pieces)
    if said.split() != match["text"].split():
        raise UsageError(f"{place}: the characters of {match['label']} {match['spans']} are not its text")
    # A span over a line break is written in pieces too; only what leaves letters out is discontinuous.
    return replace(hull, discontinuous=said.split() != hull.text.split())
