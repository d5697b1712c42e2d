"""Train the heads of the light summarizer: which sentences of a dialogue matter, where they belong, what is asked.

    clinical finetune salience --out out/light-summarize

Ridge regressions on the features of `clinical.tasks.salience`. `dialogue`: how many of a unit's words the human note
has (MTS-Dialog and ACI-Bench, training splits). `soap`: in which part of the human note its words stand. On those of
`clinical.tasks.questions` (MeQSum, training split): `question_words`, a logistic regression, whether the human question
has a word of the message; `question`: the F1 of words that a candidate shares with the human question, compared within
each message. What `question` sees of the words comes from heads that did not see the message (five folds). Some five
minutes of one core. What is chosen is chosen on the development splits; a card is written beside the weights.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinical.corpora.records import read_records
from clinical.documents.note import Note
from clinical.documents.sections import find_sections, section_at
from clinical.documents.sentences import split_sentences
from clinical.facts.mentions import whole_mentions
from clinical.facts.terms import SMALL_WORDS
from clinical.finetune.provenance import provenance
from clinical.models.embedder import Embedder
from clinical.models.salience_heads import HEADS, WORDS, LinearHead, folder, head, known_words
from clinical.tasks.ner import Recognizer, extract, load_recognizer
from clinical.tasks.questions import question_candidates, scored_words, word_features, words_of
from clinical.tasks.salience import Material, features
from clinical.tasks.soap import HEADINGS, Part, part_of_section

Floats = NDArray[np.float32]

RIDGE = 2000.0
"""How much weights cost; of 300, 2000 and 8000 the best on the development splits, by little."""

CONTENT_SHARE = 0.4
"""How much the words that say something count beside all words. 0 and 0.4 were tried on the development splits."""

RANKING_RIDGE = 1000.0
"""The same for `question`; of 30 to 20,000 the best on the development splits, by little."""

WORD_COST = 0.1
"""The inverse, for `question_words`."""

FOLDS = 5

LEAST_MESSAGES = 12
"""A word that fewer messages have says nothing of other messages."""

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

    def __len__(self) -> int:
        return sum(map(len, self.features))

    def fit(self) -> LinearHead:
        """Return the head with the least squared error, its weights held small."""
        x, y = np.concatenate(self.features).astype(np.float64), np.concatenate(self.targets)
        weight = self._weights()
        mean, deviation = x.mean(0), x.std(0) + 1e-6
        bias = np.average(y, axis=0, weights=weight)
        weights = _ridge((x - mean) / deviation, y - bias, weight, RIDGE)
        return LinearHead(*(np.asarray(part, np.float32) for part in (mean, deviation, weights, bias)))

    def fit_ranking(self) -> LinearHead:
        """Return the head that best tells the rows of one text apart; what all of them share does not count."""
        x = np.concatenate(self.features).astype(np.float64)
        mean, deviation = x.mean(0), x.std(0) + 1e-6
        inside = np.concatenate([rows - rows.mean(0, dtype=np.float64) for rows in self.features])
        y = np.concatenate([targets - targets.mean() for targets in self.targets])
        weights = _ridge(inside / deviation, y, self._weights(), RANKING_RIDGE)
        return LinearHead(
            *(np.asarray(part, np.float32) for part in (mean, deviation, weights, np.zeros(())))
        )

    def _weights(self) -> NDArray[np.float64]:
        weight = np.concatenate([np.full(len(rows), len(rows) ** -0.5) for rows in self.features])
        return np.asarray(weight / weight.mean(), np.float64)


def _ridge(
    z: NDArray[np.float64], y: NDArray[Any], weight: NDArray[np.float64], cost: float
) -> NDArray[np.float64]:
    gram = (z * weight[:, None]).T @ z + cost * np.eye(z.shape[1])
    weights: NDArray[np.float64] = np.linalg.solve(gram, (z * weight[:, None]).T @ y)
    return weights


def main() -> None:
    """Train the heads and write them with their card."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="the folder to write")
    parser.add_argument(
        "--only", choices=["dialogues", "questions"], help="leave the other heads as they ship"
    )
    parser.add_argument("--limit", type=int, help="only so many texts of each corpus, to try it out")
    arguments = parser.parse_args()
    recognizer, embedder = load_recognizer("light", scheme="clinical"), Embedder()
    trained = Trained({name: head(name) for name in HEADS}, dict(known_words()), _rows_of_shipped())
    if arguments.only != "questions":
        _train_dialogues(trained, recognizer, embedder, arguments.limit)
    if arguments.only != "dialogues":
        _train_questions(trained, recognizer, embedder, arguments.limit)
    _write(arguments.out, trained)


@dataclass
class Trained:
    """The heads, those that ship until they are trained; the common words of messages; rows by head."""

    heads: dict[str, LinearHead]
    known: dict[str, int]
    rows: dict[str, int]


def _rows_of_shipped() -> dict[str, int]:
    card = json.loads((folder() / "salience.json").read_text(encoding="utf-8"))
    return dict(card["rows"])


def _train_dialogues(trained: Trained, recognizer: Recognizer, embedder: Embedder, limit: int | None) -> None:
    dialogue, soap = Rows([], []), Rows([], [])
    for corpus in ("mts_dialog", "aci_bench"):
        for record, material in _materials(corpus, "train", recognizer, embedder, limit):
            _add_dialogue(record, material, dialogue, soap)
    trained.heads.update(dialogue=dialogue.fit(), soap=soap.fit())
    trained.rows.update(dialogue=len(dialogue), soap=len(soap))


def _train_questions(trained: Trained, recognizer: Recognizer, embedder: Embedder, limit: int | None) -> None:
    messages = [
        (words_of(record["target"]), material)
        for record, material in _materials("meqsum", "train", recognizer, embedder, limit)
    ]
    known = trained.known = _common_words([material for _, material in messages])
    question = _questions(messages, known, embedder)
    trained.heads.update(question=question.fit_ranking(), question_words=_word_head(messages, known))
    trained.rows.update(question=len(question))


def _materials(
    corpus: str, split: str, recognizer: Recognizer, embedder: Embedder, limit: int | None
) -> Iterator[tuple[dict[str, str], Material]]:
    """Yield the records of a corpus with their source cut into units."""
    records = list(read_records(corpus, split))[:limit]
    for first in range(0, len(records), BATCH):
        batch = records[first : first + BATCH]
        notes = [Note(str(record["id"]), record["source"]) for record in batch]
        for record, note, found in zip(batch, notes, extract(notes, recognizer), strict=True):
            entities = whole_mentions(note.text, found.entities)
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


# --- questions of patients ---

Message = tuple[Sequence[str], Material]
"""A message, and the words of the human question."""


def _common_words(materials: Sequence[Material]) -> dict[str, int]:
    """The words that enough messages have, with how many of a thousand, the commonest first."""
    counts = Counter(
        word for material in materials for word in {w for u in material.units for w in words_of(u.text)}
    )
    common = sorted(
        (word for word, count in counts.items() if count >= LEAST_MESSAGES), key=lambda w: (-counts[w], w)
    )
    return {word: round(1000 * counts[word] / len(materials)) for word in common}


def _word_head(messages: Sequence[Message], known: Mapping[str, int]) -> LinearHead:
    """The head that tells how likely a word of a message stands in its question."""
    from sklearn.linear_model import LogisticRegression

    x, y = [], []
    for target, material in messages:
        words, rows = word_features(material, known)
        x.append(rows)
        y += [word in target for word in words]
    rows = np.concatenate(x)
    shape = rows.shape[1] - len(known)
    # Of a word itself a head knows only whether it is there: 0 or 1, as it is.
    mean = np.concatenate([rows[:, :shape].mean(0), np.zeros(len(known))]).astype(np.float32)
    deviation = np.concatenate([rows[:, :shape].std(0) + 1e-6, np.ones(len(known))]).astype(np.float32)
    fitted = LogisticRegression(C=WORD_COST, max_iter=500).fit((rows - mean) / deviation, y)
    return LinearHead(
        mean, deviation, fitted.coef_[0].astype(np.float32), np.float32(fitted.intercept_[0]).reshape(())
    )


def _questions(messages: Sequence[Message], known: Mapping[str, int], embedder: Embedder) -> Rows:
    question = Rows([], [])
    for fold in range(FOLDS):
        others = [message for place, message in enumerate(messages) if place % FOLDS != fold]
        score = partial(scored_words, _word_head(others, known), known)
        for target, material in messages[fold::FOLDS]:
            found = question_candidates(material, embedder, score)
            if len(found.units) > 1:
                question.features.append(found.features)
                question.targets.append(
                    np.array([_shared(words_of(unit.text), target) for unit in found.units], np.float32)
                )
    return question


def _shared(words: Sequence[str], wanted: Sequence[str]) -> float:
    """F1 of words, as ROUGE-1 counts it."""
    total = len(words) + len(wanted)
    return 2 * (Counter(words) & Counter(wanted)).total() / total if total else 0.0


CARD = """# light-summarize

Linear heads of the light summarizer: `dialogue` (which units of a dialogue a note takes up), `soap` (in which part of
the note they belong), `question` (which stretches of a message ask) and `question_words` (which of its words a question
takes up; the common words that it knows stand in `words.json`). Inputs are all-MiniLM-L6-v2 vectors, place, speaker and
entities (`clinical.tasks.salience`, `clinical.tasks.questions`).

- Data: training splits of MTS-Dialog, ACI-Bench and MeQSum (all CC BY 4.0): {rows}.
- Made by: `{command}`, commit {commit}, {date}; no randomness is involved.
- Scores: `clinical evaluate summarize --gold mts_dialog:test --gold aci_bench:test --gold chq:test`, see README.md of
  the project.
- Limits: English; dialogues between a clinician and a patient, and short messages. It chooses words of the text and
  writes none. Its choice is no clinical judgement.
"""


def _write(out: Path, trained: Trained) -> None:
    from safetensors.numpy import save_file

    out.mkdir(parents=True, exist_ok=True)
    tensors = {
        key: value for name, each in trained.heads.items() for key, value in each.tensors(name).items()
    }
    save_file(tensors, out / "heads.safetensors")
    (out / WORDS).write_text(json.dumps(trained.known, indent=0) + "\n", encoding="utf-8")
    origin = provenance()
    counts = ", ".join(f"{count:,} rows for `{name}`" for name, count in trained.rows.items())
    (out / "README.md").write_text(CARD.format(rows=counts, **origin), encoding="utf-8")
    (out / "salience.json").write_text(
        json.dumps({**origin, "rows": trained.rows}, indent=1) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
