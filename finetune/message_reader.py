"""Train the adapter with which a message is embedded: near its one-line summary, and near what answers it.

    python -m clinical.finetune.message_reader --out build/light-search

A LoRA on the upper layers of MiniLM, for queries alone: the vectors of passages stay as they are. It learns from the
consumers' questions of MeQSum with their one-line summaries, and from made-up messages around the questions of MedQuAD
(`made_messages`). What a message should find is told by the search of today, asked with the summary, or with MedQuAD's
own question: its ranking of MedQuAD's answers is what the ranking by the message's vector is drawn to. Beside that a
message should be nearer to its summary than to those of others, and not move far from where MiniLM has it.
The answers are those of MedQuAD's train split; of LiveQA, whose collection they are part of, nothing is read but which
messages to leave out. Fifteen minutes of one core; deterministic for one thread of one kind of processor.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from clinical.corpora.records import read_records
from clinical.corpora.retrieval import read_collection
from clinical.finetune.focus import read_messages
from clinical.finetune.made_messages import ASKED, message
from clinical.finetune.provenance import provenance
from clinical.index.collection import open_collection
from clinical.index.ranking import rank
from clinical.models import minilm
from clinical.models.embedder import Embedder
from clinical.models.prepared import quiet
from clinical.tasks.query import read_query

if TYPE_CHECKING:
    from peft import PeftModel

FOUND = 100
"""So many answers of a ranking are learned from."""


@dataclass(frozen=True)
class Recipe:
    """What a run is made of. `real` is how often MeQSum is read while the made-up messages are read once."""

    made: int = 3000
    real: int = 2
    passes: int = 2
    layers: int = 3
    rank: int = 16
    pieces: int = 160
    batch: int = 16
    learning_rate: float = 5e-4
    temperature: float = 0.05
    own_answer: float = 0.4
    stay: float = 2.0
    seed: int = 0


@dataclass(frozen=True)
class Example:
    """A message, what it should find with which share, and the number of its summary; made-up ones have none."""

    text: str
    answers: NDArray[np.int64]
    shares: NDArray[np.float32]
    summary: int | None


@dataclass(frozen=True)
class Lessons:
    """What is learned from: messages, the vectors of all answers, and those of all summaries."""

    examples: list[Example]
    answers: torch.Tensor
    summaries: torch.Tensor


def lessons(recipe: Recipe) -> Lessons:
    """Return what one run learns from."""
    rng = random.Random(recipe.seed)
    records = [
        record
        for record in read_records("medquad", "train")
        if record["question_type"] in ASKED and record["focus"]
    ]
    collection = read_collection("medquad_liveqa")
    embedder = Embedder()
    with open_collection(collection.name, collection.documents, embedder) as store:
        passages = {own: passage for passage, own in store.own_ids().items()}
        order = [passages[record["id"]] for record in records]
        place = {passage: number for number, passage in enumerate(order)}

        def found(query: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
            asked = read_query(query)
            ranked = rank(store, asked.terms, asked.vector(embedder), "hybrid", FOUND)
            kept = [(place[one.passage], one.score) for one in ranked if one.passage in place]
            scores = np.array([score for _, score in kept], np.float32)
            shares = np.exp((scores - scores.max(initial=0)) / recipe.temperature)
            return np.array([number for number, _ in kept], np.int64), shares / shares.sum()

        pairs = read_messages("train")
        examples = [
            Example(text, *found(summary), number) for number, (text, summary) in enumerate(pairs)
        ] * recipe.real
        for number in _drawn([record["question_type"] for record in records], recipe.made, rng):
            answers, shares = found(records[number]["question"])
            examples.append(
                Example(
                    message(records[number], rng),
                    np.append(answers, number),
                    np.append(shares * (1 - recipe.own_answer), np.float32(recipe.own_answer)),
                    None,
                )
            )
        vectors = np.concatenate(
            [store.vectors_of(order[first : first + 500]) for first in range(0, len(order), 500)]
        )
    summaries = embedder.embed([summary for _, summary in pairs])
    return Lessons(examples, torch.from_numpy(vectors.astype(np.float32)), torch.from_numpy(summaries))


def _drawn(types: Sequence[str], count: int, rng: random.Random) -> list[int]:
    """Return the numbers of the questions to ask, half of them drawn evenly by type: a third asks what a thing is."""
    by_type: dict[str, list[int]] = {}
    for number, type in enumerate(types):
        by_type.setdefault(type, []).append(number)
    groups = list(by_type.values())
    return [
        rng.choice(rng.choice(groups)) if rng.random() < 0.5 else rng.randrange(len(types))
        for _ in range(count)
    ]


# --- training ---


class Reader(torch.nn.Module):
    """MiniLM with the adapter on its upper layers; what comes out of the lower ones is the same in each pass."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        from peft import LoraConfig, get_peft_model
        from transformers import BertModel

        with quiet():
            base = BertModel.from_pretrained(minilm.folder(), add_pooling_layer=False, dtype=torch.float32)
        layers = base.config.num_hidden_layers
        config = LoraConfig(
            r=recipe.rank,
            lora_alpha=2 * recipe.rank,
            lora_dropout=0.1,
            target_modules=["query", "key", "value", "dense"],
            layers_to_transform=list(range(layers - recipe.layers, layers)),
        )
        self.adapted: PeftModel = get_peft_model(base, config)
        self.encoder = base
        self.lower, self.upper = base.encoder.layer[: -recipe.layers], base.encoder.layer[-recipe.layers :]

    @torch.no_grad()
    def begun(self, ids: Sequence[int]) -> torch.Tensor:
        """Return what the lower layers make of a text, shape (pieces, 384)."""
        hidden = self.encoder.embeddings(input_ids=torch.tensor([ids]))
        return self._through(self.lower, hidden, torch.zeros(1, 1, 1, len(ids)))[0]

    def forward(self, texts: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the vectors of texts that the lower layers have read, as `Embedder` takes the mean."""
        hidden = torch.nn.utils.rnn.pad_sequence(list(texts), batch_first=True)
        mask = torch.zeros(hidden.shape[:2])
        for row, text in enumerate(texts):
            mask[row, : len(text)] = 1
        with torch.autocast("cpu", torch.bfloat16, enabled=self.training):
            hidden = self._through(self.upper, hidden, (1 - mask)[:, None, None] * -1e4)
        mean = (hidden.float() * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return torch.nn.functional.normalize(mean, dim=-1)

    @staticmethod
    def _through(layers: torch.nn.ModuleList, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        for layer in layers:
            hidden = layer(hidden, mask.to(hidden.dtype))
        return hidden


def train(learned: Lessons, recipe: Recipe) -> Reader:
    """Return the reader after so many passes over the messages."""
    torch.manual_seed(recipe.seed)
    rng = random.Random(recipe.seed)
    reader = Reader(recipe).eval()
    texts = list(dict.fromkeys(example.text for example in learned.examples))
    begun = {text: reader.begun(_pieces(text, recipe.pieces)) for text in texts}
    with torch.no_grad():
        plain = {text: reader([begun[text]])[0] for text in texts}
    weights = [weight for weight in reader.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=recipe.learning_rate, weight_decay=0.01)
    steps = recipe.passes * -(-len(learned.examples) // recipe.batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / 20) * max(0.02, 1 - step / steps)
    )
    reader.train()
    for _ in range(recipe.passes):
        for batch in _batches(learned.examples, begun, recipe, rng):
            vectors = reader([begun[example.text] for example in batch])
            still = (1 - (vectors * torch.stack([plain[example.text] for example in batch])).sum(1)).mean()
            loss = _loss(vectors, batch, learned, recipe.temperature) + recipe.stay * still
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            schedule.step()
    return reader.eval()


def _loss(
    vectors: torch.Tensor, batch: Sequence[Example], learned: Lessons, temperature: float
) -> torch.Tensor:
    """Return how unlike the rankings are, and how much nearer the summaries of others."""
    logs = torch.log_softmax(vectors @ learned.answers.T / temperature, dim=1)
    ranking = torch.stack(
        [
            -(torch.from_numpy(example.shares) * row[torch.from_numpy(example.answers)]).sum()
            for example, row in zip(batch, logs, strict=True)
        ]
    )
    real = [(row, example.summary) for row, example in enumerate(batch) if example.summary is not None]
    if not real:
        return ranking.mean()
    rows, numbers = map(list, zip(*real, strict=True))
    near = torch.nn.functional.cross_entropy(
        vectors[rows] @ learned.summaries.T / temperature, torch.tensor(numbers), reduction="sum"
    )
    return ranking.mean() + near / len(batch)


def _batches(
    examples: Sequence[Example], begun: dict[str, torch.Tensor], recipe: Recipe, rng: random.Random
) -> list[list[Example]]:
    """Return the messages of one pass, those of like length together, in random order."""
    ordered = sorted(examples, key=lambda example: len(begun[example.text]) + rng.uniform(0, 20))
    batches = [ordered[first : first + recipe.batch] for first in range(0, len(ordered), recipe.batch)]
    rng.shuffle(batches)
    return batches


def _pieces(text: str, most: int) -> list[int]:
    ids = minilm.tokenizer().encode(text).ids
    return ids if len(ids) <= most else [*ids[: most - 1], ids[-1]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and save."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the adapter")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=JSON", help="change a value of the recipe"
    )
    asked = parser.parse_args(arguments)
    recipe = Recipe(**{key: json.loads(value) for key, value in (pair.split("=", 1) for pair in asked.set)})
    torch.set_num_threads(1)
    reader = train(lessons(recipe), recipe)
    asked.out.mkdir(parents=True, exist_ok=True)
    reader.adapted.peft_config["default"].base_model_name_or_path = minilm.PACKAGE.replace("_", "-")
    reader.half().adapted.save_pretrained(asked.out)
    record = {"base_sha256": minilm.WEIGHTS_SHA256, "recipe": asdict(recipe), "provenance": provenance()}
    (asked.out / "messages.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
