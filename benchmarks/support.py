"""How many false sentences the support check finds, and how many true ones it doubts.

    python benchmarks/support.py                 # notes of examples/
    python benchmarks/support.py mts_dialog:dev aci_bench:dev mtsamples:dev

True sentences are those of the human summaries of a corpus, or, of notes, their own sentences without the small words,
so that they are no quotes. Each is spoiled in one way: another number, another unit, left for right, denied for
affirmed, another drug, he for she. A spoiled sentence is found when it is marked unsupported, doubted when at least
weak. Human summaries of dialogues hold inferences of their writers, so not every doubt about them is a false alarm.
"""

from __future__ import annotations

import random
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from clinical.corpora.summaries import read_summary_set
from clinical.documents.annotations import Entity
from clinical.documents.note import Note
from clinical.documents.reading import read
from clinical.documents.sections import find_sections
from clinical.documents.summaries import Draft, SummarySentence
from clinical.facts.assertion import assess
from clinical.facts.mentions import whole_mentions
from clinical.facts.quantities import find_quantities
from clinical.facts.terms import SMALL_WORDS
from clinical.facts.units import find_units
from clinical.prompts.labels import core_labels
from clinical.tasks.ner import Recognizer, extract, load_recognizer
from clinical.tasks.support import Support

OTHER_DRUGS = ("methotrexate", "lamotrigine", "digoxin", "colchicine", "tacrolimus")
EXAMPLES = Path(__file__).parents[1] / "examples"
LIMIT = 60


@dataclass(frozen=True)
class Case:
    """A note and a true sentence about it, with the entities of the sentence."""

    note: Note
    sentence: str
    entities: Sequence[Entity]


def number(case: Case, draw: random.Random) -> str | None:
    """Another number that the note does not have."""
    found = [q for q in find_quantities(case.sentence) if q.value.isdigit() and int(q.value) > 1]
    if not found:
        return None
    chosen = draw.choice(found)
    known = {quantity.value for quantity in find_quantities(case.note.text)}
    value = next(v for v in range(int(chosen.value) + 3, 10**6, 7) if str(v) not in known)
    return _replaced(
        case.sentence, chosen.start, chosen.end, re.sub(r"^\S+?(?=\W|$)", str(value), chosen.text, count=1)
    )


def unit(case: Case, draw: random.Random) -> str | None:
    """Micrograms for milligrams, and the other way round."""
    found = re.search(r"(\d\s*)(mg|mcg|milligrams?)\b", case.sentence)
    if found is None:
        return None
    return _replaced(case.sentence, *found.span(2), "mg" if found[2] == "mcg" else "mcg")


def side(case: Case, draw: random.Random) -> str | None:
    """Left for right."""
    found = re.search(r"\b(left|right)\b", case.sentence, re.IGNORECASE)
    if found is None:
        return None
    return _replaced(case.sentence, *found.span(), "right" if found[0].lower() == "left" else "left")


def negation(case: Case, draw: random.Random) -> str | None:
    """A present problem is denied, a denied one affirmed."""
    problems = [e for e in case.entities if e.label in ("Disease", "Symptom") and e.assertion]
    present = [e for e in problems if e.assertion and e.assertion.status == "present"]
    if present:
        chosen = draw.choice(present)
        return _replaced(case.sentence, chosen.start, chosen.start, "no ")
    denied = [
        e.assertion.cue
        for e in problems
        if e.assertion and e.assertion.status == "negated" and e.assertion.cue
    ]
    simple = [
        cue
        for cue in denied
        if cue.text.lower() in ("no", "denies", "denied", "without", "not", "negative for")
    ]
    if not simple:
        return None
    cue = draw.choice(simple)
    return _replaced(case.sentence, cue.start, cue.end, "reports" if cue.text.lower() != "not" else "")


def drug(case: Case, draw: random.Random) -> str | None:
    """A drug that the note does not name."""
    drugs = [e for e in case.entities if e.label == "Medication"]
    others = [name for name in OTHER_DRUGS if name not in case.note.text.lower()]
    if not drugs or not others:
        return None
    chosen = draw.choice(drugs)
    return _replaced(case.sentence, chosen.start, chosen.end, draw.choice(others))


def sex(case: Case, draw: random.Random) -> str | None:
    """He for she."""
    found = re.search(r"\b(he|she|his|her)\b", case.sentence, re.IGNORECASE)
    if found is None:
        return None
    other = {"he": "she", "she": "he", "his": "her", "her": "his"}[found[0].lower()]
    return _replaced(case.sentence, *found.span(), other.capitalize() if found[0][0].isupper() else other)


SPOILED: dict[str, Callable[[Case, random.Random], str | None]] = {
    "number": number, "unit": unit, "side": side, "negation": negation, "drug": drug, "sex": sex,
}  # fmt: skip


def main(sources: Sequence[str]) -> None:
    """Print a table for each source."""
    recognizer = load_recognizer("light", scheme="clinical")
    for source in sources or (str(EXAMPLES),):
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        draw = random.Random(20)
        for note, sentences in _texts(source):
            _measure(note, sentences, recognizer, draw, counts)
        print(f"\n{source}\n{'':<12}{'sentences':>10}{'unsupported':>13}{'or weak':>10}")
        for kind, found in counts.items():
            total = found.total()
            doubted = found["unsupported"] + found["weak"]
            print(f"{kind:<12}{total:>10}{found['unsupported'] / total:>12.1%}{doubted / total:>11.1%}")


def _texts(source: str) -> Iterator[tuple[Note, list[str]]]:
    """Yield notes with true sentences about them."""
    if Path(source).exists():
        for note in read([source]):
            if isinstance(note, Note):
                yield note, [telegram(unit.text) for unit in find_units(note.text)]
        return
    gold = read_summary_set(source, limit=LIMIT)
    for pair in gold.pairs:
        note = Note(pair.id, pair.source)
        if gold.style == "brief":
            yield note, [telegram(unit.text) for unit in find_units(note.text)]
        else:
            yield note, [unit.text for unit in find_units(pair.target)]


def telegram(text: str) -> str:
    """Return a sentence without its small words, but for those that deny or tell the sex."""
    dropped = SMALL_WORDS - {"no", "not", "denies", "denied", "he", "she", "his", "her"}
    return " ".join(word for word in text.split() if word.lower().strip(".,;") not in dropped)


def _measure(
    note: Note,
    sentences: Sequence[str],
    recognizer: Recognizer,
    draw: random.Random,
    counts: dict[str, Counter[str]],
) -> None:
    (found,) = extract([note], recognizer)
    support = Support(note, whole_mentions(note.text, found.entities))
    sentences = [sentence for sentence in sentences if len(sentence.split()) > 2]
    if not sentences:
        return
    entities = recognizer.recognize(sentences, core_labels())
    cases = [
        Case(note, text, assess(text, marked, find_sections(text)))
        for text, marked in zip(sentences, entities, strict=True)
    ]
    for checked in _check(support, sentences, recognizer):
        counts["true"][checked.support] += 1
    for kind, spoil in SPOILED.items():
        spoiled = [
            text for case in cases if (text := spoil(case, draw)) is not None and text != case.sentence
        ]
        for checked in _check(support, spoiled, recognizer):
            counts[kind][checked.support] += 1


def _check(support: Support, sentences: Sequence[str], recognizer: Recognizer) -> list[SummarySentence]:
    return support.check([Draft(sentence) for sentence in sentences], recognizer)


def _replaced(text: str, start: int, end: int, new: str) -> str:
    return text[:start] + new + text[end:]


if __name__ == "__main__":
    main(sys.argv[1:])
