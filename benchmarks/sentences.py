"""Sentence splitting against pySBD: BC5CDR's test sentences in ordinary typography, joined eight by eight.

    python benchmarks/sentences.py [--limit N]

Prints precision, recall and F1 of whole sentences (both ends right) and words per second, for the text on one line
and wrapped at 72 columns, as notes often are.
"""

from __future__ import annotations

import argparse
import textwrap
import time
from collections.abc import Callable, Iterator

from clinical.corpora.records import read
from clinical.corpora.typography import as_in_a_note
from clinical.documents.sentences import split_sentences

SENTENCES_PER_TEXT = 8
COLUMNS = 72

Spans = list[tuple[int, int]]


def main() -> None:
    """Measure both, and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--limit", type=int, help="only the first N texts, to try it out")
    texts = list(joined_texts())[: parser.parse_args().limit]
    for shape, shaped in (("on one line", texts), (f"at {COLUMNS} columns", list(wrapped(texts)))):
        for name, split in (("clinical", split_sentences), ("pySBD", with_pysbd())):
            print(f"{shape:<14} {name:<9} {measure(split, shaped)}")


def joined_texts() -> Iterator[tuple[str, Spans]]:
    """Yield texts with the spans of their sentences."""
    sentences = [as_in_a_note(document).text.strip() for document in read("bc5cdr", "test")]
    for first in range(0, len(sentences) - SENTENCES_PER_TEXT, SENTENCES_PER_TEXT):
        spans: Spans = []
        text = ""
        for sentence in sentences[first : first + SENTENCES_PER_TEXT]:
            text += " " if text else ""
            spans.append((len(text), len(text) + len(sentence)))
            text += sentence
        yield text, spans


def wrapped(texts: list[tuple[str, Spans]]) -> Iterator[tuple[str, Spans]]:
    """Yield the texts that can be wrapped without moving an offset, wrapped."""
    for text, spans in texts:
        folded = "\n".join(textwrap.wrap(text, COLUMNS, break_long_words=False, break_on_hyphens=False))
        if len(folded) == len(text):
            yield folded, spans


def with_pysbd() -> Callable[[str], Spans]:
    """Return pySBD's English segmenter, its sentences without the blanks around them."""
    import pysbd

    segmenter = pysbd.Segmenter(language="en", clean=False, char_span=True)

    def split(text: str) -> Spans:
        found = [
            (span.start + len(span.sent) - len(span.sent.lstrip()), span.sent)
            for span in segmenter.segment(text)
        ]
        return [(start, start + len(sentence.strip())) for start, sentence in found]

    return split


def measure(split: Callable[[str], Spans], texts: list[tuple[str, Spans]]) -> str:
    """Return the scores and the speed of one splitter as a line."""
    hits = found = gold = 0
    started = time.process_time()
    for text, spans in texts:
        guess = split(text)
        hits, found, gold = hits + len(set(guess) & set(spans)), found + len(guess), gold + len(spans)
    speed = sum(len(text.split()) for text, _ in texts) / (time.process_time() - started)
    return f"P {hits / found:.2%}  R {hits / gold:.2%}  F1 {2 * hits / (found + gold):.2%}  {speed:,.0f} words/CPU s"


if __name__ == "__main__":
    main()
