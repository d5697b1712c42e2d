"""Puts all that a small Mistral learns from into one file for training elsewhere (`clinical.finetune.packed`).

    python -m clinical.finetune.packing --silver build/silver --vocab 8192 --out build/mini
    python -m clinical.finetune.packing --silver build/silver --tokenizer build/base --out build/mini

What comes out is a folder: `data.safetensors` and the tokenizer. What choices are made on, and what judges, is not
in it, but for held-out text, on which the loss is measured.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clinical.corpora.catalog import find
from clinical.corpora.records import GoldDocument, read, read_records
from clinical.corpora.typography import detokenize
from clinical.documents.sentences import split_sentences
from clinical.finetune import suite_rows
from clinical.finetune.light_data import SOURCES
from clinical.finetune.mistral_rows import flat
from clinical.finetune.packed import GOES_ON, HELD_OUT, STARTS_PIECE, VISIBLE, Packed
from clinical.finetune.provenance import provenance, write_history
from clinical.finetune.rows import Writer
from clinical.finetune.silver import (
    CHOSEN_ON,
    CORPORA,
    SENTENCE_CORPORA,
    SENTENCES_PER_TEXT,
    kept,
    read_silver,
)
from clinical.finetune.synthetic_notes import fillers, synthetic
from clinical.finetune.tokenizer import CONTROL_TOKENS, train_tokenizer
from clinical.models.chat import detect
from clinical.models.minilm import HIDDEN_SIZE
from clinical.models.pieces import split_pieces
from clinical.models.text_tokens import TextTokens
from clinical.prompts.inline_tags import close_tag, open_tag
from clinical.prompts.labels import clinical_labels

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

GOLD = (
    "bc5cdr:train",
    "bc5cdr:dev",
    "ncbi_disease:train",
    "maccrobat:train",
    "anatem:train",
    "anatem:dev",
    "bc2gm:train",
    "bc2gm:dev",
    "linnaeus:train",
    "linnaeus:dev",
    "craft:train",
    "craft:dev",
)
PLAIN_FIELDS = {
    "medquad": ("answer", "question"),
    "pubmedqa": ("contexts", "long_answer"),
    "mts_dialog": ("target", "source"),
    "aci_bench": ("target", "source"),
    "meqsum": ("source", "target"),
}
BOTH_WAYS = frozenset({"bc5cdr"})
SYNTHETIC_NOTES = 10_000
NOTES = "notes"

Span = tuple[int, int, str]
Doubt = tuple[int, str, float]


@dataclass(frozen=True)
class Marked:
    """A text in sentences, each with its place, and what layers mark in it."""

    text: str
    sentences: Sequence[tuple[int, int]]
    spans: dict[str, Sequence[Span]] = field(default_factory=dict)
    doubts: dict[str, Sequence[Doubt]] = field(default_factory=dict)
    twin: bool = False


def silver_layer(scheme: str) -> str:
    """Return the name of the layer of silver labels under this guideline."""
    return f"silver.{scheme}"


def gold_texts(source: str) -> Iterator[Marked]:
    """Yield a gold `corpus:split`; the sentences of tokenized corpora in groups, typeset as in a note or not.

    Those of BC5CDR, which matter most, come both ways.
    """
    corpus, split = source.split(":")
    documents = kept(corpus, split)
    if find(corpus).unit == "document":
        for document in documents:
            spans = [(e.start, e.end, e.label) for e in flat(document)]
            yield Marked(document.text, _sentences(document.text), {corpus: spans})
        return
    for start in range(0, len(documents), SENTENCES_PER_TEXT):
        group = documents[start : start + SENTENCES_PER_TEXT]
        odd = bool(start // SENTENCES_PER_TEXT % 2)
        yield _joined(corpus, group, restore=odd)
        if corpus in BOTH_WAYS:
            yield replace(_joined(corpus, group, restore=not odd), twin=True)


def _joined(corpus: str, group: Sequence[GoldDocument], *, restore: bool) -> Marked:
    text = ""
    spans: list[Span] = []
    places: list[tuple[int, int]] = []
    for document in group:
        sentence, entities = document.text, tuple(flat(document))
        if restore:
            sentence, entities = detokenize(sentence, entities)
        text += "\n" if text else ""
        places.append((len(text), len(text) + len(sentence)))
        spans += [(len(text) + e.start, len(text) + e.end, e.label) for e in entities]
        text += sentence
    return Marked(text, places, {corpus: spans})


def silver_texts(folder: Path, corpus: str) -> Iterator[Marked]:
    """Yield the silver texts of a corpus, with its gold labels too where they are of whole documents."""
    known = find(corpus)
    gold: dict[str, GoldDocument] = {}
    if known.task == "ner" and known.unit == "document":
        gold = {document.text: document for document in kept(corpus)}
    for line in read_silver(folder, corpus):
        spans = {silver_layer(scheme): found for scheme, found in line["spans"].items()}
        doubts = {silver_layer(scheme): found for scheme, found in line["doubts"].items()}
        if document := gold.get(line["text"]):
            spans[corpus] = [(e.start, e.end, e.label) for e in flat(document)]
        twin = corpus in SENTENCE_CORPORA  # its gold texts are there already
        yield Marked(line["text"], _sentences(line["text"]), spans, doubts, twin)


def plain_texts(seen: set[str]) -> Iterator[str]:
    """Yield the permitted texts that are not among those seen."""
    for corpus, fields in PLAIN_FIELDS.items():
        for record in read_records(corpus, "train"):
            for name in fields:
                value = record[name]
                text = (" ".join(value) if isinstance(value, list) else value).strip()
                if text and text not in seen:
                    seen.add(text)
                    yield text


def held_out_gold() -> Iterator[Marked]:
    """Yield the annotated text on which choices are made, in layers of its own."""
    for source in SOURCES.values():
        if source.corpus not in CHOSEN_ON:
            continue
        split, layer = source.splits[-1], f"{HELD_OUT}{source.corpus}"
        documents = list(read(source.corpus, split))[len(kept(source.corpus, split)) :]
        if find(source.corpus).unit == "sentence":
            for start in range(0, len(documents), SENTENCES_PER_TEXT):
                group = documents[start : start + SENTENCES_PER_TEXT]
                yield replace(_joined(layer, group, restore=False), twin=True)
            continue
        for document in documents:
            spans = [(e.start, e.end, e.label) for e in flat(document)]
            yield Marked(document.text, _sentences(document.text), {layer: spans}, twin=True)


def held_out_texts() -> Iterator[str]:
    """Yield text that nothing is trained on: what choices are made on, and development splits of other corpora."""
    yield from (marked.text for marked in held_out_gold())
    for corpus, name in (("medquad", "answer"), ("mts_dialog", "target"), ("aci_bench", "target")):
        for number, record in enumerate(read_records(corpus, "dev")):
            if number < 100:
                yield record[name]


def _sentences(text: str) -> list[tuple[int, int]]:
    return list(split_sentences(text))


class Packer:
    """Gathers texts as tokens, sentence by sentence."""

    def __init__(self, tokens: TextTokens) -> None:
        self._text = tokens
        self.labels = [label.name for label in clinical_labels()]
        self._number = {name: number for number, name in enumerate(self.labels)} | {"": GOES_ON}
        self._tokens: list[int] = []
        self._flags: list[int] = []
        self._table: dict[str, list[int]] = defaultdict(list)
        self._documents: list[int] = []
        self._twins: list[int] = []
        self._layers: dict[str, dict[str, list[Any]]] = {}
        self.layer_words: Counter[str] = Counter()

    def add(self, marked: Marked) -> None:
        """Take in a text."""
        document = len(self._documents)
        self._documents.append(len(self._table["start"]))
        if marked.twin:
            self._twins.append(document)
        for layer in marked.spans:
            known = self._layers.setdefault(layer, {"documents": [], "spans": [], "doubts": []})
            known["documents"].append(document)
            self.layer_words[layer] += len(marked.text.split())
        end = 0
        for start, stop in self._whole(marked):
            breaks = min(3, marked.text.count("\n", end, start)) if end else 0
            self._sentence(marked, start, stop, breaks)
            end = stop

    def _whole(self, marked: Marked) -> Iterator[tuple[int, int]]:
        """Yield the sentences, those that a mention runs across as one, without white space at their edges."""
        spans = [span for found in marked.spans.values() for span in found]
        starts = [
            start for start, _ in marked.sentences if not any(begin < start < end for begin, end, _ in spans)
        ]
        for start, stop in zip(starts, [*starts[1:], len(marked.text)], strict=True):
            stretch = marked.text[start:stop]
            if words := stretch.strip():
                start += len(stretch) - len(stretch.lstrip())
                yield start, start + len(words)

    def _sentence(self, marked: Marked, start: int, stop: int, breaks: int) -> None:
        pieces = split_pieces(marked.text[start:stop])
        number = len(self._table["start"])
        head = list(self._text.piece(" " + pieces[0]))
        plain = list(self._text.piece(pieces[0]))
        # Where each piece begins: among the characters of the text, and among the tokens of the sentence.
        at_text, at_token, visible = [start], [0], [start]
        tokens, flags = [*head, *plain], [*_flags(pieces[0], head), *_flags(pieces[0], plain)]
        length = len(head)
        for piece in pieces[1:]:
            ids = self._text.piece(piece)
            before = at_text[-1] + len(pieces[len(at_text) - 1])
            at_text.append(before)
            visible.append(before + len(piece) - len(piece.lstrip()))
            at_token.append(length)
            tokens += ids
            flags += _flags(piece, ids)
            length += len(ids)
        at_token.append(length)
        self._table["start"].append(len(self._tokens))
        self._table["head"].append(len(head))
        self._table["plain"].append(len(plain))
        self._table["breaks"].append(breaks)
        self._table["pieces"].append(len(pieces))
        self._tokens += tokens
        self._flags += flags
        for layer, spans in marked.spans.items():
            done = 0
            for begin, end, label in sorted(spans):
                if not start <= begin < stop or label not in self._number:
                    continue
                first = bisect_right(at_text, begin) - 1
                last = bisect_right(at_text, end - 1)
                if first >= done:
                    done = last
                    row = (number, at_token[first], at_token[last], self._number[label])
                    self._layers[layer]["spans"].append(row)
        place_of = {place: token for place, token in zip(visible, at_token, strict=False)}
        for layer, doubts in marked.doubts.items():
            for place, label, probability in doubts:
                if place in place_of and label in self._number:
                    self._layers[layer]["doubts"].append(
                        (number, place_of[place], self._number[label], round(255 * probability))
                    )

    def _sentences_of(self, documents: Sequence[int]) -> list[int]:
        ends = [*self._documents[1:], len(self._table["start"])]
        return [number for one in documents for number in range(self._documents[one], ends[one])]

    def pack(self, control: dict[str, int], label_sets: dict[str, list[str]]) -> Packed:
        """Return all of it as arrays."""
        arrays: dict[str, Any] = {
            "tokens": np.array(self._tokens, np.uint16),
            "starts": np.packbits([flag & STARTS_PIECE > 0 for flag in self._flags]),
            "visible": np.packbits([flag & VISIBLE > 0 for flag in self._flags]),
            "sentence.start": np.array(self._table["start"], np.uint32),
            "sentence.pieces": np.array(self._table["pieces"], np.uint16),
            "document.start": np.array(self._documents, np.uint32),
            "document.twins": np.array(self._twins, np.uint32),
        }
        for name in ("head", "plain", "breaks"):
            arrays[f"sentence.{name}"] = np.array(self._table[name], np.uint8)
        for name, layer in self._layers.items():
            arrays[f"{name}.documents"] = np.array(layer["documents"], np.uint32)
            sentences = self._sentences_of(layer["documents"])
            for kind, type_ in (("spans", np.uint16), ("doubts", np.uint8)):
                rows = np.array(layer[kind], np.int64).reshape(-1, 4)
                # Doubts far behind in a long sentence are let go; a byte is enough for the rest.
                rows = rows[(rows[:, 1:] <= np.iinfo(type_).max).all(1)]
                counts = np.bincount(rows[:, 0], minlength=len(self._table["start"]))[sentences]
                arrays[f"{name}.{kind}.count"] = counts.astype(np.uint16)
                arrays[f"{name}.{kind}"] = rows[:, 1:].astype(type_)
        header = {
            "labels": self.labels,
            "core": [number for number, label in enumerate(clinical_labels()) if label.core],
            "control": control,
            "after_inst": list(self._text.plain(" ")),
            "opening": [self._text.tag(open_tag(name))[0] for name in self.labels],
            "closing": [self._text.tag(close_tag(name))[0] for name in self.labels],
            "layers": {
                name: {"labels": [self.labels.index(one) for one in label_sets[name]]}
                for name in self._layers
            },
        }
        return Packed(header, arrays)


def _flags(piece: str, ids: Sequence[int]) -> list[int]:
    first = STARTS_PIECE | (0 if piece.isspace() else VISIBLE)
    return [first] + [0] * (len(ids) - 1)


def label_sets(names: Iterable[str]) -> dict[str, list[str]]:
    """Return the labels that each layer marks, sorted by name, as evaluation asks for them."""
    known = {label.name for label in clinical_labels()}
    corpus_of = {scheme: source.corpus for scheme, source in SOURCES.items()}
    sets: dict[str, list[str]] = {}
    for name in names:
        if name == NOTES:
            sets[name] = sorted(label.name for label in clinical_labels() if label.core)
            continue
        corpus = name.removeprefix(HELD_OUT)
        if corpus.startswith("silver."):
            corpus = corpus_of[corpus.removeprefix("silver.")]
        sets[name] = sorted(set(find(corpus).clinical_labels) & known)
    return sets


def all_texts(silver: Path, seed: int) -> Iterator[Marked]:
    """Yield everything that is trained on: gold, silver, made-up notes, plain text; and the gold that is held out."""
    yield from held_out_gold()
    done = [corpus for corpus in CORPORA if (silver / f"{corpus}.jsonl.gz").is_file()]
    for source in GOLD:
        corpus = source.partition(":")[0]
        if not (corpus in done and find(corpus).unit == "document"):
            yield from gold_texts(source)
    seen: set[str] = set()
    for corpus in done:
        for marked in silver_texts(silver, corpus):
            seen.add(marked.text)
            yield marked
    for passage in synthetic(SYNTHETIC_NOTES, seed, fillers()):
        yield Marked(passage.text, _sentences(passage.text), {NOTES: passage.spans}, twin=True)
    for text in plain_texts(seen):
        yield Marked(text, _sentences(text))


def run(silver: Path, out: Path, tokenizer_folder: Path | None, vocab: int, seed: int) -> Packed:
    """Write the data file and the tokenizer to `out`."""
    from clinical.models.mistral import load_tokenizer

    record = provenance()
    began = time.process_time()
    marked = list(all_texts(silver, seed))
    out.mkdir(parents=True, exist_ok=True)
    if tokenizer_folder:
        tokenizer = load_tokenizer(tokenizer_folder)
    else:
        tokenizer = train_tokenizer(
            (one.text for one in marked if not one.twin), [label.name for label in clinical_labels()], vocab
        )
    tokenizer.save_pretrained(out)
    chat = detect(tokenizer)
    tokens = TextTokens(tokenizer, chat)
    packer = Packer(tokens)
    for one in marked:
        packer.add(one)
    control = {name: tokens.control(name) for name in CONTROL_TOKENS}
    control["newline"] = tokens.piece("\n")[0]
    packed = packer.pack(control, label_sets(packer.layer_words))
    packed.add_held_out(tokens, held_out_texts())
    packed.add_task_rows(suite_rows.rows(Writer(tokenizer, chat), seed))
    packed.arrays["meanings"] = meanings(tokenizer)
    packed.save(out / "data.safetensors")
    stream = packed.text_stream()
    characters = sum(len(one.text) for one in marked if not one.twin)
    print(f"{len(stream)} tokens of text, {characters} characters; {dict(packer.layer_words)} words")
    size = (out / "data.safetensors").stat().st_size / 2**20
    print(f"{size:.1f} MiB, {time.process_time() - began:.0f} core-s", flush=True)
    record |= {
        "step": "data: gold, silver by light, made-up notes",
        "recipe": {"seed": seed},
        "corpora": _sources(silver),
        "text_tokens": len(stream),
        "text_characters": characters,
        "words_of_layers": dict(packer.layer_words),
        "rows_of_tasks": len(packed.arrays["rows.start"]),
        "sha256": hashlib.sha256((out / "data.safetensors").read_bytes()).hexdigest(),
    }
    write_history([record], out)
    return packed


def meanings(tokenizer: PreTrainedTokenizerFast) -> NDArray[np.int8]:
    """Return MiniLM's vector of each token by itself in 400ths, zeros where the token is no piece of a word."""
    from clinical.models.embedder import Embedder

    words = [str(tokenizer.decode([number])).strip() for number in range(len(tokenizer))]
    special = set(tokenizer.get_added_vocab().values())
    known = [number for number, word in enumerate(words) if word.isalpha() and number not in special]
    vectors = np.zeros((len(words), HIDDEN_SIZE), np.int8)
    found = Embedder().embed([words[number] for number in known])
    vectors[known] = np.clip(np.rint(400 * found), -127, 127)
    return vectors


def _sources(silver: Path) -> list[str]:
    """Return the corpora that are in the file."""
    silver_names = [f"{name}:train" for name in CORPORA if (silver / f"{name}.jsonl.gz").is_file()]
    return sorted({*GOLD, *silver_names, *(f"{name}:train" for name in PLAIN_FIELDS)})


def main() -> None:
    """Read the command line and prepare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--silver", type=Path, required=True, help="folder of clinical.finetune.silver")
    parser.add_argument("--out", type=Path, required=True, help="folder for the data file and the tokenizer")
    parser.add_argument(
        "--tokenizer", type=Path, help="a folder with a tokenizer to use; else one is trained"
    )
    parser.add_argument("--vocab", type=int, default=8192)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if not list(given.silver.glob("*.jsonl.gz")):
        parser.error(f"{given.silver} has no silver labels; `clinical finetune pretrain silver` makes them")
    if given.tokenizer and not (given.tokenizer / "tokenizer.json").is_file():
        parser.error(f"{given.tokenizer} has no tokenizer.json")
    run(given.silver, given.out, given.tokenizer, given.vocab, given.seed)


if __name__ == "__main__":
    main()
