"""How well the assertion of given mentions is read from the words around them, and how fast.

    python benchmarks/assertion.py             # the splits that rules are chosen on
    python benchmarks/assertion.py --test      # the splits that nothing was chosen on

- NegEx's own sentences: one finding each, affirmed or negated. Published for NegEx itself on the whole set, its
  developers' figures: precision 93.3, recall 95.9, F1 94.6.
- MACCROBAT, `POLARITY` of case reports: NEG is negated; UNCERTAIN and MAYBE_* are possible. Some of what is
  planned or feared is uncertain there and hypothetical here: the last rows count the two statuses as one.
- E3C, events inside clinical entities: `polarity` NEG is negated, `contextualModality` HEDGED is possible.

The rules were written with NegEx train and dev, MACCROBAT train and E3C train in sight. MACCROBAT dev was read
over once, and a few rules came of it. Intervals are bootstrapped over reports and documents. Words per second
count splitting into sections and sentences. The last line is the same as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from clinical.corpora.records import Mention, read, read_records
from clinical.documents.annotations import Entity
from clinical.documents.sections import find_sections
from clinical.documents.sentences import split_sentences
from clinical.facts.assertion import assess
from clinical.scoring.bootstrap import f1_interval
from clinical.scoring.spans import Counts, Score

FINDINGS = frozenset({"Disease", "Symptom"})
CARE = frozenset({"Medication", "Procedure", "Test", "Event", "Activity"})


@dataclass(frozen=True)
class Annotated:
    """A text with its mentions and the status that the annotators gave to each."""

    unit: str
    text: str
    entities: tuple[Entity, ...]
    statuses: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """The score of one status on one split."""

    corpus: str
    split: str
    mentions: str
    status: str
    gold: int
    predicted: int
    precision: float
    recall: float
    f1: float
    f1_low: float
    f1_high: float


def negex(split: str) -> Iterator[Annotated]:
    """Yield the sentences of the NegEx set; the unit is the report that they come from."""
    for record in read_records("negex", split):
        (found,) = record["entities"]
        entity = Entity(found["start"], found["end"], found["text"], "Symptom")
        status = "negated" if found["label"] == "Negated" else "present"
        yield Annotated(record["report"], record["text"], (entity,), (status,))


def maccrobat(split: str) -> Iterator[Annotated]:
    """Yield the case reports of MACCROBAT with the status that `POLARITY` gives."""

    def status(mention: Mention) -> str:
        polarity = mention.attributes.get("POLARITY", "POS")
        return {"POS": "present", "NEG": "negated"}.get(polarity, "possible")

    for document in read("maccrobat", split):
        mentions = [mention for mention in document.mentions if mention.label in FINDINGS | CARE]
        entities = tuple(Entity(m.start, m.end, m.text, str(m.label)) for m in mentions)
        yield Annotated(document.id, document.text, entities, tuple(map(status, mentions)))


def e3c(split: str) -> Iterator[Annotated]:
    """Yield the clinical cases of E3C with the events that lie inside a clinical entity."""

    def status(event: Mention) -> str:
        if event.attributes.get("polarity") == "NEG":
            return "negated"
        return "possible" if event.attributes.get("contextualModality") == "HEDGED" else "present"

    for document in read("e3c", split):
        clinical = [m for m in document.mentions if m.raw_label == "CLINENTITY"]
        events = [
            event
            for event in document.mentions
            if event.raw_label == "EVENT"
            and any(m.start <= event.start and event.end <= m.end for m in clinical)
        ]
        entities = tuple(Entity(event.start, event.end, event.text, "Symptom") for event in events)
        yield Annotated(document.id, document.text, entities, tuple(map(status, events)))


READERS: dict[str, Callable[[str], Iterator[Annotated]]] = {
    "negex": negex,
    "maccrobat": maccrobat,
    "e3c": e3c,
}
CHOSEN_ON = (("negex", "train"), ("negex", "dev"), ("maccrobat", "train"), ("e3c", "train"))
HELD_OUT = (("negex", "test"), ("maccrobat", "dev"), ("e3c", "dev"))


# The status in the gold standard, and the predicted ones that stand for it.
COUNTED = (("negated", ("negated",)), ("possible", ("possible",)), ("possible", ("possible", "hypothetical")))


def rows(corpus: str, split: str) -> Iterator[Row]:
    """Yield the scores of one split, of findings and of what is done about them."""
    texts = list(READERS[corpus](split))
    assessed = [predict(text) for text in texts]
    for name, labels in (("findings", FINDINGS), ("care", CARE)):
        for status, accepted in COUNTED:
            units: dict[str, Counts] = defaultdict(Counts)
            for text, predicted in zip(texts, assessed, strict=True):
                units[text.unit] += counts(text, predicted, labels, status, accepted)
            if any(unit.gold for unit in units.values()):
                yield row(corpus, split, name, " or ".join(accepted), list(units.values()))


def row(corpus: str, split: str, mentions: str, status: str, units: Sequence[Counts]) -> Row:
    """Return the score over all units, and the interval of F1 when units are drawn anew."""
    total = sum(units, Counts())
    interval = f1_interval([Score(strict=unit) for unit in units])
    shares = (total.precision, total.recall, total.f1, interval.low, interval.high)
    return Row(corpus, split, mentions, status, total.gold, total.predicted, *(round(x, 4) for x in shares))


def predict(text: Annotated) -> list[str]:
    """Return the status of each mention of a text."""
    sentences = split_sentences(text.text)
    assessed = assess(text.text, text.entities, find_sections(text.text), sentences)
    return [entity.assertion.status for entity in assessed if entity.assertion is not None]


def counts(
    text: Annotated, predicted: Sequence[str], labels: frozenset[str], status: str, accepted: Sequence[str]
) -> Counts:
    """Return the counts of one status of the gold standard against the predicted ones that stand for it."""
    total = Counts()
    for entity, gold, found in zip(text.entities, text.statuses, predicted, strict=True):
        if entity.label in labels:
            is_gold, is_found = gold == status, found in accepted
            total += Counts(correct=int(is_gold and is_found), gold=int(is_gold), predicted=int(is_found))
    return total


def words_per_second() -> int:
    """Return the speed on MACCROBAT's case reports in one thread, the best of three runs."""
    texts = list(maccrobat("train"))
    predict(texts[0])
    words = sum(len(text.text.split()) for text in texts)
    seconds = []
    for _ in range(3):
        start = time.process_time()
        for text in texts:
            predict(text)
        seconds.append(time.process_time() - start)
    return round(words / min(seconds))


def markdown(table: Sequence[Row]) -> str:
    """Return the table, figures in percent with the 95% interval of F1."""
    lines = [
        "| corpus | split | mentions | status | gold | P | R | F1 |",
        "|---|---|---|---|---:|---:|---:|---:|",
    ]
    for row in table:
        figures = f"{100 * row.precision:.1f} | {100 * row.recall:.1f} | {100 * row.f1:.1f}"
        interval = f"({100 * row.f1_low:.1f}-{100 * row.f1_high:.1f})"
        cells = f"{row.corpus} | {row.split} | {row.mentions} | {row.status} | {row.gold}"
        lines.append(f"| {cells} | {figures} {interval} |")
    return "\n".join(lines)


def commit() -> str:
    """Return the short hash of the checkout, with a plus sign when files were changed since."""
    root = Path(__file__).resolve().parent
    asked = ["git", "-C", str(root), "describe", "--always", "--dirty=+", "--exclude=*"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def main() -> None:
    """Measure, and print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--test", action="store_true", help="the held-out splits")
    splits = HELD_OUT if parser.parse_args().test else CHOSEN_ON
    table = [row for corpus, split in splits for row in rows(corpus, split)]
    speed = words_per_second()
    where: dict[str, Any] = {"machine": f"{platform.machine()}, {os.cpu_count()} cores", "commit": commit()}
    print(markdown(table))
    print(f"\n{speed:,} words per CPU second on {where['machine']}, at commit {where['commit']}.")
    print(json.dumps({**where, "words_per_cpu_second": speed, "rows": [asdict(row) for row in table]}))


if __name__ == "__main__":
    main()
