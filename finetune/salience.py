"""Train the heads of the light summarizer: which sentences of a dialogue matter, where they belong, what is asked.

    clinical finetune salience --out out/light-summarize

Three ridge regressions on the features of `clinical.tasks.salience`. `dialogue`: how many of a unit's words the human
note has (MTS-Dialog and ACI-Bench, training splits). `soap`: in which part of the human note its words stand.
`question`: ROUGE of a sentence, or of its end, against the human question (MeQSum, training split). Three minutes of
one core, most of it reading entities. What is chosen is chosen on the development splits; a card is written beside
the weights.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rouge_score.rouge_scorer import RougeScorer

from clinical.corpora.records import read_records
from clinical.documents.note import Note
from clinical.documents.sections import find_sections, section_at
from clinical.documents.sentences import split_sentences
from clinical.facts.mentions import whole_mentions
from clinical.facts.terms import SMALL_WORDS
from clinical.facts.units import find_units
from clinical.finetune.provenance import provenance
from clinical.models.embedder import Embedder
from clinical.models.salience_heads import LinearHead
from clinical.tasks.ner import Recognizer, extract, load_recognizer
from clinical.tasks.salience import Material, features, question_candidates
from clinical.tasks.soap import HEADINGS, Part, part_of_section

Floats = NDArray[np.float32]

RIDGE = 2000.0
"""How much weights cost; of 300, 2000 and 8000 the best on the development splits, by little."""

CONTENT_SHARE = 0.4
"""How much the words that say something count beside all words. 0 and 0.4 were tried on the development splits."""

BATCH = 8

LEAST_SHARED = 0.4
"""A unit has a part of the note when so many of its words stand there."""

_MTS_PARTS: dict[str, Part] = {
    **dict.fromkeys(("EXAM", "IMAGING", "LABS", "PROCEDURES"), "objective"),
    **dict.fromkeys(("ASSESSMENT", "DIAGNOSIS"), "assessment"),
    **dict.fromkeys(("PLAN", "DISPOSITION", "EDCOURSE"), "plan"),
}


@dataclass
class Rows:
    """What a regression is given: features, targets, and the weight of each row (all texts count alike)."""

    features: list[Floats]
    targets: list[Floats]

    def fit(self) -> LinearHead:
        """Return the head with the least squared error, its weights held small."""
        x = np.concatenate(self.features).astype(np.float64)
        y = np.concatenate(self.targets).astype(np.float64)
        weight = np.concatenate([np.full(len(rows), len(rows) ** -0.5) for rows in self.features])
        weight /= weight.mean()
        mean, deviation = x.mean(0), x.std(0) + 1e-6
        z = (x - mean) / deviation
        bias = np.average(y, axis=0, weights=weight)
        gram = (z * weight[:, None]).T @ z + RIDGE * np.eye(z.shape[1])
        weights = np.linalg.solve(gram, (z * weight[:, None]).T @ (y - bias))
        return LinearHead(*(np.asarray(part, np.float32) for part in (mean, deviation, weights, bias)))


def main() -> None:
    """Train the heads and write them with their card."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="the folder to write")
    parser.add_argument("--limit", type=int, help="only so many texts of each corpus, to try it out")
    arguments = parser.parse_args()
    recognizer, embedder = load_recognizer("light"), Embedder()
    dialogue, soap, question = Rows([], []), Rows([], []), Rows([], [])
    for corpus in ("mts_dialog", "aci_bench"):
        for record, material in _materials(corpus, "train", recognizer, embedder, arguments.limit):
            _add_dialogue(record, material, dialogue, soap)
    for record, material in _materials("meqsum", "train", recognizer, embedder, arguments.limit):
        _add_question(record, material, embedder, question)
    heads = {"dialogue": dialogue.fit(), "soap": soap.fit(), "question": question.fit()}
    _write(
        arguments.out,
        heads,
        {
            name: sum(map(len, rows.features))
            for name, rows in zip(heads, (dialogue, soap, question), strict=True)
        },
    )


def _materials(
    corpus: str, split: str, recognizer: Recognizer, embedder: Embedder, limit: int | None
) -> Iterator[tuple[dict[str, str], Material]]:
    """Yield the records of a corpus with their source cut into units."""
    records = list(read_records(corpus, split))[:limit]
    for first in range(0, len(records), BATCH):
        batch = records[first : first + BATCH]
        notes = [Note(str(record["id"]), record["source"]) for record in batch]
        for record, note, found in zip(batch, notes, extract(notes, recognizer), strict=True):
            entities = whole_mentions(note.text, found.entities, find_units(note.text))
            material = Material.of(note, entities, embedder)
            if material.units:
                yield record, material


def _add_dialogue(record: dict[str, str], material: Material, dialogue: Rows, soap: Rows) -> None:
    x = features(material)
    wanted = set(_words(record["target"]))
    dialogue.features.append(x)
    dialogue.targets.append(np.array([_share(unit.text, wanted) for unit in material.units], np.float32))
    parts = _parts(record)
    rows, targets = [], []
    for place, unit in enumerate(material.units):
        shared = {part: _share(unit.text, words) for part, words in parts.items()}
        best = max(shared, key=lambda part: shared[part])
        if shared[best] >= LEAST_SHARED:
            rows.append(x[place])
            targets.append([float(part == best) for part in HEADINGS])
    if rows:
        soap.features.append(np.array(rows))
        soap.targets.append(np.array(targets, np.float32))


def _parts(record: dict[str, str]) -> dict[Part, set[str]]:
    """The words of each part of a human note; a section of MTS-Dialog is one part by its header."""
    if "section" in record:
        return {_MTS_PARTS.get(record["section"], "subjective"): set(_words(record["target"]))}
    text = record["target"]
    sections = find_sections(text)
    parts: dict[Part, set[str]] = {}
    for start, end in split_sentences(text):
        part = part_of_section(section_at(sections, start), text[start:end])
        parts.setdefault(part, set()).update(_words(text[start:end]))
    return parts


def _share(text: str, wanted: set[str]) -> float:
    """How many of the words of a unit are wanted, those that say something counted once more by their share."""
    said = _words(text)
    telling = [word for word in said if word not in SMALL_WORDS]
    share = sum(word in wanted for word in said) / max(len(said), 1)
    # One more in the divisor: a lone word that fits is no proof.
    return (1 - CONTENT_SHARE) * share + CONTENT_SHARE * sum(word in wanted for word in telling) / (
        len(telling) + 1
    )


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def _add_question(record: dict[str, str], material: Material, embedder: Embedder, question: Rows) -> None:
    scorer = RougeScorer(["rouge1", "rougeL"])
    cut, x = question_candidates(material, embedder)
    question.features.append(x)
    question.targets.append(
        np.array([_rouge(scorer, record["target"], unit.text) for unit in cut.units], np.float32)
    )


def _rouge(scorer: RougeScorer, target: str, text: str) -> float:
    scores = scorer.score(target, text)
    return float(0.6 * scores["rouge1"].fmeasure + 0.4 * scores["rougeL"].fmeasure)


CARD = """# light-summarize

Linear heads of the light summarizer: `dialogue` (which units of a dialogue a note takes up), `soap` (in which part of
the note they belong) and `question` (which sentence of a message asks). Inputs are all-MiniLM-L6-v2 vectors, place,
speaker and entities (`clinical.tasks.salience`).

- Data: training splits of MTS-Dialog, ACI-Bench and MeQSum (all CC BY 4.0): {rows}.
- Made by: `{command}`, commit {commit}, {date}; no randomness is involved.
- Scores: `clinical evaluate summarize --gold mts_dialog:test --gold aci_bench:test --gold chq:test`, see README.md of
  the project.
- Limits: English; dialogues between a clinician and a patient, and short messages. It chooses words of the text and
  writes none. Its choice is no clinical judgement.
"""


def _write(folder: Path, heads: dict[str, LinearHead], rows: dict[str, int]) -> None:
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tensors = {key: value for name, head in heads.items() for key, value in head.tensors(name).items()}
    save_file(tensors, folder / "heads.safetensors")
    origin = provenance()
    counts = ", ".join(f"{count:,} units for `{name}`" for name, count in rows.items())
    (folder / "README.md").write_text(CARD.format(rows=counts, **origin), encoding="utf-8")
    (folder / "salience.json").write_text(
        json.dumps({**origin, "rows": rows}, indent=1) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
