"""Silver labels: what the `light` tagger finds in text that nobody annotated, with its doubts, to learn from.

    python -m clinical.finetune.silver --out build/silver
    python -m clinical.finetune.silver --out build/silver --words medquad=800000

A small language model sees little text; a tagger that stands on a big one can mark as much as there is. Every
line of the files is a text with the mentions of each annotation guideline, and with the probabilities of those
decisions that the tagger was not sure of: they teach more than its verdicts (Hinton et al. 2015). A corpus that
is done is not done again. About 2,500 words a second on one core.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinical.corpora.catalog import find
from clinical.corpora.records import GoldDocument, read, read_records
from clinical.corpora.typography import detokenize
from clinical.documents.sentences import split_sentences
from clinical.finetune.light_data import SOURCES
from clinical.models.light_tagger import LightTagger, _label_names, _repeated_words, _sentence_starts
from clinical.models.tag_decoding import best_path, spans
from clinical.models.word_pieces import split

SCHEMES = ("bc5cdr", "ncbi_disease", "clinical", "bc2gm", "linnaeus")
SENTENCE_CORPORA = ("anatem", "bc2gm", "linnaeus", "craft")
DOCUMENT_CORPORA = ("ncbi_disease", "maccrobat")
TEXT_FIELDS = {"pubmedqa": "contexts", "mts_dialog": "target", "aci_bench": "target", "medquad": "answer"}
CORPORA = (*DOCUMENT_CORPORA, *SENTENCE_CORPORA, *TEXT_FIELDS)
CHOSEN_ON = ("bc5cdr", "ncbi_disease", "maccrobat")
"""The corpora of which a part is kept back."""

SENTENCES_PER_TEXT = 8
LONGEST = 6000
"""A longer text is cut at the end of a sentence; in characters."""

SURE = 0.98
"""A decision that is surer than this is written down as certain."""


def kept(corpus: str, split: str = "train") -> list[GoldDocument]:
    """Return what may be trained on of an annotated split: all but the part on which choices are made."""
    documents = list(read(corpus, split))
    source = next((one for one in SOURCES.values() if one.corpus == corpus), None)
    if source is None or corpus not in CHOSEN_ON or split != source.splits[-1]:
        return documents
    return documents[: round(len(documents) * (1 - source.held_out))]


def texts(corpus: str, seed: int = 0) -> Iterator[str]:
    """Yield the texts of a corpus: notes and abstracts, or sentences in groups, half of them typeset as in notes."""
    choose = random.Random(f"{corpus} {seed}")
    if corpus in TEXT_FIELDS:
        yield from _passages(corpus, choose)
        return
    documents = [document.text for document in kept(corpus)]
    if find(corpus).unit == "document":
        yield from documents
        return
    for start in range(0, len(documents), SENTENCES_PER_TEXT):
        group = documents[start : start + SENTENCES_PER_TEXT]
        if choose.random() < 0.5:
            group = [detokenize(sentence, [], seed=seed)[0] for sentence in group]
        yield choose.choice((" ", "\n")).join(group)


def _passages(corpus: str, choose: random.Random) -> Iterator[str]:
    seen: set[str] = set()
    values = [record[TEXT_FIELDS[corpus]] for record in read_records(corpus, "train")]
    choose.shuffle(values)
    for value in values:
        text = (" ".join(value) if isinstance(value, list) else value).strip()
        if text and text not in seen:
            seen.add(text)
            yield from _shorter(text)


def _shorter(text: str) -> Iterator[str]:
    begin = 0
    for start, end in split_sentences(text):
        if end - begin > LONGEST and start > begin:
            yield text[begin:start].strip()
            begin = start
    yield text[begin:].strip()


class Teacher(LightTagger):
    """The light tagger, asked for the verdicts and the doubts of several guidelines at once."""

    def label(self, text: str, schemes: Sequence[str]) -> dict[str, Any]:
        """Return `spans` and `doubts` of each scheme; see `doubts`."""
        words = split(text)
        hidden = self._hidden(words)
        repeats, sentences = _repeated_words(text, words), _sentence_starts(text, words)
        found: dict[str, Any] = {"text": text, "spans": {}, "doubts": {}}
        for scheme in schemes:
            names = _label_names(self.schemes[scheme])
            scores = self._scores(hidden, scheme, set(names), repeats, sentences)
            path = best_path(scores)
            found["spans"][scheme] = [
                [int(words.spans[first, 0]), int(words.spans[last - 1, 1]), names[label]]
                for first, last, label in spans(path)
            ]
            found["doubts"][scheme] = list(doubts(scores, path, names, words.spans[:, 0]))
        return found


def doubts(
    scores: NDArray[np.float32], path: NDArray[np.int64], names: Sequence[str], starts: NDArray[np.int64]
) -> Iterator[tuple[int, str, float]]:
    """Yield `(place, label, probability)` of what was not sure: that a mention of the label begins here.

    With an empty label it is the probability that the open mention goes on at this place. Where a mention ends and
    another may begin, the latter's probability is that after the end.
    """
    probabilities = np.exp(scores - scores.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    for word in np.flatnonzero(probabilities.max(axis=1) < SURE):
        row = probabilities[word]
        place = int(starts[word])
        left = 1.0
        if word and path[word - 1]:
            inside = path[word - 1] + path[word - 1] % 2
            goes_on = float(row[inside])
            yield place, "", round(goes_on, 3)
            if path[word] == inside:
                continue
            left = max(1.0 - goes_on, 1e-3)
        for label, value in enumerate(row[1::2] / left):
            if value > 1 - SURE:
                yield place, names[label], round(min(float(value), 1.0), 3)


def write(corpus: str, teacher: Teacher, out: Path, most_words: int | None) -> None:
    """Write the silver labels of one corpus to `out/CORPUS.jsonl.gz`."""
    path = out / f"{corpus}.jsonl.gz"
    if path.exists():
        return
    # A corpus keeps its own gold labels; the other guidelines are added.
    own = next((name for name, source in SOURCES.items() if source.corpus == corpus), None)
    schemes = [scheme for scheme in SCHEMES if scheme != own]
    began, words = time.process_time(), 0
    partial = path.with_suffix(".partial")
    with gzip.open(partial, "wt", encoding="utf-8", compresslevel=5) as lines:
        for text in texts(corpus):
            if most_words and words >= most_words:
                break
            words += len(text.split())
            lines.write(json.dumps(teacher.label(text, schemes), ensure_ascii=False) + "\n")
    partial.rename(path)
    print(f"{corpus}: {words} words, {time.process_time() - began:.0f} core-s", flush=True)


def read_silver(folder: Path, corpus: str) -> Iterator[dict[str, Any]]:
    """Yield the labelled texts of one corpus."""
    with gzip.open(folder / f"{corpus}.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def main() -> None:
    """Read the command line and label."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the labelled texts")
    parser.add_argument("--corpora", default=",".join(CORPORA))
    parser.add_argument("--words", default="", help="corpus=most words,… where not all of it is wanted")
    given = parser.parse_args()
    corpora = given.corpora.split(",")
    most = dict(one.partition("=")[::2] for one in given.words.split(",") if one)
    if unknown := [name for name in [*corpora, *most] if name not in CORPORA]:
        parser.error(f"no silver labels for {', '.join(unknown)}; available: {', '.join(CORPORA)}")
    if wrong := [name for name, words in most.items() if not words.isdigit()]:
        parser.error(f"--words {wrong[0]}=… wants a number of words")
    given.out.mkdir(parents=True, exist_ok=True)
    teacher = Teacher.load()
    assert isinstance(teacher, Teacher)
    for corpus in corpora:
        write(corpus, teacher, given.out, int(most[corpus]) if corpus in most else None)


if __name__ == "__main__":
    main()
