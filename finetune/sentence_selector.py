"""Train what tells which sentences answer a question: a small head on MiniLM's vectors of question and sentence.

    clinical finetune sentence-selector --out out/light-ask

MiniLM stays as it is, so every text is embedded once, and minutes of one core are enough. The head learns from three
kinds of questions, mixed: MedQuAD's articles put together again (which part answers this question?), PubMedQA's
abstracts (silver: what the conclusion rests on), and made-up questions on made-up notes, with sentences of MTS-Dialog
and MACCROBAT among theirs, which alone look like what is asked of notes. Some questions go to an article about
something else, where nothing answers them: the likelihood of the best sentence is to say whether there is an answer.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from clinical.corpora import medquad_questions, pubmedqa
from clinical.corpora.qa import QuestionOnText
from clinical.corpora.records import read, read_records
from clinical.documents.answers import Reading
from clinical.documents.sentences import split_sentences
from clinical.finetune import synthetic_questions
from clinical.finetune.provenance import provenance
from clinical.models import minilm
from clinical.models.embedder import Embedder
from clinical.tasks.likelihood import facts, lines_of


@dataclass(frozen=True)
class Recipe:
    """What a run is made of. `articles` are foci of MedQuAD, `strangers` the share of its questions asked amiss."""

    articles: int = 350
    strangers: float = 0.15
    abstracts: int = 200
    notes: int = 1500
    rank: int = 48
    hidden: int = 16
    dropout: float = 0.2
    epochs: int = 10
    batch: int = 16
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    seed: int = 30


@dataclass(frozen=True)
class Asked:
    """A question on a reading, and the numbers of the lines that answer."""

    question: str
    reading: Reading
    answers: frozenset[int]


@dataclass(frozen=True)
class Example:
    """The same in vectors: question (384), lines (n, 384), plain facts (n, f), whether each line answers (n)."""

    asked: torch.Tensor
    told: torch.Tensor
    known: torch.Tensor
    answers: torch.Tensor


class Head(torch.nn.Module):
    """The logit of each line of a reading; `clinical.tasks.likelihood` computes the same in numpy."""

    def __init__(self, known: int, recipe: Recipe) -> None:
        super().__init__()
        size = minilm.HIDDEN_SIZE
        self.nearness = torch.nn.Parameter(torch.ones(size))
        self.scale = torch.nn.Parameter(torch.tensor(6.0))
        self.asked = torch.nn.Linear(size, recipe.rank)
        self.told = torch.nn.Linear(size, recipe.rank)
        self.facts = torch.nn.Linear(known + 3, recipe.hidden)
        self.mixed = torch.nn.Linear(recipe.hidden, 1)
        self.question = torch.nn.Linear(size, 1)
        self.dropout = torch.nn.Dropout(recipe.dropout)
        for layer in (self.asked, self.told):
            torch.nn.init.normal_(layer.weight, std=0.05)

    def forward(self, asked: torch.Tensor, told: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        """Return the logits, shape (lines)."""
        nearness = (told * asked) @ self.nearness
        projected = torch.tanh(3 * self.asked(asked))
        other = torch.tanh(3 * self.told(self.dropout(told)))
        nothing = nearness.new_zeros(1)
        beside = torch.maximum(torch.cat([nothing, nearness[:-1]]), torch.cat([nearness[1:], nothing]))
        all_known = torch.column_stack([known, nearness, nearness - nearness.max(), beside])
        mixed: torch.Tensor = self.mixed(torch.relu(self.facts(all_known)))[:, 0]
        logits: torch.Tensor = (
            self.scale * (nearness - 0.4) + other @ projected + mixed + self.question(asked)
        )
        return logits


# --- what it learns from ---


def training_questions(recipe: Recipe) -> list[Asked]:
    """Return the questions of one run."""
    rng = random.Random(recipe.seed)
    articles = list(medquad_questions.read("train"))
    foci = set(rng.sample(sorted({item.title for item in articles}), recipe.articles))
    chosen = [item for item in articles if item.title in foci]
    found = [_of_text(item) for item in chosen]
    for item in rng.sample(chosen, int(recipe.strangers * len(chosen))):
        other = rng.choice(chosen)
        if item.title != other.title:
            found.append(Asked(other.question, _of_text(item).reading, frozenset()))
    found += [_of_text(item) for item in islice(pubmedqa.evidence("train"), recipe.abstracts)]
    return found + made_questions(recipe.notes, recipe.seed)


def made_questions(notes: int, seed: int) -> list[Asked]:
    """Return questions on made-up notes."""
    sentences = list(_sentences_of_notes())
    return [
        Asked(question, Reading("", note.lines), answers)
        for note in synthetic_questions.notes(notes, seed, sentences, most=1)
        for question, answers in note.asked
    ]


def _of_text(item: QuestionOnText) -> Asked:
    lines = tuple(("", item.sentence(number)) for number in range(len(item.sentences)))
    return Asked(item.question, Reading(item.title, lines), item.answers or frozenset())


def _sentences_of_notes() -> Iterator[str]:
    """Yield sentences of real notes, of a length that a line of a note has."""
    sections = [record["target"] for record in read_records("mts_dialog", "train")]
    cases = [document.text for document in read("maccrobat", "train")]
    for text in [*sections, *cases]:
        for start, end in split_sentences(text):
            if 20 < end - start < 200:
                yield " ".join(text[start:end].split())


def embedded(questions: Iterable[Asked]) -> list[Example]:
    """Return the questions in vectors; each text is embedded once."""
    found = [asked for asked in questions if asked.reading.lines]
    texts = dict.fromkeys(text for asked in found for text in (asked.question, *lines_of(asked.reading)))
    vectors = Embedder().embed(list(texts))
    place = {text: number for number, text in enumerate(texts)}
    return [
        Example(
            torch.from_numpy(vectors[place[asked.question]]),
            torch.from_numpy(vectors[[place[text] for text in lines_of(asked.reading)]]),
            torch.tensor(facts(asked.question, [asked.reading])),
            torch.tensor([float(number in asked.answers) for number in range(len(asked.reading.lines))]),
        )
        for asked in found
    ]


# --- training ---


def train(examples: Sequence[Example], recipe: Recipe) -> Head:
    """Return the head after so many passes over the examples."""
    torch.manual_seed(recipe.seed)
    head = Head(examples[0].known.shape[1], recipe)
    optimizer = torch.optim.AdamW(
        head.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    steps = recipe.epochs * len(examples) // recipe.batch + recipe.epochs
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(0.02, 1 - step / steps))
    head.train()
    for _ in range(recipe.epochs):
        order = torch.randperm(len(examples)).tolist()
        for first in range(0, len(order), recipe.batch):
            batch = [examples[number] for number in order[first : first + recipe.batch]]
            loss = torch.stack([_loss(head, example) for example in batch]).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return head.eval()


def _loss(head: Head, example: Example) -> torch.Tensor:
    """Return the loss of one question: each line by itself, and the answers before all others."""
    logits = head(example.asked, example.told, example.known)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, example.answers)
    if example.answers.any():
        loss = loss - 0.5 * torch.log_softmax(logits, 0)[example.answers > 0].mean()
    return loss


@torch.inference_mode()
def score(head: Head, examples: Sequence[Example]) -> dict[str, float]:
    """Return how often the likeliest line of an answered question answers, and F1 of lines likelier than a half."""
    logits = [head(example.asked, example.told, example.known) for example in examples]
    pairs = [(found, example.answers > 0) for found, example in zip(logits, examples, strict=True)]
    hits = sum(int(((found > 0) & truth).sum()) for found, truth in pairs)
    total = sum(int((found > 0).sum() + truth.sum()) for found, truth in pairs)
    first = [bool(truth[found.argmax()]) for found, truth in pairs if truth.any()]
    return {
        "questions": len(examples),
        "first_is_right": round(float(np.mean(first)), 4),
        "f1": round(2 * hits / max(total, 1), 4),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, score on held-out questions and save."""
    parser = argparse.ArgumentParser(
        prog="sentence-selector", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the head")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=JSON", help="change a value of the recipe"
    )
    options = parser.parse_args(arguments)
    recipe = Recipe(**{key: json.loads(value) for key, value in (pair.split("=", 1) for pair in options.set)})
    torch.set_num_threads(1)
    head = train(embedded(training_questions(recipe)), recipe)
    held_out = {
        "medquad dev": embedded(_of_text(item) for item in medquad_questions.read("dev")),
        "made up": embedded(made_questions(300, recipe.seed + 1)),
    }
    scores = {name: score(head, examples) for name, examples in held_out.items()}
    print(json.dumps(scores, indent=1))
    options.out.mkdir(parents=True, exist_ok=True)
    save_file(head.half().state_dict(), options.out / "head.safetensors")
    record = {
        "base_sha256": minilm.WEIGHTS_SHA256,
        "recipe": asdict(recipe),
        "held_out_scores": scores,
        "provenance": provenance(),
    }
    (options.out / "selector.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
